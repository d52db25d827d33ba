//! What the app sees: confirmed state with the waiting operations on top.

use super::Replica;
use crate::causal::{Dot, insert_dot};
use crate::clock::{Timestamp, UnixMillis};
use crate::id::{ContentId, DeviceId, ProfileId};
use crate::operation::{Change, DeviceRecord, OBSERVED_MAX, Operation, Progress};
use crate::outbox::List;
use crate::sorted::{Map, Set};

/// A title on the watchlist.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WatchlistItem {
    /// The title's id.
    pub content: ContentId,
    /// When it was added last.
    pub added: UnixMillis,
}

/// Progress of a title.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProgressItem {
    /// The title's id.
    pub content: ContentId,
    /// How far it was watched.
    pub progress: Progress,
    /// When that was noted.
    pub updated: UnixMillis,
}

impl Replica {
    /// The live adds of a title as this device sees them.
    fn dots(&self, profile: ProfileId, content: &ContentId) -> Vec<Dot> {
        let shelf = self.confirmed.profile(profile);
        let mut dots = shelf.map_or(Vec::new(), |p| p.watchlist().dots(content).to_vec());
        for operation in self.outbox.on(profile, List::Watchlist, content) {
            dots.retain(|dot| !operation.observed().unwrap_or_default().contains(dot));
            if let Change::Add(..) = operation.change {
                dots.push(self.dot(operation.timestamp));
            }
        }
        dots
    }

    /// Every add of a title that an author knows before a stamp: the confirmed ones and its own that
    /// wait, also those that a waiting operation takes away, because the server may refuse that one.
    pub(super) fn known_adds(
        &self,
        profile: ProfileId,
        content: &ContentId,
        before: Timestamp,
    ) -> Vec<Dot> {
        let shelf = self.confirmed.profile(profile);
        let mut dots = shelf.map_or(Vec::new(), |p| p.watchlist().dots(content).to_vec());
        let waiting = self.outbox.on(profile, List::Watchlist, content);
        let earlier = waiting.filter(|operation| operation.timestamp < before);
        let adds = earlier.filter(|operation| matches!(operation.change, Change::Add(..)));
        adds.for_each(|operation| insert_dot(&mut dots, self.dot(operation.timestamp)));
        // One operation can name so many; what is left stays live and visible.
        dots.truncate(OBSERVED_MAX);
        dots
    }

    /// Whether a title is on the watchlist.
    pub fn is_listed(&self, profile: ProfileId, content: &ContentId) -> bool {
        self.has_profile(profile) && !self.dots(profile, content).is_empty()
    }

    /// The titles that may be on a list: those that are, and those of waiting operations.
    fn titles(&self, profile: ProfileId, list: List) -> Set<&ContentId> {
        let mut titles = Set::new();
        if !self.has_profile(profile) {
            return titles;
        }
        if let Some(shelf) = self.confirmed.profile(profile) {
            match list {
                List::Watchlist => titles.extend(shelf.watchlist().iter().map(|(title, _)| title)),
                List::Progress => titles.extend(shelf.progress().iter().map(|(title, _)| title)),
            }
        }
        titles.extend(self.outbox.titles(profile, list));
        titles
    }

    /// The watchlist, last added first.
    pub fn watchlist(&self, profile: ProfileId) -> Vec<WatchlistItem> {
        let mut items = Vec::new();
        for content in self.titles(profile, List::Watchlist) {
            let added = self.dots(profile, content).iter().map(|dot| dot.timestamp).max();
            if let Some(added) = added {
                items.push((added, content));
            }
        }
        items.sort_unstable_by(|a, b| b.cmp(a));
        let item = |(added, content): (Timestamp, &ContentId)| WatchlistItem {
            content: content.clone(),
            added: added.millis(),
        };
        items.into_iter().map(item).collect()
    }

    /// Progress of one title; `None` when there is none or it was taken off "continue watching".
    pub fn progress(&self, profile: ProfileId, content: &ContentId) -> Option<ProgressItem> {
        if self.has_profile(profile) { self.newest(profile, content) } else { None }
    }

    fn newest(&self, profile: ProfileId, content: &ContentId) -> Option<ProgressItem> {
        let shelf = self.confirmed.profile(profile);
        let confirmed = shelf
            .and_then(|p| p.progress().get(content))
            .map(|register| (register.dot, register.value));
        let waiting =
            self.outbox.on(profile, List::Progress, content).filter_map(
                |operation| match operation.change {
                    Change::Progress(_, value) => Some((self.dot(operation.timestamp), value)),
                    _ => None,
                },
            );
        let (dot, progress) = waiting.chain(confirmed).max_by_key(|(dot, _)| *dot)?;
        let updated = dot.timestamp.millis();
        Some(ProgressItem { content: content.clone(), progress: progress?, updated })
    }

    /// Progress of all titles, last watched first.
    pub fn all_progress(&self, profile: ProfileId) -> Vec<ProgressItem> {
        let titles = self.titles(profile, List::Progress).into_iter();
        let mut items: Vec<ProgressItem> =
            titles.filter_map(|content| self.newest(profile, content)).collect();
        items.sort_unstable_by(|a, b| (b.updated, &b.content).cmp(&(a.updated, &a.content)));
        items
    }

    /// The profiles and their names, the default one first.
    pub fn profiles(&self) -> Map<ProfileId, String> {
        let mut profiles: Map<ProfileId, String> =
            self.confirmed.profiles().map(|(id, p)| (id, p.name().to_owned())).collect();
        for pending in self.outbox.iter() {
            let Operation { timestamp, profile, change } = &pending.operation;
            let confirmed = self.confirmed.profile(*profile);
            let dot = confirmed.and_then(|p| p.name.as_ref()).map(|register| register.dot);
            match change {
                Change::NameProfile(name)
                    if !self.confirmed.is_deleted(*profile)
                        && dot.is_none_or(|dot| dot < self.dot(*timestamp)) =>
                {
                    profiles.insert(*profile, name.clone());
                }
                Change::DeleteProfile => drop(profiles.remove(profile)),
                _ => {}
            }
        }
        profiles
    }

    /// Whether a profile exists as this device sees it.
    pub fn has_profile(&self, profile: ProfileId) -> bool {
        profile == ProfileId::DEFAULT
            || !self.is_deleted(profile)
                && (self.confirmed.profile(profile).is_some() || self.outbox.names(profile))
    }

    /// Whether a profile was deleted, here or elsewhere.
    pub(super) fn is_deleted(&self, profile: ProfileId) -> bool {
        self.confirmed.is_deleted(profile) || self.outbox.deletes(profile)
    }

    /// What a device says of itself.
    pub fn device(&self, id: &DeviceId) -> Option<&DeviceRecord> {
        let waiting =
            self.outbox.iter().rev().find_map(|pending| match &pending.operation.change {
                Change::Device(device, record) if device == id => Some(record.as_ref()),
                _ => None,
            });
        let confirmed = || self.confirmed.devices().get(id).and_then(|r| r.value.as_ref());
        waiting.unwrap_or_else(confirmed)
    }

    /// The devices that said something of themselves, in the order of their ids.
    pub fn devices(&self) -> Vec<(&DeviceId, &DeviceRecord)> {
        let waiting = self.outbox.iter().filter_map(|pending| match &pending.operation.change {
            Change::Device(device, _) => Some(device),
            _ => None,
        });
        let confirmed = self.confirmed.devices().iter().map(|(device, _)| device);
        let ids: Set<&DeviceId> = waiting.chain(confirmed).collect();
        ids.into_iter().filter_map(|id| Some((id, self.device(id)?))).collect()
    }
}
