//! The public geometry of taste: where clusters are, and along which axes noise is added.
//!
//! Everything here is made from the operator's catalogue, the embeddings and genres of titles, and
//! nothing from households, so it costs no privacy. Anchors: a pattern is a mean of titles, and means
//! lie nearer to the middle of their genre than titles do; so random means of public titles are drawn,
//! as tastes of every strength would make them, and clustered (spherical k-means). A pattern belongs
//! to the anchor of its genre that is nearest, in every epoch the same: nobody can move a cluster.
//! Axes: the leading axes of the catalogue's covariance within genres (its Karhunen–Loève transform),
//! found by orthogonal iteration. A random projection would keep a third of a pattern's energy in 128
//! of 384 dimensions; these keep nearly all.

use super::dice::Dice;
use omega_sync_core::pattern::{DIMENSIONS, Embedding, Genre, PatternId};
use std::collections::{BTreeMap, BTreeSet};

/// Dimensions in which a cluster's mean is released; noise is added to each.
pub const AXES: usize = 128;
/// Clusters that a first catalogue is divided into, about.
pub const CLUSTERS: usize = 100;
/// Clusters in all, with those of genres that came later.
pub const CLUSTERS_MAX: usize = 128;
/// Clusters of one genre.
pub const CLUSTERS_OF_GENRE_MAX: usize = 10;
/// Titles in each random mean.
const MIXTURE_TITLES: usize = 24;
/// Random means for each cluster.
const MIXTURES: usize = 24;
/// How strongly random tastes lean to one title: popularity only, mild, strong.
const LEANINGS: [f64; 3] = [0.0, 6.0, 15.0];
const KMEANS_ROUNDS: usize = 12;
const AXES_ROUNDS: usize = 8;

type Point = Vec<f64>;

/// One of the catalogue's titles, as far as it matters here.
#[derive(Debug, Clone)]
pub struct Title {
    /// The title's genre.
    pub genre: Genre,
    /// The title's place among all titles.
    pub embedding: Embedding,
}

/// A cluster's name and place; both stay as they are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Anchor {
    /// Its name: that of the global pattern.
    pub id: PatternId,
    /// Its genre.
    pub genre: Genre,
    /// Its public centre.
    pub centre: Embedding,
}

/// Orthonormal axes.
#[derive(Debug, Clone)]
pub struct Axes {
    axes: Vec<Point>,
    /// Of what titles of a genre differ in along all of them, each one's part.
    shares: [f64; AXES],
}

impl Axes {
    /// The leading ones of the titles' covariance within genres.
    pub fn of_titles(titles: &[Title]) -> Self {
        let mut covariance = vec![vec![0.0; DIMENSIONS]; DIMENSIONS];
        for group in by_genre(titles).values() {
            let points: Vec<Point> = group.iter().map(|title| point(&title.embedding)).collect();
            let mean = mean(&points);
            for point in &points {
                let apart: Point = point.iter().zip(&mean).map(|(a, b)| a - b).collect();
                for (row, &left) in covariance.iter_mut().zip(&apart) {
                    row.iter_mut().zip(&apart).for_each(|(cell, &right)| *cell += left * right);
                }
            }
        }
        let mut dice = Dice::new(1);
        let random = |_| (0..DIMENSIONS).map(|_| dice.normal()).collect();
        let mut axes: Vec<Point> = (0..AXES).map(random).collect();
        orthonormalise(&mut axes, &mut Dice::new(2));
        // Without titles any axes will do.
        let rounds = if titles.is_empty() { 0 } else { AXES_ROUNDS };
        for _ in 0..rounds {
            for axis in &mut axes {
                *axis = covariance.iter().map(|row| dot(row, axis)).collect();
            }
            orthonormalise(&mut axes, &mut Dice::new(2));
        }
        let mut shares = [0.0; AXES];
        for (share, axis) in shares.iter_mut().zip(&axes) {
            let along: Point = covariance.iter().map(|row| dot(row, axis)).collect();
            // A little for each, so that no axis is thought to be without any.
            *share = dot(axis, &along).max(1e-9);
        }
        let all: f64 = shares.iter().sum();
        shares.iter_mut().for_each(|share| *share /= all);
        Self { axes, shares }
    }

    /// Of what titles of a genre differ in along all axes, each one's part; together 1.
    pub fn shares(&self) -> &[f64; AXES] {
        &self.shares
    }

    /// The first coordinates themselves: quick to make.
    #[cfg(test)]
    pub(crate) fn plain() -> Self {
        let axis = |at| (0..DIMENSIONS).map(|other| f64::from(other == at)).collect();
        Self { axes: (0..AXES).map(axis).collect(), shares: [1.0 / AXES as f64; AXES] }
    }

    /// A point's coordinates along the axes.
    pub fn project(&self, point: &[f64]) -> [f64; AXES] {
        let mut coordinates = [0.0; AXES];
        coordinates.iter_mut().zip(&self.axes).for_each(|(to, axis)| *to = dot(axis, point));
        coordinates
    }

    /// The point that has these coordinates and no others.
    pub fn lift(&self, coordinates: &[f64; AXES]) -> Point {
        let mut point = vec![0.0; DIMENSIONS];
        for (axis, by) in self.axes.iter().zip(coordinates) {
            point.iter_mut().zip(axis).for_each(|(to, component)| *to += by * component);
        }
        point
    }
}

/// All clusters: those of genres of which one was released, as they are, and for each other genre its
/// share of [`CLUSTERS`], by the root of the number of titles. Where [`CLUSTERS_MAX`] does not suffice, the
/// largest genres have theirs first. What was never released is made anew from the titles there are, so a
/// feed that was not whole at the first end holds nothing back; a cluster that comes out as it was keeps
/// its name.
pub fn anchors_for(
    titles: &[Title],
    known: &[Anchor],
    is_released: impl Fn(PatternId) -> bool,
) -> Vec<Anchor> {
    let released: BTreeSet<&Genre> =
        known.iter().filter(|anchor| is_released(anchor.id)).map(|anchor| &anchor.genre).collect();
    let stays = |anchor: &&Anchor| released.contains(&anchor.genre);
    let mut all: Vec<Anchor> = known.iter().filter(stays).cloned().collect();
    let mut next = known.iter().map(|anchor| anchor.id.0).max().unwrap_or(0);
    let groups = by_genre(titles);
    let shares = shares(&groups, &released, CLUSTERS_MAX.saturating_sub(all.len()));
    for (at, (genre, group)) in groups.into_iter().enumerate() {
        let Some(&wanted) = shares.get(genre) else { continue };
        let points: Vec<Point> = group.iter().map(|title| point(&title.embedding)).collect();
        let mut dice = Dice::new(at as u64);
        let means = random_means(&points, wanted * MIXTURES, &mut dice);
        for centre in cluster(&means, wanted, &mut dice) {
            let Ok(centre) = embedding(&centre) else { continue };
            // Titles that are all alike make one cluster however many they are.
            if all.iter().any(|anchor| anchor.genre == *genre && anchor.centre == centre) {
                continue;
            }
            let before = known.iter().find(|a| a.genre == *genre && a.centre == centre);
            let id = before.map_or(PatternId(next + 1), |anchor| anchor.id);
            next = next.max(id.0);
            all.push(Anchor { id, genre: genre.clone(), centre });
        }
    }
    // In one order whatever was released: a season with the same seed is the same.
    all.sort_by_key(|anchor| anchor.id);
    all
}

/// How many clusters each genre gets, of these many in all.
fn shares<'a>(
    groups: &BTreeMap<&'a Genre, Vec<&Title>>,
    settled: &BTreeSet<&Genre>,
    mut left: usize,
) -> BTreeMap<&'a Genre, usize> {
    let roots: f64 = groups.values().map(|group| (group.len() as f64).sqrt()).sum();
    let mut sizes: Vec<(&Genre, usize)> = groups.iter().map(|(g, t)| (*g, t.len())).collect();
    sizes.sort_by_key(|(genre, size)| (std::cmp::Reverse(*size), *genre));
    let mut shares = BTreeMap::new();
    for (genre, size) in sizes.into_iter().filter(|(genre, _)| !settled.contains(genre)) {
        let share = CLUSTERS as f64 * (size as f64).sqrt() / roots;
        let wanted = (share.round() as usize).clamp(1, CLUSTERS_OF_GENRE_MAX);
        let wanted = wanted.min(size).min(left);
        left -= wanted;
        if wanted > 0 {
            shares.insert(genre, wanted);
        }
    }
    shares
}

/// The place of the anchor of a genre that is nearest, if the genre has one.
pub fn nearest(anchors: &[Anchor], genre: &Genre, to: &Embedding) -> Option<usize> {
    let own = anchors.iter().enumerate().filter(|(_, anchor)| anchor.genre == *genre);
    own.max_by_key(|(at, anchor)| (anchor.centre.dot(to), std::cmp::Reverse(*at))).map(|(at, _)| at)
}

/// An embedding's components as fractions of 1.
pub fn point(embedding: &Embedding) -> Point {
    embedding.to_f32().into_iter().map(f64::from).collect()
}

/// The embedding in a point's direction.
///
/// # Errors
/// It has none.
pub fn embedding(point: &[f64]) -> Result<Embedding, omega_sync_core::pattern::PatternError> {
    let components: Vec<f32> = point.iter().map(|&component| component as f32).collect();
    Embedding::from_f32(&components)
}

/// The inner product.
pub fn dot(left: &[f64], right: &[f64]) -> f64 {
    left.iter().zip(right).map(|(a, b)| a * b).sum()
}

fn by_genre(titles: &[Title]) -> BTreeMap<&Genre, Vec<&Title>> {
    let mut groups: BTreeMap<&Genre, Vec<&Title>> = BTreeMap::new();
    titles.iter().for_each(|title| groups.entry(&title.genre).or_default().push(title));
    groups
}

fn mean(points: &[Point]) -> Point {
    let mut mean = vec![0.0; DIMENSIONS];
    for point in points {
        mean.iter_mut().zip(point).for_each(|(to, component)| *to += component);
    }
    mean.iter_mut().for_each(|component| *component /= points.len().max(1) as f64);
    mean
}

/// False if the point has no direction.
fn normalise(point: &mut Point) -> bool {
    let norm = dot(point, point).sqrt();
    if norm > 1e-9 {
        point.iter_mut().for_each(|component| *component /= norm);
    }
    norm > 1e-9
}

/// Gram & Schmidt, twice each for the rounding. What has no direction left becomes a random one.
fn orthonormalise(axes: &mut [Point], dice: &mut Dice) {
    for at in 0..axes.len() {
        let (before, rest) = axes.split_at_mut(at);
        let axis = &mut rest[0];
        loop {
            for _ in 0..2 {
                for other in &*before {
                    let along = dot(other, axis);
                    axis.iter_mut().zip(other).for_each(|(to, by)| *to -= along * by);
                }
            }
            if normalise(axis) {
                break;
            }
            axis.iter_mut().for_each(|component| *component = dice.normal());
        }
    }
}

/// Means of titles as tastes of every strength would make them.
fn random_means(points: &[Point], count: usize, dice: &mut Dice) -> Vec<Point> {
    let mut means = Vec::with_capacity(count);
    for at in 0..count {
        let favourite = &points[dice.below(points.len())];
        let leaning = LEANINGS[at % LEANINGS.len()];
        let mut sums = Vec::with_capacity(points.len());
        let mut sum = 0.0;
        for point in points {
            sum += (leaning * (dot(point, favourite) - 1.0)).exp();
            sums.push(sum);
        }
        let mut total = vec![0.0; DIMENSIONS];
        for _ in 0..MIXTURE_TITLES {
            let drawn = dice.fraction() * sum;
            let title = &points[sums.partition_point(|sum| *sum <= drawn).min(points.len() - 1)];
            total.iter_mut().zip(title).for_each(|(to, component)| *to += component);
        }
        if normalise(&mut total) {
            means.push(total);
        }
    }
    means
}

/// Spherical k-means; each centre is of norm 1. A centre that nobody is nearest to stays.
fn cluster(points: &[Point], wanted: usize, dice: &mut Dice) -> Vec<Point> {
    // At random, so that where there are many tastes there are many centres: of those far from all
    // others each would be a cluster that hardly anybody is in.
    let mut places: Vec<usize> = (0..points.len()).collect();
    let mut centres: Vec<Point> = Vec::new();
    while centres.len() < wanted && !places.is_empty() {
        centres.push(points[places.swap_remove(dice.below(places.len()))].clone());
    }
    for _ in 0..KMEANS_ROUNDS {
        let mut sums = vec![vec![0.0; DIMENSIONS]; centres.len()];
        for point in points {
            let near = centres.iter().map(|centre| dot(centre, point)).enumerate();
            let Some((at, _)) = near.max_by(|a, b| a.1.total_cmp(&b.1)) else { continue };
            sums[at].iter_mut().zip(point).for_each(|(to, component)| *to += component);
        }
        for (centre, mut sum) in centres.iter_mut().zip(sums) {
            if normalise(&mut sum) {
                *centre = sum;
            }
        }
    }
    centres
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A made-up catalogue: each genre around a direction of its own, in a few dimensions.
    pub(crate) fn titles(genres: usize, each: usize, seed: u64) -> Vec<Title> {
        let mut dice = Dice::new(seed);
        let mut titles = Vec::new();
        let wide = |at: usize| if at < 40 { 1.0 } else { 0.05 };
        for genre in 0..genres {
            let middle: Point = (0..DIMENSIONS).map(|_| dice.normal() * 0.5).collect();
            for _ in 0..each {
                let near = middle.iter().enumerate();
                let near: Point = near.map(|(at, m)| m + wide(at) * 1.5 * dice.normal()).collect();
                let genre = Genre::new(&format!("genre {genre}")).unwrap();
                titles.push(Title { genre, embedding: embedding(&near).unwrap() });
            }
        }
        titles
    }

    #[test]
    fn axes_are_orthonormal_and_keep_what_titles_differ_in() {
        let titles = titles(2, 40, 1);
        let axes = Axes::of_titles(&titles);
        for (at, axis) in axes.axes.iter().enumerate() {
            for (other, along) in axes.axes.iter().enumerate() {
                let expected = f64::from(at == other);
                assert!((dot(axis, along) - expected).abs() < 1e-9, "{at} {other}");
            }
        }
        let group: Vec<Point> = titles[..40].iter().map(|title| point(&title.embedding)).collect();
        let middle = mean(&group);
        let (mut kept, mut all) = (0.0, 0.0);
        for point in &group {
            let apart: Point = point.iter().zip(&middle).map(|(a, b)| a - b).collect();
            let along = axes.project(&apart);
            kept += dot(&along, &along);
            all += dot(&apart, &apart);
            let again = axes.project(&axes.lift(&along));
            assert!(along.iter().zip(again).all(|(a, b)| (a - b).abs() < 1e-9));
        }
        assert!(kept / all > 0.9, "{}", kept / all);
        assert!((axes.shares().iter().sum::<f64>() - 1.0).abs() < 1e-9);
        assert!(axes.shares()[..20].iter().all(|share| *share > 10.0 * axes.shares()[45]));
    }

    #[test]
    fn a_catalogue_has_its_anchors_and_new_genres_get_theirs() {
        let mut catalogue = titles(4, 20, 2);
        let first = anchors_for(&catalogue, &[], |_| false);
        assert_eq!(first, anchors_for(&catalogue, &[], |_| false), "the same for everybody");
        assert_eq!(first, anchors_for(&catalogue, &first, |_| false), "and again");
        let last = first[39].id;
        assert_eq!(first, anchors_for(&catalogue, &first, |id| id == last), "in their order");
        assert_eq!(first.len(), 40, "four genres, ten each");
        assert!(first.iter().map(|anchor| anchor.id.0).eq(1..=40));
        let more = titles(5, 3, 3);
        catalogue.extend(more.into_iter().filter(|title| title.genre.as_str() == "genre 4"));
        let second = anchors_for(&catalogue, &first, |_| true);
        assert_eq!(second[..40], first);
        assert_eq!(second.len(), 43, "of a genre no more than it has titles");
        assert_eq!((second[40].id, second[40].genre.as_str()), (PatternId(41), "genre 4"));
        assert!(anchors_for(&[], &[], |_| true).is_empty());
    }

    #[test]
    fn clusters_have_a_bound() {
        let many = titles(CLUSTERS_MAX + 5, 1, 4);
        let first = anchors_for(&many, &[], |_| false);
        assert_eq!(first.len(), CLUSTERS_MAX);
        assert_eq!(anchors_for(&many, &first, |_| true), first);
    }

    /// By their names the small ones would come first.
    #[test]
    fn large_genres_have_their_clusters_however_many_small_ones_there_are() {
        let mut catalogue = titles(120, 1, 6);
        for title in titles(3, 60, 7) {
            let genre = Genre::new(&format!("the large {}", title.genre.as_str())).unwrap();
            catalogue.push(Title { genre, ..title });
        }
        let anchors = anchors_for(&catalogue, &[], |_| false);
        let of = |genre: &str| anchors.iter().filter(|one| one.genre.as_str() == genre).count();
        for genre in 0..3 {
            let wanted = 100.0 * 60f64.sqrt() / (120.0 + 3.0 * 60f64.sqrt());
            assert_eq!(of(&format!("the large genre {genre}")), wanted.round() as usize);
        }
        assert!(anchors.len() <= CLUSTERS_MAX);
    }

    #[test]
    fn what_was_never_released_is_made_anew_when_the_feed_is_whole() {
        let whole = titles(3, 30, 8);
        let partial: Vec<Title> = whole.iter().step_by(30).cloned().collect();
        let first = anchors_for(&partial, &[], |_| false);
        assert_eq!(first.len(), 3, "one for each title");
        let genre = first[1].genre.clone();
        let second = anchors_for(&whole, &first, |id| id == first[1].id);
        assert_eq!(second.iter().filter(|one| one.genre == genre).count(), 1, "it has a name");
        assert!(second.contains(&first[1]));
        assert_eq!(second.len(), 21, "the others have ten");
        let names: BTreeSet<PatternId> = second.iter().map(|anchor| anchor.id).collect();
        assert_eq!(names.len(), second.len());
    }

    #[test]
    fn a_pattern_belongs_to_the_nearest_anchor_of_its_genre() {
        let catalogue = titles(2, 40, 5);
        let anchors = anchors_for(&catalogue, &[], |_| false);
        for anchor in &anchors {
            let near = nearest(&anchors, &anchor.genre, &anchor.centre).unwrap();
            assert_eq!(anchors[near].id, anchor.id);
        }
        let unknown = Genre::new("unheard of").unwrap();
        assert_eq!(nearest(&anchors, &unknown, &anchors[0].centre), None);
    }
}
