//! Taste on a device: what is learned, what leaves and when, what is recommended.

mod learning;
mod recommending;
mod server;
mod storing;
mod syncing;

use omega_sync_core::clock::UnixMillis;
use omega_sync_core::id::{ContentId, ProfileId, Random};
use omega_sync_core::pattern::catalog::{Title, Vector};
use omega_sync_core::pattern::learner::Viewing;
use omega_sync_core::pattern::{DIMENSIONS, Embedding, Genre};
use omega_sync_core::replica::Now;
use omega_sync_core::session::taste::{Input, Log, Output, Settings, Taste};

/// Components of a direction that depends on the number alone; two of them are all but perpendicular.
pub fn direction(number: u64) -> Vec<f32> {
    let mut random = Random::new(u128::from(number).to_le_bytes());
    let mut uniform = move || random.up_to(1 << 20) as f32 / (1 << 20) as f32 - 0.5;
    (0..DIMENSIONS).map(|_| uniform() + uniform() + uniform()).collect()
}

/// A title near a theme: so far away from it that titles of one theme have a cosine of about 0.3, as
/// titles of one genre have in MiniLM's space, when `apart` is 1.5.
pub fn near(theme: u64, number: u64, apart: f32) -> Embedding {
    let noise = direction(1_000_000 + theme * 10_000 + number);
    let both = direction(theme).into_iter().zip(noise);
    let components: Vec<f32> = both.map(|(theme, noise)| theme + apart * noise).collect();
    Embedding::from_f32(&components).expect("not all zero")
}

pub fn genre(name: &str) -> Genre {
    Genre::new(name).expect("valid")
}

pub fn content(name: &str) -> ContentId {
    ContentId::new(name).expect("valid")
}

/// Somebody of the default profile watched a title of a theme to its end.
pub fn finished(name: &str, theme: u64, number: u64) -> Viewing {
    Viewing {
        profile: ProfileId::DEFAULT,
        content: content(&format!("{name}:{number}")),
        genre: genre(name),
        embedding: near(theme, number, 1.5),
        watched_permille: 1_000,
        finished: true,
    }
}

/// The same, left early.
pub fn abandoned(name: &str, theme: u64, number: u64) -> Viewing {
    Viewing { watched_permille: 200, finished: false, ..finished(name, theme, number) }
}

pub fn title(name: &str, theme: u64, number: u64) -> Title {
    let vector = Vector::of(&near(theme, number, 1.5));
    Title { content: content(&format!("{name}:{number}")), genre: genre(name), vector }
}

/// A device: taste and what it stored, at a time of its own.
pub struct Tv {
    pub taste: Taste,
    pub now: Now,
    pub settings: Settings,
    /// Records of both logs.
    pub stored: [Vec<Vec<u8>>; 2],
    /// Frames that left and were not answered.
    pub sent: Vec<Vec<u8>>,
    /// What else was wanted.
    pub other: Vec<Output>,
    seed: u8,
}

impl Tv {
    pub fn new(seed: u8) -> Self {
        Self::with(seed, Settings::default())
    }

    pub fn with(seed: u8, settings: Settings) -> Self {
        let opened = Taste::load(&[], &[], settings, [seed; 16]).expect("nothing to refuse");
        let mut tv = Self {
            taste: opened.taste,
            now: Now { unix: UnixMillis(1_800_000_000_000), steady_ms: 0 },
            settings,
            stored: [Vec::new(), Vec::new()],
            sent: Vec::new(),
            other: Vec::new(),
            seed,
        };
        tv.carry_out(opened.outputs);
        tv
    }

    /// Carries outputs out. What was stored and sent by one input: nothing is stored after a frame left.
    fn carry_out(&mut self, outputs: Vec<Output>) {
        let mut left = false;
        for output in outputs {
            match output {
                Output::Append(log, record) => {
                    assert!(!left, "stored after something left");
                    self.stored[log as usize].push(record);
                }
                Output::Replace(log, image) => {
                    assert!(!left, "stored after something left");
                    self.stored[log as usize] = vec![image];
                }
                Output::Send(frame) => {
                    left = true;
                    self.sent.push(frame);
                }
                other => self.other.push(other),
            }
        }
    }

    pub fn handle(&mut self, input: Input) {
        if let Input::Disconnected = input {
            // What was on its way is lost with the socket.
            self.sent.clear();
        }
        let outputs = self.taste.handle(self.now, input);
        self.carry_out(outputs);
    }

    pub fn watch(&mut self, viewing: Viewing) {
        self.handle(Input::Viewed(viewing));
    }

    pub fn later(&mut self, ms: u64) {
        self.now.steady_ms += ms;
        self.now.unix = UnixMillis(self.now.unix.0 + ms);
    }

    /// The app was closed and is opened again; the connection is gone.
    pub fn restart(&mut self) {
        self.seed = self.seed.wrapping_add(1);
        let [taste, catalog] = &self.stored;
        let opened = Taste::load(taste, catalog, self.settings, [self.seed; 16]);
        let opened = opened.expect("of this version");
        assert_eq!(opened.damage, [None, None]);
        self.taste = opened.taste;
        self.sent.clear();
        self.now.steady_ms = 0;
        self.carry_out(opened.outputs);
    }

    pub fn log_bytes(&self, log: Log) -> usize {
        self.stored[log as usize].iter().map(Vec::len).sum()
    }
}
