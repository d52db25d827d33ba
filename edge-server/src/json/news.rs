//! What connections that speak JSON are told of a change: the present value of each thing it touched.
//!
//! Made from the operations of a commit, so everything that becomes durable is told, whoever did it.
//! When that can't say all that changed, the message is [`RESET`]: read the lists anew.

use crate::json::value::State;
use omega_sync_core::clock::Timestamp;
use omega_sync_core::household::Household;
use omega_sync_core::id::{ContentId, ProfileId};
use omega_sync_core::operation::{Change, Operation};
use omega_sync_core::session::server::Commit;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// All lists may have changed.
const RESET: &str = r#"{"type":"reset"}"#;
/// Touched things that are told one by one; beyond it all lists are to be read anew.
pub const NEWS_MAX: usize = 100;

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Touched {
    Watchlist(ProfileId, ContentId),
    Progress(ProfileId, ContentId),
    Profile(ProfileId),
    Devices,
}

/// The messages, as texts. `operations` are those of the commit, `household` has it in it.
pub(crate) fn news(
    commit: &Commit,
    operations: Option<&[Operation]>,
    household: &Household,
) -> Vec<String> {
    let Some(operations) = operations else { return vec![RESET.into()] };
    let mut touched: BTreeMap<Touched, Timestamp> = BTreeMap::new();
    for operation in operations {
        match touch(operation) {
            Some(key) => touched.insert(key, operation.timestamp),
            None => return vec![RESET.into()],
        };
    }
    // An offer has a snapshot in place of entries.
    let offered = commit.entries.is_empty() && commit.snapshot.is_some();
    if offered || touched.len() > NEWS_MAX {
        return vec![RESET.into()];
    }
    let mut messages: Vec<(Timestamp, Value)> =
        touched.into_iter().map(|(key, stamp)| message(household, key, stamp)).collect();
    messages.sort_by_key(|(stamp, _)| *stamp);
    messages.into_iter().map(|(_, message)| message.to_string()).collect()
}

/// What an operation touches; `None` for a deleted profile, with which all its lists go.
fn touch(operation: &Operation) -> Option<Touched> {
    let profile = operation.profile;
    match &operation.change {
        Change::Add(content, _) | Change::Remove(content, _) => {
            Some(Touched::Watchlist(profile, content.clone()))
        }
        Change::Progress(content, _) => Some(Touched::Progress(profile, content.clone())),
        Change::NameProfile(_) => Some(Touched::Profile(profile)),
        Change::DeleteProfile => None,
        Change::Device(..) => Some(Touched::Devices),
    }
}

fn message(household: &Household, key: Touched, stamp: Timestamp) -> (Timestamp, Value) {
    let shelf = |profile| household.profile(profile);
    let (stamp, mut message) = match &key {
        Touched::Watchlist(profile, content) => {
            let live = shelf(*profile).map_or(&[][..], |shelf| shelf.watchlist().dots(content));
            let added = live.iter().map(|dot| dot.timestamp).max();
            let operation = if added.is_some() { "add" } else { "remove" };
            let message = json!({"type": "watchlist_update", "operation": operation});
            (added.unwrap_or(stamp), message)
        }
        Touched::Progress(profile, content) => {
            let register = shelf(*profile).and_then(|shelf| shelf.progress().get(content));
            let mut message = json!({"type": "progress_update"});
            match register.and_then(|register| register.value) {
                Some(progress) => {
                    message["position_seconds"] = progress.position_s.into();
                    message["duration_seconds"] = progress.duration_s.into();
                    message["state"] = json!(State::from(progress.state));
                    message["completion_percent"] = progress.completion_percent().into();
                }
                None => message["removed"] = true.into(),
            }
            (register.map_or(stamp, |register| register.dot.timestamp), message)
        }
        Touched::Profile(profile) => {
            let name = shelf(*profile).map_or("", |shelf| shelf.name());
            (stamp, json!({"type": "profile_update", "name": name}))
        }
        Touched::Devices => (stamp, json!({"type": "devices_update"})),
    };
    match &key {
        Touched::Watchlist(profile, content) | Touched::Progress(profile, content) => {
            message["content_id"] = content.as_str().into();
            message["profile"] = profile.to_string().into();
        }
        Touched::Profile(profile) => message["profile"] = profile.to_string().into(),
        Touched::Devices => {}
    }
    message["timestamp"] = stamp.millis().0.into();
    message["hlc"] = stamp.0.to_string().into();
    (stamp, message)
}
