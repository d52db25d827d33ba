//! Keeps a device's ledger true to the device, from outside, and checks each of its steps.

use crate::ledger::{ActionId, Entry, Known, Ledger, OpId};
use crate::oracle::{Oracle, What, life_of};
use crate::shown::number;
use omega_sync_core::operation::{Change, Operation};
use omega_sync_core::replica::Replica;
use std::collections::BTreeSet;
use std::rc::Rc;

impl Oracle {
    /// Follows a device through one call; `fresh` is what its viewer did with it. `may_renew`: its
    /// storage was damaged, so it may take a new id. `may_write`: so its connection's token says.
    ///
    /// # Panics
    /// When something was lost, came from nowhere, or was believed too early.
    pub fn follow(
        &mut self,
        held: &mut Rc<Ledger>,
        replica: &Replica,
        fresh: Option<ActionId>,
        may_renew: bool,
        may_write: bool,
    ) {
        let renewed = replica.id().0 != held.replica;
        assert!(!renewed || may_renew, "a replica took a new id although its storage is whole");
        let stamps = replica.outbox().iter().map(|pending| pending.operation.timestamp.0);
        let same = stamps.eq(held.entries.iter().map(|entry| entry.stamp));
        if !same || renewed || fresh.is_some() {
            let ledger = Rc::make_mut(held);
            if renewed {
                self.blur(ledger);
            }
            self.follow_outbox(ledger, replica, fresh, (renewed, may_write));
            ledger.replica = replica.id().0;
        }
        let refused = replica.rejected().len();
        if held.refused != refused {
            Rc::make_mut(held).refused = refused;
        }
        self.follow_knowledge(held, replica);
    }

    fn is(&self, action: ActionId, operation: &Operation) -> bool {
        let known = &self.actions[action as usize];
        let titled = |content, what| known.what == what && known.title == number(content);
        let same = match &operation.change {
            Change::Add(content, _) => titled(content, What::Add),
            Change::Remove(content, _) => titled(content, What::Remove),
            Change::Progress(content, None) => titled(content, What::Clear),
            Change::Progress(content, Some(progress)) => {
                titled(content, What::Play) && progress.position_s == action
            }
            Change::NameProfile(name) => {
                known.what == What::Name && name.strip_prefix('p') == Some(&action.to_string())
            }
            Change::DeleteProfile => known.what == What::Delete,
            Change::Device(..) => false,
        };
        same && known.profile == operation.profile.0
    }

    fn follow_outbox(
        &mut self,
        ledger: &mut Ledger,
        replica: &Replica,
        fresh: Option<ActionId>,
        (renewed, may_write): (bool, bool),
    ) {
        let mut old = core::mem::take(&mut ledger.entries);
        old.extend(fresh.map(|action| Entry { stamp: u64::MAX, action }));
        let mut gone = Vec::new();
        let mut place = old.len();
        let pending: Vec<_> = replica.outbox().iter().collect();
        for pending in pending.into_iter().rev() {
            let stamp = pending.operation.timestamp.0;
            let exact = old[..place].iter().position(|entry| entry.stamp == stamp);
            let exact = exact.filter(|&place| self.is(old[place].action, &pending.operation));
            loop {
                assert!(place > 0, "an operation from nowhere: {:?}", pending.operation);
                place -= 1;
                let Entry { stamp: before, action } = old[place];
                let same = self.is(action, &pending.operation);
                if exact.map_or(!same, |exact| place != exact) {
                    gone.push(place);
                    continue;
                }
                let renamed = before != stamp && before != u64::MAX && !renewed;
                let taken = renamed && self.has_arrived(ledger.replica, before, action);
                let weak = self.actions[action as usize].weak;
                assert!(
                    !taken || weak,
                    "action {action} has a new stamp although the server took it"
                );
                ledger.entries.push(Entry { stamp, action });
                break;
            }
        }
        gone.extend(0..place);
        ledger.entries.reverse();
        for place in gone {
            self.account_for(ledger, replica, (&old, place), (renewed, may_write));
        }
    }

    /// Where an operation went that no longer waits.
    fn account_for(
        &mut self,
        ledger: &mut Ledger,
        replica: &Replica,
        (old, place): (&[Entry], usize),
        (renewed, may_write): (bool, bool),
    ) {
        let Entry { stamp, action } = old[place];
        let op = self.op_of(ledger.replica, stamp, action);
        let durable = |op: u32| self.lives.iter().any(|life| life.version_of(op).is_some());
        if renewed && let Some(op) = op.filter(|&op| durable(op)) {
            // Answered before: it must not be sent under the new id.
            ledger.known.extra.push(op);
            return;
        }
        let mut told = replica.rejected().iter().rev();
        let told = told.find(|told| told.operation.timestamp.0 == stamp);
        let reason = told.map(|told| told.reason.code());
        if !renewed && !may_write && reason == Some("forbidden") {
            let wall = &mut self.clocks.walls[self.actions[action as usize].device];
            wall.forbidden_ms = wall.forbidden_ms.max(stamp >> 16);
            if op.is_some() {
                // An earlier life judged otherwise, and may be remembered.
                self.blur_one(action);
            }
            return;
        }
        if !renewed && stamp <= replica.acked().through.0 {
            let op = op.unwrap_or_else(|| panic!("action {action} was lost: never taken"));
            // The answer may have come from a life before a restore.
            assert!(durable(op), "action {action} was acknowledged and is not durable");
            if let Some(refused) = self.ops[op as usize].refused {
                let weak = self.actions[action as usize].weak;
                if reason.is_none() && (self.lives.len() > 1 || weak) {
                    // The database that remembered the refusal is gone, and its answer was lost; or
                    // a copy of this storage was told.
                    self.blur_one(action);
                    return;
                }
                assert_eq!(reason, Some(refused), "action {action} was refused");
                return;
            }
            ledger.known.extra.push(op);
            return;
        }
        let Some(known) = self.actions.get(action as usize) else {
            return;
        };
        let about = |other: &Entry| {
            let other = &self.actions[other.action as usize];
            (other.profile, other.title) == (known.profile, known.title)
                && known.what.replaces(other.what)
        };
        let later = old[place + 1..].iter().any(about);
        // A remove of what never left takes itself away too.
        let undone = known.what == What::Remove && old[..place].iter().any(about);
        assert!(later || undone, "action {action} was lost: {known:?}");
        let left = self.has_arrived(ledger.replica, stamp, action);
        assert!(!left || known.weak, "action {action} may have left and was superseded");
    }

    fn follow_knowledge(&mut self, held: &mut Rc<Ledger>, replica: &Replica) {
        let owes = !replica.owed().is_empty();
        let synced = replica.epoch().map(life_of);
        let cursor = replica.cursor().map(|at| (life_of(at.epoch), at.version));
        let moved = cursor.is_some_and(|at| at != (held.known.life, held.known.version));
        let same = held.owed.is_some() == owes && held.synced == synced;
        if same && !moved && held.known.extra.is_empty() {
            return;
        }
        let ledger = Rc::make_mut(held);
        if ledger.synced.is_some() && ledger.synced != synced {
            let mut owed = ledger.owed.take().unwrap_or_default();
            let ops = 0..self.ops.len() as OpId;
            owed.extend(ops.filter(|&op| self.contains(&ledger.known, op)));
            ledger.owed = Some(owed);
        }
        ledger.synced = synced;
        if !owes && let Some(owed) = ledger.owed.take() {
            let life = &self.lives[synced.expect("it offered what it owed")];
            for op in owed {
                let kept = life.version_of(op).is_some();
                let op = &self.ops[op as usize];
                let weak = self.actions[op.action as usize].weak;
                assert!(kept || weak, "offered and forgotten: {op:?}");
            }
        }
        assert_eq!(ledger.owed.is_some(), owes, "what it owes");
        let Some((life, version)) = cursor else {
            return;
        };
        let durable = life + 1 < self.lives.len() || version <= self.life().version;
        assert!(durable, "a device knows version {version}, which is not durable");
        if life == ledger.known.life {
            assert!(version >= ledger.known.version, "a cursor went back to {version}");
            ledger.known.version = version;
        } else {
            let extra = core::mem::take(&mut ledger.known.extra);
            ledger.known = Known { life, version, extra };
        }
        if synced != Some(life) {
            // Between the answer of a new life and its first state the cursor is still of the old one.
            return;
        }
        let lives = &self.lives;
        ledger.known.extra.retain(|&op| match lives[life].version_of(op) {
            Some(at) => at > version,
            None => {
                let op = &self.ops[op as usize];
                let weak = self.actions[op.action as usize].weak;
                assert!(owes || weak, "acknowledged and forgotten: {op:?}");
                false
            }
        });
    }

    /// Of what never left a device at most one waits for each list and title, so that weeks without a
    /// network do not fill it.
    ///
    /// # Panics
    /// When two wait.
    pub fn check_coalesced(&self, ledger: &Ledger, sent_through: u64) {
        let unsent = ledger.entries.iter().filter(|entry| entry.stamp > sent_through);
        let mut seen = BTreeSet::new();
        for entry in unsent {
            let action = &self.actions[entry.action as usize];
            let plays = matches!(action.what, What::Play | What::Clear);
            let first = seen.insert((plays, action.profile, action.title));
            let listed = !matches!(action.what, What::Name | What::Delete);
            assert!(first || !listed, "{action:?} waits although a later one replaces it");
        }
    }

    /// Checks a device that was just loaded against what was on its disk.
    ///
    /// # Panics
    /// When anything is missing.
    pub fn check_loaded(&self, ledger: &Ledger, replica: &Replica) {
        let stamps = replica.outbox().iter().map(|pending| pending.operation.timestamp.0);
        let same = stamps.eq(ledger.entries.iter().map(|entry| entry.stamp));
        assert!(same, "what waited on the disk is not what was loaded");
        assert_eq!(replica.id().0, ledger.replica, "the id on the disk");
        assert_eq!(replica.rejected().len(), ledger.refused, "refused operations on the disk");
        let cursor = replica.cursor().map(|at| (life_of(at.epoch), at.version));
        let known = (ledger.known.life, ledger.known.version);
        assert!(cursor.is_none_or(|at| at == known), "the cursor on the disk");
    }
}
