//! Everything that can go wrong, how often it does, and how often it did.

use crate::dice::Dice;

macro_rules! faults {
    ($($(#[$doc:meta])* $fault:ident $name:literal $rate:literal $kind:ident;)*) => {
        /// One kind of trouble.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Fault { $($(#[$doc])* $fault,)* }

        impl Fault {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$fault,)*];

            /// Its name in reports and on the command line.
            pub fn name(self) -> &'static str {
                match self { $(Self::$fault => $name,)* }
            }

            /// How often it happens, in 10,000 of its occasions.
            fn base(self) -> u16 {
                match self { $(Self::$fault => $rate,)* }
            }

            /// What it breaks.
            pub fn kind(self) -> Kind {
                match self { $(Self::$fault => Kind::$kind,)* }
            }
        }
    };
}

/// What a fault breaks, and with it how much can still be demanded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Everything is promised through it.
    Plain,
    /// It breaks what storage promises, so less is promised: see [`crate::oracle`].
    Storage,
}

faults! {
    /// A frame vanishes though its connection stays.
    Loss "loss" 60 Plain;
    /// A frame comes twice.
    Duplicate "duplicate" 60 Plain;
    /// A frame overtakes the one before on its connection.
    Overtake "overtake" 60 Plain;
    /// A frame takes its time: up to half a minute, and those behind it too.
    Delay "delay" 400 Plain;
    /// What a device sent before it hung up arrives long after, beside its next connection.
    Late "late" 4_000 Plain;
    /// A connection breaks with what was on its way; both ends hear of it.
    Cut "cut" 40 Plain;
    /// A connection breaks and neither end hears of it.
    SilentCut "silent_cut" 30 Plain;
    /// A device loses its network for a while.
    Partition "partition" 40 Plain;
    /// A device loses power between two outputs.
    PowerCut "power_cut" 50 Plain;
    /// Of the writes that a power cut interrupts only some survive.
    LostWrite "lost_write" 5_000 Plain;
    /// The write that a power cut interrupts is cut off in the middle.
    TornWrite "torn_write" 4_000 Storage;
    /// A device's wall clock is set wrong, or right.
    ClockJump "clock_jump" 25 Plain;
    /// A device's wall clock starts at 1970.
    Clock1970 "clock_1970" 10 Plain;
    /// A device sleeps: its steady clock stands still while time goes on.
    Standby "standby" 25 Plain;
    /// The server's process is killed between two outputs.
    ServerKill "server_kill" 25 Plain;
    /// The server's disk refuses a commit.
    CommitFails "commit_fails" 60 Plain;
    /// The server is killed after a commit became durable and before anybody hears of it.
    CommitThenKill "commit_then_kill" 60 Plain;
    /// Several inputs of the server share one commit.
    Batch "batch" 3_000 Plain;
    /// A connection's token allows no writing.
    ReadOnly "read_only" 400 Plain;
    /// The server's database is put back to a backup, with a new epoch.
    Restore "restore" 12 Plain;
    /// A device's storage is emptied.
    Wipe "wipe" 8 Storage;
    /// A device's storage is put back to what it was earlier.
    Rollback "rollback" 10 Storage;
    /// A device starts from a copy of another one's storage.
    Clone "clone" 10 Storage;
    /// A node of the server loses its way to the database for a while.
    StoreCut "store_cut" 20 Plain;
    /// A wake-up between two nodes is lost.
    BusLoss "bus_loss" 1_500 Plain;
    /// A wake-up between two nodes takes its time: up to ten seconds, those behind it too.
    BusDelay "bus_delay" 1_500 Plain;
    /// A wake-up between two nodes comes twice.
    BusDuplicate "bus_duplicate" 500 Plain;
    /// A wake-up between two nodes overtakes the one before.
    BusOvertake "bus_overtake" 500 Plain;
    /// A device's network comes and goes faster than the device carries out what it wants.
    Flap "flap" 15 Plain;
    /// No socket gets through: a session is one request. Only where that is what is looked at.
    Request "request" 0 Plain;
    /// A page goes to the background, and sends what waits. The same.
    Hide "hide" 0 Plain;
}

impl Fault {
    /// Whether it belongs to the usual mixture.
    pub fn is_usual(self) -> bool {
        self.base() > 0
    }

    /// Whether households with restores have it, too ([`Rates::with_restores`]).
    pub fn goes_with_restores(self) -> bool {
        !matches!(self, Self::Rollback | Self::Clone)
    }

    /// Whether it happens by itself, and not when something is sent, stored or opened.
    fn is_per_step(self) -> bool {
        !matches!(
            self,
            Self::Loss
                | Self::Duplicate
                | Self::Overtake
                | Self::Delay
                | Self::Late
                | Self::LostWrite
                | Self::TornWrite
                | Self::CommitFails
                | Self::CommitThenKill
                | Self::Batch
                | Self::ReadOnly
                | Self::BusLoss
                | Self::BusDelay
                | Self::BusDuplicate
                | Self::BusOvertake
                | Self::Request
        )
    }
}

/// How often no socket gets through, and how often a page hides, where that is what is looked at.
const REQUESTS: u16 = 4_000;
const HIDES: u16 = 60;
/// How often the database is put back, in 10,000 steps, where that is what is looked at.
const OFTEN: u16 = 120;

/// How many kinds there are.
pub const FAULTS: usize = Fault::ALL.len();

/// How often each fault happens, in 10,000 of its occasions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rates([u16; FAULTS]);

impl Rates {
    /// Nothing goes wrong.
    pub const NONE: Self = Self([0; FAULTS]);

    /// A seed's own mixture: each fault is left out of half of the runs, because a fault that is
    /// always there hides what only happens without it; damage to storage is left out of three
    /// quarters.
    pub fn of(seed: u64) -> Self {
        let mut dice = Dice::new(seed, u64::MAX);
        let mut rates = Self::NONE;
        if seed.is_multiple_of(32) {
            return rates;
        }
        let damage = dice.below(4) == 0;
        for &fault in Fault::ALL {
            let factor = [0, 0, 0, 1, 1, 3][dice.place(6)];
            let allowed = fault.kind() == Kind::Plain || damage;
            let rate = fault.base().saturating_mul(if allowed { factor } else { 0 });
            rates.0[fault as usize] = rate.min(9_000);
        }
        rates.possible()
    }

    /// The same, but the server's database is put back often, in every household.
    pub fn with_restores(seed: u64) -> Self {
        let mut rates = Self::of(seed);
        rates.0[Fault::Restore as usize] = OFTEN;
        rates.possible()
    }

    /// The same, but sessions are often requests, in every household.
    pub fn with_requests(seed: u64) -> Self {
        let mut rates = Self::of(seed);
        rates.0[Fault::Request as usize] = REQUESTS;
        rates.0[Fault::Hide as usize] = HIDES;
        rates.possible()
    }

    /// When the database and a device are both put back, nobody may be left who knows what was.
    fn possible(self) -> Self {
        if self.rate(Fault::Restore) == 0 {
            return self;
        }
        let apart = Fault::ALL.iter().filter(|fault| !fault.goes_with_restores());
        apart.fold(self, |rates, &fault| rates.without(fault))
    }

    /// How often a fault happens.
    pub fn rate(&self, fault: Fault) -> u16 {
        self.0[fault as usize]
    }

    /// Leaves a fault out.
    pub fn without(mut self, fault: Fault) -> Self {
        self.0[fault as usize] = 0;
        self
    }

    /// The faults that need no occasion: they happen by themselves, once in so many steps.
    pub fn per_step(&self) -> Vec<(Fault, u16)> {
        let all = Fault::ALL.iter().map(|&fault| (fault, self.rate(fault)));
        all.filter(|&(fault, rate)| rate > 0 && fault.is_per_step()).collect()
    }

    /// Whether frames get lost, repeated or out of order on a connection that stays.
    pub fn tampers(&self) -> bool {
        [Fault::Loss, Fault::Duplicate, Fault::Overtake].iter().any(|&fault| self.rate(fault) > 0)
    }
}

/// How often each fault happened.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts([u64; FAULTS]);

impl Counts {
    /// Notes one occurrence.
    pub fn note(&mut self, fault: Fault) {
        self.0[fault as usize] += 1;
    }

    /// How often a fault happened.
    pub fn of(&self, fault: Fault) -> u64 {
        self.0[fault as usize]
    }

    /// Adds another run's counts.
    pub fn add(&mut self, other: &Self) {
        self.0.iter_mut().zip(other.0).for_each(|(mine, theirs)| *mine += theirs);
    }
}
