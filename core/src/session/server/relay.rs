//! Passes commands between the sessions of one household that are on this node.
//!
//! It stands beside the room, with the same connections, and keeps nothing but what is on its way.
//! Invariants: a command is handed to one session at most, whoever sends it again and however often;
//! it is handed over only while it lives, by the server's steady clock; each sender gets one outcome,
//! at the end of the command's life at the latest.
//!
//! A [`Parcel`] says all there is to say of a request. A second node would get it over the bus when
//! the target has no session here, and call [`Relay::pass`] with it as this one does.

use super::ConnectionId;
use crate::command::{
    Asked, COMMAND_DOUBT_MS, COMMAND_LIFE_MS_MAX, Command, CommandId, CommandStatus, Handoff,
    Order, Outcome, Reply, Request,
};
use crate::household::Household;
use crate::id::DeviceId;
use crate::operation::Progress;
use std::collections::BTreeMap;

/// Commands of one household that are remembered: those on their way, and those that might come again.
pub const COMMANDS_TRACKED_MAX: usize = 256;

/// A request and where it comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parcel {
    /// Whose it is.
    pub from: DeviceId,
    /// The session that wants to know the outcome; `None`: somebody else does.
    pub sender: Option<ConnectionId>,
    /// Its name; of a device's own choice, so it counts with the device only.
    pub id: CommandId,
    /// Whether it may have come before.
    pub again: bool,
    /// For which device.
    pub target: DeviceId,
    /// What is left of its life, in milliseconds.
    pub left_ms: u64,
    /// What is asked.
    pub request: Request,
}

/// What a relay wants done, in this order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RelayOutput {
    /// Hand a command to a session, within so many milliseconds or not at all.
    Order {
        /// The session that gets it.
        to: ConnectionId,
        /// What leaves; to be written by [`crate::message::ServerFrame::order`], or as JSON.
        order: Order,
        /// The rest of its life, in milliseconds.
        left_ms: u64,
    },
    /// Tell a sender.
    Outcome {
        /// Whose command it was.
        from: DeviceId,
        /// The session that asked; `None`: somebody else did.
        sender: Option<ConnectionId>,
        /// The command's name.
        id: CommandId,
        /// What became of it.
        outcome: Outcome,
    },
}

#[derive(Debug)]
struct Seat {
    device: DeviceId,
    may_control: bool,
    /// When its hello came, in steady milliseconds.
    since_ms: u64,
}

#[derive(Debug)]
struct Tracked {
    sender: Option<ConnectionId>,
    target: DeviceId,
    to: ConnectionId,
    ends_ms: u64,
    outcome: Option<Outcome>,
    /// Of a handoff: where the title goes on.
    position_s: Option<u32>,
}

/// The commands of one household. All times are milliseconds of one steady clock of the server.
#[derive(Debug)]
pub struct Relay {
    started_ms: u64,
    life_ms: u64,
    seats: BTreeMap<ConnectionId, Seat>,
    tracked: BTreeMap<(DeviceId, CommandId), Tracked>,
}

impl Relay {
    /// No sessions yet; commands live so long at most.
    pub fn new(now_ms: u64, life_ms: u64) -> Self {
        let life_ms = life_ms.min(COMMAND_LIFE_MS_MAX);
        let (seats, tracked) = (BTreeMap::new(), BTreeMap::new());
        Self { started_ms: now_ms, life_ms, seats, tracked }
    }

    /// A device has a session.
    pub fn join(
        &mut self,
        now_ms: u64,
        connection: ConnectionId,
        device: DeviceId,
        may_control: bool,
    ) {
        self.seats.insert(connection, Seat { device, may_control, since_ms: now_ms });
    }

    /// A session is gone.
    pub fn leave(&mut self, connection: ConnectionId) {
        self.seats.remove(&connection);
    }

    /// Takes what a session asks. `was_here` knows devices that did not describe themselves.
    pub fn asked(
        &mut self,
        now_ms: u64,
        connection: ConnectionId,
        asked: Asked,
        household: &Household,
        was_here: &dyn Fn(&DeviceId) -> bool,
    ) -> Vec<RelayOutput> {
        let Some(seat) = self.seats.get(&connection) else { return Vec::new() };
        let Asked { id, again, target, ends_ms, request } = asked;
        let open_ms = now_ms.saturating_sub(seat.since_ms);
        let left_ms = ends_ms.saturating_sub(open_ms);
        let (from, sender, may_control) = (seat.device.clone(), Some(connection), seat.may_control);
        let parcel = Parcel { from, sender, id, again, target, left_ms, request };
        if !may_control {
            return vec![outcome(&parcel, CommandStatus::Forbidden.into())];
        }
        self.pass(now_ms, parcel, household, was_here)
    }

    /// Passes a request on, or says why not.
    pub fn pass(
        &mut self,
        now_ms: u64,
        parcel: Parcel,
        household: &Household,
        was_here: &dyn Fn(&DeviceId) -> bool,
    ) -> Vec<RelayOutput> {
        let mut outputs = self.due(now_ms);
        let key = (parcel.from.clone(), parcel.id);
        if let Some(tracked) = self.tracked.get_mut(&key) {
            tracked.sender = parcel.sender;
            outputs.extend(tracked.outcome.map(|known| outcome(&parcel, known)));
            return outputs;
        }
        let left_ms = parcel.left_ms.min(self.life_ms);
        // Who started after it may have been passed on by a relay before this one.
        let forgot = parcel.again && now_ms < self.started_ms + self.life_ms + COMMAND_DOUBT_MS;
        let target = match self.target(&parcel, household, was_here) {
            _ if left_ms == 0 || forgot => Err(CommandStatus::Expired),
            Ok(_) if self.tracked.len() >= COMMANDS_TRACKED_MAX => Err(CommandStatus::RateLimited),
            other => other,
        };
        let to = match target {
            Ok(to) => to,
            Err(status) => {
                outputs.push(outcome(&parcel, status.into()));
                return outputs;
            }
        };
        let Parcel { from, sender, id, target, request, .. } = parcel;
        let (command, position_s) = command(request, household);
        outputs.extend(self.order(now_ms, to, id, from, command, left_ms));
        let ends_ms = now_ms + left_ms;
        self.tracked
            .insert(key, Tracked { sender, target, to, ends_ms, outcome: None, position_s });
        outputs
    }

    /// The newest session of a device that takes this.
    fn target(
        &self,
        parcel: &Parcel,
        household: &Household,
        was_here: &dyn Fn(&DeviceId) -> bool,
    ) -> Result<ConnectionId, CommandStatus> {
        let record = |id| household.devices().get(id).and_then(|register| register.value.as_ref());
        let known = |id| record(id).is_some() || was_here(id);
        if !known(&parcel.target) {
            return Err(CommandStatus::DeviceUnknown);
        }
        let to = self.newest(&parcel.target).ok_or(CommandStatus::Offline)?;
        let capabilities = record(&parcel.target).map(|record| record.capabilities);
        if !capabilities.is_some_and(|can| can.remote_controllable) {
            return Err(CommandStatus::NotSupported);
        }
        if let Request::Command(Command::CastTo(other)) = &parcel.request {
            if !capabilities.is_some_and(|can| can.can_cast) {
                return Err(CommandStatus::NotSupported);
            }
            if !known(other) {
                return Err(CommandStatus::DeviceUnknown);
            }
        }
        Ok(to)
    }

    fn newest(&self, device: &DeviceId) -> Option<ConnectionId> {
        let mut newest = self.seats.iter().rev();
        newest.find(|(_, seat)| seat.device == *device).map(|(id, _)| *id)
    }

    fn order(
        &self,
        now_ms: u64,
        to: ConnectionId,
        id: CommandId,
        from: DeviceId,
        command: Command,
        left_ms: u64,
    ) -> Option<RelayOutput> {
        let open_ms = now_ms.saturating_sub(self.seats.get(&to)?.since_ms);
        let order = Order { id, from, ends_ms: open_ms + left_ms, command };
        Some(RelayOutput::Order { to, order, left_ms })
    }

    /// A session answers an order that it got.
    pub fn replied(
        &mut self,
        now_ms: u64,
        connection: ConnectionId,
        id: CommandId,
        reply: Reply,
    ) -> Vec<RelayOutput> {
        let mut outputs = self.due(now_ms);
        let sent = self.tracked.iter().find(|(key, tracked)| {
            key.1 == id && tracked.to == connection && tracked.outcome.is_none()
        });
        let key = sent.map(|(key, _)| key.clone());
        outputs.extend(key.into_iter().flat_map(|key| {
            let status = match reply {
                Reply::Done => CommandStatus::Delivered,
                Reply::NotSupported => CommandStatus::NotSupported,
                Reply::Invalid => CommandStatus::Invalid,
            };
            self.settle(now_ms, &key, status)
        }));
        outputs
    }

    /// A command was written to a session that can't answer.
    pub fn written(&mut self, now_ms: u64, from: DeviceId, id: CommandId) -> Vec<RelayOutput> {
        self.settle(now_ms, &(from, id), CommandStatus::Delivered)
    }

    /// Settles what has lived long enough, and forgets what can't come again.
    pub fn due(&mut self, now_ms: u64) -> Vec<RelayOutput> {
        let ended = self
            .tracked
            .iter()
            .filter(|(_, tracked)| tracked.outcome.is_none() && tracked.ends_ms <= now_ms);
        let ended: Vec<_> = ended.map(|(key, _)| key.clone()).collect();
        let settle = |key| self.settle(now_ms, &key, CommandStatus::Expired);
        let outputs = ended.into_iter().flat_map(settle).collect();
        self.tracked.retain(|_, tracked| tracked.ends_ms + COMMAND_DOUBT_MS > now_ms);
        outputs
    }

    /// When [`Relay::due`] has something to tell, if nothing happens before.
    pub fn next_due_ms(&self) -> Option<u64> {
        let waiting = self.tracked.values().filter(|tracked| tracked.outcome.is_none());
        waiting.map(|tracked| tracked.ends_ms).min()
    }

    fn settle(
        &mut self,
        now_ms: u64,
        key: &(DeviceId, CommandId),
        status: CommandStatus,
    ) -> Vec<RelayOutput> {
        let unsettled = |tracked: &&mut Tracked| tracked.outcome.is_none();
        let Some(tracked) = self.tracked.get_mut(key).filter(unsettled) else { return Vec::new() };
        let handed_over = tracked.position_s.filter(|_| status == CommandStatus::Delivered);
        let outcome = Outcome { status, position_s: handed_over };
        tracked.outcome = Some(outcome);
        let (sender, target) = (tracked.sender, tracked.target.clone());
        let (from, id) = key.clone();
        let told = RelayOutput::Outcome { from: from.clone(), sender, id, outcome };
        let source = sender.or_else(|| self.newest(&from));
        let pause = source.filter(|_| handed_over.is_some() && target != from).and_then(|source| {
            // Nobody waits for what becomes of it.
            self.order(now_ms, source, CommandId(!id.0), target, Command::Pause, self.life_ms)
        });
        [Some(told), pause].into_iter().flatten().collect()
    }
}

/// The command that a request comes to, and of a handoff where the title goes on.
fn command(request: Request, household: &Household) -> (Command, Option<u32>) {
    match request {
        Request::Command(command) => (command, None),
        Request::Handoff(Handoff { profile, content, position_s }) => {
            let known = || {
                let shelf = household.profile(profile)?;
                let progress: Option<Progress> = shelf.progress().get(&content)?.value;
                Some(progress?.resume_s())
            };
            let position_s = position_s.or_else(known).unwrap_or(0);
            (Command::LoadContent(content, Some(position_s)), Some(position_s))
        }
    }
}

fn outcome(parcel: &Parcel, outcome: Outcome) -> RelayOutput {
    let Parcel { from, sender, id, .. } = parcel;
    RelayOutput::Outcome { from: from.clone(), sender: *sender, id: *id, outcome }
}
