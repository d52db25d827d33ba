//! The class that JavaScript sees: calls go in, a list of things to do comes out.
//!
//! Bytes, numbers, strings and flat arrays only: engines before Chromium 67 have no BigInt, and plain
//! values cost nothing to convert. Times are Unix milliseconds and steady milliseconds, both as
//! JavaScript numbers. There is no logic here; `pkg/src` turns this into the API that apps use.

mod convert;

use convert::{content, failure, now, outputs, profile};
use js_sys::{Array, JsString, Uint8Array};
use omega_sync_core::household::{Intent, PlayState, Progress};
use omega_sync_core::id::{HouseholdId, ProfileId};
use omega_sync_core::session::client::{Client, Input};
use wasm_bindgen::prelude::*;

/// Smaller and quicker than the standard library's.
#[cfg(target_family = "wasm")]
#[global_allocator]
static ALLOCATOR: talc::wasm::WasmDynamicTalc = talc::wasm::new_wasm_dynamic_allocator();

/// One device's copy of a household and its connection.
#[wasm_bindgen]
pub struct Replica {
    client: Client,
    damage: Option<String>,
    first: Option<Array>,
}

#[wasm_bindgen]
impl Replica {
    /// Loads a replica from its stored records, in their order; from none it is a new one. `seed` is 16
    /// bytes of entropy, `household` may be empty. Throws `storage_newer` or `invalid_household`.
    pub fn load(
        records: Vec<Uint8Array>,
        seed: &[u8],
        household: &str,
    ) -> Result<Replica, JsValue> {
        let seed = seed.try_into();
        let seed = seed.map_err(|_| failure("invalid_seed", "the seed must be 16 bytes"))?;
        let household = match household {
            "" => None,
            id => Some(
                HouseholdId::new(id).map_err(|e| failure("invalid_household", &e.to_string()))?,
            ),
        };
        let records: Vec<Vec<u8>> = records.iter().map(Uint8Array::to_vec).collect();
        let opened = Client::load(&records, household, seed).map_err(|error| {
            let text = format!("stored by a newer version of omega-sync ({error}): update the app");
            failure("storage_newer", &text)
        })?;
        Ok(Self {
            client: opened.client,
            damage: opened.damage.map(|error| error.to_string()),
            first: Some(outputs(opened.outputs)),
        })
    }

    /// Why not all records could be read, if so: set the old ones aside before storing anything.
    pub fn damage(&self) -> Option<String> {
        self.damage.clone()
    }

    /// What to do first after loading.
    #[wasm_bindgen(js_name = firstOutputs)]
    pub fn first_outputs(&mut self) -> Array {
        self.first.take().unwrap_or_default()
    }

    /// Puts a title on a watchlist.
    #[wasm_bindgen(js_name = watchlistAdd)]
    pub fn watchlist_add(
        &mut self,
        profile_id: &str,
        content_id: &str,
        unix_ms: f64,
        steady_ms: f64,
    ) -> Result<Array, JsValue> {
        let intent = Intent::Add(profile(profile_id)?, content(content_id)?);
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
    ) -> Result<Array, JsValue> {
        let intent = Intent::Remove(profile(profile_id)?, content(content_id)?);
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
    ) -> Result<Array, JsValue> {
        let state = PlayState::ALL.get(usize::from(state)).copied();
        let state = state.ok_or_else(|| failure("invalid_progress", "state must be 0 to 3"))?;
        let progress = Progress { position_s, duration_s, state };
        let intent = Intent::Progress(profile(profile_id)?, content(content_id)?, Some(progress));
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
    ) -> Result<Array, JsValue> {
        let intent = Intent::Progress(profile(profile_id)?, content(content_id)?, None);
        self.operate(intent, unix_ms, steady_ms)
    }

    /// A new profile id, for [`Replica::profile_name`].
    #[wasm_bindgen(js_name = newProfileId)]
    pub fn new_profile_id(&mut self) -> String {
        ProfileId(self.client.random_id()).to_string()
    }

    /// Creates a profile or gives it another name.
    #[wasm_bindgen(js_name = profileName)]
    pub fn profile_name(
        &mut self,
        profile_id: &str,
        name: String,
        unix_ms: f64,
        steady_ms: f64,
    ) -> Result<Array, JsValue> {
        self.operate(Intent::NameProfile(profile(profile_id)?, name), unix_ms, steady_ms)
    }

    /// Deletes a profile and everything on its shelf, for good.
    #[wasm_bindgen(js_name = profileDelete)]
    pub fn profile_delete(
        &mut self,
        profile_id: &str,
        unix_ms: f64,
        steady_ms: f64,
    ) -> Result<Array, JsValue> {
        self.operate(Intent::DeleteProfile(profile(profile_id)?), unix_ms, steady_ms)
    }

    fn operate(&mut self, intent: Intent, unix_ms: f64, steady_ms: f64) -> Result<Array, JsValue> {
        let done = self.client.operate(now(unix_ms, steady_ms), intent);
        done.map(outputs).map_err(|error| failure(error.code(), &error.to_string()))
    }

    fn handle(&mut self, input: Input, unix_ms: f64, steady_ms: f64) -> Array {
        outputs(self.client.handle(now(unix_ms, steady_ms), input))
    }

    /// The app is up, the network is back, or the TV woke.
    pub fn online(&mut self, unix_ms: f64, steady_ms: f64) -> Array {
        self.handle(Input::Online, unix_ms, steady_ms)
    }

    /// The network is gone, or the viewer wants to be offline.
    pub fn offline(&mut self, unix_ms: f64, steady_ms: f64) -> Array {
        self.handle(Input::Offline, unix_ms, steady_ms)
    }

    /// The socket is open.
    pub fn opened(&mut self, token: String, unix_ms: f64, steady_ms: f64) -> Array {
        self.handle(Input::Opened(token), unix_ms, steady_ms)
    }

    /// A frame arrived.
    pub fn frame(&mut self, bytes: &[u8], unix_ms: f64, steady_ms: f64) -> Array {
        self.handle(Input::Frame(bytes), unix_ms, steady_ms)
    }

    /// The socket closed, did not open, or there was no token.
    pub fn closed(&mut self, code: u16, unix_ms: f64, steady_ms: f64) -> Array {
        self.handle(Input::Closed(code), unix_ms, steady_ms)
    }

    /// The time of the last wake has come.
    pub fn wake(&mut self, unix_ms: f64, steady_ms: f64) -> Array {
        self.handle(Input::Woke, unix_ms, steady_ms)
    }

    /// Forgets the rejected operations, after the app has read them.
    #[wasm_bindgen(js_name = rejectedTaken)]
    pub fn rejected_taken(&mut self, unix_ms: f64, steady_ms: f64) -> Array {
        self.handle(Input::RejectedTaken, unix_ms, steady_ms)
    }

    /// Title and time added (Unix milliseconds), in turn, last added first.
    pub fn watchlist(&self, profile_id: &str) -> Result<Array, JsValue> {
        let list = Array::new();
        for item in self.client.replica().watchlist(profile(profile_id)?) {
            list.push(&JsString::from(item.content.as_str()));
            list.push(&JsValue::from_f64(item.added.0 as f64));
        }
        Ok(list)
    }

    /// Whether a title is on a watchlist.
    pub fn has(&self, profile_id: &str, content_id: &str) -> Result<bool, JsValue> {
        Ok(self.client.replica().is_listed(profile(profile_id)?, &content(content_id)?))
    }

    /// Position, duration, state, completion percent, resume position and time (Unix milliseconds) of a
    /// title; `undefined` when there is none.
    pub fn progress(&self, profile_id: &str, content_id: &str) -> Result<Option<Array>, JsValue> {
        let item = self.client.replica().progress(profile(profile_id)?, &content(content_id)?);
        Ok(item.map(|item| {
            let list = Array::new();
            convert::push_progress(&list, &item);
            list
        }))
    }

    /// Title and then what [`Replica::progress`] gives, in turn, last watched first.
    #[wasm_bindgen(js_name = progressAll)]
    pub fn progress_all(&self, profile_id: &str) -> Result<Array, JsValue> {
        let list = Array::new();
        for item in self.client.replica().all_progress(profile(profile_id)?) {
            list.push(&JsString::from(item.content.as_str()));
            convert::push_progress(&list, &item);
        }
        Ok(list)
    }

    /// Profile id and name, in turn, the default profile first.
    pub fn profiles(&self) -> Array {
        let list = Array::new();
        for (id, name) in self.client.replica().profiles() {
            list.push(&JsString::from(id.to_string()));
            list.push(&JsString::from(name));
        }
        list
    }

    /// What the server refused: stamp (decimal), kind, profile, title or name, reason, in turn.
    pub fn rejected(&self) -> Array {
        convert::rejected(self.client.replica().rejected())
    }

    /// How many operations wait for the server.
    pub fn pending(&self) -> u32 {
        self.client.replica().outbox().len() as u32
    }

    /// `offline`, `connecting`, `syncing`, `live` or `stopped`.
    pub fn status(&self) -> String {
        self.client.status().name().into()
    }

    /// Why the server closed the last connection, empty when it did not.
    #[wasm_bindgen(js_name = closeReason)]
    pub fn close_reason(&self) -> String {
        self.client.close_code().map_or("", |code| code.reason()).into()
    }

    /// Server's clock minus this device's, in milliseconds.
    #[wasm_bindgen(js_name = offsetMs)]
    pub fn offset_ms(&self) -> f64 {
        self.client.replica().offset_ms() as f64
    }

    /// The replica's id, 16 hex digits.
    #[wasm_bindgen(js_name = replicaId)]
    pub fn replica_id(&self) -> String {
        self.client.replica().id().to_string()
    }

    /// The household, empty when not known yet.
    pub fn household(&self) -> String {
        self.client.replica().household().map_or("", |id| id.as_str()).into()
    }
}
