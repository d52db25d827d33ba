//! Who is connected, and the commands between them: the core's relay, and presence as
//! `edge-server/src/presence.rs` tells it.

use omega_sync_core::clock::UnixMillis;
use omega_sync_core::command::{COMMAND_LIFE_MS, Presence};
use omega_sync_core::household::Household;
use omega_sync_core::id::DeviceId;
use omega_sync_core::message::{ClientFrame, ServerFrame};
use omega_sync_core::session::server::relay::{Relay, RelayOutput};
use omega_sync_core::session::server::{ConnectionId, RoomOutput};
use std::collections::{BTreeMap, BTreeSet};

/// The devices of one household.
pub(crate) struct Devices {
    relay: Relay,
    here: BTreeMap<ConnectionId, DeviceId>,
    seen: BTreeMap<DeviceId, UnixMillis>,
    watchers: BTreeSet<ConnectionId>,
}

impl Devices {
    pub(crate) fn new() -> Self {
        let relay = Relay::new(0, COMMAND_LIFE_MS);
        let (here, seen, watchers) = (BTreeMap::new(), BTreeMap::new(), BTreeSet::new());
        Self { relay, here, seen, watchers }
    }

    /// A device has a connection.
    pub(crate) fn join(
        &mut self,
        now: UnixMillis,
        connection: ConnectionId,
        device: DeviceId,
    ) -> Vec<RoomOutput> {
        self.relay.join(now.0, connection, device.clone(), true);
        self.seen.insert(device.clone(), now);
        let was_here = self.is_here(&device);
        self.here.insert(connection, device.clone());
        if was_here { Vec::new() } else { self.tell(now, &device) }
    }

    /// A connection is gone.
    pub(crate) fn leave(&mut self, now: UnixMillis, connection: ConnectionId) -> Vec<RoomOutput> {
        self.relay.leave(connection);
        self.watchers.remove(&connection);
        let Some(device) = self.here.remove(&connection) else { return Vec::new() };
        self.seen.insert(device.clone(), now);
        if self.is_here(&device) { Vec::new() } else { self.tell(now, &device) }
    }

    /// Takes a frame that is about devices; `None`: it is the household's.
    pub(crate) fn frame(
        &mut self,
        now: UnixMillis,
        connection: ConnectionId,
        bytes: &[u8],
        household: &Household,
    ) -> Option<Vec<RoomOutput>> {
        if !self.here.contains_key(&connection) {
            return None;
        }
        let was_here = |device: &DeviceId| self.seen.contains_key(device);
        let orders = match ClientFrame::decode(bytes) {
            Ok(ClientFrame::Command(asked)) => {
                self.relay.asked(now.0, connection, asked, household, &was_here)
            }
            Ok(ClientFrame::Reply(id, reply)) => self.relay.replied(now.0, connection, id, reply),
            Ok(ClientFrame::Watch) => {
                self.watchers.insert(connection);
                let frame = self.presence(now, true, self.seen.keys());
                return Some(vec![RoomOutput::Send(connection, frame)]);
            }
            _ => return None,
        };
        Some(orders.into_iter().filter_map(carried_out).collect())
    }

    /// What has lived long enough.
    pub(crate) fn due(&mut self, now: UnixMillis) -> Vec<RoomOutput> {
        self.relay.due(now.0).into_iter().filter_map(carried_out).collect()
    }

    fn is_here(&self, device: &DeviceId) -> bool {
        self.here.values().any(|other| other == device)
    }

    /// Tells who wants to know that a device came or went.
    fn tell(&self, now: UnixMillis, device: &DeviceId) -> Vec<RoomOutput> {
        let frame = self.presence(now, false, std::iter::once(device));
        let watchers = self.watchers.iter();
        watchers.map(|watcher| RoomOutput::Send(*watcher, frame.clone())).collect()
    }

    fn presence<'a>(
        &self,
        now: UnixMillis,
        all: bool,
        of: impl Iterator<Item = &'a DeviceId>,
    ) -> Vec<u8> {
        let gone_s = |device| {
            let seen = self.seen.get(device).copied().unwrap_or(now);
            (!self.is_here(device)).then_some(now.0.saturating_sub(seen.0) / 1_000)
        };
        let devices = of.map(|device| (device.clone(), gone_s(device))).collect();
        ServerFrame::presence(&Presence { all, devices })
    }
}

/// What becomes of a command of a session that is gone nobody is told.
fn carried_out(output: RelayOutput) -> Option<RoomOutput> {
    match output {
        RelayOutput::Order { to, order, .. } => {
            Some(RoomOutput::Send(to, ServerFrame::order(&order)))
        }
        RelayOutput::Outcome { sender, id, outcome, .. } => {
            Some(RoomOutput::Send(sender?, ServerFrame::status(id, outcome)))
        }
    }
}
