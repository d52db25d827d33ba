//! What goes wrong by itself, as often as the run's rates say.

use crate::device::Disk;
use crate::faults::Fault;
use crate::oracle::epoch_of;
use crate::world::World;
use omega_sync_core::session::client::Input;

/// How often, in 10,000 steps, somebody copies a disk or the database for later.
const COPY_RATE: u16 = 40;
/// How often, in 10,000 steps, a device that is off is switched on.
const BOOT_RATE: u16 = 1_500;
/// How often, in 10,000 steps, a device that has no network gets it back.
const HEAL_RATE: u16 = 400;

impl World {
    /// Perhaps something breaks in this step.
    pub fn trouble(&mut self) {
        let index = self.dice.place(self.devices.len());
        let mut drawn = self.dice.below(10_000) as u16;
        let mut struck = None;
        for &(fault, rate) in &self.per_step {
            if drawn < rate {
                struck = Some(fault);
                break;
            }
            drawn -= rate;
        }
        if let Some(fault) = struck {
            self.strike(fault, index);
        }
        let device = &self.devices[index];
        let (off, awake) = (device.client.is_none(), device.is_awake(self.time_ms));
        if off && self.dice.hits(BOOT_RATE) {
            self.boot(index);
        } else if awake && self.devices[index].offline && self.dice.hits(HEAL_RATE) {
            self.set_online(index, true);
        }
        if self.rates.rate(Fault::Restore) > 0 && self.dice.hits(COPY_RATE) {
            self.back_up();
        }
        if self.rates.rate(Fault::Rollback) > 0 && self.dice.hits(COPY_RATE) {
            self.devices[index].kept = Some(self.devices[index].disk.copy());
        }
    }

    fn strike(&mut self, fault: Fault, index: usize) {
        let awake = self.devices[index].is_awake(self.time_ms);
        match fault {
            Fault::Cut | Fault::SilentCut => self.cut(fault),
            Fault::Partition if awake && !self.devices[index].offline => {
                self.note(fault, || format!("tv {index} loses the network"));
                self.set_online(index, false);
            }
            Fault::PowerCut if self.devices[index].client.is_some() => {
                self.note(fault, || format!("tv {index} loses power"));
                self.cut_power(index);
            }
            Fault::ClockJump => {
                let skew_ms = self.skew();
                self.note(fault, || format!("tv {index}'s clock is now {skew_ms} ms off"));
                self.set_clock(index, skew_ms);
            }
            Fault::Clock1970 => {
                let skew_ms = self.skew_1970();
                self.note(fault, || format!("tv {index}'s clock is now at 1970"));
                self.set_clock(index, skew_ms);
            }
            Fault::Standby => self.sleep(index),
            Fault::ServerKill => {
                let node = self.some_node();
                self.note(fault, || format!("node {node} is killed"));
                self.server_ends(node, None);
            }
            Fault::StoreCut => self.cut_store(),
            Fault::Restore => self.restore(),
            Fault::Wipe => {
                self.note(fault, || format!("tv {index}'s storage is emptied"));
                self.replace_disk(index, Disk::default());
            }
            Fault::Rollback => {
                let Some(kept) = self.devices[index].kept.clone() else {
                    return;
                };
                self.note(fault, || format!("tv {index}'s storage is put back"));
                let ledger = kept.ledger();
                self.oracle.blur(&ledger);
                self.replace_disk(index, kept);
            }
            Fault::Clone => self.clone_disk(index),
            Fault::Hide if awake && !self.devices[index].offline => {
                self.note(Fault::Hide, || format!("tv {index}'s app goes to the background"));
                self.input(index, Input::Hiding("token".into()));
            }
            Fault::Flap if awake && !self.devices[index].offline => self.flap(index),
            _ => {}
        }
    }

    fn cut(&mut self, fault: Fault) {
        if self.alive.is_empty() {
            return;
        }
        let place = self.alive[self.dice.place(self.alive.len())];
        let link = &mut self.links[place];
        if link.broken || link.ended || link.is_over() {
            return;
        }
        // Some of what was on its way still arrives.
        link.up.cut(self.dice.place(3));
        link.down.cut(self.dice.place(3));
        link.ended = fault == Fault::Cut;
        link.broken = fault == Fault::SilentCut;
        self.note(fault, || format!("connection {place} breaks"));
    }

    fn some_node(&mut self) -> usize {
        let nodes = self.server.nodes.len();
        if nodes > 1 { self.dice.place(nodes) } else { 0 }
    }

    /// A node loses its way to the database for a while.
    fn cut_store(&mut self) {
        let node = self.some_node();
        let away_ms = [2_000, 60_000, 600_000][self.dice.place(3)];
        let away_ms = 1 + self.dice.below(away_ms);
        self.note(Fault::StoreCut, || {
            format!("node {node} can't reach the database for {away_ms} ms")
        });
        self.server.nodes[node].cut_until_ms = self.time_ms + away_ms;
    }

    /// Plugs the network cable of a device in or out.
    pub fn set_online(&mut self, index: usize, online: bool) {
        self.say(|| format!("tv {index} is online: {online}"));
        self.devices[index].offline = !online;
        self.input(index, if online { Input::Online } else { Input::Offline });
    }

    /// The platform says again and again that the network is back: outputs of an earlier connection
    /// are carried out on a later one.
    fn flap(&mut self, index: usize) {
        self.note(Fault::Flap, || format!("tv {index}'s network comes and goes"));
        for _ in 0..2 + self.dice.below(4) {
            self.input(index, Input::Online);
            for _ in 0..self.dice.below(4) {
                self.carry_out(index);
            }
        }
    }

    /// A device loses power.
    pub fn cut_power(&mut self, index: usize) {
        let device = &mut self.devices[index];
        device.disk.cut_power(&self.rates, &mut self.tally.faults, &mut self.dice);
        device.lose_memory();
        self.hang_up(index);
    }

    fn set_clock(&mut self, index: usize, skew_ms: i64) {
        self.devices[index].skew_ms = skew_ms;
        self.oracle.clocks.walls[index].set_ms = self.time_ms;
    }

    /// A device sleeps with its steady clock.
    fn sleep(&mut self, index: usize) {
        let time_ms = self.time_ms;
        if !self.devices[index].is_awake(time_ms) {
            return;
        }
        let sleep_ms = [2_000, 60_000, 900_000][self.dice.place(3)];
        let sleep_ms = 1 + self.dice.below(sleep_ms);
        self.note(Fault::Standby, || format!("tv {index} sleeps {sleep_ms} ms"));
        self.devices[index].asleep_until_ms = time_ms + sleep_ms;
        self.devices[index].started_ms += sleep_ms;
    }

    /// The household is away for hours: every device sleeps, or is switched off at the wall.
    pub fn pause(&mut self) {
        let hours_ms = 3_600_000 * (1 + self.dice.below(9)) + self.dice.below(3_600_000);
        self.say(|| format!("nobody is there for {} min", hours_ms / 60_000));
        let sleeps = self.rates.rate(Fault::Standby) > 0;
        for index in 0..self.devices.len() {
            if self.devices[index].client.is_none() {
                continue;
            }
            let awake = self.devices[index].is_awake(self.time_ms);
            if self.dice.below(4) == 0 {
                self.cut_power(index);
            } else if sleeps && awake && self.dice.below(2) == 0 {
                self.tally.faults.note(Fault::Standby);
                self.devices[index].started_ms += hours_ms;
            }
        }
        self.time_ms += hours_ms;
        for index in 0..self.devices.len() {
            let awake = self.devices[index].is_awake(self.time_ms);
            if !awake || self.devices[index].offline || self.dice.below(2) == 0 {
                continue;
            }
            // The platform tells half of them that they woke; the others find out.
            self.input(index, Input::Online);
        }
    }

    fn back_up(&mut self) {
        if self.oracle.lives.is_empty() {
            return;
        }
        let life = self.oracle.back_up();
        if let Some(backup) = self.server.store.back_up(life) {
            self.server.backup = Some(backup);
            self.say(|| "the database is copied".into());
        }
    }

    fn restore(&mut self) {
        if self.server.backup.is_none() {
            return;
        }
        self.note(Fault::Restore, || "the database is put back to its copy".into());
        (0..self.server.nodes.len()).for_each(|node| self.server_ends(node, None));
        let backup = self.server.backup.as_ref().expect("just looked");
        let epoch = epoch_of(self.oracle.lives.len(), 0);
        self.server.store.restore(backup, epoch);
        let life = backup.life.clone();
        self.oracle.restore(life);
    }

    fn replace_disk(&mut self, index: usize, disk: Disk) {
        self.cut_power(index);
        let device = &mut self.devices[index];
        device.disk = disk;
        device.damaged = true;
    }

    /// A device starts from a copy of another one's disk, whose owner goes on.
    fn clone_disk(&mut self, index: usize) {
        let from = self.dice.place(self.devices.len());
        if from == index || self.devices[from].disk.records().is_empty() {
            return;
        }
        self.note(Fault::Clone, || format!("tv {index} starts from a copy of tv {from}"));
        let disk = self.devices[from].disk.copy();
        self.oracle.blur(&disk.ledger());
        self.oracle.blur(&self.devices[from].ledger);
        self.devices[from].damaged = true;
        self.replace_disk(index, disk);
    }
}
