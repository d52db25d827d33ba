//! What JavaScript calls: plain values go in, an answer comes out.
//!
//! There is one door: a call is a number with values, and its answer lies in the module's own memory, at
//! the address that the call returns, until the next call: see [`call`] and [`answer`]. Engines before
//! Chromium 67 have no BigInt, so times are Unix milliseconds and steady milliseconds as JavaScript numbers.
//! There is no logic here; `pkg/src` turns this into the API that apps use.

#[cfg(target_family = "wasm")]
mod allocator;
pub mod answer;
pub mod call;
mod command;
mod convert;
#[cfg(target_family = "wasm")]
mod exports;
// A build that is not optimised may copy eight bytes by calling what copies.
#[cfg(shipped)]
mod memory;
#[cfg(feature = "patterns")]
mod taste;

use answer::{Address, Answer};
use call::Values;
use convert::Code;
use omega_sync_core::id::HouseholdId;
use omega_sync_core::replica::Now;
use omega_sync_core::session::client::Client;

/// Smaller and quicker than the standard library's.
#[cfg(target_family = "wasm")]
#[global_allocator]
static ALLOCATOR: allocator::Allocator = allocator::Allocator::new();

/// One device's copy of a household and its connection.
pub struct Replica {
    client: Client,
    seed: [u8; 16],
    answer: Answer,
}

impl Replica {
    /// A new replica, of 16 bytes of entropy.
    pub fn new(seed: [u8; 16]) -> Self {
        let read = Client::load(&[], None, seed);
        let client = read.expect("nothing stored that could be refused").client;
        Self { client, seed, answer: Answer::default() }
    }

    /// Makes a call: [`call::LOAD`], one of [`call::read`], [`call::write`] or [`call::input`], with the
    /// values that `pkg/src/calls.ts` lists for it. Refuses with the code of what is wrong with them.
    pub fn call(&mut self, call: u8, values: Values, now: Now) -> Address {
        let Self { client, answer, .. } = self;
        answer.clear();
        let done = match call {
            call::LOAD => self.load(values),
            call::read::PROFILES.. => call::answer(client, call, values, answer),
            _ => call::make(client, call, values, now)
                .map(|outputs| convert::outputs(&outputs, answer)),
        };
        match done {
            Ok(()) => self.answer.end(),
            Err(code) => self.answer.refuse(code),
        }
    }

    /// Becomes the replica that was stored, from no record a new one. The values are the household, which
    /// may be empty, and the records in their order. Answers what damage was found, nothing if none: then
    /// set the old records aside before storing anything. Refuses with `storage_newer` or
    /// `invalid_household`.
    fn load(&mut self, mut values: Values) -> Result<(), Code> {
        let known = match values.text() {
            "" => None,
            id => Some(HouseholdId::new(id).map_err(|_| "invalid_household")?),
        };
        let opened = Client::load(&values.to_vecs(), known, self.seed);
        let opened = opened.map_err(|_| "storage_newer")?;
        self.client = opened.client;
        let damage = opened.damage.map(convert::damage);
        damage.into_iter().for_each(|damage| self.answer.text(damage));
        Ok(())
    }
}
