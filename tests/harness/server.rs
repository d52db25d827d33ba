//! The server: one or several nodes, each with its own real room, on one virtual database.
//!
//! The database is the truth. A node that committed wakes the others over a bus that loses, doubles,
//! delays and reorders; for what the bus loses, a node that lags asks the database every few seconds.
//! Reading takes time, in which the room goes on.

use crate::ledger::Ledger;
use crate::oracle::Life;
use omega_sync_core::id::{EpochId, HouseholdId, ReplicaId};
use omega_sync_core::session::server::{Commit, Room, RoomOutput, SNAPSHOT_EVERY, Stored};
use std::collections::{HashMap, VecDeque};
use std::rc::Rc;

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
    /// The revision that wrote each row.
    rows: HashMap<ReplicaId, u64>,
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
            self.rows.insert(replica, commit.revision);
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

    /// Of the last commit; 0 for none.
    pub fn revision(&self) -> u64 {
        self.stored.as_ref().map_or(0, |stored| stored.revision)
    }

    /// The life of the database and its version; `None` when nothing was ever stored.
    pub fn version(&self) -> Option<(EpochId, u64)> {
        self.stored.as_ref().map(|stored| (stored.epoch, stored.version))
    }

    /// What a room lacks, if anything: that alone, or everything.
    pub fn ahead_of(&self, room: &Room, whole: bool) -> Option<Stored> {
        let mut stored = self.stored.clone().filter(|it| it.revision > room.revision())?;
        if whole {
            return Some(stored);
        }
        if stored.snapshot_version <= room.version() {
            stored.snapshot.clear();
        }
        stored.log.retain(|(version, _)| *version > room.version());
        stored.replicas.retain(|(replica, _)| self.rows[replica] > room.revision());
        Some(stored)
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

/// What a frame did to a room: for the oracle, once the commit that holds it is durable.
#[derive(Debug)]
pub enum Took {
    /// A hello began a session.
    Session {
        /// Of which replica.
        replica: u64,
        /// On which connection.
        place: usize,
    },
    /// A delta became a version.
    Delta {
        /// What its author held.
        ledger: Rc<Ledger>,
        /// Up to which stamp it was taken.
        through: u64,
        /// On which connection.
        place: usize,
        /// True time.
        at_ms: u64,
    },
    /// An offer was joined.
    Offer {
        /// What its author held.
        ledger: Rc<Ledger>,
        /// On which connection.
        place: usize,
        /// The version that it brought.
        reached: u64,
    },
}

/// What a node has decided on and not yet done.
#[derive(Debug)]
pub enum Effect {
    /// Make it durable.
    Persist(Commit, Vec<Took>),
    /// An offer brought nothing new.
    Known(Rc<Ledger>),
    /// Send or close.
    Tell(RoomOutput),
    /// Send the whole answer to a request, and that is all.
    Answer(usize, Vec<u8>),
}

/// A wake-up on its way over the bus: somebody committed this revision.
#[derive(Debug, Clone, Copy)]
pub struct Wake {
    /// Which.
    pub revision: u64,
    /// True time at which it can arrive.
    pub ready_ms: u64,
}

/// A server process.
#[derive(Debug, Default)]
pub struct Node {
    /// The room; `None` until somebody needs it.
    pub room: Option<Room>,
    /// What waits to be carried out, one by one. A kill loses it.
    pub queue: VecDeque<Effect>,
    /// What the bus brings, the next to arrive first.
    pub bus: VecDeque<Wake>,
    /// What it read of the database and has not handed to the room.
    pub read: Option<Stored>,
    /// True time at which it asks the database, while others may be ahead.
    pub poll_at_ms: Option<u64>,
    /// True time until which it can't reach the database.
    pub cut_until_ms: u64,
}

impl Node {
    /// kill -9. What is on the bus still arrives.
    pub fn kill(&mut self) {
        let bus = std::mem::take(&mut self.bus);
        *self = Self { bus, cut_until_ms: self.cut_until_ms, ..Self::default() };
    }

    /// Whether a commit waits for the database.
    pub fn is_committing(&self) -> bool {
        self.queue.iter().any(|effect| matches!(effect, Effect::Persist(..)))
    }

    /// Whether the bus or the clock tells it to look at the database.
    pub fn is_called(&self, time_ms: u64) -> bool {
        let woken = self.bus.front().is_some_and(|wake| wake.ready_ms <= time_ms);
        let polls = self.poll_at_ms.is_some_and(|at| at <= time_ms);
        (woken || polls) && self.read.is_none() && !self.is_committing()
    }

    /// Whether it can hand the room what it read.
    pub fn has_read(&self) -> bool {
        self.read.is_some() && !self.is_committing()
    }

    /// Queues what one or several inputs led to: all commits as one, then the rest in order.
    pub fn queue(&mut self, effects: Vec<Effect>, joined: bool) {
        if !joined {
            self.queue.extend(effects);
            return;
        }
        let mut whole: Option<(Commit, Vec<Took>)> = None;
        let mut rest = Vec::new();
        for effect in effects {
            match effect {
                Effect::Persist(next, took) => match &mut whole {
                    Some((commit, all)) => {
                        commit.merge(next);
                        all.extend(took);
                    }
                    None => whole = Some((next, took)),
                },
                other => rest.push(other),
            }
        }
        let whole = whole.map(|(commit, took)| Effect::Persist(commit, took));
        self.queue.extend(whole.into_iter().chain(rest));
    }
}

/// All nodes and their database.
#[derive(Debug, Default)]
pub struct Server {
    /// The nodes.
    pub nodes: Vec<Node>,
    /// The database.
    pub store: Store,
    /// The last copy of it.
    pub backup: Option<Backup>,
}
