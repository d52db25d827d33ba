//! Which known titles a viewer will probably like, and why.
//!
//! Two questions make a score, in units of 2^-15. How much is the genre in demand: the viewer's viewings
//! of it among all of theirs, with a few more as all households divide theirs (the mean of a Dirichlet
//! posterior), by how many titles share that demand. How well does the title match: the viewer's own
//! sub-taste that lies nearest, what households with a similar taste like (the global patterns, worth a
//! few viewings, so that they fade as the viewer's own come in), and what is watched in the region. From
//! the best a list is chosen one by one, each the better the less it resembles those before it (maximal
//! marginal relevance: Carbonell, Goldstein 1998).
//!
//! All integers, so the same list everywhere. Time: one inner product of 384 small integers for each
//! title and pattern of its genre, at most `QUERIES_MAX`.

use super::catalog::Catalog;
use super::exchange::Trends;
use super::learner::{Learned, Learner};
use super::{DIMENSIONS, Embedding, Genre, ONE, Pattern};
use crate::id::{ContentId, ProfileId};

/// Titles in one list.
pub const RECOMMENDED_MAX: usize = 100;
/// Patterns that a title is compared with.
const QUERIES_MAX: usize = 4;
/// Viewings that all households' genres are worth beside the viewer's own.
const DEMAND_VIEWINGS: u64 = 2;
/// Viewings that the global patterns of a genre are worth beside the viewer's own of it.
const GLOBAL_VIEWINGS: u64 = 6;
/// Households of a genre without a global pattern: half of the fewest that one is shown of.
const UNSHOWN_HOUSEHOLDS: u64 = 25;
/// A trend is worth so many parts of full likeness.
const TREND_PARTS: i32 = 4;
/// Samples of a pattern at which it counts half of what it would with many.
const HALF_SURE: u32 = 4;
/// What a full likeness to a title in the list leaves of a score: a half.
const LIKENESS_PARTS: i32 = 2;
/// Titles as alike as this, in units of 2^-15, are the same to a viewer: only one is listed.
const SAME: i32 = ONE / 10 * 9;
/// The best titles that a list of n is chosen from: a few times n, not below and not above.
const POOL_TIMES: usize = 4;
const POOL_MIN: usize = 48;
const POOL_MAX: usize = 160;

/// Why a title is recommended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reason {
    /// It resembles what the viewer watches; with the last such title that was a success.
    Own(Option<ContentId>),
    /// Households with a similar taste like it.
    Global,
    /// It is watched more than usual in the region.
    Trend,
}

/// A title for a viewer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pick {
    /// The title's id.
    pub content: ContentId,
    /// Its genre.
    pub genre: Genre,
    /// How much speaks for it, in units of 2^-15.
    pub score: i32,
    /// What speaks most for it.
    pub reason: Reason,
}

/// What is known when titles are ranked.
#[derive(Debug, Clone, Copy)]
pub struct Sources<'a> {
    /// The titles.
    pub catalog: &'a Catalog,
    /// What this device learned.
    pub learner: &'a Learner,
    /// The global patterns.
    pub globals: &'a [Pattern],
    /// The trends, if they still count.
    pub trends: Option<&'a Trends>,
}

/// What is asked for.
#[derive(Debug, Clone, Copy)]
pub struct Wish<'a> {
    /// The profile to recommend to.
    pub profile: ProfileId,
    /// How many at most; [`RECOMMENDED_MAX`] at most.
    pub count: usize,
    /// Of which genre only.
    pub genre: Option<&'a Genre>,
    /// Titles that are not wanted beside those that the profile has watched.
    pub excluded: &'a [ContentId],
}

/// A direction that titles of a genre are compared with.
struct Query<'a> {
    vector: [i16; DIMENSIONS],
    /// What full likeness would be worth, in units of 2^-15; below 0 for what the viewer leaves.
    worth: i32,
    example: Option<&'a ContentId>,
}

/// What titles of one genre are compared with.
#[derive(Default)]
struct Queries<'a> {
    own: Vec<Query<'a>>,
    global: Option<Query<'a>>,
    /// What the strongest trend is worth.
    trend: i32,
}

/// A title on its way into the list.
#[derive(Clone, Copy)]
struct Candidate {
    slot: usize,
    score: i32,
    reason: Because,
    /// The greatest likeness to a title that is in the list.
    likeness: i32,
}

#[derive(Clone, Copy)]
enum Because {
    Own(usize),
    Global,
    Trend,
}

/// The titles for a viewer, best first.
pub fn recommend(sources: &Sources<'_>, wish: &Wish<'_>) -> Vec<Pick> {
    let Sources { catalog, .. } = *sources;
    let count = wish.count.min(RECOMMENDED_MAX);
    let pool_len = (count * POOL_TIMES).clamp(POOL_MIN, POOL_MAX);
    let queries = queries(sources, wish);
    let excluded = excluded(sources, wish);
    let trends = trend_scores(sources);
    let mut pool: Vec<Candidate> = Vec::with_capacity(pool_len + 1);
    for (slot, entry) in catalog.entries().iter().enumerate() {
        let asked = &queries[usize::from(entry.genre)];
        if excluded[slot] || asked.is_none() {
            continue;
        }
        let Some(asked) = asked else { continue };
        let trend = trends.get(slot).copied().unwrap_or(0);
        let vector = catalog.vector(slot);
        let (score, reason) = score(asked, vector, i32::from(entry.norm), trend);
        let worse = pool.len() >= pool_len && pool.last().is_some_and(|last| last.score >= score);
        if score <= 0 || worse {
            continue;
        }
        // Equals stay in the order of their slots.
        let at = pool.partition_point(|other| other.score >= score);
        pool.insert(at, Candidate { slot, score, reason, likeness: 0 });
        pool.truncate(pool_len);
    }
    choose(catalog, pool, count, |candidate| {
        let entry = &catalog.entries()[candidate.slot];
        let reason = match candidate.reason {
            Because::Own(at) => {
                let queries = queries[usize::from(entry.genre)].as_ref();
                Reason::Own(queries.and_then(|q| q.own[at].example.cloned()))
            }
            Because::Global => Reason::Global,
            Because::Trend => Reason::Trend,
        };
        let genre = catalog.genres()[usize::from(entry.genre)].clone();
        Pick { content: entry.content.clone(), genre, score: candidate.score, reason }
    })
}

/// Score and reason of one title.
fn score(asked: &Queries<'_>, vector: &[i8], norm: i32, trend: i32) -> (i32, Because) {
    let mut own = (i32::MIN, 0, 0);
    for (at, query) in asked.own.iter().enumerate() {
        let cosine = dot(vector, &query.vector) / norm;
        if cosine > own.0 {
            own = (cosine, times(cosine, query.worth), at);
        }
    }
    let global = asked
        .global
        .as_ref()
        .map_or(0, |query| times((dot(vector, &query.vector) / norm).max(0), query.worth));
    let parts = [own.1, global, times(trend, asked.trend)];
    let reason = match parts {
        [own_part, global, trend] if own_part >= global && own_part >= trend => Because::Own(own.2),
        [_, global, trend] if global >= trend => Because::Global,
        _ => Because::Trend,
    };
    (parts.iter().sum(), reason)
}

/// The inner product. The norms are at most 2,489 and about 2^15, so it fits.
fn dot(vector: &[i8], query: &[i16; DIMENSIONS]) -> i32 {
    let mut sums = [0i32; 4];
    for (a, b) in vector.chunks_exact(8).zip(query.chunks_exact(8)) {
        sums[0] += i32::from(a[0]) * i32::from(b[0]) + i32::from(a[4]) * i32::from(b[4]);
        sums[1] += i32::from(a[1]) * i32::from(b[1]) + i32::from(a[5]) * i32::from(b[5]);
        sums[2] += i32::from(a[2]) * i32::from(b[2]) + i32::from(a[6]) * i32::from(b[6]);
        sums[3] += i32::from(a[3]) * i32::from(b[3]) + i32::from(a[7]) * i32::from(b[7]);
    }
    sums.iter().sum()
}

/// A product of fractions in units of 2^-15.
fn times(a: i32, b: i32) -> i32 {
    (i64::from(a) * i64::from(b) / i64::from(ONE)) as i32
}

/// What titles are compared with, for each genre of the catalogue; `None` for those not asked for.
fn queries<'a>(sources: &Sources<'a>, wish: &Wish<'_>) -> Vec<Option<Queries<'a>>> {
    let own: Vec<(&Learned, Pattern)> = sources
        .learner
        .of(wish.profile)
        .filter_map(|learned| Some((learned, learned.pattern()?)))
        .collect();
    let overall = overall(&own);
    let demand = demand(sources, &own);
    let genres = sources.catalog.genres().iter().zip(demand);
    let asked = genres.map(|(genre, demand)| {
        if wish.genre.is_some_and(|wanted| wanted != genre) {
            return None;
        }
        let mut of_genre: Vec<&(&Learned, Pattern)> =
            own.iter().filter(|(learned, _)| learned.genre == *genre).collect();
        // Those with the most samples first; the sort keeps the order of equals.
        of_genre.sort_by_key(|(learned, _)| core::cmp::Reverse(learned.sample_count));
        of_genre.truncate(QUERIES_MAX - 1);
        let samples = of_genre.iter().map(|(learned, _)| u64::from(learned.sample_count)).sum();
        let global = global(sources.globals, genre, &of_genre);
        let (own_part, global_part) = parts(samples, demand, global.is_some());
        let mut queries = Queries { own: Vec::new(), global: None, trend: demand / TREND_PARTS };
        for (learned, pattern) in &of_genre {
            queries.own.push(Query {
                vector: *pattern.embedding.as_slice(),
                worth: times(worth(learned), own_part),
                example: learned.example.as_ref(),
            });
        }
        if queries.own.is_empty() {
            queries.own.extend(overall.as_ref().map(|(vector, worth)| Query {
                vector: *vector,
                worth: times(*worth, own_part),
                example: None,
            }));
        }
        // They say which titles of a genre, and not that a viewer likes it who leaves all of it.
        let liked = of_genre.is_empty() || of_genre.iter().any(|(learned, _)| worth(learned) > 0);
        queries.global = global
            .filter(|_| liked)
            .map(|query| Query { worth: times(query.worth, global_part), ..query });
        Some(queries)
    });
    asked.collect()
}

/// How much a genre is in demand, the most that any is being 1: the viewings of it that the viewer liked
/// and those that all households are worth, by the titles that it has here, because each gets a part of
/// it. As many again as a genre has on average, so that a viewing of a tiny genre does not fill a list.
/// Where nothing is known all are alike.
fn demand(sources: &Sources<'_>, own: &[(&Learned, Pattern)]) -> Vec<i32> {
    let genres = sources.catalog.genres();
    let mut sizes = vec![0u64; genres.len()];
    sources.catalog.entries().iter().for_each(|entry| sizes[usize::from(entry.genre)] += 1);
    if own.is_empty() && sources.globals.is_empty() {
        return vec![ONE; genres.len()];
    }
    let households = genres.iter().zip(&sizes).map(|(genre, size)| {
        let of_genre = sources.globals.iter().filter(|pattern| pattern.genre == *genre);
        match sources.globals.is_empty() {
            true => *size,
            false => UNSHOWN_HOUSEHOLDS.max(of_genre.map(|p| u64::from(p.sample_count())).sum()),
        }
    });
    let households: Vec<u64> = households.collect();
    let all = households.iter().sum::<u64>().max(1);
    let average = sources.catalog.len() as u64 / genres.len().max(1) as u64;
    let parts = genres.iter().zip(&households).zip(&sizes).map(|((genre, households), size)| {
        let liked = own.iter().filter(|(learned, _)| learned.genre == *genre);
        let liked = liked.map(|(learned, _)| {
            u64::from((2 * learned.success_count).saturating_sub(learned.sample_count))
        });
        let prior = DEMAND_VIEWINGS * ONE as u64 * households / all;
        (liked.sum::<u64>() * ONE as u64 + prior) * ONE as u64 / (size + average).max(1)
    });
    let parts: Vec<u64> = parts.collect();
    let most = parts.iter().copied().max().unwrap_or(0).max(1);
    parts.into_iter().map(|part| (part * ONE as u64 / most) as i32).collect()
}

/// What full likeness to the viewer's own patterns of a genre is worth, and to its global ones: together
/// the genre's demand, divided as the viewings behind them. Without own ones the rest of what is known of
/// the viewer stands for one.
fn parts(samples: u64, demand: i32, has_global: bool) -> (i32, i32) {
    let own = u64::max(samples, 1);
    let global = if has_global { GLOBAL_VIEWINGS } else { 0 };
    let part = |of: u64| (demand as u64 * of / (own + global)) as i32;
    (part(own), part(global))
}

/// From -1 to 1: the share of successes, drawn to a half when there are few samples.
fn worth(learned: &Learned) -> i32 {
    let (samples, successes) = (i64::from(learned.sample_count), i64::from(learned.success_count));
    let lean = (2 * successes - samples) * i64::from(ONE) / (samples + i64::from(HALF_SURE));
    lean as i32
}

/// The viewer's taste in genres that nothing is known of: the mean of all that is liked.
fn overall(own: &[(&Learned, Pattern)]) -> Option<([i16; DIMENSIONS], i32)> {
    let liked = own.iter().map(|(learned, pattern)| (&pattern.embedding, worth(learned).max(0)));
    let most = liked.clone().map(|(_, worth)| worth).max()?;
    Some((*mean(liked)?.as_slice(), most))
}

/// One direction for the global patterns of a genre: those near the viewer's own count most, without
/// own ones those of many households.
fn global<'a>(
    globals: &[Pattern],
    genre: &Genre,
    own: &[&(&Learned, Pattern)],
) -> Option<Query<'a>> {
    let of_genre: Vec<&Pattern> =
        globals.iter().filter(|pattern| pattern.genre == *genre).collect();
    let weight = |pattern: &Pattern| {
        let near = own.iter().map(|(_, own)| own.embedding.dot(&pattern.embedding) >> 15);
        let near = near.max().map_or(i64::from(ONE), |near| near.max(0)) as i32;
        let size = (pattern.sample_count().max(1).ilog2() + 1) as i32;
        // Squared, so that the nearest stands out.
        times(times(near, near), rate(pattern)) / 32 * size
    };
    let weighted = of_genre.iter().map(|pattern| (&pattern.embedding, weight(pattern)));
    let worth = of_genre.iter().map(|pattern| rate(pattern)).max()?;
    Some(Query { vector: *mean(weighted)?.as_slice(), worth, example: None })
}

/// The share of successes in units of 2^-15.
fn rate(pattern: &Pattern) -> i32 {
    let (samples, successes) = (pattern.sample_count(), pattern.success_count());
    (u64::from(successes) * ONE as u64 / u64::from(samples.max(1))) as i32
}

/// The direction of a weighted sum.
fn mean<'a>(weighted: impl Iterator<Item = (&'a Embedding, i32)>) -> Option<Embedding> {
    let mut sum = [0i64; DIMENSIONS];
    for (embedding, weight) in weighted {
        for (sum, &unit) in sum.iter_mut().zip(embedding.as_slice()) {
            *sum += i64::from(unit) * i64::from(weight);
        }
    }
    let sum: Vec<f32> = sum.iter().map(|&component| component as f32).collect();
    Embedding::from_f32(&sum).ok()
}

/// Which slots are not wanted.
fn excluded(sources: &Sources<'_>, wish: &Wish<'_>) -> Vec<bool> {
    let mut excluded = vec![false; sources.catalog.len()];
    let viewed = sources.learner.viewed(wish.profile);
    for content in viewed.chain(wish.excluded) {
        if let Some(slot) = sources.catalog.slot(content) {
            excluded[slot] = true;
        }
    }
    excluded
}

/// What the trends say of each slot, the strongest 1; empty when there is none.
fn trend_scores(sources: &Sources<'_>) -> Vec<i32> {
    let Some(trends) = sources.trends else { return Vec::new() };
    let mut scores = vec![0; sources.catalog.len()];
    let strongest = trends.list.iter().map(|trend| trend.score).max().unwrap_or(0).max(1);
    for trend in &trends.list {
        if let Some(slot) = sources.catalog.slot(&trend.content) {
            scores[slot] = (u64::from(trend.score) * ONE as u64 / u64::from(strongest)) as i32;
        }
    }
    scores
}

/// Chooses from the pool, one by one.
fn choose(
    catalog: &Catalog,
    mut pool: Vec<Candidate>,
    count: usize,
    pick: impl Fn(&Candidate) -> Pick,
) -> Vec<Pick> {
    let mut picks = Vec::with_capacity(count);
    while picks.len() < count {
        // A part of the score, so that it weighs the same when little is known of the viewer.
        let value = |candidate: &Candidate| {
            let likeness = candidate.likeness.max(0) / LIKENESS_PARTS;
            times(candidate.score, ONE - likeness)
        };
        let best = (0..pool.len())
            .reduce(|best, next| if value(&pool[next]) > value(&pool[best]) { next } else { best });
        let Some(best) = best else { break };
        let chosen = pool.remove(best);
        for other in &mut pool {
            let likeness = likeness(catalog, chosen.slot, other.slot);
            other.likeness = other.likeness.max(likeness);
        }
        pool.retain(|other| other.likeness < SAME);
        picks.push(pick(&chosen));
    }
    picks
}

/// The cosine between two titles.
fn likeness(catalog: &Catalog, a: usize, b: usize) -> i32 {
    let pairs = catalog.vector(a).iter().zip(catalog.vector(b));
    let dot: i32 = pairs.map(|(&x, &y)| i32::from(x) * i32::from(y)).sum();
    let norm = |slot: usize| i64::from(catalog.entries()[slot].norm);
    (i64::from(dot) * i64::from(ONE) / (norm(a) * norm(b))) as i32
}
