//! What the class of the wasm package answers about a replica: flat lists, as JavaScript gets them.

use omega_sync_core::operation::Change;
use omega_sync_core::replica::view::ProgressItem;
use omega_sync_core::replica::{Rejected, Replica};
use serde_json::{Map, Value, json};

fn progress(item: &ProgressItem) -> Vec<Value> {
    let value = item.progress;
    vec![
        item.content.as_str().into(),
        value.position_s.into(),
        value.duration_s.into(),
        (value.state as u8).into(),
        value.completion_percent().into(),
        value.resume_s().into(),
        item.updated.0.into(),
    ]
}

fn rejected(one: &Rejected) -> Vec<Value> {
    let operation = &one.operation;
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
    let texts = [&stamp, kind, &profile, subject, one.reason.code()];
    texts.into_iter().map(Value::from).collect()
}

pub fn shown(replica: &Replica) -> Value {
    let (mut profiles, mut watchlists, mut all) = (Vec::new(), Map::new(), Map::new());
    for (id, name) in replica.profiles() {
        profiles.extend([Value::from(id.to_string()), Value::from(name)]);
        let watchlist = replica.watchlist(id).into_iter();
        let flat = watchlist.flat_map(|item| [json!(item.content.as_str()), json!(item.added.0)]);
        watchlists.insert(id.to_string(), flat.collect());
        let flat = replica.all_progress(id).iter().flat_map(progress).collect();
        all.insert(id.to_string(), flat);
    }
    json!({
        "profiles": profiles, "watchlist": watchlists, "progressAll": all,
        "pending": replica.outbox().len(), "offsetMs": replica.offset_ms(),
        "household": replica.household().map_or("", |household| household.as_str()),
        "rejected": replica.rejected().iter().flat_map(rejected).collect::<Value>(),
    })
}
