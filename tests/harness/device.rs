//! A TV: the real client, a virtual disk, and clocks that may be wrong.

use crate::dice::Dice;
use crate::faults::{Counts, Fault, Rates};
use crate::ledger::Ledger;
use crate::link::Kind;
use crate::shown::Shown;
use omega_sync_core::clock::UnixMillis;
use omega_sync_core::operation::Changed;
use omega_sync_core::replica::Now;
use omega_sync_core::session::client::{Client, Output};
use std::collections::VecDeque;
use std::rc::Rc;

/// A record, and what the device held with it.
type Written = (Vec<u8>, Rc<Ledger>);

/// Storage as its contract says: a list of records that grows at its end, or is replaced whole.
/// What was not flushed may be lost in a power cut, from some record on.
#[derive(Debug, Clone, Default)]
pub struct Disk {
    records: Vec<Vec<u8>>,
    ledgers: Vec<Rc<Ledger>>,
    unflushed: Vec<(bool, Written)>,
    /// Whether the last record is only half there.
    pub torn: bool,
}

impl Disk {
    /// Adds a record, or replaces all by it.
    pub fn write(&mut self, replaces: bool, record: Vec<u8>, ledger: Rc<Ledger>) {
        self.unflushed.push((replaces, (record, ledger)));
    }

    /// Makes everything durable.
    pub fn flush(&mut self) {
        for (replaces, (record, ledger)) in self.unflushed.drain(..) {
            if replaces {
                self.records.clear();
                self.ledgers.clear();
                self.torn = false;
            }
            self.records.push(record);
            self.ledgers.push(ledger);
        }
    }

    /// The power goes: of what was not flushed some may be lost, or half written.
    pub fn cut_power(&mut self, rates: &Rates, counts: &mut Counts, dice: &mut Dice) {
        let waiting = self.unflushed.len();
        if waiting > 0 && dice.hits(rates.rate(Fault::LostWrite)) {
            counts.note(Fault::LostWrite);
            let kept = dice.place(waiting);
            let lost = self.unflushed.split_off(kept);
            self.flush();
            let (replaces, (mut record, ledger)) = lost.into_iter().next().expect("one is lost");
            // An image takes the place of what was there at once or not at all.
            let tears = !replaces && !self.records.is_empty() && !self.torn;
            if tears && dice.hits(rates.rate(Fault::TornWrite)) {
                counts.note(Fault::TornWrite);
                record.truncate(dice.place(record.len()));
                self.records.push(record);
                self.ledgers.push(ledger);
                self.torn = true;
            }
        }
        self.flush();
    }

    /// What a start finds, first to last.
    pub fn records(&self) -> &[Vec<u8>] {
        &self.records
    }

    /// What the device held when it wrote the last whole record.
    pub fn ledger(&self) -> Rc<Ledger> {
        let whole = self.ledgers.len() - usize::from(self.torn);
        self.ledgers[..whole].last().cloned().unwrap_or_default()
    }

    /// Another disk with the same on it, as far as it is durable.
    pub fn copy(&self) -> Self {
        Self { unflushed: Vec::new(), ..self.clone() }
    }

    /// Bytes of the image and of the log after it.
    pub fn sizes(&self) -> (usize, usize) {
        let total: usize = self.records.iter().map(Vec::len).sum();
        let image = self.records.first().map_or(0, Vec::len);
        (image, total - image)
    }
}

/// An output that waits to be carried out, and what the device held when it decided on it.
#[derive(Debug)]
pub struct Job {
    /// What to do.
    pub output: Output,
    /// What a frame is, if it is one.
    pub kind: Kind,
    /// The ledger.
    pub ledger: Rc<Ledger>,
}

/// A device and what survives its power cuts.
#[derive(Debug, Default)]
pub struct Device {
    /// The running app; `None` while the power is off.
    pub client: Option<Client>,
    /// Its storage.
    pub disk: Disk,
    /// What the disk was earlier.
    pub kept: Option<Disk>,
    /// Outputs that wait, one by one. A power cut loses them.
    pub queue: VecDeque<Job>,
    /// What it holds now.
    pub ledger: Rc<Ledger>,
    /// Whether its storage was damaged, so that it may take a new id.
    pub damaged: bool,
    /// The link in use, by its place in the world.
    pub link: Option<usize>,
    /// When to wake the client, by the device's steady clock.
    pub wake_at_ms: Option<u64>,
    /// Wall clock minus true time, in milliseconds.
    pub skew_ms: i64,
    /// True time when the power came on, and what passed since while the steady clock stood still.
    pub started_ms: u64,
    /// True time until which it sleeps.
    pub asleep_until_ms: u64,
    /// True time at which the last hello left.
    pub hello_ms: u64,
    /// Whether there is no network.
    pub offline: bool,
    /// What its screen showed when that was last looked at.
    pub screen: Option<Shown>,
    /// What it said changed since.
    pub changed: Changed,
    /// How many calls until its screen is looked at again.
    pub look_in: u32,
}

impl Device {
    /// Whether it is on and awake.
    pub fn is_awake(&self, time_ms: u64) -> bool {
        self.client.is_some() && self.asleep_until_ms <= time_ms
    }

    /// Memory and everything not carried out is gone.
    pub fn lose_memory(&mut self) {
        self.client = None;
        self.queue.clear();
        self.wake_at_ms = None;
        self.screen = None;
        self.changed.clear();
        self.asleep_until_ms = 0;
    }

    /// Both clocks of the device at a true time.
    pub fn now(&self, time_ms: u64) -> Now {
        Now {
            unix: UnixMillis(time_ms.saturating_add_signed(self.skew_ms)),
            steady_ms: time_ms.max(self.asleep_until_ms) - self.started_ms,
        }
    }
}
