//! Which devices of a household are connected, and when each was heard of last. Who is connected is in
//! memory only: after a crash nobody seems to be online who is not. When a device was heard of is
//! stored too, when it comes or goes and every [`SEEN_EVERY`], without waiting for the disk. Of a device
//! that is new to the household it is stored before it gets any answer, so that whoever had one can be
//! forgotten.

use omega_sync_core::clock::UnixMillis;
use omega_sync_core::command::{self as core, PRESENT_DEVICES_MAX};
use omega_sync_core::id::DeviceId;
use omega_sync_core::message::ServerFrame;
use omega_sync_core::session::server::ConnectionId;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::{Duration, Instant};

/// Devices of one household that are remembered as seen; the one not seen for longest goes first.
pub const SEEN_MAX: usize = 256;
/// How old what is stored of a connected device may get.
pub const SEEN_EVERY: Duration = Duration::from_secs(5 * 60);

/// The devices of one household.
#[derive(Debug, Default)]
pub(crate) struct Presence {
    live: HashMap<ConnectionId, DeviceId>,
    seen: BTreeMap<DeviceId, UnixMillis>,
    /// Devices that came or went.
    changed: BTreeSet<DeviceId>,
    /// Whether one that was known is not any more.
    fewer: bool,
    /// Whether one was heard of that the store has never heard of.
    new: bool,
    /// Devices that the household forgot, and the store has not yet.
    forgotten: Vec<DeviceId>,
    /// Up to when it was stored, and when that was.
    stored: (UnixMillis, Option<Instant>),
}

/// What a store does not know yet.
#[derive(Debug)]
pub(crate) struct Unstored {
    /// When devices were heard of.
    pub(crate) seen: Vec<(DeviceId, UnixMillis)>,
    /// Devices that are forgotten.
    pub(crate) forgotten: Vec<DeviceId>,
}

impl Presence {
    /// Nobody is connected; when they were heard of last is known.
    pub(crate) fn load(seen: Vec<(DeviceId, UnixMillis)>) -> Self {
        let stored = seen.iter().map(|(_, at)| *at).max().unwrap_or_default();
        Self { seen: seen.into_iter().collect(), stored: (stored, None), ..Self::default() }
    }

    /// What is to be stored, if it is time: who was heard of since, and who is forgotten.
    pub(crate) fn unstored(&mut self, at_once: bool, now: UnixMillis) -> Option<Unstored> {
        let (through, when) = self.stored;
        let at_once = at_once || std::mem::take(&mut self.new);
        let due = when.is_none_or(|when| when.elapsed() >= SEEN_EVERY);
        if !at_once && !due {
            return None;
        }
        let newer = self.seen.iter().filter(|(_, at)| **at >= through);
        let seen: Vec<_> = newer.map(|(device, at)| (device.clone(), *at)).collect();
        self.stored = (now, Some(Instant::now()));
        let forgotten = std::mem::take(&mut self.forgotten);
        (!seen.is_empty() || !forgotten.is_empty()).then_some(Unstored { seen, forgotten })
    }

    /// The household forgets a device; its connections end by themselves.
    pub(crate) fn forget(&mut self, device: &DeviceId) {
        self.seen.remove(device);
        self.changed.insert(device.clone());
        self.fewer = true;
        self.forgotten.push(device.clone());
    }

    /// A device has a connection.
    pub(crate) fn join(&mut self, connection: ConnectionId, device: DeviceId, now: UnixMillis) {
        self.see(&device, now);
        if !self.is_online(&device) {
            self.changed.insert(device.clone());
        }
        self.live.insert(connection, device);
    }

    /// A connection said something.
    pub(crate) fn hear(&mut self, connection: ConnectionId, now: UnixMillis) {
        if let Some(device) = self.live.get(&connection)
            && let Some(seen) = self.seen.get_mut(device)
        {
            *seen = now;
        }
    }

    /// A connection is gone.
    pub(crate) fn leave(&mut self, connection: ConnectionId, now: UnixMillis) {
        self.hear(connection, now);
        if let Some(device) = self.live.remove(&connection)
            && !self.is_online(&device)
        {
            self.changed.insert(device);
        }
    }

    /// The devices that came or went since this was asked last, and whether one of them was forgotten.
    pub(crate) fn take_changes(&mut self) -> (BTreeSet<DeviceId>, bool) {
        (std::mem::take(&mut self.changed), std::mem::take(&mut self.fewer))
    }

    /// Whether a device was heard of that the store has never heard of.
    pub(crate) fn has_new(&self) -> bool {
        self.new
    }

    /// A device was heard of.
    pub(crate) fn see(&mut self, device: &DeviceId, now: UnixMillis) {
        if self.seen.len() >= SEEN_MAX && !self.seen.contains_key(device) {
            let offline = self.seen.iter().filter(|(device, _)| !self.is_online(device));
            let oldest = offline.min_by_key(|(_, seen)| **seen).map(|(device, _)| device.clone());
            if let Some(oldest) = oldest {
                self.seen.remove(&oldest);
            }
        }
        self.new |= self.seen.insert(device.clone(), now).is_none();
    }

    /// Whether a device has a connection.
    pub(crate) fn is_online(&self, device: &DeviceId) -> bool {
        self.live.values().any(|live| live == device)
    }

    /// Whose connection it is.
    pub(crate) fn device(&self, connection: ConnectionId) -> Option<&DeviceId> {
        self.live.get(&connection)
    }

    /// When a device was heard of last.
    pub(crate) fn last_seen(&self, device: &DeviceId) -> Option<UnixMillis> {
        self.seen.get(device).copied()
    }

    /// What a device is told of some of them, of those that are known.
    pub(crate) fn frame(&self, all: bool, of: &BTreeSet<DeviceId>, now: UnixMillis) -> Vec<u8> {
        let told = of.iter().filter_map(|device| {
            let gone_s = now.0.saturating_sub(self.last_seen(device)?.0) / 1_000;
            Some((device.clone(), (!self.is_online(device)).then_some(gone_s)))
        });
        let devices = told.take(PRESENT_DEVICES_MAX).collect();
        ServerFrame::presence(&core::Presence { all, devices })
    }

    /// The devices that were heard of.
    pub(crate) fn devices(&self) -> impl Iterator<Item = &DeviceId> {
        self.seen.keys()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn device(name: &str) -> DeviceId {
        DeviceId::new(name).unwrap()
    }

    #[test]
    fn a_device_is_online_while_it_has_a_connection() {
        let mut presence = Presence::default();
        let tv = device("tv");
        presence.join(ConnectionId(1), tv.clone(), UnixMillis(1));
        presence.join(ConnectionId(2), tv.clone(), UnixMillis(2));
        presence.leave(ConnectionId(1), UnixMillis(3));
        assert!(presence.is_online(&tv), "by its other connection");
        presence.hear(ConnectionId(1), UnixMillis(4));
        assert_eq!(presence.last_seen(&tv), Some(UnixMillis(3)));
        presence.leave(ConnectionId(2), UnixMillis(5));
        assert!(!presence.is_online(&tv));
        assert_eq!(presence.last_seen(&tv), Some(UnixMillis(5)));
    }

    #[test]
    fn the_devices_seen_are_bounded() {
        let mut presence = Presence::default();
        presence.join(ConnectionId(1), device("online"), UnixMillis(0));
        for number in 0..2 * SEEN_MAX as u64 {
            presence.see(&device(&number.to_string()), UnixMillis(1 + number));
        }
        assert_eq!(presence.devices().count(), SEEN_MAX);
        assert!(presence.last_seen(&device("online")).is_some(), "who is here stays");
        assert!(presence.last_seen(&device("0")).is_none());
    }
}
