//! Taste, for JavaScript: learning, exchange and recommendations, in builds with the feature `patterns`.
//!
//! As in the rest of the module there is no logic here. Lists of ids cross as one text, an id a line:
//! no id has a line break; a vector as 32-bit floats, little endian.

use crate::answer::{Address, Answer};
use crate::call::{UNKNOWN, Values};
use crate::convert::{self, Code, content, profile};
use omega_sync_core::id::{ContentId, ProfileId};
use omega_sync_core::pattern::catalog::{Title, Vector};
use omega_sync_core::pattern::learner::Viewing;
use omega_sync_core::pattern::message::Floor;
use omega_sync_core::pattern::recommend::{Pick, Reason, Wish};
use omega_sync_core::pattern::{DIMENSIONS, Genre, Quality};
use omega_sync_core::replica::Now;
use omega_sync_core::session::taste::{Input, Output, Settings, Taste as Core};

/// Thousandths of one.
const PERMILLE: f64 = 1_000.0;
/// What is no title: a genre, or a vector of another length, without direction or not finite.
const INVALID_TITLE: Code = "invalid_title";
const INVALID_OPTION: Code = "invalid_option";

/// The numbers of the calls: the places in the list of `pkg/src/taste/engine.ts`, which says what values
/// each takes and gives.
mod number {
    pub const CONFIGURE: u8 = 0;
    pub const LOAD: u8 = 1;
    pub const FIRST_OUTPUTS: u8 = 2;
    pub const RECORD: u8 = 3;
    pub const LEARN_TITLES: u8 = 4;
    pub const PROFILES: u8 = 5;
    pub const OPT_OUT: u8 = 6;
    pub const TABLES: u8 = 7;
    pub const CONNECTED: u8 = 8;
    pub const DISCONNECTED: u8 = 9;
    pub const FRAME: u8 = 10;
    pub const SYNC_NOW: u8 = 11;
    pub const WAKE: u8 = 12;
    pub const PATTERNS: u8 = 13;
    pub const VIEWED: u8 = 14;
    pub const RECOMMEND: u8 = 15;
    pub const TRENDS: u8 = 16;
    pub const CONTRIBUTIONS: u8 = 17;
    pub const ABOUT: u8 = 18;
    pub const PROFILE_DELETED: u8 = 19;
}

/// What one device learns of its viewers.
pub struct Taste {
    core: Core,
    first: Vec<Output>,
    seed: [u8; 16],
    settings: Settings,
    answer: Answer,
}

impl Taste {
    /// One that knows nothing, of 16 bytes of entropy.
    pub fn new(seed: [u8; 16]) -> Self {
        let settings = Settings::default();
        let opened = Core::load(&[], &[], settings, seed).expect("nothing that could be refused");
        let (core, first) = (opened.taste, opened.outputs);
        Self { core, first, seed, settings, answer: Answer::default() }
    }

    /// Makes a call. Refuses with the code of what is wrong with its values.
    pub fn call(&mut self, call: u8, values: Values, now: Now) -> Address {
        self.answer.clear();
        match self.make(call, values, now) {
            Ok(()) => self.answer.end(),
            Err(code) => self.answer.refuse(code),
        }
    }

    fn make(&mut self, call: u8, mut values: Values, now: Now) -> Result<(), Code> {
        match call {
            number::CONFIGURE => self.configure(values)?,
            number::LOAD => self.load(values)?,
            number::FIRST_OUTPUTS => {
                outputs(&core::mem::take(&mut self.first), &mut self.answer);
            }
            number::PATTERNS => self.patterns(values.profile()?),
            number::VIEWED => self.viewed(values.profile()?),
            number::RECOMMEND => self.recommend(values, now)?,
            number::TRENDS => self.trends(now),
            number::CONTRIBUTIONS => self.contributions(),
            number::ABOUT => self.about(now),
            _ => {
                let done = self.say(call, values, now)?;
                outputs(&done, &mut self.answer);
            }
        }
        Ok(())
    }

    /// Says to the core what happened.
    fn say(&mut self, call: u8, mut values: Values, now: Now) -> Result<Vec<Output>, Code> {
        let profiles: Vec<ProfileId>;
        let input = match call {
            number::RECORD => Input::Viewed(self.viewing(values)?),
            number::LEARN_TITLES => Input::Titles(titles(values)?),
            number::PROFILES => {
                // The default profile's id is the empty line.
                profiles = values.text().split('\n').map(profile).collect::<Result<_, _>>()?;
                Input::Profiles(&profiles)
            }
            number::PROFILE_DELETED => Input::ProfileDeleted(values.profile()?),
            number::OPT_OUT => Input::OptOut(values.whole() != 0),
            number::TABLES => Input::Tables(values.bytes().to_vec()),
            number::CONNECTED => Input::Connected,
            number::DISCONNECTED => Input::Disconnected,
            number::FRAME => Input::Frame(values.bytes()),
            number::SYNC_NOW => Input::SyncNow,
            number::WAKE => Input::Woke,
            _ => return Err(UNKNOWN),
        };
        Ok(self.core.handle(now, input))
    }

    /// What the app chooses, before loading: least share of successes (0 to 1) and least samples of what
    /// leaves; cosine floor; bytes of a batch and of an answer; bounds of the interval in milliseconds;
    /// whether titles come from the server too.
    fn configure(&mut self, mut values: Values) -> Result<(), Code> {
        let success_rate = values.number();
        let settings = Settings {
            quality: Quality {
                success_permille: (success_rate * PERMILLE).round_ties_even() as u32,
                sample_count: values.whole() as u32,
            },
            floor: Floor::new(values.number() as f32).map_err(|_| INVALID_OPTION)?,
            batch_bytes: values.whole() as u32,
            answer_bytes: values.whole() as u32,
            interval_ms: (values.whole(), values.whole()),
            wants_titles: values.whole() != 0,
        };
        if !(0.0..=1.0).contains(&success_rate) || !settings.is_valid() {
            return Err(INVALID_OPTION);
        }
        self.settings = settings;
        Ok(())
    }

    /// Becomes what was stored: how many records of the small log follow, these, and those of the large
    /// one. Answers what damage was found in each, empty when none.
    fn load(&mut self, mut values: Values) -> Result<(), Code> {
        let small = values.whole() as usize;
        let mut taste = values.to_vecs();
        let catalog = taste.split_off(small.min(taste.len()));
        let opened = Core::load(&taste, &catalog, self.settings, self.seed);
        let opened = opened.map_err(|_| "storage_newer")?;
        self.core = opened.taste;
        self.first = opened.outputs;
        for damage in opened.damage {
            self.answer.text(damage.map_or("", convert::damage));
        }
        Ok(())
    }

    /// Somebody watched a part (0 to 1) of a title. Its genre and vector may be empty when the title is
    /// known.
    fn viewing(&self, mut values: Values) -> Result<Viewing, Code> {
        let (profile, content) = values.shelf()?;
        let (genre, vector) = (values.text(), values.bytes());
        let title = match (genre, vector) {
            ("", []) => None,
            _ => Some(title(&content, genre, &floats(vector))?),
        };
        // The cast turns what is no number into 0.
        let permille = (values.number().clamp(0.0, 1.0) * PERMILLE) as u16;
        let finished = values.whole() != 0;
        self.core.viewing(profile, content, title, permille, finished).ok_or("unknown_title")
    }

    /// Id, genre, samples, successes and example (a title, or empty) of what a profile learned.
    fn patterns(&mut self, profile: ProfileId) {
        for learned in self.core.learner().of(profile) {
            self.answer.id(learned.id.0 as u64);
            self.answer.text(learned.genre.as_str());
            self.answer.number(learned.sample_count.into());
            self.answer.number(learned.success_count.into());
            self.answer.text(learned.example.as_ref().map_or("", ContentId::as_str));
        }
    }

    /// Titles that a profile watched, the oldest first, and of each 1 when it was a success.
    fn viewed(&mut self, profile: ProfileId) {
        for (content, success) in self.core.learner().outcomes(profile) {
            self.answer.text(content.as_str());
            self.answer.number(f64::from(u8::from(success)));
        }
    }

    /// Title, genre, score (about 0 to 1), reason (0 own, 1 global, 2 trend) and the title that is the
    /// reason, of so many; the genre may be empty, what is excluded has an id a line. Nothing is
    /// different afterwards.
    fn recommend(&mut self, mut values: Values, now: Now) -> Result<(), Code> {
        let (profile, count) = (values.profile()?, values.whole() as usize);
        let genre = match values.text() {
            "" => None,
            name => Some(Genre::new(name).map_err(|_| INVALID_TITLE)?),
        };
        // What is no id is no title that could be recommended.
        let excluded: Vec<ContentId> =
            values.text().lines().filter_map(|id| ContentId::new(id).ok()).collect();
        let wish = Wish { profile, count, genre: genre.as_ref(), excluded: &excluded };
        let picks = self.core.recommend(now, &wish);
        picks.iter().for_each(|pick| picked(pick, &mut self.answer));
        Ok(())
    }

    /// Title, genre and score of each trend that counts, strongest first.
    fn trends(&mut self, now: Now) {
        let trends = self.core.trends(now).into_iter();
        for trend in trends.flat_map(|trends| &trends.list) {
            self.answer.text(trend.content.as_str());
            self.answer.text(trend.genre.as_str());
            self.answer.number(f64::from(trend.score) / PERMILLE);
        }
    }

    /// Id, genre, samples, successes and time (Unix milliseconds) of what left and the server has.
    fn contributions(&mut self) {
        for (id, acked) in self.core.contributions().iter() {
            self.answer.id(id.0 as u64);
            self.answer.text(acked.pattern.genre.as_str());
            self.answer.number(acked.pattern.sample_count().into());
            self.answer.number(acked.pattern.success_count().into());
            self.answer.number(acked.at.0 as f64);
        }
    }

    /// Milliseconds until the next sync is due, version of the global patterns, how many of them, how many
    /// titles, id of the tables (0 none), 1 when the viewer takes no part, 1 when what the server releases
    /// is not private; and the region of the trends, or nothing.
    fn about(&mut self, now: Now) {
        for number in [
            self.core.time_until_sync(now) as f64,
            self.core.version() as f64,
            self.core.globals().len() as f64,
            self.core.catalog().len() as f64,
            f64::from(self.core.tables_id()),
            f64::from(u8::from(self.core.opted_out())),
            f64::from(u8::from(self.core.not_private())),
        ] {
            self.answer.number(number);
        }
        let region = self.core.trends(now).map_or("", |trends| &trends.region);
        self.answer.text(region);
    }
}

/// Ids and genres, one a line, and their vectors one after the other.
fn titles(mut values: Values) -> Result<Vec<Title>, Code> {
    let (ids, genres, vectors) = (values.text(), values.text(), floats(values.bytes()));
    let named = ids.split('\n').zip(genres.split('\n'));
    let titles = named
        .zip(vectors.chunks(DIMENSIONS))
        .map(|((id, genre), vector)| title(&content(id)?, genre, vector));
    titles.collect()
}

fn floats(bytes: &[u8]) -> Vec<f32> {
    let (floats, _) = bytes.as_chunks();
    floats.iter().map(|float| f32::from_le_bytes(*float)).collect()
}

fn title(content: &ContentId, genre: &str, vector: &[f32]) -> Result<Title, Code> {
    let genre = Genre::new(genre).map_err(|_| INVALID_TITLE)?;
    let vector = Vector::from_f32(vector).map_err(|_| INVALID_TITLE)?;
    Ok(Title { content: content.clone(), genre, vector })
}

fn picked(pick: &Pick, answer: &mut Answer) {
    answer.text(pick.content.as_str());
    answer.text(pick.genre.as_str());
    answer.number(f64::from(pick.score) / f64::from(omega_sync_core::pattern::ONE));
    let (kind, example) = match &pick.reason {
        Reason::Own(example) => (0.0, example.as_ref()),
        Reason::Global => (1.0, None),
        Reason::Trend => (2.0, None),
    };
    answer.number(kind);
    answer.text(example.map_or("", ContentId::as_str));
}

/// Kind and value of each output; of what is stored, the log before the bytes.
fn outputs(outputs: &[Output], answer: &mut Answer) {
    for output in outputs {
        match output {
            Output::Append(log, record) => {
                answer.byte(0);
                answer.byte(*log as u8);
                answer.bytes(record);
            }
            Output::Replace(log, image) => {
                answer.byte(1);
                answer.byte(*log as u8);
                answer.bytes(image);
            }
            Output::Send(frame) => {
                answer.byte(2);
                answer.bytes(frame);
            }
            Output::FetchTables(id) => {
                answer.byte(3);
                answer.number(f64::from(*id));
            }
            Output::Changed(what) => {
                answer.byte(4);
                answer.byte(*what as u8);
            }
            Output::Synced(ending) => {
                answer.byte(5);
                answer.text(ending.name());
            }
            Output::Refused(count) => {
                answer.byte(6);
                answer.number(*count as f64);
            }
            Output::Wake(delay_ms) => {
                answer.byte(7);
                answer.number(*delay_ms as f64);
            }
        }
    }
}
