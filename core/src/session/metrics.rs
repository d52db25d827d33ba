//! What a client counts: how much it sent, what encoding saved, and how a reconnect went.
//!
//! Invariant: of a replay, accepted, rejected, coalesced and remaining add up to what waited.

use crate::clock::Timestamp;
use crate::operation::{Change, Operation, VoidReason};
use crate::outbox::Outbox;

/// Counts since the client was loaded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Metrics {
    /// Operations the app made.
    pub operations: u64,
    /// Operations that a later one took the place of before they left.
    pub coalesced: u64,
    /// Operations sent, each time counted.
    pub sent: u64,
    /// Of these, sent again because no answer had come.
    pub retried: u64,
    /// Operations the server acknowledged, refused ones included.
    pub acknowledged: u64,
    /// Operations the server refused.
    pub rejected: u64,
    /// What the sent operations would take as plain records, by [`plain_bytes`].
    pub plain_bytes: u64,
    /// What their frames took.
    pub delta_bytes: u64,
}

impl Metrics {
    /// How much smaller the frames were than plain records, in percent of these; negative when larger.
    pub fn saved_percent(&self) -> i64 {
        let (plain, delta) = (self.plain_bytes as i64, self.delta_bytes as i64);
        if plain == 0 { 0 } else { (plain - delta) * 100 / plain }
    }
}

/// How the operations fare that a client had for the server when it last reconnected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Replay {
    /// How many waited, and how many were superseded while the client was away.
    pub waited: u64,
    /// Of these, sent on this connection.
    pub sent: u64,
    /// Of these, taken by the server, now or before.
    pub accepted: u64,
    /// Of these, superseded by a later one and never sent.
    pub coalesced: u64,
    /// Of these, refused: how many for each of [`VoidReason::ALL`].
    pub refused: [u64; VoidReason::ALL.len()],
    /// Of these, not acknowledged yet.
    pub remaining: u64,
}

impl Replay {
    /// How many were refused.
    pub fn rejected(&self) -> u64 {
        self.refused.iter().sum()
    }
}

/// What waits before a welcome is taken.
#[derive(Debug)]
pub(super) struct Greeting {
    all: u64,
    acked: Timestamp,
    answered: u64,
    voids: Vec<(Timestamp, VoidReason)>,
}

impl Greeting {
    /// `acked`: up to where operations are known to be taken; `voids`: what the welcome refuses.
    pub(super) fn new(
        outbox: &Outbox,
        acked: Timestamp,
        voids: &[(Timestamp, VoidReason)],
    ) -> Self {
        let waits = |void: &&(Timestamp, VoidReason)| outbox.get(void.0).is_some();
        let voids = voids.iter().filter(waits).copied().collect();
        Self { all: outbox.len() as u64, acked, answered: waiting(outbox, acked), voids }
    }
}

/// The counts of a client, and of its last reconnect.
#[derive(Debug, Default)]
pub(super) struct Tally {
    metrics: Metrics,
    replay: Replay,
    /// The last operation that waited at the reconnect.
    through: Timestamp,
    /// The reconnect is not reported yet.
    running: bool,
    /// Operations superseded since the last connection ended.
    away: u64,
}

impl Tally {
    /// The app made an operation: so many waited before, and with it.
    pub(super) fn made(&mut self, before: usize, after: usize, connected: bool) {
        let coalesced = (before + 1 - after) as u64;
        self.metrics.operations += 1;
        self.metrics.coalesced += coalesced;
        self.away += if connected { 0 } else { coalesced };
    }

    /// Operations leave in a frame; those up to `retry_through` may have left before.
    pub(super) fn leave(
        &mut self,
        operations: &[Operation],
        retry_through: Timestamp,
        frame: &[u8],
    ) {
        for operation in operations {
            let stamp = operation.timestamp;
            self.metrics.sent += 1;
            self.metrics.retried += u64::from(stamp <= retry_through);
            self.metrics.plain_bytes += plain_bytes(operation);
            self.replay.sent += u64::from(self.running && stamp <= self.through);
        }
        self.metrics.delta_bytes += frame.len() as u64;
    }

    /// A welcome was taken: a replay begins.
    pub(super) fn welcomed(&mut self, before: &Greeting, outbox: &Outbox) {
        self.replay = Replay { waited: before.all + self.away, ..Replay::default() };
        self.through = Timestamp(u64::MAX);
        self.running = true;
        self.away = 0;
        let gone = before.voids.iter().filter(|(stamp, _)| outbox.get(*stamp).is_none());
        self.refuse(gone);
        self.through = outbox.last();
        let answered = before.answered.saturating_sub(waiting(outbox, before.acked));
        let left = self.replay.rejected() + answered;
        self.replay.accepted = answered;
        self.metrics.acknowledged += left;
        self.metrics.coalesced += before.all.saturating_sub(left + outbox.len() as u64);
    }

    /// The server refused operations.
    pub(super) fn refuse<'a>(&mut self, voids: impl Iterator<Item = &'a (Timestamp, VoidReason)>) {
        for &(stamp, reason) in voids {
            self.metrics.rejected += 1;
            let of_replay = self.running && stamp <= self.through;
            self.replay.refused[reason as usize] += u64::from(of_replay);
        }
    }

    /// How many operations wait: all, and those of a replay that is not reported yet.
    pub(super) fn waiting(&self, outbox: &Outbox) -> (u64, u64) {
        (outbox.len() as u64, if self.running { waiting(outbox, self.through) } else { 0 })
    }

    /// A frame of an open connection was taken: what waited before it and waits no more is answered,
    /// refused or not.
    pub(super) fn answered(&mut self, before: (u64, u64), refused: u64, outbox: &Outbox) {
        let (all, of_replay) = self.waiting(outbox);
        self.metrics.acknowledged += before.0.saturating_sub(all);
        let left = before.1.saturating_sub(of_replay);
        self.replay.accepted += left.saturating_sub(self.replay.rejected() - refused);
    }

    /// The report of a replay, once: when the connection is gone, or up to date and nothing waits of it.
    pub(super) fn ended(
        &mut self,
        is_open: bool,
        caught_up: bool,
        outbox: &Outbox,
    ) -> Option<Replay> {
        if !self.running || is_open && !(caught_up && waiting(outbox, self.through) == 0) {
            return None;
        }
        self.replay = self.replay(outbox);
        self.running = false;
        Some(self.replay)
    }

    /// How the last replay went, or goes.
    pub(super) fn replay(&self, outbox: &Outbox) -> Replay {
        if !self.running {
            return self.replay;
        }
        let remaining = waiting(outbox, self.through);
        let Replay { waited, accepted, .. } = self.replay;
        let coalesced = waited.saturating_sub(accepted + self.replay.rejected() + remaining);
        Replay { coalesced, remaining, ..self.replay }
    }

    /// What was counted since the client was loaded.
    pub(super) fn metrics(&self) -> Metrics {
        self.metrics
    }
}

/// How many operations wait up to a stamp.
fn waiting(outbox: &Outbox, through: Timestamp) -> u64 {
    outbox.iter().take_while(|pending| pending.operation.timestamp <= through).count() as u64
}

/// The bytes of an operation as a record of fixed-width fields: kind, stamp (8), profile (8), title and
/// texts with a length byte each, position and duration (4 each), play state, 16 for each observed add.
pub fn plain_bytes(operation: &Operation) -> u64 {
    const FIXED: usize = 1 + size_of::<Timestamp>() + 8;
    let title = operation.change.content().map_or(0, |content| 1 + content.as_str().len());
    let observed = operation.observed().map_or(0, |observed| 1 + size_of_val(observed));
    let payload = match &operation.change {
        Change::Add(..) | Change::Remove(..) | Change::DeleteProfile => 0,
        Change::Progress(_, value) => 1 + value.map_or(0, |_| 8),
        Change::NameProfile(name) => 1 + name.len(),
        Change::Device(device, record) => {
            1 + device.as_str().len() + record.as_ref().map_or(0, |record| record.bytes_bound())
        }
    };
    (FIXED + title + observed + payload) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_saved_is_a_share_of_the_plain_bytes() {
        let metrics = |plain_bytes, delta_bytes| {
            Metrics { plain_bytes, delta_bytes, ..Metrics::default() }.saved_percent()
        };
        assert_eq!(metrics(0, 0), 0);
        assert_eq!(metrics(100, 4), 96);
        assert_eq!(metrics(100, 150), -50);
    }
}
