//! What must hold once everything works again, told without the core's merge code.

use crate::world::World;
use omega_sync_core::causal::Dot;
use omega_sync_core::codec::Writer;
use omega_sync_core::household::{Change, Household, Intent, PlayState, Progress};
use omega_sync_core::id::{ContentId, ProfileId};
use std::collections::{BTreeMap, BTreeSet};

/// Runs a household through `steps` steps of trouble, heals it and checks everything.
///
/// # Panics
/// When a check fails.
pub fn live_through(world: &mut World, steps: usize) {
    for _ in 0..steps {
        world.step();
    }
    world.settle();
    converged(world);
    nothing_lost(world);
    as_the_history_says(world);
    last_viewer_wins(world);
}

fn bytes(household: &Household) -> Vec<u8> {
    let mut writer = Writer::new();
    household.encode(&mut writer);
    writer.finish()
}

/// Every device holds exactly what the server holds, and so does a reload of its disk.
fn converged(world: &World) {
    let room = world.server.room.as_ref().expect("devices are connected");
    let expected = bytes(room.household());
    for (index, device) in world.devices.iter().enumerate() {
        let client = device.client.as_ref().expect("switched on");
        assert_eq!(bytes(client.replica().confirmed()), expected, "tv {index} has converged");
        let household = client.replica().household().cloned();
        let loaded =
            omega_sync_core::session::client::Client::load(&device.disk, household, [1; 16]);
        let loaded = loaded.expect("the disk can be read").client;
        assert_eq!(loaded.replica().confirmed(), client.replica().confirmed());
        assert_eq!(loaded.replica().outbox(), client.replica().outbox());
    }
    let stored = world.server.store.room(room.id());
    assert_eq!(bytes(stored.household()), expected, "the store holds what the room holds");
}

/// What reached a disk reaches the server once, unless it was superseded before it left or refused; and
/// nothing that did not reach a disk ever leaves.
fn nothing_lost(world: &World) {
    let mut taken: BTreeMap<u32, usize> = BTreeMap::new();
    for value in world.taken() {
        *taken.entry(value).or_default() += 1;
    }
    let refused = world.refused();
    for (number, action) in world.actions.iter().enumerate() {
        let Intent::Progress(profile, content, value @ Some(_)) = &action.intent else {
            continue;
        };
        let count = taken.get(&(number as u32)).copied().unwrap_or(0);
        assert!(count <= 1, "action {number} was taken {count} times");
        assert!(count == 0 || action.durable, "action {number} left before it was on disk");
        let superseded = || {
            world.actions[number + 1..].iter().any(|later| {
                later.device == action.device
                    && later.durable
                    && matches!(&later.intent, Intent::Progress(p, c, _)
                        if p == profile && c == content)
            })
        };
        let told = refused.contains(&(*profile, Change::Progress(content.clone(), *value)));
        let accounted = count == 1 || told || superseded();
        assert!(accounted || !action.durable, "action {number} was lost");
    }
    let room = world.server.room.as_ref().expect("devices are connected");
    let listed = |profile: ProfileId, content: &ContentId| {
        let shelf = room.household().profile(profile);
        shelf.is_some_and(|p| !p.watchlist().dots(content).is_empty())
    };
    for action in world.actions.iter().filter(|action| action.durable) {
        let Intent::Add(profile, content) = &action.intent else {
            continue;
        };
        let told = refused
            .iter()
            .any(|(p, change)| p == profile && matches!(change, Change::Add(c, _) if c == content));
        if !content.as_str().starts_with("unique:") || room.household().is_deleted(*profile) || told
        {
            continue;
        }
        let mut removes = world.actions.iter().filter(
            |other| matches!(&other.intent, Intent::Remove(p, c) if p == profile && c == content),
        );
        match (removes.clone().count(), removes.any(|remove| remove.durable)) {
            (0, _) => assert!(listed(*profile, content), "{content} was lost"),
            (_, true) => assert!(!listed(*profile, content), "{content} came back"),
            (_, false) => {}
        }
    }
}

/// The server's state is what a naive reading of its history gives.
fn as_the_history_says(world: &World) {
    type Key = (ProfileId, ContentId);
    let mut adds: BTreeSet<(Key, Dot)> = BTreeSet::new();
    let mut progress: BTreeMap<Key, (Dot, Option<Progress>)> = BTreeMap::new();
    let mut deleted = BTreeSet::new();
    for delta in &world.server.store.history {
        for operation in &delta.operations {
            let dot = Dot { timestamp: operation.timestamp, replica: delta.replica };
            let key = |content: &ContentId| (operation.profile, content.clone());
            match &operation.change {
                Change::Add(content, observed) => {
                    adds.retain(|(k, dot)| *k != key(content) || !observed.contains(dot));
                    adds.insert((key(content), dot));
                }
                Change::Remove(content, observed) => {
                    adds.retain(|(k, dot)| *k != key(content) || !observed.contains(dot));
                }
                Change::Progress(content, value) => {
                    let entry = progress.entry(key(content)).or_insert((dot, *value));
                    let newer = (dot.timestamp, dot.replica) > (entry.0.timestamp, entry.0.replica);
                    if newer {
                        *entry = (dot, *value);
                    }
                }
                Change::DeleteProfile => drop(deleted.insert(operation.profile)),
                Change::NameProfile(_) | Change::Device(..) => {}
            }
        }
    }
    adds.retain(|((profile, _), _)| !deleted.contains(profile));
    progress.retain(|(profile, _), _| !deleted.contains(profile));
    let household = world.server.room.as_ref().expect("devices are connected").household();
    let mut shown_adds = BTreeSet::new();
    let mut shown_progress = BTreeMap::new();
    for (id, profile) in household.profiles() {
        for (content, dots) in profile.watchlist().iter() {
            shown_adds.extend(dots.iter().map(|dot| ((id, content.clone()), *dot)));
        }
        for (content, register) in profile.progress().iter() {
            shown_progress.insert((id, content.clone()), (register.dot, register.value));
        }
    }
    assert_eq!(shown_adds, adds);
    assert_eq!(shown_progress, progress);
}

/// However wrong a clock was: who has seen everything and then plays, is not overruled by the past, and
/// no device wins forever.
fn last_viewer_wins(world: &mut World) {
    let content = ContentId::new("shared:0").expect("short text");
    for index in 0..world.devices.len() {
        let position_s = 1_000_000 + index as u32;
        let progress = Progress { position_s, duration_s: 7_200, state: PlayState::Playing };
        let intent = Intent::Progress(ProfileId::DEFAULT, content.clone(), Some(progress));
        world.operate(index, intent);
        world.run_until_quiet();
        for (other, device) in world.devices.iter().enumerate() {
            let client = device.client.as_ref().expect("switched on");
            let shown = client.replica().progress(ProfileId::DEFAULT, &content);
            let shown = shown.map(|item| item.progress);
            assert_eq!(shown, Some(progress), "tv {other} shows what tv {index} plays");
        }
    }
}
