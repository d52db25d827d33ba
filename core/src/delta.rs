//! What one replica changed, and its bytes.
//!
//! A [`Delta`] holds operations of one replica in the order of their stamps and covers everything of
//! that replica up to `through`. A stamp it covers without an operation is superseded or void, so
//! coalescing and refusal leave no gaps. How an operation is written: [`context`].

pub mod context;
mod guess;
mod title;

pub use context::Context;
pub use title::CONTEXT_ENTRIES_MAX;

use crate::causal::Dot;
use crate::clock::Timestamp;
use crate::codec::{DecodeError, Reader, Writer, checksum};
use crate::id::{ContentId, ProfileId, ReplicaId};
use crate::operation::Operation;

/// Operations in one delta.
pub const DELTA_OPERATIONS_MAX: usize = 500;
/// Bytes of one delta however it is encoded, by [`Operation::bytes_bound`]: what is taken from one
/// connection must fit a frame to any other.
pub const DELTA_BYTES_MAX: usize = 128 * 1024;

/// Operations of one replica.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delta {
    /// The replica that made the operations.
    pub replica: ReplicaId,
    /// Everything of that replica up to here is covered.
    pub through: Timestamp,
    /// What is left of it, in the order of the stamps.
    pub operations: Vec<Operation>,
}

/// For an add or remove that observed exactly what the receiver can name itself: the version that the
/// author had seen. Asked once for each, in their order.
pub type ObservesLive<'a> = &'a mut dyn FnMut(&Operation) -> Option<u64>;
/// The adds that an author had seen of a title at a version; `None` when that can't be.
pub type LiveAdds<'a> = &'a dyn Fn(ProfileId, &ContentId, u64) -> Option<Vec<Dot>>;

impl Delta {
    /// No encoding of this delta is longer, in bytes.
    pub fn bytes_bound(&self) -> usize {
        const FIXED: usize = 32;
        FIXED + self.operations.iter().map(Operation::bytes_bound).sum::<usize>()
    }

    /// Appends the delta, replica included, for a receiver that has the state before it.
    pub fn encode(&self, writer: &mut Writer, context: &mut Context, live: ObservesLive) {
        context.write_author(writer, self.replica);
        self.encode_operations(writer, context, live);
    }

    /// Appends the delta for a receiver who knows the replica.
    pub fn encode_operations(
        &self,
        writer: &mut Writer,
        context: &mut Context,
        live: ObservesLive,
    ) {
        for (at, operation) in self.operations.iter().enumerate() {
            let before = &self.operations[..at];
            let version = if operation.observed().is_some()
                && !before.iter().any(|earlier| {
                    earlier.observed().is_some()
                        && earlier.profile == operation.profile
                        && earlier.change.content() == operation.change.content()
                }) {
                live(operation)
            } else {
                None
            };
            context.write(writer, operation, version);
        }
        if self.operations.last().map(|operation| operation.timestamp) != Some(self.through) {
            context.write_end(writer, self.through);
        }
    }

    /// Reads what [`Delta::encode`] wrote, to the end of `reader`.
    pub fn decode(
        reader: &mut Reader,
        context: &mut Context,
        live: LiveAdds,
    ) -> Result<Self, DecodeError> {
        let replica = context.read_author(reader)?;
        Self::decode_operations(reader, context, replica, live)
    }

    /// Reads what [`Delta::encode_operations`] wrote, to the end of `reader`.
    pub fn decode_operations(
        reader: &mut Reader,
        context: &mut Context,
        replica: ReplicaId,
        live: LiveAdds,
    ) -> Result<Self, DecodeError> {
        let mut operations: Vec<Operation> = Vec::new();
        let mut through = Timestamp::ZERO;
        while !reader.is_empty() {
            if operations.len() >= DELTA_OPERATIONS_MAX {
                return Err(DecodeError::limit("DELTA_OPERATIONS_MAX"));
            }
            let (stamp, operation) = context.read(reader, live)?;
            if stamp <= through {
                return Err(DecodeError::invalid("order of stamps"));
            }
            through = stamp;
            match operation {
                Some((profile, change)) => {
                    operations.push(Operation { timestamp: stamp, profile, change });
                }
                None if reader.is_empty() => {}
                None => return Err(DecodeError::invalid("end of the delta")),
            }
        }
        if through == Timestamp::ZERO {
            return Err(DecodeError::invalid("empty delta"));
        }
        Ok(Self { replica, through, operations })
    }

    /// The delta as it is stored: for a reader with nothing else.
    pub fn store(&self, writer: &mut Writer) {
        self.encode(writer, &mut Context::alone(), &mut |_| None);
    }

    /// Reads what [`Delta::store`] wrote, to the end of `reader`.
    pub fn load(reader: &mut Reader) -> Result<Self, DecodeError> {
        Self::decode(reader, &mut Context::alone(), &|_, _, _| None)
    }
}

impl Operation {
    /// Tells this operation, and with `before`, the digest of the one before it, all that its author
    /// sent until then, from another history with the same last stamp. What it observed does not count:
    /// the server may name that otherwise.
    pub fn digest(&self, before: u32) -> u32 {
        let mut writer = Writer::new();
        writer.fixed32(before);
        Context::alone().write(&mut writer, self, Some(0));
        checksum(writer.as_slice())
    }

    /// Writes the operation alone.
    pub fn encode(&self, writer: &mut Writer) {
        Context::alone().write(writer, self, None);
    }

    /// Reads what [`Operation::encode`] wrote.
    pub fn decode(reader: &mut Reader) -> Result<Self, DecodeError> {
        match Context::alone().read(reader, &|_, _, _| None)? {
            (timestamp, Some((profile, change))) => Ok(Self { timestamp, profile, change }),
            _ => Err(DecodeError::invalid("operation kind")),
        }
    }
}
