//! Core values to JavaScript and back; errors as objects with a stable code.

use js_sys::{Array, Error, JsString, Reflect, Uint8Array};
use omega_sync_core::clock::UnixMillis;
use omega_sync_core::household::{Change, Changed, Part};
use omega_sync_core::id::{ContentId, ProfileId};
use omega_sync_core::replica::view::ProgressItem;
use omega_sync_core::replica::{Now, Rejected};
use omega_sync_core::session::client::Output;
use wasm_bindgen::JsValue;

/// An `Error` with a `code`.
pub fn failure(code: &str, message: &str) -> JsValue {
    let error = Error::new(message);
    // Setting a property of an object made one line above can't fail.
    let _ = Reflect::set(&error, &"code".into(), &code.into());
    error.into()
}

/// Parses a content id.
pub fn content(text: &str) -> Result<ContentId, JsValue> {
    ContentId::new(text).map_err(|error| failure("invalid_content_id", &error.to_string()))
}

/// Parses a profile id.
pub fn profile(text: &str) -> Result<ProfileId, JsValue> {
    ProfileId::new(text).map_err(|error| failure("invalid_profile", &error.to_string()))
}

/// Both clocks; anything that is no time counts as zero.
pub fn now(unix_ms: f64, steady_ms: f64) -> Now {
    Now { unix: UnixMillis(unix_ms as u64), steady_ms: steady_ms as u64 }
}

/// Kind and value of each output, in turn: a flat array is the cheapest thing to read.
pub fn outputs(outputs: Vec<Output>) -> Array {
    let list = Array::new();
    for output in outputs {
        let (kind, value) = match output {
            Output::Append(record) => (0, Uint8Array::from(&record[..]).into()),
            Output::Replace(image) => (1, Uint8Array::from(&image[..]).into()),
            Output::Send(frame) => (2, Uint8Array::from(&frame[..]).into()),
            Output::Connect => (3, JsValue::NULL),
            Output::Disconnect => (4, JsValue::NULL),
            Output::Changed(parts) => (5, changed(&parts).into()),
            Output::Status(status) => (6, status.name().into()),
            Output::Wake(delay_ms) => (7, JsValue::from_f64(delay_ms as f64)),
            Output::Rejected(count) => (8, JsValue::from_f64(count as f64)),
        };
        list.push(&JsValue::from_f64(f64::from(kind)));
        list.push(&value);
    }
    list
}

fn changed(parts: &Changed) -> Array {
    let list = Array::new();
    for part in parts {
        let text = match part {
            Part::Profiles => "profiles".to_owned(),
            Part::Watchlist(profile) => format!("watchlist:{profile}"),
            Part::Progress(profile) => format!("progress:{profile}"),
            Part::Devices => "devices".to_owned(),
        };
        list.push(&JsString::from(text));
    }
    list
}

/// Appends position, duration, state, percent, resume position and time.
pub fn push_progress(list: &Array, item: &ProgressItem) {
    let progress = item.progress;
    for number in [
        f64::from(progress.position_s),
        f64::from(progress.duration_s),
        f64::from(progress.state as u8),
        f64::from(progress.completion_percent()),
        f64::from(progress.resume_s()),
        item.updated.0 as f64,
    ] {
        list.push(&JsValue::from_f64(number));
    }
}

/// Stamp, kind, profile, title or name, and reason of each, in turn.
pub fn rejected(rejected: &[Rejected]) -> Array {
    let list = Array::new();
    for Rejected { operation, reason } in rejected {
        let (kind, subject) = match &operation.change {
            Change::Add(content, _) => ("watchlist_add", content.as_str()),
            Change::Remove(content, _) => ("watchlist_remove", content.as_str()),
            Change::Progress(content, Some(_)) => ("progress_set", content.as_str()),
            Change::Progress(content, None) => ("progress_remove", content.as_str()),
            Change::NameProfile(name) => ("profile_name", name.as_str()),
            Change::DeleteProfile => ("profile_delete", ""),
            Change::Device(device, Some(_)) => ("device_describe", device.as_str()),
            Change::Device(device, None) => ("device_remove", device.as_str()),
        };
        let profile = operation.profile.to_string();
        let stamp = operation.timestamp.0.to_string();
        for text in [&stamp, kind, &profile, subject, reason.code()] {
            list.push(&JsString::from(text));
        }
    }
    list
}
