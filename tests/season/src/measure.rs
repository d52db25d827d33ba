//! What a release is compared with: the means of the same clusters without clipping, projection and
//! noise, of honest households only; and what recommendations gain.

use crate::catalogue::Title;
use crate::home::Home;
use omega_edge::aggregate::contribution::{counted, weight};
use omega_edge::aggregate::privacy::{Entropy, Guarantee, Rho};
use omega_edge::aggregate::release::{Geometry, Noise, Tally};
use omega_edge::aggregate::space::{Anchor, embedding, nearest, point};
use omega_sync_core::id::{ContentId, ProfileId};
use omega_sync_core::pattern::catalog::Catalog;
use omega_sync_core::pattern::learner::Learner;
use omega_sync_core::pattern::recommend::{Sources, Wish, recommend};
use omega_sync_core::pattern::{DIMENSIONS, Embedding, Pattern, PatternId};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// Titles of a list.
const LIST: usize = 20;
/// Viewings after which a household counts as new.
const NEW_WATCHES: usize = 5;
/// Viewings that a list is compared with.
const NEXT_WATCHES: usize = 20;

/// Each cluster's true mean and how many households it is of.
pub type Truth = BTreeMap<PatternId, (Embedding, usize)>;

/// The truth of some households' patterns.
pub fn truth<'a>(anchors: &[Anchor], households: impl Iterator<Item = &'a [Pattern]>) -> Truth {
    let mut sums: BTreeMap<PatternId, (Vec<f64>, usize)> = BTreeMap::new();
    for patterns in households {
        let known = |genre: &_| anchors.iter().any(|anchor| anchor.genre == *genre);
        for pattern in counted(patterns, known) {
            let Some(at) = nearest(anchors, &pattern.genre, &pattern.embedding) else { continue };
            let cell = sums.entry(anchors[at].id).or_insert((vec![0.0; DIMENSIONS], 0));
            let weight = weight(pattern.sample_count());
            let components = point(&pattern.embedding);
            cell.0.iter_mut().zip(components).for_each(|(to, component)| *to += weight * component);
            cell.1 += 1;
        }
    }
    let means = sums
        .into_iter()
        .filter_map(|(id, (sum, count))| Some((id, (embedding(&sum).ok()?, count))));
    means.collect()
}

/// Mean, tenth percentile and least of some numbers.
pub fn spread(numbers: &[f64]) -> Value {
    let mut sorted = numbers.to_vec();
    sorted.sort_by(f64::total_cmp);
    let Some(least) = sorted.first() else {
        return Value::Null;
    };
    let mean = sorted.iter().sum::<f64>() / sorted.len() as f64;
    json!({
        "mean": rounded(mean), "p10": rounded(sorted[sorted.len() / 10]), "worst": rounded(*least),
    })
}

/// Four places.
pub fn rounded(number: f64) -> f64 {
    (number * 1e4).round() / 1e4
}

/// Cosines of released patterns and of public centres with the truth.
pub fn cosines(truth: &Truth, anchors: &[Anchor], released: &[Pattern]) -> (Vec<f64>, Vec<f64>) {
    let mut pairs = (Vec::new(), Vec::new());
    for pattern in released {
        let anchor = anchors.iter().find(|anchor| anchor.id == pattern.id);
        if let (Some((mean, _)), Some(anchor)) = (truth.get(&pattern.id), anchor) {
            pairs.0.push(f64::from(pattern.embedding.cosine(mean)));
            pairs.1.push(f64::from(anchor.centre.cosine(mean)));
        }
    }
    pairs
}

/// Quality against privacy: the same epoch released with several budgets a year, and without noise.
pub fn sweep(
    tally: &Tally<'_>,
    geometry: &Geometry,
    truth: &Truth,
    releases: u32,
    entropy: &mut impl Entropy,
) -> Vec<Value> {
    const SEEDS: usize = 5;
    let mut rows = Vec::new();
    for epsilon in [Some(0.5), Some(1.0), Some(2.0), Some(4.0), Some(8.0), Some(16.0), None] {
        let noise = match epsilon.map(|epsilon| Guarantee::new(epsilon, 1e-6)) {
            Some(Ok(year)) => Noise::of_release(Rho::within(year).share(1, releases), 1),
            _ => Ok(Noise::Off),
        };
        let Ok(noise) = noise else { continue };
        let (mut all, mut centres, mut shown) = (Vec::new(), Vec::new(), 0);
        for _ in 0..SEEDS {
            let Ok(released) = tally.clone().release(noise, 50, entropy) else { continue };
            let patterns: Vec<Pattern> = released.into_iter().map(|one| one.pattern).collect();
            let (cosines, own) = cosines(truth, &geometry.anchors, &patterns);
            shown += cosines.len();
            all.extend(cosines);
            centres.extend(own);
        }
        rows.push(json!({
            "epsilon": epsilon, "sigma": rounded(noise.sigma()), "shown": shown / SEEDS,
            "cosine": spread(&all), "public_centre": spread(&centres),
        }));
    }
    rows
}

/// How often a list of 20 has one of the titles that the household watches next, and how many.
#[derive(Debug, Default)]
struct Hits {
    lists: usize,
    hit: usize,
    titles: usize,
}

impl Hits {
    fn add(
        &mut self,
        catalog: &Catalog,
        learner: &Learner,
        globals: &[Pattern],
        next: &[ContentId],
    ) {
        let sources = Sources { catalog, learner, globals, trends: None };
        let wish = Wish { profile: ProfileId::DEFAULT, count: LIST, genre: None, excluded: &[] };
        let next: BTreeSet<&ContentId> = next.iter().collect();
        let picks = recommend(&sources, &wish);
        let found = picks.iter().filter(|pick| next.contains(&pick.content)).count();
        self.lists += 1;
        self.hit += usize::from(found > 0);
        self.titles += found;
    }

    fn rate(&self) -> Value {
        let lists = self.lists.max(1) as f64;
        json!({
            "hit_rate": rounded(self.hit as f64 / lists),
            "titles_per_list": rounded(self.titles as f64 / lists),
        })
    }
}

/// What global patterns add to recommendations: for households that are new, and for those that have
/// watched for a while. `truth` in place of the release says what could be had without privacy.
pub fn recommendations(
    titles: &[Title],
    homes: &[&Home],
    seed: &dyn Fn(usize) -> Home,
    released: &[Pattern],
    truth: &[Pattern],
) -> Value {
    let mut catalog = Catalog::default();
    titles.iter().for_each(|title| catalog.learn(&title.known()));
    let ways = [("own", &[][..]), ("own_and_global", released), ("own_and_truth", truth)];
    let mut new: Vec<Hits> = ways.iter().map(|_| Hits::default()).collect();
    let mut settled: Vec<Hits> = ways.iter().map(|_| Hits::default()).collect();
    let next = |home: &Home| -> Vec<ContentId> {
        let rest = home.watches[home.watched..].iter().take(NEXT_WATCHES);
        rest.map(|at| titles[*at].content.clone()).collect()
    };
    for (at, home) in homes.iter().enumerate() {
        let mut fresh = seed(at);
        fresh.watch(titles, NEW_WATCHES);
        for (way, (_, globals)) in ways.iter().enumerate() {
            new[way].add(&catalog, &fresh.learner, globals, &next(&fresh));
            settled[way].add(&catalog, &home.learner, globals, &next(home));
        }
    }
    let rates = |hits: &[Hits]| -> Value {
        ways.iter().zip(hits).map(|((name, _), hits)| ((*name).to_owned(), hits.rate())).collect()
    };
    json!({
        "list": LIST, "next": NEXT_WATCHES, "households": homes.len(),
        "after_5_viewings": rates(&new), "settled": rates(&settled),
    })
}
