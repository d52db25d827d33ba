//! What must hold all along, and once everything works again.

use crate::faults::Rates;
use crate::oracle::{DEFAULT, What};
use crate::shown::{differences, of_device, of_server, title};
use crate::world::World;
use omega_sync_core::id::ProfileId;
use omega_sync_core::outbox::OUTBOX_OPERATIONS_MAX;
use omega_sync_core::replica::REJECTED_MAX;
use omega_sync_core::session::client::{Client, LOG_BYTES_MIN};
use std::collections::BTreeSet;

impl World {
    /// Runs the steps that are not left out, heals everything and checks it all.
    ///
    /// # Panics
    /// When a check fails.
    pub fn live(&mut self, steps: impl Iterator<Item = u64>) {
        for step in steps {
            self.step(step);
        }
        self.settle();
        self.check_rest();
        self.check_last_viewer();
    }

    /// Looks at a device's screen, now or after some more calls: whatever changed on it must have
    /// been told, and it shows what it must.
    pub fn look(&mut self, index: usize) {
        let device = &mut self.devices[index];
        if device.look_in > 0 {
            device.look_in -= 1;
            return;
        }
        device.look_in = self.look_every - 1;
        self.look_now(index);
    }

    fn look_now(&mut self, index: usize) {
        let device = &mut self.devices[index];
        let replica = device.client.as_ref().expect("it was called").replica();
        self.tally.screens += 1;
        let shown = of_device(replica);
        let told = core::mem::take(&mut device.changed);
        if let Some(before) = &device.screen {
            for part in differences(before, &shown) {
                assert!(
                    told.contains(&part),
                    "tv {index} shows {part:?} differently and did not say so"
                );
            }
        }
        let ledger = &device.ledger;
        let waiting = (ledger.replica, &ledger.entries[..]);
        let unsure = self.oracle.unsure(ledger);
        let compared = self.oracle.compare(&ledger.known, waiting, &shown, &unsure);
        assert_eq!(compared, Ok(()), "the screen of tv {index}");
        device.screen = Some(shown);
        assert!(ledger.entries.len() <= OUTBOX_OPERATIONS_MAX);
        self.oracle.check_coalesced(ledger, replica.outbox().sent_through().0);
        assert!(ledger.refused <= REJECTED_MAX);
        let (image, log) = device.disk.sizes();
        let bound = LOG_BYTES_MIN.max(4 * image);
        assert!(log <= bound, "tv {index}'s log has {log} bytes after an image of {image}");
    }

    /// One title is shown as it must be.
    ///
    /// # Panics
    /// When it is not.
    pub fn check_title(&self, index: usize, profile: u64, number: u32) {
        if number == 0 || self.oracle.is_blurred(profile, number) {
            return;
        }
        let device = &self.devices[index];
        let replica = device.client.as_ref().expect("it is awake").replica();
        let ledger = &device.ledger;
        if self.oracle.unsure(ledger).contains(&(profile, number)) {
            return;
        }
        let (known, entries) = (&ledger.known, &ledger.entries[..]);
        let id = ProfileId(profile);
        let there = self.oracle.shows_profile(known, entries, profile);
        let listed = there && self.oracle.lists(known, entries, profile, number);
        let shown = replica.is_listed(id, &title(number));
        assert_eq!(shown, listed, "tv {index}: title {number} of {profile:x} is listed");
        let waiting = (ledger.replica, entries);
        let played = self.oracle.shows_progress(known, waiting, profile, number);
        let played = played.filter(|_| there);
        let shown = replica.progress(id, &title(number)).map(|item| item.progress.position_s);
        assert_eq!(shown, played, "tv {index}: progress of {number} of {profile:x}");
    }

    /// What a node just committed or heard of since a version changed its state as it must.
    ///
    /// # Panics
    /// When it did not.
    pub fn check_node(&self, node: usize, before: u64) {
        let room = self.server.nodes[node].room.as_ref().expect("it took something");
        if self.server.nodes[node].is_committing() || room.version() < self.oracle.life().version {
            return;
        }
        let now = self.oracle.now();
        for &(_, op) in self.oracle.life().since(before) {
            let action = &self.oracle.actions[self.oracle.ops[op as usize].action as usize];
            let (profile, number) = (action.profile, action.title);
            if self.oracle.is_blurred(profile, number) {
                continue;
            }
            let there = self.oracle.exists(&now, profile);
            let shelf = room.household().profile(ProfileId(profile));
            assert_eq!(shelf.is_some(), there, "profile {profile:x} at the server");
            let Some(shelf) = shelf.filter(|_| number > 0) else {
                continue;
            };
            let listed = !shelf.watchlist().dots(&title(number)).is_empty();
            let must = self.oracle.lists(&now, &[], profile, number);
            assert_eq!(listed, must, "title {number} of {profile:x} at the server");
            let played = shelf.progress().get(&title(number)).and_then(|register| register.value);
            let must = self.oracle.shows_progress(&now, (0, &[]), profile, number);
            assert_eq!(played.map(|value| value.position_s), must, "progress at the server");
        }
    }

    /// A node's whole state is what the oracle says.
    ///
    /// # Panics
    /// When it is not.
    pub fn check_server(&self, node: usize) {
        let room = self.server.nodes[node].room.as_ref().expect("it is open");
        let shown = of_server(room.household());
        let (now, sure) = (self.oracle.now(), BTreeSet::new());
        let compared = self.oracle.compare(&now, (0, &[]), &shown, &sure);
        assert_eq!(compared, Ok(()), "the server's state");
    }

    /// Every device holds exactly what the server holds and shows what it must; so does a new start
    /// from each disk, and from the database.
    fn check_rest(&mut self) {
        let room = self.server.store.load(&self.household).expect("something was stored");
        for (index, node) in self.server.nodes.iter().enumerate() {
            let Some(open) = &node.room else {
                continue;
            };
            self.check_server(index);
            assert_eq!(open.household(), room.household(), "node {index} at rest");
            assert_eq!(open.version(), room.version(), "node {index} at rest");
        }
        for index in 0..self.devices.len() {
            let device = &self.devices[index];
            let client = device.client.as_ref().expect("it is on");
            assert_eq!(client.replica().confirmed(), room.household(), "tv {index} at rest");
            let known = &device.ledger.known;
            let up_to_date = known.version == room.version() && known.extra.is_empty();
            assert!(up_to_date, "tv {index} at rest knows {known:?}");
            let mut disk = device.disk.clone();
            disk.flush();
            let loaded = Client::load(disk.records(), Some(self.household.clone()), [1; 16]);
            let loaded = loaded.expect("the disk can be read").client;
            assert_eq!(loaded.replica().confirmed(), client.replica().confirmed());
        }
        assert_eq!(room.version(), self.oracle.life().version, "the database's version at rest");
        (0..self.devices.len()).for_each(|index| self.look_now(index));
    }

    /// However wrong a clock was: who has seen everything and then plays is not overruled by the
    /// past, and no device wins for ever.
    fn check_last_viewer(&mut self) {
        assert_eq!(self.rates, Rates::NONE, "the household is healed");
        for index in 0..self.devices.len() {
            self.operate(index, What::Play, DEFAULT, 1);
            let last = self.oracle.actions.len() as u32 - 1;
            self.run_until_quiet();
            for (other, device) in self.devices.iter().enumerate() {
                let replica = device.client.as_ref().expect("it is on").replica();
                let shown = replica.progress(ProfileId::DEFAULT, &title(1));
                let shown = shown.map(|item| item.progress.position_s);
                assert_eq!(shown, Some(last), "tv {other} shows what tv {index} plays");
            }
        }
        self.check_rest();
    }
}
