//! What must be true, told from what viewers did and in which order the server took it.
//!
//! Nothing here merges: an operation is in a state or it is not, and what a state shows follows
//! from the definitions. A title is listed when some add of it is there that no remove that is
//! there had seen. Progress is what the latest stamp says, and of equal stamps the highest replica.
//! A profile exists when it was named and not deleted. What an author had seen is what its screen
//! could show when the viewer acted.
//!
//! Through damage to a device's storage (wiped, put back, copied, torn) less is promised. What only
//! the lost storage held is gone. What waited in storage that was put back, copied or torn may be
//! taken twice, so about the titles concerned the oracle no longer knows; that all devices agree on
//! them with the server is demanded still, and everything else about every other title.

use crate::ledger::{ActionId, Known, Ledger, OpId};
use crate::stamps::Clocks;
use omega_sync_core::id::EpochId;
use omega_sync_core::message::Session;
use std::collections::{BTreeMap, HashMap, HashSet};

/// Profiles that exist at one time, by `docs/protocol.md`.
const PROFILES: usize = 32;
/// Profiles that ever existed, by `docs/protocol.md`.
const PROFILES_EVER: usize = 512;
/// The default profile.
pub const DEFAULT: u64 = 0;
/// Not in this life.
const NEVER: u32 = u32::MAX;
/// More lives than a database ever has here.
const LIVES_MAX: u64 = 1_000;

/// The epoch under which a node begins a life of the database. Two nodes that begin the first one at
/// the same time give it different epochs, and only one of them is stored.
pub fn epoch_of(life: usize, node: usize) -> EpochId {
    EpochId(node as u64 * LIVES_MAX + life as u64 + 1)
}

/// The life of an epoch.
pub fn life_of(epoch: EpochId) -> usize {
    (epoch.0 % LIVES_MAX) as usize - 1
}

/// What kind of thing a viewer did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum What {
    /// Put a title on the watchlist.
    Add,
    /// Took it off.
    Remove,
    /// Watched: the position is the action's number.
    Play,
    /// Took it off "continue watching".
    Clear,
    /// Named a profile: the name tells the action's number.
    Name,
    /// Deleted a profile.
    Delete,
}

impl What {
    /// Whether a later action of this kind on the same title makes an earlier one needless.
    pub fn replaces(self, other: Self) -> bool {
        let list = |what| match what {
            Self::Add | Self::Remove => 0,
            Self::Play | Self::Clear => 1,
            Self::Name | Self::Delete => 2,
        };
        list(self) == list(other) && list(self) != 2
    }
}

/// What a viewer did and could have seen.
#[derive(Debug, Clone)]
pub struct Action {
    /// On which device.
    pub device: usize,
    /// What.
    pub what: What,
    /// On whose shelf.
    pub profile: u64,
    /// Which title; 0 for none.
    pub title: u32,
    /// True time.
    pub at_ms: u64,
    /// Adds of the same title that waited on the device.
    pub own: Vec<ActionId>,
    /// What the device had heard of.
    pub known: Known,
    /// The latest stamp of the same title that the device showed.
    pub floor: u64,
    /// The device's wall clock must not have been set from this true time on for the stamp to be
    /// right.
    pub clock_since_ms: u64,
    /// The storage it was in was put back, copied or torn while it waited.
    pub weak: bool,
    /// What the server took it as.
    pub ops: Vec<OpId>,
}

/// Why the server must refuse an operation, by the names in `docs/protocol.md`.
pub type Refusal = &'static str;

/// Something that the server took.
#[derive(Debug, Clone)]
pub struct Op {
    /// What.
    pub action: ActionId,
    /// Under which name.
    pub stamp: u64,
    /// Of whom.
    pub replica: u64,
    /// Why it changes nothing, if so.
    pub refused: Option<Refusal>,
}

/// One life of the server's database.
#[derive(Debug, Clone, Default)]
pub struct Life {
    /// For each operation the version that brought it.
    entered: Vec<u32>,
    /// The operations in order.
    order: Vec<(u64, OpId)>,
    /// The version on the server's disk.
    pub version: u64,
    /// Per replica, the last stamp taken.
    taken: HashMap<u64, u64>,
}

/// Everything that was ever said about one title on one shelf.
#[derive(Debug, Default)]
pub struct Title {
    adds: Vec<OpId>,
    removes: Vec<OpId>,
    plays: Vec<OpId>,
    /// Damage to storage may have doubled something about it.
    pub blurred: bool,
}

/// Everything that was ever said about one profile.
#[derive(Debug, Default)]
pub struct Shelf {
    names: Vec<OpId>,
    deletes: Vec<OpId>,
}

/// All that happened.
#[derive(Debug, Default)]
pub struct Oracle {
    /// What viewers did.
    pub actions: Vec<Action>,
    /// What the server took.
    pub ops: Vec<Op>,
    /// The database's lives; the last one is now.
    pub lives: Vec<Life>,
    names: HashMap<(u64, u64), OpId>,
    arrived: HashSet<(u64, u64, ActionId)>,
    /// Each replica's newest session, by its connection.
    sessions: HashMap<u64, Session>,
    /// Titles by profile and number.
    pub titles: BTreeMap<(u64, u32), Title>,
    /// Profiles.
    pub shelves: BTreeMap<u64, Shelf>,
    /// What is known of the clocks.
    pub clocks: Clocks,
}

impl Oracle {
    /// The present life.
    pub fn life(&self) -> &Life {
        self.lives.last().expect("the server was started")
    }

    fn life_mut(&mut self) -> &mut Life {
        self.lives.last_mut().expect("the server was started")
    }

    /// A life with nothing in it.
    pub fn begin(&mut self) {
        self.lives.push(Life::default());
    }

    /// Everything the server has.
    pub fn now(&self) -> Known {
        let life = self.lives.len() - 1;
        Known { life, version: self.life().version, extra: Vec::new() }
    }

    /// Whether an operation is in what somebody has heard of.
    pub fn contains(&self, known: &Known, op: OpId) -> bool {
        let entered = |life: &Life| life.version_of(op).is_some_and(|v| v <= known.version);
        self.lives.get(known.life).is_some_and(entered) || known.extra.contains(&op)
    }

    /// Whether the author of an action had seen an operation. Knowing is transitive: an add that waited
    /// took the place of what its author had seen then, which since may have gone with a restore.
    pub fn had_seen(&self, action: ActionId, op: OpId) -> bool {
        let action = &self.actions[action as usize];
        action.own.contains(&self.ops[op as usize].action)
            || self.contains(&action.known, op)
            || action.own.iter().any(|&own| self.had_seen(own, op))
    }

    /// The operation of that name, if the server ever took it.
    pub fn op(&self, replica: u64, stamp: u64) -> Option<OpId> {
        self.names.get(&(replica, stamp)).copied()
    }

    /// The same, if it is that action: two copies of one storage may have given one name to two.
    pub fn op_of(&self, replica: u64, stamp: u64, action: ActionId) -> Option<OpId> {
        self.op(replica, stamp).filter(|&op| self.ops[op as usize].action == action)
    }

    /// The last stamp taken of a replica.
    pub fn taken(&self, replica: u64) -> u64 {
        self.life().taken.get(&replica).copied().unwrap_or(0)
    }

    /// The server stored that a replica began a session on a connection.
    pub fn session(&mut self, replica: u64, session: Session) {
        self.sessions.insert(replica, session);
    }

    /// Only the newest session of a replica may write, on whatever node; a page that hides may say it
    /// again on another connection.
    ///
    /// # Panics
    /// When this session is not the newest.
    pub fn check_session(&self, replica: u64, session: Session) {
        let newest = self.sessions.get(&replica);
        assert_eq!(newest, Some(&session), "the newest session of {replica:x}");
    }

    /// A backup of the present life, for a later [`Oracle::restore`].
    pub fn back_up(&self) -> Life {
        self.life().clone()
    }

    /// The database was put back.
    pub fn restore(&mut self, backup: Life) {
        self.lives.push(backup);
    }

    /// About these waiting actions the oracle no longer knows how often they will be taken.
    pub fn blur(&mut self, ledger: &Ledger) {
        for entry in &ledger.entries {
            let action = &mut self.actions[entry.action as usize];
            action.weak = true;
            let key = (action.profile, action.title);
            self.titles.entry(key).or_default().blurred = true;
        }
    }

    /// Whether the oracle does not know about a title.
    pub fn is_blurred(&self, profile: u64, title: u32) -> bool {
        let blurred = |key| self.titles.get(&key).is_some_and(|title| title.blurred);
        // A profile's own fate is kept under no title.
        blurred((profile, title)) || blurred((profile, 0))
    }

    /// About what this action is about the oracle no longer knows.
    pub fn blur_one(&mut self, action: ActionId) {
        let action = &self.actions[action as usize];
        let key = (action.profile, action.title);
        self.titles.entry(key).or_default().blurred = true;
    }

    /// A delta of a device arrived; a node will have taken it up to a stamp, if that becomes durable.
    pub fn arrive(&mut self, ledger: &Ledger, through: u64) {
        let entries = ledger.entries.iter().take_while(|entry| entry.stamp <= through);
        let names = entries.map(|entry| (ledger.replica, entry.stamp, entry.action));
        self.arrived.extend(names);
    }

    /// Whether an action arrived under a name: somebody may know it by that.
    pub fn has_arrived(&self, replica: u64, stamp: u64, action: ActionId) -> bool {
        self.arrived.contains(&(replica, stamp, action))
    }

    /// The server stored a delta of a device up to a stamp, as the next version.
    ///
    /// # Panics
    /// When what it took is not what waited, was taken before, or has a stamp it must not have.
    pub fn take(&mut self, ledger: &Ledger, through: u64, now_ms: u64) {
        let after = self.taken(ledger.replica);
        let entries = ledger.entries.iter();
        let entries: Vec<_> =
            entries.filter(|entry| entry.stamp > after && entry.stamp <= through).collect();
        let last = entries.last().map(|entry| entry.stamp);
        assert_eq!(last, Some(through), "the server took what nobody did");
        let version = self.life().version + 1;
        self.life_mut().version = version;
        for entry in entries {
            let refused = self.refusal(entry.action);
            let op = self.name(ledger.replica, entry.stamp, entry.action);
            let known = self.lives.iter().any(|life| life.version_of(op).is_some());
            let before = core::mem::replace(&mut self.ops[op as usize].refused, refused);
            if known && before.is_some() != refused.is_some() && self.lives.len() > 1 {
                // An earlier life judged otherwise, and may be remembered.
                self.blur_one(entry.action);
            }
            self.enter(op, version);
            self.check_stamp(op, now_ms);
        }
    }

    /// The server joined what a device owed and is at this version now: the next one, or the same when
    /// nothing of it was to be seen any more.
    pub fn join(&mut self, owed: &[OpId], version: u64) {
        self.life_mut().version = version;
        for &op in owed {
            if self.life().version_of(op).is_none() {
                self.enter(op, version);
            }
        }
    }

    fn name(&mut self, replica: u64, stamp: u64, action: ActionId) -> OpId {
        if let Some(&op) = self.names.get(&(replica, stamp)) {
            let same = self.ops[op as usize].action == action;
            assert!(same, "one name, two operations: actions {action} and others");
            return op;
        }
        let op = self.ops.len() as OpId;
        self.ops.push(Op { action, stamp, replica, refused: None });
        self.names.insert((replica, stamp), op);
        self.actions[action as usize].ops.push(op);
        let Action { what, profile, title, .. } = self.actions[action as usize];
        let list = match what {
            What::Name => &mut self.shelves.entry(profile).or_default().names,
            What::Delete => &mut self.shelves.entry(profile).or_default().deletes,
            _ => {
                let title = self.titles.entry((profile, title)).or_default();
                match what {
                    What::Add => &mut title.adds,
                    What::Remove => &mut title.removes,
                    _ => &mut title.plays,
                }
            }
        };
        // The latest last: who asks for it need not look at all.
        let ops = &self.ops;
        let order = |&op: &OpId| (ops[op as usize].stamp, ops[op as usize].replica);
        let place = list.partition_point(|other| order(other) < (stamp, replica));
        list.insert(place, op);
        op
    }

    fn enter(&mut self, op: OpId, version: u64) {
        let Op { action, stamp, replica, .. } = self.ops[op as usize];
        let life = self.life_mut();
        let place = op as usize;
        if life.entered.len() <= place {
            life.entered.resize(place + 1, NEVER);
        }
        life.entered[place] = version as u32;
        life.order.push((version, op));
        let taken = life.taken.entry(replica).or_default();
        *taken = stamp.max(*taken);
        let action = &self.actions[action as usize];
        let life = self.life();
        let twice = action.ops.iter().filter(|&&op| life.version_of(op).is_some()).count();
        assert!(twice == 1 || action.weak, "{action:?} was applied twice");
    }

    /// Why the server must refuse this now.
    fn refusal(&self, action: ActionId) -> Option<Refusal> {
        let Action { profile, what, .. } = self.actions[action as usize];
        let now = self.now();
        if self.any(&now, self.shelves.get(&profile).map_or(&[], |shelf| &shelf.deletes)) {
            return Some("profile_deleted");
        }
        if profile == DEFAULT {
            return (what == What::Delete).then_some("default_profile");
        }
        if self.exists(&now, profile) {
            return None;
        }
        if what != What::Name {
            return Some("profile_unknown");
        }
        let others = self.shelves.keys().filter(|&&other| other != DEFAULT);
        let named = others.filter(|&&other| self.any(&now, &self.shelves[&other].names));
        let (there, gone): (Vec<u64>, Vec<u64>) = named.partition(|&&p| self.exists(&now, p));
        let full = there.len() + 1 >= PROFILES || there.len() + 1 + gone.len() >= PROFILES_EVER;
        full.then_some("household_full")
    }

    /// Whether one of these is there and counts.
    fn any(&self, known: &Known, ops: &[OpId]) -> bool {
        ops.iter().any(|&op| self.counts(known, op))
    }

    /// Whether an operation is there and was not refused.
    pub fn counts(&self, known: &Known, op: OpId) -> bool {
        self.ops[op as usize].refused.is_none() && self.contains(known, op)
    }

    /// Whether a profile exists for somebody who has heard of this.
    pub fn exists(&self, known: &Known, profile: u64) -> bool {
        let shelf = self.shelves.get(&profile);
        let said = |list: fn(&Shelf) -> &Vec<OpId>| shelf.is_some_and(|s| self.any(known, list(s)));
        profile == DEFAULT || said(|shelf| &shelf.names) && !said(|shelf| &shelf.deletes)
    }
}

impl Shelf {
    /// What named it.
    pub fn names(&self) -> &[OpId] {
        &self.names
    }

    /// What deleted it.
    pub fn deletes(&self) -> &[OpId] {
        &self.deletes
    }
}

impl Title {
    /// What added it.
    pub fn adds(&self) -> &[OpId] {
        &self.adds
    }

    /// What removed it.
    pub fn removes(&self) -> &[OpId] {
        &self.removes
    }

    /// What said how far it was watched.
    pub fn plays(&self) -> &[OpId] {
        &self.plays
    }
}

impl Life {
    /// The version that brought an operation.
    pub fn version_of(&self, op: OpId) -> Option<u64> {
        let version = self.entered.get(op as usize).copied().unwrap_or(NEVER);
        (version != NEVER).then_some(u64::from(version))
    }

    /// What came after a version.
    pub fn since(&self, version: u64) -> &[(u64, OpId)] {
        &self.order[self.order.partition_point(|(entered, _)| *entered <= version)..]
    }

    /// How many operations it has.
    pub fn len(&self) -> usize {
        self.order.len()
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.order.is_empty()
    }
}
