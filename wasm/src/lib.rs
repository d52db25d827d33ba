//! The class that JavaScript sees: plain values go in, an answer comes out.
//!
//! Numbers and texts cross as arguments. What comes back lies in the module's own memory, at the address
//! that the call returns, until the next call: see [`answer`]. Engines before Chromium 67 have no BigInt,
//! so times are Unix milliseconds and steady milliseconds as JavaScript numbers. There is no logic here;
//! `pkg/src` turns this into the API that apps use.

#[cfg(target_family = "wasm")]
mod allocator;
pub mod answer;
mod command;
mod convert;
mod device;
#[cfg(target_family = "wasm")]
mod memory;
#[cfg(feature = "patterns")]
mod taste;

use answer::{Address, Answer};
use convert::{Code, content, now, profile};
use omega_sync_core::household::{Intent, PlayState, Progress};
use omega_sync_core::id::{ContentId, HouseholdId, ProfileId};
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
        match Client::read(&convert::records(records), known, self.seed) {
            Err(_) => self.answer.refuse("storage_newer"),
            Ok(opened) => {
                self.client = opened.client;
                self.answer.clear();
                opened.damage.into_iter().for_each(|e| convert::damage(e, &mut self.answer));
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

    /// Puts a title on a watchlist.
    #[wasm_bindgen(js_name = watchlistAdd)]
    pub fn watchlist_add(
        &mut self,
        profile_id: &str,
        content_id: &str,
        unix_ms: f64,
        steady_ms: f64,
    ) -> Address {
        let intent = shelf(profile_id, content_id).map(|(p, c)| Intent::Add(p, c));
        self.operate(intent, unix_ms, steady_ms)
    }

    /// Takes a title off a watchlist.
    #[wasm_bindgen(js_name = watchlistRemove)]
    pub fn watchlist_remove(
        &mut self,
        profile_id: &str,
        content_id: &str,
        unix_ms: f64,
        steady_ms: f64,
    ) -> Address {
        let intent = shelf(profile_id, content_id).map(|(p, c)| Intent::Remove(p, c));
        self.operate(intent, unix_ms, steady_ms)
    }

    /// Notes how far a title was watched. `state`: 0 playing, 1 paused, 2 stopped, 3 finished.
    #[wasm_bindgen(js_name = progressSet)]
    #[allow(
        clippy::too_many_arguments,
        reason = "plain values are what crosses the border cheaply"
    )]
    pub fn progress_set(
        &mut self,
        profile_id: &str,
        content_id: &str,
        position_s: u32,
        duration_s: u32,
        state: u8,
        unix_ms: f64,
        steady_ms: f64,
    ) -> Address {
        let state = PlayState::ALL.get(usize::from(state)).copied();
        let intent = state.ok_or("invalid_progress").and_then(|state| {
            let (profile, content) = shelf(profile_id, content_id)?;
            let progress = Progress { position_s, duration_s, state };
            Ok(Intent::Progress(profile, content, Some(progress)))
        });
        self.operate(intent, unix_ms, steady_ms)
    }

    /// Takes a title off "continue watching".
    #[wasm_bindgen(js_name = progressRemove)]
    pub fn progress_remove(
        &mut self,
        profile_id: &str,
        content_id: &str,
        unix_ms: f64,
        steady_ms: f64,
    ) -> Address {
        let intent = shelf(profile_id, content_id).map(|(p, c)| Intent::Progress(p, c, None));
        self.operate(intent, unix_ms, steady_ms)
    }

    /// A new profile id, for [`Replica::profile_name`].
    #[wasm_bindgen(js_name = newProfileId)]
    pub fn new_profile_id(&mut self) -> Address {
        self.answer.clear().id(self.client.random_id());
        self.answer.end()
    }

    /// Creates a profile or gives it another name.
    #[wasm_bindgen(js_name = profileName)]
    pub fn profile_name(
        &mut self,
        profile_id: &str,
        name: String,
        unix_ms: f64,
        steady_ms: f64,
    ) -> Address {
        let intent = profile(profile_id).map(|p| Intent::NameProfile(p, name));
        self.operate(intent, unix_ms, steady_ms)
    }

    /// Deletes a profile and everything on its shelf, for good.
    #[wasm_bindgen(js_name = profileDelete)]
    pub fn profile_delete(&mut self, profile_id: &str, unix_ms: f64, steady_ms: f64) -> Address {
        let intent = profile(profile_id).map(Intent::DeleteProfile);
        self.operate(intent, unix_ms, steady_ms)
    }

    fn operate(&mut self, intent: Result<Intent, Code>, unix_ms: f64, steady_ms: f64) -> Address {
        let time = now(unix_ms, steady_ms);
        let done = intent
            .and_then(|intent| self.client.operate(time, intent).map_err(|error| error.code()));
        match done {
            Ok(outputs) => {
                convert::outputs(&outputs, self.answer.clear());
                self.answer.end()
            }
            Err(code) => self.answer.refuse(code),
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

    /// Forgets the rejected operations, after the app has read them.
    #[wasm_bindgen(js_name = rejectedTaken)]
    pub fn rejected_taken(&mut self, unix_ms: f64, steady_ms: f64) -> Address {
        self.handle(Input::RejectedTaken, unix_ms, steady_ms)
    }

    fn read<T>(&mut self, read: Result<T, Code>, write: impl FnOnce(T, &mut Answer)) -> Address {
        match read {
            Err(code) => self.answer.refuse(code),
            Ok(value) => {
                write(value, self.answer.clear());
                self.answer.end()
            }
        }
    }

    /// Title and time added (Unix milliseconds) of each, last added first.
    pub fn watchlist(&mut self, profile_id: &str) -> Address {
        let items = profile(profile_id).map(|id| self.client.replica().watchlist(id));
        self.read(items, |items, answer| {
            for item in items {
                answer.text(item.content.as_str());
                answer.number(item.added.0 as f64);
            }
        })
    }

    /// Whether a title is on a watchlist: 1 or 0.
    pub fn has(&mut self, profile_id: &str, content_id: &str) -> Address {
        let shelf = shelf(profile_id, content_id);
        let listed = shelf.map(|(p, c)| self.client.replica().is_listed(p, &c));
        self.read(listed, |listed, answer| answer.number(f64::from(u8::from(listed))))
    }

    /// Position, duration, state, completion percent, resume position and time (Unix milliseconds) of a
    /// title; nothing when there is none.
    pub fn progress(&mut self, profile_id: &str, content_id: &str) -> Address {
        let shelf = shelf(profile_id, content_id);
        let item = shelf.map(|(p, c)| self.client.replica().progress(p, &c));
        self.read(item, |item, answer| {
            item.iter().for_each(|item| convert::progress(item, answer));
        })
    }

    /// Title and then what [`Replica::progress`] gives, of each, last watched first.
    #[wasm_bindgen(js_name = progressAll)]
    pub fn progress_all(&mut self, profile_id: &str) -> Address {
        let items = profile(profile_id).map(|id| self.client.replica().all_progress(id));
        self.read(items, |items, answer| {
            for item in items {
                answer.text(item.content.as_str());
                convert::progress(&item, answer);
            }
        })
    }

    /// Profile id and name of each, the default profile first.
    pub fn profiles(&mut self) -> Address {
        self.answer.clear();
        for (id, name) in self.client.replica().profiles() {
            self.answer.profile(id);
            self.answer.text(&name);
        }
        self.answer.end()
    }

    /// What the server refused: kind, profile, title or name, and reason of each.
    pub fn rejected(&mut self) -> Address {
        self.answer.clear();
        for rejected in self.client.replica().rejected() {
            convert::rejected(rejected, &mut self.answer);
        }
        self.answer.end()
    }

    /// Counts since loading: operations, coalesced, sent, retried, acknowledged, rejected, bytes of plain
    /// records, bytes of frames, and what these saved in percent.
    pub fn metrics(&mut self) -> Address {
        let metrics = self.client.metrics();
        self.answer.clear();
        for count in [
            metrics.operations,
            metrics.coalesced,
            metrics.sent,
            metrics.retried,
            metrics.acknowledged,
            metrics.rejected,
            metrics.plain_bytes,
            metrics.delta_bytes,
        ] {
            self.answer.number(count as f64);
        }
        self.answer.number(metrics.saved_percent() as f64);
        self.answer.end()
    }

    /// How many operations wait for the server.
    pub fn pending(&self) -> u32 {
        self.client.replica().outbox().len() as u32
    }

    /// 0 offline, 1 connecting, 2 syncing, 3 live, 4 stopped, 5 polling.
    pub fn status(&self) -> u8 {
        self.client.status() as u8
    }

    /// The rest of how things stand: number of rejected operations, server's clock minus this device's in
    /// milliseconds, the replica's id, the household (empty when not known yet), and why the server closed
    /// the last connection (empty when it did not).
    pub fn about(&mut self) -> Address {
        let Self { client, answer, .. } = self;
        let replica = client.replica();
        answer.clear().number(replica.rejected().len() as f64);
        answer.number(replica.offset_ms() as f64);
        answer.id(replica.id().0);
        answer.text(replica.household().map_or("", |id| id.as_str()));
        answer.text(client.close_code().map_or("", |code| code.reason()));
        answer.end()
    }
}

fn shelf(profile_id: &str, content_id: &str) -> Result<(ProfileId, ContentId), Code> {
    Ok((profile(profile_id)?, content(content_id)?))
}
