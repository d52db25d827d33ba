//! What viewers do, and what they see at once.

use crate::device::Device;
use crate::ledger::ActionId;
use crate::link::Kind;
use crate::oracle::{Action, DEFAULT, What};
use crate::shown::title;
use crate::world::World;
use omega_sync_core::id::ProfileId;
use omega_sync_core::operation::{Intent, PlayState, Progress};
use omega_sync_core::replica::OperationError;
use omega_sync_core::session::client::Input;

/// Titles that everybody touches: where devices meet.
const SHARED: u64 = 3;

impl World {
    /// A viewer does something on a device that is on.
    pub fn act(&mut self) {
        let index = self.dice.place(self.devices.len());
        if !self.devices[index].is_awake(self.time_ms) {
            return;
        }
        let profile = self.some_profile(index);
        let shared = self.dice.below(SHARED) as u32 + 1;
        let (what, number) = match self.dice.below(100) {
            0..48 => (What::Play, shared),
            48..52 => (What::Clear, shared),
            52..61 => (What::Add, shared),
            61..69 => (What::Remove, shared),
            69..82 => {
                self.titles += 1;
                (What::Add, self.titles)
            }
            82..88 => match self.some_listed(index, profile) {
                Some(listed) => (What::Remove, listed),
                None => return,
            },
            88..92 if !self.is_refused(index) => return,
            88..92 => {
                self.say(|| format!("tv {index}'s app takes what was refused"));
                return self.input(index, Input::RejectedTaken);
            }
            92..94 => return self.act_out_of_bounds(index),
            94..97 => (What::Name, 0),
            97..98 if profile != DEFAULT => (What::Name, 0),
            98..100 if profile != DEFAULT => (What::Delete, 0),
            _ => return,
        };
        let profile =
            if what == What::Name && self.dice.below(3) > 0 { self.dice.bits() } else { profile };
        self.operate(index, what, profile, number);
    }

    fn some_profile(&mut self, index: usize) -> u64 {
        if self.dice.below(10) < 7 {
            return DEFAULT;
        }
        let client = self.devices[index].client.as_ref().expect("it is awake");
        let profiles = client.replica().profiles();
        let place = self.dice.place(profiles.len());
        profiles.keys().nth(place).map_or(DEFAULT, |id| id.0)
    }

    fn some_listed(&mut self, index: usize, profile: u64) -> Option<u32> {
        let client = self.devices[index].client.as_ref()?;
        let items = client.replica().watchlist(ProfileId(profile));
        if items.is_empty() {
            return None;
        }
        Some(crate::shown::number(&items[self.dice.place(items.len())].content))
    }

    fn is_refused(&self, index: usize) -> bool {
        let client = self.devices[index].client.as_ref();
        client.is_some_and(|client| !client.replica().rejected().is_empty())
    }

    /// What the core must not take, and must not change anything by.
    fn act_out_of_bounds(&mut self, index: usize) {
        let device = &mut self.devices[index];
        let now = device.now(self.time_ms);
        let client = device.client.as_mut().expect("it is awake");
        let unknown = ProfileId(0xdead);
        let (intent, error) = match self.dice.below(3) {
            0 => (Intent::Add(unknown, title(1)), OperationError::UnknownProfile),
            1 => (Intent::DeleteProfile(ProfileId::DEFAULT), OperationError::DefaultProfile),
            _ => {
                let name = Intent::NameProfile(unknown, String::new());
                (name, OperationError::ProfileName)
            }
        };
        let before = client.replica().outbox().last();
        assert_eq!(client.operate(now, intent), Err(error));
        assert_eq!(client.replica().outbox().last(), before, "a refused call changes nothing");
    }

    /// A viewer does this on a device that is on.
    ///
    /// # Panics
    /// When the device did not show what it must before, or does not show it after.
    pub fn operate(&mut self, index: usize, what: What, profile: u64, number: u32) {
        let fresh = self.oracle.actions.len() as ActionId;
        self.say(|| format!("tv {index}: action {fresh}: {what:?} {number} for {profile:x}"));
        let action = self.action(index, what, profile, number);
        let intent = self.intent(fresh, &action);
        self.check_title(index, profile, number);
        let device = &mut self.devices[index];
        let now = device.now(self.time_ms);
        let client = device.client.as_mut().expect("it is awake");
        let outputs = match client.operate(now, intent) {
            Ok(outputs) => outputs,
            Err(error) => panic!("a valid action {action:?} fails: {error}"),
        };
        self.oracle.actions.push(action);
        // It may be so already; then nothing waits.
        let fresh = (!outputs.is_empty()).then_some(fresh);
        self.follow(index, outputs, fresh, Kind::Rest);
        self.check_effect(index, what, profile, number);
    }

    /// The action with everything that the device could have shown its viewer.
    fn action(&self, index: usize, what: What, profile: u64, number: u32) -> Action {
        let Device { ledger, damaged, .. } = &self.devices[index];
        let entries = &ledger.entries;
        let (mut own, mut floor) = (Vec::new(), 0);
        match what {
            What::Add | What::Remove => {
                let adds = entries.iter().map(|entry| entry.action).filter(|&action| {
                    let action = &self.oracle.actions[action as usize];
                    let same = (action.profile, action.title) == (profile, number);
                    same && action.what == What::Add
                });
                own = adds.collect();
            }
            What::Play | What::Clear => {
                // What waits may get another stamp; its order is checked by the order of actions.
                let mut known = ledger.known.clone();
                if *damaged {
                    // Under a new id a device does not know any more what the server took of the old.
                    known.extra.clear();
                }
                let last = self.oracle.plays(&known, (0, &[]), profile, number);
                floor = last.map_or(0, |(stamp, _)| stamp);
            }
            What::Name | What::Delete => {}
        }
        let lists = matches!(what, What::Add | What::Remove);
        let known = if lists { ledger.known.clone() } else { Default::default() };
        Action {
            device: index,
            what,
            profile,
            title: number,
            at_ms: self.time_ms,
            own,
            known,
            floor,
            clock_since_ms: ledger.measured_ms.unwrap_or(self.time_ms).min(self.time_ms),
            weak: false,
            ops: Vec::new(),
        }
    }

    fn intent(&mut self, number: ActionId, action: &Action) -> Intent {
        let profile = ProfileId(action.profile);
        let content = || title(action.title);
        match action.what {
            What::Add => Intent::Add(profile, content()),
            What::Remove => Intent::Remove(profile, content()),
            What::Play => {
                let state = PlayState::ALL[self.dice.place(4)];
                let progress = Progress { position_s: number, duration_s: 7_200, state };
                Intent::Progress(profile, content(), Some(progress))
            }
            What::Clear => Intent::Progress(profile, content(), None),
            What::Name => Intent::NameProfile(profile, format!("p{number}")),
            What::Delete => Intent::DeleteProfile(profile),
        }
    }

    fn check_effect(&self, index: usize, what: What, profile: u64, number: u32) {
        let client = self.devices[index].client.as_ref().expect("it is awake");
        let replica = client.replica();
        let id = ProfileId(profile);
        let shows = match what {
            What::Add => replica.is_listed(id, &title(number)),
            What::Remove => !replica.is_listed(id, &title(number)),
            What::Play => {
                let last = self.oracle.actions.len() as u32 - 1;
                let item = replica.progress(id, &title(number));
                item.is_some_and(|item| item.progress.position_s == last)
            }
            What::Clear => replica.progress(id, &title(number)).is_none(),
            What::Name => replica.has_profile(id),
            What::Delete => !replica.has_profile(id),
        };
        assert!(shows, "tv {index} does not show what its viewer did: {what:?} {number}");
    }
}
