//! Taste, for JavaScript: learning, exchange and recommendations, in builds with the feature `patterns`.
//!
//! As in the rest of the module there is no logic here. Lists of ids cross as one text, an id a line:
//! no id has a line break.

use crate::answer::{Address, Answer};
use crate::call::Values;
use crate::convert::{self, Code, content, now, profile};
use omega_sync_core::id::{ContentId, ProfileId};
use omega_sync_core::pattern::catalog::{Title, Vector};
use omega_sync_core::pattern::message::Floor;
use omega_sync_core::pattern::recommend::{Pick, Reason, Wish};
use omega_sync_core::pattern::{DIMENSIONS, Genre, Quality};
use omega_sync_core::session::taste::{Input, Output, Settings, Taste as Core};
use wasm_bindgen::prelude::*;

/// Thousandths of one.
const PERMILLE: f64 = 1_000.0;
/// What is no title: a genre, or a vector of another length, without direction or not finite.
const INVALID_TITLE: Code = "invalid_title";

/// What one device learns of its viewers.
#[wasm_bindgen]
pub struct Taste {
    core: Core,
    first: Vec<Output>,
    seed: [u8; 16],
    settings: Settings,
    answer: Answer,
}

#[wasm_bindgen]
impl Taste {
    /// One that knows nothing; the numbers are 16 bytes of entropy.
    #[wasm_bindgen(constructor)]
    pub fn new(a: u32, b: u32, c: u32, d: u32) -> Self {
        let mut seed = [0; 16];
        for (bytes, word) in seed.chunks_exact_mut(4).zip([a, b, c, d]) {
            bytes.copy_from_slice(&word.to_le_bytes());
        }
        let settings = Settings::default();
        let opened = Core::load(&[], &[], settings, seed).expect("nothing that could be refused");
        let (core, first) = (opened.taste, opened.outputs);
        Self { core, first, seed, settings, answer: Answer::default() }
    }

    /// What the app chooses, before [`Taste::load`]: least share of successes (0 to 1) and least samples of
    /// what leaves; cosine floor; bytes of a batch and of an answer; bounds of the interval in
    /// milliseconds; whether titles come from the server too. Refuses with `invalid_option`.
    #[allow(
        clippy::too_many_arguments,
        reason = "plain values are what crosses the border cheaply"
    )]
    pub fn configure(
        &mut self,
        success_rate: f64,
        sample_count: u32,
        floor: f64,
        batch_bytes: u32,
        answer_bytes: u32,
        interval_min_ms: f64,
        interval_max_ms: f64,
        wants_titles: bool,
    ) -> Address {
        let floor = Floor::new(floor as f32);
        let settings = floor.ok().map(|floor| Settings {
            quality: Quality {
                success_permille: (success_rate * PERMILLE).round_ties_even() as u32,
                sample_count,
            },
            floor,
            batch_bytes,
            answer_bytes,
            interval_ms: (interval_min_ms as u64, interval_max_ms as u64),
            wants_titles,
        });
        match settings.filter(Settings::is_valid) {
            Some(settings) if (0.0..=1.0).contains(&success_rate) => {
                self.settings = settings;
                self.answer.clear();
                self.answer.end()
            }
            _ => self.answer.refuse("invalid_option"),
        }
    }

    /// Becomes what was stored in the small and the large log; each record comes after its length. Answers
    /// what damage was found in each, empty when none. Refuses with `storage_newer`.
    pub fn load(&mut self, taste: &[u8], catalog: &[u8]) -> Address {
        let (taste, catalog) = (Values(taste).to_vecs(), Values(catalog).to_vecs());
        match Core::load(&taste, &catalog, self.settings, self.seed) {
            Err(_) => self.answer.refuse("storage_newer"),
            Ok(opened) => {
                self.core = opened.taste;
                self.first = opened.outputs;
                self.answer.clear();
                for damage in opened.damage {
                    self.answer.text(damage.map_or("", convert::damage));
                }
                self.answer.end()
            }
        }
    }

    /// What to do first after loading.
    #[wasm_bindgen(js_name = firstOutputs)]
    pub fn first_outputs(&mut self) -> Address {
        outputs(&core::mem::take(&mut self.first), self.answer.clear());
        self.answer.end()
    }

    /// Somebody watched a part (0 to 1) of a title. Its genre and vector may be empty when the title is
    /// known; refuses with `unknown_title` when it is not.
    #[allow(
        clippy::too_many_arguments,
        reason = "plain values are what crosses the border cheaply"
    )]
    pub fn record(
        &mut self,
        profile_id: &str,
        content_id: &str,
        genre: &str,
        vector: &[f32],
        watched: f64,
        finished: bool,
        unix_ms: f64,
        steady_ms: f64,
    ) -> Address {
        let viewing = profile(profile_id).and_then(|profile| {
            let content = content(content_id)?;
            let title = match (genre, vector) {
                ("", []) => None,
                _ => Some(title(&content, genre, vector)?),
            };
            // The cast turns what is no number into 0.
            let permille = (watched.clamp(0.0, 1.0) * PERMILLE) as u16;
            let viewing = self.core.viewing(profile, content, title, permille, finished);
            viewing.ok_or("unknown_title")
        });
        match viewing {
            Ok(viewing) => self.handle(Input::Viewed(viewing), unix_ms, steady_ms),
            Err(code) => self.answer.refuse(code),
        }
    }

    /// Learns titles: ids and genres, one a line, and their vectors one after the other.
    #[wasm_bindgen(js_name = learnTitles)]
    pub fn learn_titles(
        &mut self,
        content_ids: &str,
        genres: &str,
        vectors: &[f32],
        unix_ms: f64,
        steady_ms: f64,
    ) -> Address {
        let named = content_ids.split('\n').zip(genres.split('\n'));
        let titles = named
            .zip(vectors.chunks(DIMENSIONS))
            .map(|((id, genre), vector)| title(&content(id)?, genre, vector));
        match titles.collect::<Result<Vec<Title>, Code>>() {
            Ok(titles) => self.handle(Input::Titles(titles), unix_ms, steady_ms),
            Err(code) => self.answer.refuse(code),
        }
    }

    /// The household has only these profiles, one a line.
    pub fn profiles(&mut self, profile_ids: &str, unix_ms: f64, steady_ms: f64) -> Address {
        // The default profile's id is the empty line.
        let ids: Result<Vec<ProfileId>, Code> = profile_ids.split('\n').map(profile).collect();
        match ids {
            Ok(ids) => self.handle(Input::Profiles(&ids), unix_ms, steady_ms),
            Err(code) => self.answer.refuse(code),
        }
    }

    /// Whether the viewer takes no part.
    #[wasm_bindgen(js_name = optOut)]
    pub fn opt_out(&mut self, opted_out: bool, unix_ms: f64, steady_ms: f64) -> Address {
        self.handle(Input::OptOut(opted_out), unix_ms, steady_ms)
    }

    /// A file of tables was fetched.
    pub fn tables(&mut self, file: Vec<u8>, unix_ms: f64, steady_ms: f64) -> Address {
        self.handle(Input::Tables(file), unix_ms, steady_ms)
    }

    /// Requests may leave.
    pub fn connected(&mut self, unix_ms: f64, steady_ms: f64) -> Address {
        self.handle(Input::Connected, unix_ms, steady_ms)
    }

    /// The connection is gone.
    pub fn disconnected(&mut self, unix_ms: f64, steady_ms: f64) -> Address {
        self.handle(Input::Disconnected, unix_ms, steady_ms)
    }

    /// An answer arrived.
    pub fn frame(&mut self, bytes: &[u8], unix_ms: f64, steady_ms: f64) -> Address {
        self.handle(Input::Frame(bytes), unix_ms, steady_ms)
    }

    /// The app wants to sync now.
    #[wasm_bindgen(js_name = syncNow)]
    pub fn sync_now(&mut self, unix_ms: f64, steady_ms: f64) -> Address {
        self.handle(Input::SyncNow, unix_ms, steady_ms)
    }

    /// The time of the last wake has come.
    pub fn wake(&mut self, unix_ms: f64, steady_ms: f64) -> Address {
        self.handle(Input::Woke, unix_ms, steady_ms)
    }

    fn handle(&mut self, input: Input, unix_ms: f64, steady_ms: f64) -> Address {
        let done = self.core.handle(now(unix_ms, steady_ms), input);
        outputs(&done, self.answer.clear());
        self.answer.end()
    }

    /// Id, genre, samples, successes and example (a title, or empty) of what a profile learned.
    pub fn patterns(&mut self, profile_id: &str) -> Address {
        let profile = match profile(profile_id) {
            Ok(profile) => profile,
            Err(code) => return self.answer.refuse(code),
        };
        self.answer.clear();
        for learned in self.core.learner().of(profile) {
            self.answer.id(learned.id.0 as u64);
            self.answer.text(learned.genre.as_str());
            self.answer.number(learned.sample_count.into());
            self.answer.number(learned.success_count.into());
            self.answer.text(learned.example.as_ref().map_or("", ContentId::as_str));
        }
        self.answer.end()
    }

    /// Titles that a profile watched, the oldest first, and of each 1 when it was a success.
    pub fn viewed(&mut self, profile_id: &str) -> Address {
        let profile = match profile(profile_id) {
            Ok(profile) => profile,
            Err(code) => return self.answer.refuse(code),
        };
        self.answer.clear();
        for (content, success) in self.core.learner().outcomes(profile) {
            self.answer.text(content.as_str());
            self.answer.number(f64::from(u8::from(success)));
        }
        self.answer.end()
    }

    /// Title, genre, score (about 0 to 1), reason (0 own, 1 global, 2 trend) and the title that is the
    /// reason, of so many; `genre` may be empty, `excluded` has an id a line. Nothing is different
    /// afterwards.
    #[allow(
        clippy::too_many_arguments,
        reason = "plain values are what crosses the border cheaply"
    )]
    pub fn recommend(
        &mut self,
        profile_id: &str,
        count: u32,
        genre: &str,
        excluded: &str,
        unix_ms: f64,
        steady_ms: f64,
    ) -> Address {
        let wanted = profile(profile_id).and_then(|profile| {
            let genre = match genre {
                "" => None,
                name => Some(Genre::new(name).map_err(|_| INVALID_TITLE)?),
            };
            // What is no id is no title that could be recommended.
            let excluded: Vec<ContentId> =
                excluded.lines().filter_map(|id| ContentId::new(id).ok()).collect();
            let (count, genre) = (count as usize, genre.as_ref());
            let wish = Wish { profile, count, genre, excluded: &excluded };
            Ok(self.core.recommend(now(unix_ms, steady_ms), &wish))
        });
        match wanted {
            Ok(picks) => {
                self.answer.clear();
                picks.iter().for_each(|pick| picked(pick, &mut self.answer));
                self.answer.end()
            }
            Err(code) => self.answer.refuse(code),
        }
    }

    /// Title, genre and score of each trend that counts, strongest first.
    pub fn trends(&mut self, unix_ms: f64) -> Address {
        self.answer.clear();
        let trends = self.core.trends(now(unix_ms, 0.0)).into_iter();
        for trend in trends.flat_map(|trends| &trends.list) {
            self.answer.text(trend.content.as_str());
            self.answer.text(trend.genre.as_str());
            self.answer.number(f64::from(trend.score) / PERMILLE);
        }
        self.answer.end()
    }

    /// Id, genre, samples, successes and time (Unix milliseconds) of what left and the server has.
    pub fn contributions(&mut self) -> Address {
        self.answer.clear();
        for (id, acked) in self.core.contributions().iter() {
            self.answer.id(id.0 as u64);
            self.answer.text(acked.pattern.genre.as_str());
            self.answer.number(acked.pattern.sample_count().into());
            self.answer.number(acked.pattern.success_count().into());
            self.answer.number(acked.at.0 as f64);
        }
        self.answer.end()
    }

    /// Milliseconds until the next sync is due, version of the global patterns, how many of them, how many
    /// titles, id of the tables (0 none), 1 when the viewer takes no part, 1 when what the server releases
    /// is not private; and the region of the trends, or nothing.
    pub fn about(&mut self, unix_ms: f64, steady_ms: f64) -> Address {
        let now = now(unix_ms, steady_ms);
        self.answer.clear();
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
        self.answer.end()
    }
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
