//! How a room's state goes from one version to the next, and how connections hear of a whole one.

use super::{Connection, Room, RoomOutput};
use crate::causal::Dot;
use crate::clock::Timestamp;
use crate::delta::Delta;
use crate::household::Household;
use crate::id::ReplicaId;
use crate::operation::{Change, Operation};
use std::collections::BTreeSet;

impl Room {
    /// Applies an operation that is taken with the present version. `whole` collects the adds and
    /// removes that observed all that was live: others can name that themselves.
    pub(super) fn apply(
        &mut self,
        replica: ReplicaId,
        operation: &Operation,
        whole: &mut BTreeSet<Timestamp>,
    ) {
        if observes_all(&self.household, operation) {
            whole.insert(operation.timestamp);
        }
        if let Change::Add(..) = operation.change {
            let dot = Dot { timestamp: operation.timestamp, replica };
            self.added.insert(dot, self.version);
        }
        for dot in operation.observed().unwrap_or_default() {
            self.added.remove(dot);
        }
        let (through, one) = (operation.timestamp, vec![operation.clone()]);
        self.note(&Delta { replica, through, operations: one });
    }

    /// Notes with the present version that everything of a replica up to a stamp is settled.
    pub(super) fn cover(&mut self, replica: ReplicaId, through: Timestamp) {
        self.note(&Delta { replica, through, operations: Vec::new() });
    }

    fn note(&mut self, delta: &Delta) {
        self.history.note(self.version, self.household.touched_by(delta));
        self.household.merge(delta);
    }

    /// Goes to a later version by its whole state.
    pub(super) fn reach(&mut self, version: u64, household: Household) {
        self.version = version;
        for (profile, shelf) in household.profiles() {
            let known = self.household.profile(profile);
            for (content, live) in shelf.watchlist().iter() {
                let known = known.map_or(&[][..], |known| known.watchlist().dots(content));
                let new = live.iter().filter(|dot| !known.contains(dot));
                self.added.extend(new.map(|dot| (*dot, version)));
            }
        }
        self.household = household;
        self.trim_added();
    }

    /// Brings every connection that is up to date from a version to this one, as the next frame of its
    /// stream.
    pub(super) fn send_state(&mut self, known: Option<u64>, outputs: &mut Vec<RoomOutput>) {
        let mut connections = core::mem::take(&mut self.connections);
        let begun = connections.iter_mut().filter(|(_, connection)| !connection.awaits_offer);
        for (&id, Connection { next_stream, .. }) in begun {
            let frame = self.catch_up(next_stream.advance(), known);
            outputs.push(RoomOutput::Send(id, frame));
        }
        self.connections = connections;
    }
}

/// Whether an operation observed every live add of its title.
fn observes_all(household: &Household, operation: &Operation) -> bool {
    let (Some(content), Some(observed)) = (operation.change.content(), operation.observed()) else {
        return false;
    };
    let shelf = household.profile(operation.profile);
    let live = shelf.map_or(&[][..], |shelf| shelf.watchlist().dots(content));
    live.iter().all(|dot| observed.contains(dot))
}
