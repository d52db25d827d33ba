//! What a screen must show, and what one shows.

use crate::ledger::{ActionId, Entry, Known, Ledger, OpId};
use crate::oracle::{DEFAULT, Oracle, What};
use omega_sync_core::household::Household;
use omega_sync_core::id::{ContentId, ProfileId};
use omega_sync_core::operation::{Part, Progress};
use omega_sync_core::replica::Replica;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

/// Everything that is shown of one profile, in the order in which it is shown.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ShownShelf {
    /// Its name.
    pub name: String,
    /// The watchlist, each title with the time it was added.
    pub listed: Vec<(u32, u64)>,
    /// Progress, each title with the action that it comes from and its time.
    pub played: Vec<(u32, ActionId, u64)>,
}

/// Everything that is shown, by profile.
pub type Shown = BTreeMap<u64, ShownShelf>;

/// Titles that are kept, because they are asked for all the time.
static TITLES: LazyLock<Vec<ContentId>> = LazyLock::new(|| (0..1_024).map(make_title).collect());

/// The title of that number: ids of several shapes.
pub fn title(number: u32) -> ContentId {
    TITLES.get(number as usize).cloned().unwrap_or_else(|| make_title(number))
}

fn make_title(number: u32) -> ContentId {
    let text = match number % 4 {
        0 => format!("tmdb:{number}"),
        1 => format!("tmdb:tv:{number}"),
        2 => format!("Кино/ü-{number}"),
        _ => format!("a film #{number}"),
    };
    ContentId::new(&text).expect("short text")
}

/// The number of a title.
///
/// # Panics
/// When nobody ever named such a title.
pub fn number(content: &ContentId) -> u32 {
    let text = content.as_str();
    let digits = text.trim_end_matches(|c: char| c.is_ascii_digit()).len();
    text[digits..].parse().expect("a title of this household")
}

fn action_of(progress: Progress) -> ActionId {
    progress.position_s
}

/// What an app on this device shows.
pub fn of_device(replica: &Replica) -> Shown {
    let shelf = |(profile, name): (ProfileId, String)| {
        let listed = replica.watchlist(profile).into_iter();
        let played = replica.all_progress(profile).into_iter();
        let played = played.map(|p| (number(&p.content), action_of(p.progress), p.updated.0));
        let shelf = ShownShelf {
            name,
            listed: listed.map(|item| (number(&item.content), item.added.0)).collect(),
            played: played.collect(),
        };
        (profile.0, shelf)
    };
    replica.profiles().into_iter().map(shelf).collect()
}

/// What the server would show.
pub fn of_server(household: &Household) -> Shown {
    let mut shown = Shown::new();
    for (id, profile) in household.profiles() {
        let played = profile.progress().iter().filter_map(|(content, register)| {
            register.value.map(|value| (number(content), action_of(value), 0))
        });
        let shelf = ShownShelf {
            name: profile.name().to_owned(),
            listed: profile.watchlist().iter().map(|(title, _)| (number(title), 0)).collect(),
            played: played.collect(),
        };
        shown.insert(id.0, shelf);
    }
    shown
}

/// The parts in which two screens differ.
pub fn differences(before: &Shown, after: &Shown) -> BTreeSet<Part> {
    let mut parts = BTreeSet::new();
    let names = |shown: &Shown| -> Vec<(u64, String)> {
        shown.iter().map(|(&id, shelf)| (id, shelf.name.clone())).collect()
    };
    if names(before) != names(after) {
        parts.insert(Part::Profiles);
    }
    let nothing = ShownShelf::default();
    for &id in before.keys().chain(after.keys()) {
        let [old, new] = [before, after].map(|shown| shown.get(&id).unwrap_or(&nothing));
        if old.listed != new.listed {
            parts.insert(Part::Watchlist(ProfileId(id)));
        }
        if old.played != new.played {
            parts.insert(Part::Progress(ProfileId(id)));
        }
    }
    parts
}

impl Oracle {
    fn waits(&self, entries: &[Entry], profile: u64, what: What) -> bool {
        entries.iter().any(|entry| {
            let action = &self.actions[entry.action as usize];
            action.profile == profile && action.what == what
        })
    }

    /// Whether a profile exists for who has heard of this and has these waiting.
    pub fn shows_profile(&self, known: &Known, entries: &[Entry], profile: u64) -> bool {
        if profile == DEFAULT {
            return true;
        }
        let shelf = self.shelves.get(&profile);
        let said = |ops: &[u32]| ops.iter().any(|&op| self.counts(known, op));
        let named = shelf.is_some_and(|s| said(s.names()));
        let deleted = shelf.is_some_and(|s| said(s.deletes()));
        (named || self.waits(entries, profile, What::Name))
            && !(deleted || self.waits(entries, profile, What::Delete))
    }

    /// Whether a title is listed, if its profile exists.
    pub fn lists(&self, known: &Known, entries: &[Entry], profile: u64, title: u32) -> bool {
        let waiting: Vec<ActionId> = entries.iter().map(|entry| entry.action).collect();
        let about = |what: What| {
            waiting.iter().copied().filter(move |&action| {
                let action = &self.actions[action as usize];
                (action.what, action.profile, action.title) == (what, profile, title)
            })
        };
        let own = about(What::Add)
            .any(|add| about(What::Remove).all(|r| !self.actions[r as usize].own.contains(&add)));
        if own {
            return true;
        }
        let Some(said) = self.titles.get(&(profile, title)) else {
            return false;
        };
        let there = |op: &&u32| self.counts(known, **op);
        said.adds().iter().rev().filter(there).any(|&add| {
            let removed = |remove: ActionId| self.had_seen(remove, add);
            let by_others = said.removes().iter().rev().filter(there);
            !by_others.map(|&op| self.ops[op as usize].action).any(removed)
                && !about(What::Remove).any(removed)
        })
    }

    /// The progress of a title that counts: its stamp and action.
    pub fn plays(
        &self,
        known: &Known,
        (replica, entries): (u64, &[Entry]),
        profile: u64,
        title: u32,
    ) -> Option<(u64, ActionId)> {
        let said = self.titles.get(&(profile, title)).map_or(&[][..], |said| said.plays());
        let said = said.iter().rev().find(|&&op| self.counts(known, op)).map(|&op| {
            let op = &self.ops[op as usize];
            (op.stamp, op.replica, op.action)
        });
        let waiting = entries.iter().filter(|entry| {
            let action = &self.actions[entry.action as usize];
            let list = matches!(action.what, What::Play | What::Clear);
            list && (action.profile, action.title) == (profile, title)
        });
        let waiting = waiting.map(|entry| (entry.stamp, replica, entry.action));
        said.into_iter().chain(waiting).max().map(|(stamp, _, action)| (stamp, action))
    }

    /// The progress that is shown of a title.
    pub fn shows_progress(
        &self,
        known: &Known,
        waiting: (u64, &[Entry]),
        profile: u64,
        title: u32,
    ) -> Option<ActionId> {
        let (_, action) = self.plays(known, waiting, profile, title)?;
        (self.actions[action as usize].what == What::Play).then_some(action)
    }

    /// The name of a profile by what was heard of; "" for none.
    fn name_of(&self, known: &Known, profile: u64) -> String {
        let shelf = self.shelves.get(&profile);
        let names = shelf.map_or(&[][..], |shelf| shelf.names());
        let last = names.iter().rev().find(|&&op| self.counts(known, op));
        last.map_or(String::new(), |&op| format!("p{}", self.ops[op as usize].action))
    }

    /// Titles that a device may show although its viewer took them off: it may only read, so the state
    /// it follows lacks what it owes, and with it what replaced the adds that are there.
    pub fn unsure(&self, ledger: &Ledger) -> BTreeSet<(u64, u32)> {
        let lacks = |op: &OpId| !self.contains(&ledger.known, *op);
        if !ledger.owed.iter().flatten().any(lacks) {
            return BTreeSet::new();
        }
        let actions = ledger.entries.iter().map(|entry| &self.actions[entry.action as usize]);
        let removes = actions.filter(|action| action.what == What::Remove);
        removes.map(|action| (action.profile, action.title)).collect()
    }

    /// Compares a whole screen with what it must show, in any order; says what is wrong.
    ///
    /// # Errors
    /// The first difference.
    pub fn compare(
        &self,
        known: &Known,
        waiting: (u64, &[Entry]),
        shown: &Shown,
        unsure: &BTreeSet<(u64, u32)>,
    ) -> Result<(), String> {
        let ids: BTreeSet<u64> =
            self.titles.keys().map(|key| key.0).chain(shown.keys().copied()).collect();
        let ids: BTreeSet<u64> = ids.into_iter().chain(self.shelves.keys().copied()).collect();
        for id in ids {
            if self.is_blurred(id, 0) {
                continue;
            }
            let exists = self.shows_profile(known, waiting.1, id);
            let Some(shelf) = shown.get(&id) else {
                if exists {
                    return Err(format!("profile {id:x} is missing"));
                }
                continue;
            };
            if !exists {
                return Err(format!("profile {id:x} must not be there"));
            }
            let name = self.name_of(known, id);
            if !self.waits(waiting.1, id, What::Name) && shelf.name != name {
                return Err(format!("profile {id:x} is {} and not {name}", shelf.name));
            }
            self.compare_titles(known, waiting, (id, shelf), unsure)?;
        }
        Ok(())
    }

    fn compare_titles(
        &self,
        known: &Known,
        waiting: (u64, &[Entry]),
        (profile, shelf): (u64, &ShownShelf),
        unsure: &BTreeSet<(u64, u32)>,
    ) -> Result<(), String> {
        let mut listed: BTreeSet<u32> = shelf.listed.iter().map(|item| item.0).collect();
        let mut played: BTreeMap<u32, ActionId> =
            shelf.played.iter().map(|item| (item.0, item.1)).collect();
        let own = waiting.1.iter().map(|entry| &self.actions[entry.action as usize]);
        let own = own.filter(|action| action.profile == profile).map(|action| action.title);
        let said = self.titles.range((profile, 1)..=(profile, u32::MAX)).map(|(key, _)| key.1);
        let titles: BTreeSet<u32> = said.chain(own.filter(|&title| title != 0)).collect();
        for title in titles {
            let is_listed = listed.remove(&title);
            let action = played.remove(&title);
            if self.is_blurred(profile, title) || unsure.contains(&(profile, title)) {
                continue;
            }
            if is_listed != self.lists(known, waiting.1, profile, title) {
                return Err(format!("title {title} of {profile:x} is listed: {is_listed}"));
            }
            let must = self.shows_progress(known, waiting, profile, title);
            if action != must {
                return Err(format!("title {title} of {profile:x} is at {action:?}, not {must:?}"));
            }
        }
        if listed.is_empty() && played.is_empty() {
            Ok(())
        } else {
            Err(format!("shown and never added: {listed:?}, played: {played:?}"))
        }
    }
}
