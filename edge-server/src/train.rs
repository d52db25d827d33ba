//! Tables for the pattern codec, made from an operator's own catalogue of title embeddings.
//!
//! Patterns are means of titles, so what is needed to code them follows from the titles alone: centroids
//! of the genres, the directions in which titles of one genre differ (Karhunen–Loève transform), and
//! how often which quantised value comes, which is counted on patterns drawn from the titles. No
//! household's data is used. The same catalogue gives the same tables.

mod catalogue;
pub mod command;
mod draw;
mod eigen;

pub use catalogue::{Catalogue, CatalogueError, Title};

use omega_sync_core::pattern::message::{Floor, Outgoing, encode, encode_and_learn};
use omega_sync_core::pattern::tables::{MODEL_BITS, Parts, Tables, Weights, start};
use omega_sync_core::pattern::{DIMENSIONS, Genre, Pattern, PatternError};

/// Titles that a genre's centroid begins with: so many times the mean of all.
const CENTROID_TITLES: f64 = 10.0;
/// What a title counts for in the genres it also has.
const SECOND_GENRE: f64 = 0.5;
/// A pattern's variance over a title's, about.
const PATTERN_PART: f64 = 0.25;
/// Messages that the adaptive decisions are learned from, and patterns in each.
const LESSONS: usize = 4;
const LESSON_PATTERNS: usize = 200;
/// Most decisions that a learned start counts for.
const CERTAINTY_MAX: u8 = 40;
/// The step that learning begins with.
const FIRST_STEP: usize = 19;
/// Messages of ten patterns that the report measures.
const REPORT_MESSAGES: usize = 20;

/// How tables are made.
#[derive(Debug, Clone)]
pub struct Options {
    /// Rows of the transform.
    pub rank: usize,
    /// Whether patterns of other catalogues are to be coded, which have more in common.
    pub foreign: bool,
    /// Whether a title counts by the root of its popularity.
    pub popularity: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self { rank: 256, foreign: false, popularity: true }
    }
}

/// What patterns drawn from titles that the tables did not see take, in bytes a message of ten.
#[derive(Debug, Clone, Copy)]
pub struct Expected {
    /// Titles that the tables for this were trained on, and others.
    pub titles: (usize, usize),
    /// Mean of the messages.
    pub mean: f64,
    /// The longest one.
    pub max: usize,
}

/// Trains on four titles of five, and measures patterns drawn from the others.
///
/// # Errors
/// When the catalogue is too small for patterns to be drawn.
pub fn expect(
    catalogue: &Catalogue,
    options: &Options,
    tick: &mut dyn FnMut(),
) -> Result<Expected, PatternError> {
    let (known, unknown) = catalogue.split(5);
    let tables = Tables::read(&train(&known, options, tick)?)?;
    let mut drawer = draw::Drawer::new(&unknown, options.popularity, 99)?;
    let (mut sum, mut max) = (0, 0);
    for _ in 0..REPORT_MESSAGES {
        let patterns = drawer.patterns(10)?;
        let bytes = encode(&tables, Floor::default(), &outgoing(&patterns))?.bytes.len();
        (sum, max) = (sum + bytes, max.max(bytes));
    }
    let mean = sum as f64 / REPORT_MESSAGES as f64;
    Ok(Expected { titles: (known.titles().len(), unknown.titles().len()), mean, max })
}

/// Makes a file of tables. `tick` is called [`ticks`] times.
///
/// # Errors
/// When the catalogue is too small for patterns to be drawn.
pub fn train(
    catalogue: &Catalogue,
    options: &Options,
    tick: &mut dyn FnMut(),
) -> Result<Vec<u8>, PatternError> {
    let genres = catalogue.genres();
    let weights = catalogue.weights(options.popularity);
    let centroids = centroids(catalogue, &genres, &weights);
    let (values, vectors) =
        eigen::decompose(spread(catalogue, &genres, &centroids, &weights), tick);
    let rank = options.rank.min(DIMENSIONS);
    let quantise = |vector: &[f64], unit: f64| -> Vec<i8> {
        vector.iter().map(|c| (c * unit).round().clamp(-127.0, 127.0) as i8).collect()
    };
    let log = |value: f64| {
        let units = (value * PATTERN_PART * f64::from(1u32 << 30)).max(1.0);
        (units.log2() * 8.0).round().min(255.0) as u8
    };
    let (message, genre) = if options.foreign { (10, 10) } else { (3, 3) };
    let mut parts = Parts {
        genres,
        centroids: centroids.iter().map(|centroid| quantise(centroid, 256.0)).collect(),
        rows: vectors[..rank].iter().map(|vector| quantise(vector, 128.0)).collect(),
        variances: values[..rank].iter().map(|value| log(*value)).collect(),
        weights: Weights { message, genre, own: 15, certainty: 12 },
        step: FIRST_STEP,
        starts: start().to_vec(),
    };
    learn(catalogue, options, &mut parts, tick)?;
    parts.write()
}

/// How often [`train`] calls `tick`.
pub fn ticks() -> usize {
    eigen::SWEEPS + LESSONS
}

fn outgoing(patterns: &[Pattern]) -> Vec<Outgoing<'_>> {
    patterns.iter().map(|pattern| Outgoing { pattern, base: None }).collect()
}

/// Counts on drawn patterns how the adaptive decisions come out.
fn learn(
    catalogue: &Catalogue,
    options: &Options,
    parts: &mut Parts,
    tick: &mut dyn FnMut(),
) -> Result<(), PatternError> {
    let mut drawer = draw::Drawer::new(catalogue, options.popularity, 7)?;
    let mut sums = vec![(0u64, 0u64); MODEL_BITS];
    for lesson in 0..LESSONS {
        let tables = Tables::read(&parts.write()?)?;
        let patterns = drawer.patterns(LESSON_PATTERNS)?;
        let whole = encode_and_learn(&tables, Floor::default(), &outgoing(&patterns))?;
        let bases: Vec<Pattern> = whole.encoded.decoded;
        let grown = drawer.grown(&patterns)?;
        let again: Vec<Outgoing> = grown
            .iter()
            .map(|pattern| Outgoing { pattern, base: bases.iter().find(|b| b.id == pattern.id) })
            .collect();
        let again = encode_and_learn(&tables, Floor::default(), &again)?;
        parts.step = whole.step.midpoint(parts.step);
        for (at, start) in parts.starts.iter_mut().enumerate() {
            // Each of the two messages leaves the other's decisions as they were.
            let learned =
                if whole.learned[at] == *start { again.learned[at] } else { whole.learned[at] };
            *start = learned;
            if lesson >= LESSONS / 2 {
                sums[at].0 += u64::from(learned.0);
                sums[at].1 += 1;
            }
        }
        tick();
    }
    for (start, (sum, count)) in parts.starts.iter_mut().zip(sums) {
        *start = ((sum / count.max(1)) as u16, start.1.min(CERTAINTY_MAX));
    }
    Ok(())
}

/// The mean direction of each genre's titles, and that of all at the end.
fn centroids(catalogue: &Catalogue, genres: &[Genre], weights: &[f64]) -> Vec<Vec<f64>> {
    let mut all = vec![0.0; DIMENSIONS];
    let mut sums = vec![(vec![0.0; DIMENSIONS], 0.0); genres.len()];
    for (title, weight) in catalogue.titles().iter().zip(weights) {
        add(&mut all, &title.embedding, *weight);
        for (genre, (sum, total)) in genres.iter().zip(&mut sums) {
            let part = match title.genres.iter().position(|own| own == genre) {
                Some(0) => 1.0,
                Some(_) => SECOND_GENRE,
                None => continue,
            };
            add(sum, &title.embedding, part * weight);
            *total += part * weight;
        }
    }
    let total: f64 = weights.iter().sum();
    all.iter_mut().for_each(|component| *component /= total);
    let mut centroids = Vec::new();
    for (mut sum, weight) in sums {
        add(&mut sum, &all.iter().map(|c| *c as f32).collect::<Vec<_>>(), CENTROID_TITLES);
        sum.iter_mut().for_each(|component| *component /= weight + CENTROID_TITLES);
        centroids.push(sum);
    }
    centroids.push(all);
    for centroid in &mut centroids {
        let norm = centroid.iter().map(|c| c * c).sum::<f64>().sqrt().max(1e-9);
        centroid.iter_mut().for_each(|component| *component /= norm);
    }
    centroids
}

/// The second moments of titles around their genre's centroid.
fn spread(
    catalogue: &Catalogue,
    genres: &[Genre],
    centroids: &[Vec<f64>],
    weights: &[f64],
) -> Vec<Vec<f64>> {
    let mut moments = vec![vec![0.0; DIMENSIONS]; DIMENSIONS];
    let total: f64 = weights.iter().sum();
    for (title, weight) in catalogue.titles().iter().zip(weights) {
        let place = genres.iter().position(|genre| title.genres.first() == Some(genre));
        let centroid = &centroids[place.unwrap_or(genres.len())];
        let offset: Vec<f64> =
            title.embedding.iter().zip(centroid).map(|(x, c)| f64::from(*x) - c).collect();
        for (row, a) in moments.iter_mut().zip(&offset) {
            let part = a * weight / total;
            row.iter_mut().zip(&offset).for_each(|(moment, b)| *moment += part * b);
        }
    }
    moments
}

fn add(sum: &mut [f64], vector: &[f32], weight: f64) {
    sum.iter_mut().zip(vector).for_each(|(sum, x)| *sum += weight * f64::from(*x));
}
