//! The class that JavaScript sees: plain values go in, an answer comes out.
//!
//! Numbers and texts cross as arguments. What comes back lies in the module's own memory, at the address
//! that the call returns, until the next call: see [`answer`]. Engines before Chromium 67 have no BigInt,
//! so times are Unix milliseconds and steady milliseconds as JavaScript numbers. There is no logic here;
//! `pkg/src` turns this into the API that apps use.

#[cfg(target_family = "wasm")]
mod allocator;
pub mod answer;
pub mod call;
mod command;
mod convert;
// A build that is not optimised may copy eight bytes by calling what copies.
#[cfg(shipped)]
mod memory;
#[cfg(feature = "patterns")]
mod taste;

use answer::{Address, Answer};
use call::Values;
use convert::now;
use omega_sync_core::id::HouseholdId;
use omega_sync_core::session::client::{Client, Input};
use wasm_bindgen::prelude::*;

/// Smaller and quicker than the standard library's.
#[cfg(target_family = "wasm")]
#[global_allocator]
static ALLOCATOR: allocator::Allocator = allocator::Allocator::new();

/// One device's copy of a household and its connection.
#[wasm_bindgen]
pub struct Replica {
    client: Client,
    seed: [u8; 16],
    answer: Answer,
}

#[wasm_bindgen]
impl Replica {
    /// A new replica; the numbers are 16 bytes of entropy.
    #[wasm_bindgen(constructor)]
    pub fn new(a: u32, b: u32, c: u32, d: u32) -> Self {
        let mut seed = [0; 16];
        for (bytes, word) in seed.chunks_exact_mut(4).zip([a, b, c, d]) {
            bytes.copy_from_slice(&word.to_le_bytes());
        }
        let read = Client::read(&[], None, seed);
        let client = read.expect("nothing stored that could be refused").client;
        Self { client, seed, answer: Answer::default() }
    }

    /// Becomes the replica that was stored, from no record a new one. Each record comes after its length
    /// (32 bits, little endian), in their order; `household` may be empty. Answers what damage was found,
    /// nothing if none: then set the old records aside before storing anything. Refuses with
    /// `storage_newer` or `invalid_household`.
    pub fn load(&mut self, records: &[u8], household: &str) -> Address {
        let known = match household {
            "" => None,
            id => match HouseholdId::new(id) {
                Ok(id) => Some(id),
                Err(_) => return self.answer.refuse("invalid_household"),
            },
        };
        match Client::read(&Values(records).to_vecs(), known, self.seed) {
            Err(_) => self.answer.refuse("storage_newer"),
            Ok(opened) => {
                self.client = opened.client;
                self.answer.clear();
                let damage = opened.damage.map(convert::damage);
                damage.into_iter().for_each(|damage| self.answer.text(damage));
                self.answer.end()
            }
        }
    }

    /// Whether to catch up by what changed, which it does unless told otherwise, or by the whole state.
    #[wasm_bindgen(js_name = catchUpByDifferences)]
    pub fn catch_up_by_differences(&mut self, differences: bool) {
        self.client.set_differences(differences);
    }

    /// What to do first after loading.
    #[wasm_bindgen(js_name = firstOutputs)]
    pub fn first_outputs(&mut self) -> Address {
        convert::outputs(&self.client.first_outputs(), self.answer.clear());
        self.answer.end()
    }

    /// Makes a write: one of [`call::write`], with the values that `pkg/src/calls.ts` lists for it. Refuses
    /// with the code of what is wrong with them.
    pub fn write(&mut self, call: u8, values: &[u8], unix_ms: f64, steady_ms: f64) -> Address {
        match call::make(&mut self.client, call, Values(values), now(unix_ms, steady_ms)) {
            Ok(outputs) => {
                convert::outputs(&outputs, self.answer.clear());
                self.answer.end()
            }
            Err(code) => self.answer.refuse(code),
        }
    }

    /// Reads: one of [`call::read`], with the values that `pkg/src/calls.ts` lists for it, and gives the
    /// rows it says.
    pub fn read(&mut self, call: u8, values: &[u8]) -> Address {
        let Self { client, answer, .. } = self;
        match call::answer(client, call, Values(values), answer.clear()) {
            Ok(()) => answer.end(),
            Err(code) => answer.refuse(code),
        }
    }

    fn handle(&mut self, input: Input, unix_ms: f64, steady_ms: f64) -> Address {
        let outputs = self.client.handle(now(unix_ms, steady_ms), input);
        convert::outputs(&outputs, self.answer.clear());
        self.answer.end()
    }

    /// The app is up, the network is back, or the TV woke.
    pub fn online(&mut self, unix_ms: f64, steady_ms: f64) -> Address {
        self.handle(Input::Online, unix_ms, steady_ms)
    }

    /// The network is gone, or the viewer wants to be offline.
    pub fn offline(&mut self, unix_ms: f64, steady_ms: f64) -> Address {
        self.handle(Input::Offline, unix_ms, steady_ms)
    }

    /// The socket is open.
    pub fn opened(&mut self, token: String, unix_ms: f64, steady_ms: f64) -> Address {
        self.handle(Input::Opened(token), unix_ms, steady_ms)
    }

    /// There is no socket: a request instead.
    pub fn asked(&mut self, token: String, unix_ms: f64, steady_ms: f64) -> Address {
        self.handle(Input::Asked(token), unix_ms, steady_ms)
    }

    /// The answer to the request with this number.
    pub fn answered(&mut self, number: u32, bytes: &[u8], unix_ms: f64, steady_ms: f64) -> Address {
        self.handle(Input::Answered(number, bytes), unix_ms, steady_ms)
    }

    /// The page goes to the background.
    pub fn hiding(&mut self, token: String, unix_ms: f64, steady_ms: f64) -> Address {
        self.handle(Input::Hiding(token), unix_ms, steady_ms)
    }

    /// How long to rest between two requests, and after a write, in milliseconds.
    #[wasm_bindgen(js_name = setRest)]
    pub fn set_rest(&mut self, rest_ms: f64, write_ms: f64) {
        self.client.set_rest(rest_ms as u64, write_ms as u64);
    }

    /// A frame arrived.
    pub fn frame(&mut self, bytes: &[u8], unix_ms: f64, steady_ms: f64) -> Address {
        self.handle(Input::Frame(bytes), unix_ms, steady_ms)
    }

    /// The socket closed, did not open, or there was no token.
    pub fn closed(&mut self, code: u16, unix_ms: f64, steady_ms: f64) -> Address {
        self.handle(Input::Closed(code), unix_ms, steady_ms)
    }

    /// The time of the last wake has come.
    pub fn wake(&mut self, unix_ms: f64, steady_ms: f64) -> Address {
        self.handle(Input::Woke, unix_ms, steady_ms)
    }

    /// How many operations wait for the server.
    pub fn pending(&self) -> u32 {
        self.client.pending() as u32
    }

    /// 0 offline, 1 connecting, 2 syncing, 3 live, 4 stopped, 5 polling.
    pub fn status(&self) -> u8 {
        self.client.status() as u8
    }
}
