//! What came of the inputs that a room took together: one commit, and what is to be done once it is
//! durable.

use omega_sync_core::codec::Reader;
use omega_sync_core::delta::Delta;
use omega_sync_core::message::CloseCode;
use omega_sync_core::operation::Operation;
use omega_sync_core::session::server::relay::RelayOutput;
use omega_sync_core::session::server::{Commit, ConnectionId, RoomOutput};
use std::time::Instant;
use tokio::sync::{OwnedSemaphorePermit, oneshot};
use tracing::Span;

/// What to do once the batch's commit is durable.
pub(super) enum Effect {
    Send(ConnectionId, Vec<u8>),
    Close(ConnectionId, CloseCode),
    Answer(Box<dyn FnOnce() + Send>, oneshot::Sender<CloseCode>),
    /// Of a command; the rest of its life counts from then.
    Relay(RelayOutput, tokio::time::Instant),
}

/// The operations of a commit; none if an entry can't be read, which is the core's own affair.
pub(super) fn operations(commit: &Commit) -> Option<Vec<Operation>> {
    let mut operations = Vec::new();
    for (_, entry) in &commit.entries {
        operations.extend(Delta::load(&mut Reader::new(entry)).ok()?.operations);
    }
    Some(operations)
}

/// What came of a batch of inputs.
#[derive(Default)]
pub(super) struct Batch {
    pub(super) commit: Option<Commit>,
    pub(super) effects: Vec<Effect>,
    pub(super) output_bytes: usize,
    pub(super) shares: Vec<OwnedSemaphorePermit>,
    /// When its frames came.
    pub(super) arrivals: Vec<Instant>,
    pub(super) stop: bool,
    /// Who wants the household erased; it stops then too.
    pub(super) erase: Option<oneshot::Sender<Result<bool, CloseCode>>>,
    /// On whose behalf it is worked on: of the first input. It follows from the others.
    pub(super) span: Option<Span>,
}

impl Batch {
    /// The span of what is done for all its inputs together.
    pub(super) fn span(&self) -> Span {
        self.span.clone().unwrap_or_else(Span::none)
    }

    /// The span of making all of it durable.
    pub(super) fn span_of_commit(&self) -> Span {
        tracing::info_span!(parent: &self.span(), "commit")
    }

    pub(super) fn add(&mut self, outputs: Vec<RoomOutput>) {
        for output in outputs {
            match output {
                RoomOutput::Persist(next) => match &mut self.commit {
                    Some(commit) => commit.merge(next),
                    None => self.commit = Some(next),
                },
                RoomOutput::Send(connection, frame) => {
                    self.output_bytes += frame.len();
                    self.effects.push(Effect::Send(connection, frame));
                }
                RoomOutput::Close(connection, code) => {
                    self.effects.push(Effect::Close(connection, code));
                }
            }
        }
    }

    pub(super) fn relay(&mut self, outputs: Vec<RelayOutput>) {
        let now = tokio::time::Instant::now();
        self.effects.extend(outputs.into_iter().map(|output| Effect::Relay(output, now)));
    }
}
