//! The server: the real room on a virtual database.

use crate::oracle::Life;
use omega_sync_core::id::EpochId;
use omega_sync_core::id::HouseholdId;
use omega_sync_core::session::server::{Commit, Room, RoomOutput, SNAPSHOT_EVERY, Stored};
use std::collections::VecDeque;

/// A copy of the database, and what was in it.
#[derive(Debug)]
pub struct Backup {
    stored: Stored,
    /// What it holds.
    pub life: Life,
}

/// The database: what is in it survives everything, and a commit is taken whole or not at all.
#[derive(Debug, Default)]
pub struct Store {
    stored: Option<Stored>,
}

impl Store {
    /// Makes a commit durable if it follows the last one.
    ///
    /// # Panics
    /// When a version goes back or the log grows beyond its bound.
    pub fn commit(&mut self, commit: Commit) -> bool {
        let stored = self.stored.get_or_insert_with(|| Stored {
            epoch: commit.epoch,
            revision: 0,
            version: 0,
            snapshot: Vec::new(),
            snapshot_version: 0,
            log: Vec::new(),
            replicas: Vec::new(),
        });
        if stored.revision != commit.follows || stored.epoch != commit.epoch {
            return false;
        }
        assert!(commit.version >= stored.version, "the database's version went back");
        stored.revision = commit.revision;
        stored.version = commit.version;
        stored.log.extend(commit.entries);
        for (replica, row) in commit.replicas {
            match stored.replicas.iter_mut().find(|(other, _)| *other == replica) {
                Some(place) => place.1 = row,
                None => stored.replicas.push((replica, row)),
            }
        }
        if let Some(snapshot) = commit.snapshot {
            stored.snapshot = snapshot.bytes;
            stored.snapshot_version = snapshot.version;
            stored.log.retain(|(version, _)| *version > snapshot.version);
        }
        assert!(
            stored.log.len() < SNAPSHOT_EVERY as usize,
            "the log has {} entries",
            stored.log.len()
        );
        true
    }

    /// Loads the room; `None` when nothing was ever stored.
    ///
    /// # Panics
    /// When what a room wrote can't be read.
    pub fn load(&self, household: &HouseholdId) -> Option<Room> {
        let stored = self.stored.as_ref()?;
        Some(Room::load(household.clone(), stored).expect("a room wrote it"))
    }

    /// A copy, with what is in it.
    pub fn back_up(&self, life: Life) -> Option<Backup> {
        let stored = self.stored.clone()?;
        Some(Backup { stored, life })
    }

    /// Puts a copy in its place, as a new epoch.
    pub fn restore(&mut self, backup: &Backup, epoch: EpochId) {
        self.stored = Some(Stored { epoch, ..backup.stored.clone() });
    }
}

/// A frame or the end of a connection, which waits until it is carried out.
#[derive(Debug)]
pub enum Effect {
    /// Make it durable; the version that it brings.
    Persist(Commit),
    /// Send or close.
    Tell(RoomOutput),
}

/// The server process.
#[derive(Debug, Default)]
pub struct Server {
    /// The room; `None` until somebody needs it.
    pub room: Option<Room>,
    /// What waits to be carried out, one by one. A kill loses it.
    pub queue: VecDeque<Effect>,
    /// The database.
    pub store: Store,
    /// The last copy of it.
    pub backup: Option<Backup>,
}

impl Server {
    /// kill -9.
    pub fn kill(&mut self) {
        self.room = None;
        self.queue.clear();
    }

    /// Queues outputs of one or several inputs: all commits as one, then the rest in order.
    pub fn queue(&mut self, outputs: Vec<RoomOutput>, joined: bool) {
        if !joined {
            self.queue.extend(outputs.into_iter().map(|output| match output {
                RoomOutput::Persist(commit) => Effect::Persist(commit),
                other => Effect::Tell(other),
            }));
            return;
        }
        let mut whole: Option<Commit> = None;
        let mut effects = Vec::new();
        for output in outputs {
            match output {
                RoomOutput::Persist(next) => match &mut whole {
                    Some(commit) => commit.merge(next),
                    None => whole = Some(next),
                },
                other => effects.push(Effect::Tell(other)),
            }
        }
        self.queue.extend(whole.map(Effect::Persist).into_iter().chain(effects));
    }
}
