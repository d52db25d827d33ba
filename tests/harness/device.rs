//! A TV: the real client, a virtual disk, and clocks that may be wrong.

use omega_sync_core::clock::UnixMillis;
use omega_sync_core::id::{HouseholdId, Random};
use omega_sync_core::replica::Now;
use omega_sync_core::session::client::{Client, Output};
use std::collections::VecDeque;

/// A device and what survives its power cuts.
#[derive(Debug)]
pub struct Device {
    /// The running app; `None` while the power is off.
    pub client: Option<Client>,
    /// What a reload finds: the records, image first.
    pub disk: Vec<Vec<u8>>,
    /// Outputs that wait to be carried out, one by one, each with the action that it makes durable. A
    /// power cut loses them.
    pub queue: VecDeque<(Output, Option<u32>)>,
    /// The link in use, by its place in the world.
    pub link: Option<usize>,
    /// When to wake the client, by the device's steady clock.
    pub wake_at_ms: Option<u64>,
    /// Wall clock minus true time, in milliseconds.
    pub skew_ms: i64,
    /// True time when the power came on.
    pub started_ms: u64,
    /// Whether there is a network.
    pub online: bool,
}

impl Device {
    /// A device that was never switched on.
    pub fn new(skew_ms: i64) -> Self {
        Self {
            client: None,
            disk: Vec::new(),
            queue: VecDeque::new(),
            link: None,
            wake_at_ms: None,
            skew_ms,
            started_ms: 0,
            online: true,
        }
    }

    /// Switches the power on.
    ///
    /// # Panics
    /// When the disk can't be read: no fault here damages it.
    pub fn boot(&mut self, household: &HouseholdId, time_ms: u64, random: &mut Random) {
        let mut seed = [0; 16];
        seed[..8].copy_from_slice(&random.bits().to_le_bytes());
        seed[8..].copy_from_slice(&random.bits().to_le_bytes());
        let opened = Client::load(&self.disk, Some(household.clone()), seed);
        let opened = opened.expect("the disk holds what the client wrote");
        assert_eq!(opened.damage, None, "the disk holds what the client wrote");
        self.client = Some(opened.client);
        self.queue.extend(opened.outputs.into_iter().map(|output| (output, None)));
        self.started_ms = time_ms;
    }

    /// Cuts the power: memory and everything not carried out is gone.
    pub fn cut_power(&mut self) {
        self.client = None;
        self.queue.clear();
        self.wake_at_ms = None;
        self.link = None;
    }

    /// Both clocks of the device at a true time.
    pub fn now(&self, time_ms: u64) -> Now {
        Now {
            unix: UnixMillis(time_ms.saturating_add_signed(self.skew_ms)),
            steady_ms: time_ms - self.started_ms,
        }
    }
}
