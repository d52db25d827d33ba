//! A room's place among the rooms of this node, and what all of them share.
//!
//! Invariant: a room is joined, and leaves the map, under the same lock.

use super::message::Envelope;
use crate::aggregate::Aggregate;
use crate::limits::Limits;
use crate::metrics::Metrics;
use crate::quota::Quota;
use crate::store::Store;
use omega_sync_core::id::HouseholdId;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::{Semaphore, mpsc, watch};

/// What all rooms of a node share.
pub(crate) struct Shared {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) limits: Limits,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) aggregate: Arc<Aggregate>,
    pub(crate) quota: Arc<Quota>,
    /// Whether a device that returns gets what changed, and not the whole state.
    pub(crate) differences: bool,
}

/// The way to a room.
#[derive(Clone)]
pub(crate) struct Entry {
    /// Tells this room from earlier and later ones of its household.
    pub(crate) number: u64,
    pub(crate) inbox: mpsc::UnboundedSender<Envelope>,
    /// Bytes that its inbox has place for.
    pub(crate) shares: Arc<Semaphore>,
}

/// The rooms of a node.
#[derive(Default)]
pub(crate) struct Rooms {
    open: Mutex<OpenRooms>,
    live: watch::Sender<usize>,
}

/// The rooms that can be joined.
#[derive(Default)]
pub(crate) struct OpenRooms {
    pub(crate) entries: HashMap<HouseholdId, Entry>,
    /// Whether the server stops, so that no room begins.
    pub(crate) stopping: bool,
}

impl Rooms {
    pub(crate) fn lock(&self) -> MutexGuard<'_, OpenRooms> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a room.
    pub(crate) fn add(&self, open: &mut OpenRooms, household: &HouseholdId, entry: Entry) {
        open.entries.insert(household.clone(), entry);
        self.live.send_replace(open.entries.len());
    }

    fn remove(&self, mut open: MutexGuard<'_, OpenRooms>, seat: &Seat) {
        let own = open.entries.get(&seat.household).is_some_and(|e| e.number == seat.number);
        if own {
            open.entries.remove(&seat.household);
            self.live.send_replace(open.entries.len());
        }
    }

    /// How many rooms there are.
    pub(crate) fn live(&self) -> watch::Receiver<usize> {
        self.live.subscribe()
    }
}

/// A room's place; leaving is what dropping it does, after a panic too.
pub(crate) struct Seat {
    pub(crate) shared: Arc<Shared>,
    pub(crate) rooms: Arc<Rooms>,
    pub(crate) household: HouseholdId,
    pub(crate) number: u64,
    /// The way to tell this room something later on.
    pub(crate) inbox: mpsc::WeakUnboundedSender<Envelope>,
}

impl Seat {
    /// Leaves if nobody has joined meanwhile; true when it has left.
    pub(super) fn retire(&self, inbox: &mpsc::UnboundedReceiver<Envelope>) -> bool {
        let open = self.rooms.lock();
        if !inbox.is_empty() {
            return false;
        }
        self.rooms.remove(open, self);
        true
    }

    /// Leaves: from here on a new connection gets a new room.
    pub(super) fn leave(&self) {
        self.rooms.remove(self.rooms.lock(), self);
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.leave();
    }
}
