//! The commands of one room: the core's relay, who waits for an outcome outside of a session, and who
//! wants to know which devices are here.

use crate::error::Error;
use crate::json::command::to_json;
use crate::presence::Presence;
use omega_sync_core::clock::UnixMillis;
use omega_sync_core::command::{Command, CommandId, CommandStatus, Outcome, Request};
use omega_sync_core::household::Household;
use omega_sync_core::id::DeviceId;
use omega_sync_core::message::ClientFrame;
use omega_sync_core::session::server::ConnectionId;
use omega_sync_core::session::server::relay::{Parcel, Relay, RelayOutput};
use serde_json::json;
use std::collections::{BTreeSet, HashMap};
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::time::Instant;

/// A command that a request put on its way.
pub(crate) struct Sent {
    id: CommandId,
    outcome: oneshot::Receiver<Outcome>,
}

impl Sent {
    /// Its name, as text.
    pub(crate) fn id(&self) -> String {
        name(self.id)
    }

    /// What becomes of it, at the end of its life at the latest.
    pub(crate) async fn outcome(self) -> Outcome {
        // A room that ends takes what is on its way with it.
        self.outcome.await.unwrap_or(CommandStatus::Expired.into())
    }
}

fn name(id: CommandId) -> String {
    format!("{:016x}", id.0)
}

/// What says which devices there are.
#[derive(Clone, Copy)]
pub(crate) struct Known<'a> {
    pub(crate) household: &'a Household,
    pub(crate) presence: &'a Presence,
}

impl Known<'_> {
    fn was_here(self, device: &DeviceId) -> bool {
        self.presence.last_seen(device).is_some()
    }
}

/// What the room's commands need.
pub(crate) struct Dispatch {
    relay: Relay,
    callers: HashMap<(DeviceId, CommandId), oneshot::Sender<Outcome>>,
    watchers: BTreeSet<ConnectionId>,
    started: Instant,
    life: Duration,
}

impl Dispatch {
    /// Of a room that begins; its commands live so long at most.
    pub(crate) fn new(life: Duration) -> Self {
        Self {
            relay: Relay::new(0, millis(life)),
            callers: HashMap::new(),
            watchers: BTreeSet::new(),
            started: Instant::now(),
            life,
        }
    }

    fn now_ms(&self) -> u64 {
        millis(self.started.elapsed())
    }

    /// A device has a session.
    pub(crate) fn join(&mut self, connection: ConnectionId, device: DeviceId, may_control: bool) {
        self.relay.join(self.now_ms(), connection, device, may_control);
    }

    /// A session is gone.
    pub(crate) fn leave(&mut self, connection: ConnectionId) {
        self.relay.leave(connection);
        self.watchers.remove(&connection);
    }

    /// Takes a frame that is about commands; `None`: it is not.
    pub(crate) fn frame(
        &mut self,
        connection: ConnectionId,
        bytes: &[u8],
        known: Known,
        outputs: &mut Vec<RelayOutput>,
    ) -> Option<Watch> {
        let now_ms = self.now_ms();
        let (household, was_here) = (known.household, |device: &DeviceId| known.was_here(device));
        match ClientFrame::decode(bytes) {
            Ok(ClientFrame::Command(asked)) => {
                outputs.extend(self.relay.asked(now_ms, connection, asked, household, &was_here));
                Some(Watch::No)
            }
            Ok(ClientFrame::Reply(id, reply)) => {
                outputs.extend(self.relay.replied(now_ms, connection, id, reply));
                Some(Watch::No)
            }
            Ok(ClientFrame::Watch) => {
                self.watchers.insert(connection);
                Some(Watch::Yes)
            }
            // The household's, or nothing that can be read: the room says so.
            _ => None,
        }
    }

    /// Puts a request of somebody without a session on its way.
    pub(crate) fn send(
        &mut self,
        from: &DeviceId,
        target: &DeviceId,
        request: Request,
        known: Known,
        outputs: &mut Vec<RelayOutput>,
    ) -> Result<Sent, Error> {
        let id = CommandId(getrandom::u64().map_err(|_| Error::Internal)?);
        let (tell, outcome) = oneshot::channel();
        self.callers.insert((from.clone(), id), tell);
        let (from, target, left_ms) = (from.clone(), target.clone(), millis(self.life));
        let parcel = Parcel { from, sender: None, id, again: false, target, left_ms, request };
        let was_here = |device: &DeviceId| known.was_here(device);
        outputs.extend(self.relay.pass(self.now_ms(), parcel, known.household, &was_here));
        Ok(Sent { id, outcome })
    }

    /// A command was written to a session that speaks JSON.
    pub(crate) fn written(&mut self, from: DeviceId, id: CommandId) -> Vec<RelayOutput> {
        self.relay.written(self.now_ms(), from, id)
    }

    /// What has lived long enough.
    pub(crate) fn due(&mut self) -> Vec<RelayOutput> {
        self.relay.due(self.now_ms())
    }

    /// When something is due, if nothing happens before.
    pub(crate) fn next_due(&self) -> Option<Instant> {
        let due_ms = self.relay.next_due_ms()?;
        Some(self.started + Duration::from_millis(due_ms))
    }

    /// Tells who waits outside of a session.
    pub(crate) fn tell(&mut self, from: DeviceId, id: CommandId, outcome: Outcome) {
        if let Some(caller) = self.callers.remove(&(from, id)) {
            // Who asked may have gone.
            let _ = caller.send(outcome);
        }
    }

    /// The sessions that want to know which devices are here.
    pub(crate) fn watchers(&self) -> &BTreeSet<ConnectionId> {
        &self.watchers
    }
}

/// Whether a frame asked to be told who is here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Watch {
    No,
    Yes,
}

/// A command as a message for a session that speaks JSON.
pub(crate) fn message(
    id: CommandId,
    from: &DeviceId,
    command: &Command,
    left_ms: u64,
    now: UnixMillis,
) -> String {
    let message = json!({
        "type": "device_command",
        "command_id": name(id),
        "from": from.as_str(),
        "command": to_json(command),
        "expires": now.0.saturating_add(left_ms),
    });
    message.to_string()
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
