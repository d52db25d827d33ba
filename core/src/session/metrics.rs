//! What a client counts: how much it sent, what encoding saved, and how a reconnect went.

use crate::clock::Timestamp;
use crate::household::{Change, Operation};

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

/// How the operations fare that waited when the client last reconnected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Replay {
    /// How many waited.
    pub waited: u64,
    /// Of these, sent on this connection.
    pub sent: u64,
    /// Of these, found to be superseded and not sent.
    pub coalesced: u64,
    /// Of these, refused: with their reasons in the rejected list.
    pub rejected: u64,
    /// Of these, not acknowledged yet.
    pub remaining: u64,
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
