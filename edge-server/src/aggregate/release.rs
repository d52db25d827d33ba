//! One epoch's release: contributions add up in cells, noise is added to all of them at once, and what
//! is shown is made of the noisy numbers and of nothing else.
//!
//! A cell is a cluster in a place. Places are a public list: the world, and the countries and parts of
//! countries that the operator names, so that which cells there are tells nothing. A household adds at
//! most [`CONTRIBUTED_GENRES_MAX`] contributions on each level (world, country, part), each to one cell:
//! a level's vector over all of its cells has the squared L2 sensitivity
//! `CONTRIBUTED_GENRES_MAX` · [`CELL_SQUARED`], and the levels' ρ add up to what the epoch costs.

use super::contribution::{
    CELL_SQUARED, CONTRIBUTED_GENRES_MAX, Cell, Contribution, UNITS, counted, weight,
};
use super::median::{Alarm, Members};
use super::privacy::{Entropy, Gaussian, NoEntropy, PrivacyError, Rho, Sensitivity};
use super::region::Region;
use super::space::{Anchor, Axes, embedding, nearest, point};
use omega_sync_core::pattern::{Embedding, Genre, Pattern, PatternId};
use std::collections::{BTreeMap, BTreeSet};

/// What patterns are released for: the world (`None`), a country, or a part of one.
pub type Place = Option<Region>;

/// How far apart places of one level are from each other in the order of back-off.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// The world.
    World,
    /// A country.
    Country,
    /// A part of a country.
    Part,
}

/// A place's level.
pub fn level(place: &Place) -> Level {
    match place {
        None => Level::World,
        Some(region) if region.is_part() => Level::Part,
        Some(_) => Level::Country,
    }
}

/// The places on the operator's list, with their levels.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Places(BTreeSet<Place>);

impl Places {
    /// The world and these.
    pub fn new(named: impl IntoIterator<Item = Region>) -> Self {
        Self(named.into_iter().map(Some).chain([None]).collect())
    }

    /// Those that a household is in, the nearest first.
    pub fn of(&self, region: Option<&Region>) -> Vec<Place> {
        let country = region.map(Region::country);
        let part = region.filter(|region| region.is_part()).cloned();
        let all = [part, country];
        let own = all.into_iter().flatten().map(Some).filter(|place| self.0.contains(place));
        own.chain([None]).collect()
    }

    /// All places on the list.
    pub fn all(&self) -> impl Iterator<Item = &Place> {
        self.0.iter()
    }

    /// How many levels are released.
    pub fn levels(&self) -> u32 {
        let levels: BTreeSet<Level> = self.0.iter().map(level).collect();
        u32::try_from(levels.len()).unwrap_or(1)
    }
}

/// How far the households of a cluster are from its public centre: the mean of the squared distance that
/// is expected before anything is known of them, in squares of an embedding's norm. More would let
/// noise in where few are; less is always safe (`docs/privacy.md`).
pub const PRIOR_SQUARE: f64 = 0.02;
/// How much of that comes anew with each epoch, because tastes move.
const DRIFT: f64 = 1.0 / 32.0;

/// The noise of a release.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Noise {
    /// Private: each level's.
    Gaussian(Gaussian),
    /// None: for a developer's own server. What is released so is marked as not private.
    Off,
}

impl Noise {
    /// What a release with so many levels and this ρ in all needs on each level.
    ///
    /// # Errors
    /// ρ is too little.
    pub fn of_release(rho: Rho, levels: u32) -> Result<Self, PrivacyError> {
        let cells = u32::try_from(CONTRIBUTED_GENRES_MAX).unwrap_or(u32::MAX);
        let sensitivity = Sensitivity::of_cells(cells, CELL_SQUARED)?;
        Ok(Self::Gaussian(Gaussian::new(sensitivity, rho.share(1, levels))?))
    }

    /// What a release costs in all.
    pub fn rho(self, levels: u32) -> Rho {
        match self {
            Self::Gaussian(gaussian) => gaussian.rho().times(levels),
            Self::Off => Rho::ZERO,
        }
    }

    /// σ along an axis, as a fraction of an embedding's norm.
    pub fn sigma(self) -> f64 {
        match self {
            Self::Gaussian(gaussian) => gaussian.sigma() / UNITS as f64,
            Self::Off => 0.0,
        }
    }

    fn add(self, cell: &mut Cell, entropy: &mut impl Entropy) -> Result<(), NoEntropy> {
        if let Self::Gaussian(gaussian) = self {
            for number in cell.numbers() {
                *number += gaussian.sample(entropy)?;
            }
        }
        Ok(())
    }
}

/// What is known before an epoch closes; all of it public or released.
#[derive(Debug, Clone)]
pub struct Geometry {
    /// The clusters of all genres.
    pub anchors: Vec<Anchor>,
    /// The public axes that patterns are projected on.
    pub axes: Axes,
    /// The places that patterns are released for.
    pub places: Places,
    /// The last release of each cluster in each place.
    pub released: BTreeMap<(Place, PatternId), Pattern>,
}

/// What is known of a cell before its households are counted.
#[derive(Debug, Clone, PartialEq)]
pub struct Reference {
    /// Where they should be; distances are measured from here.
    pub point: Vec<f64>,
    /// How many that is known from; none if only from the public centre, or from a larger place.
    pub households: Option<u32>,
}

impl Geometry {
    /// What distances in a cell are measured from: the place's last release, else the world's, else the
    /// cluster's public centre.
    pub fn reference(&self, place: &Place, anchor: &Anchor) -> Reference {
        let own = self.released.get(&(place.clone(), anchor.id));
        let world = || self.released.get(&(None, anchor.id));
        let known = own.or_else(world).map_or(&anchor.centre, |pattern| &pattern.embedding);
        Reference { point: point(known), households: own.map(Pattern::sample_count) }
    }

    fn has_cluster(&self, genre: &Genre) -> bool {
        self.anchors.iter().any(|anchor| anchor.genre == *genre)
    }
}

/// A cluster's pattern in a place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Released {
    /// The place.
    pub place: Place,
    /// The pattern: its samples are households.
    pub pattern: Pattern,
}

/// An epoch's contributions as they come in.
#[derive(Clone)]
pub struct Tally<'a> {
    geometry: &'a Geometry,
    /// By place and cluster; every one is there, also those that nobody adds to.
    cells: BTreeMap<(Place, usize), (Reference, Cell)>,
    /// Of the world's cells, for the alarm.
    members: BTreeMap<usize, Members>,
}

impl<'a> Tally<'a> {
    /// Nothing yet.
    pub fn new(geometry: &'a Geometry) -> Self {
        let mut cells = BTreeMap::new();
        for place in geometry.places.all() {
            for (at, anchor) in geometry.anchors.iter().enumerate() {
                let reference = geometry.reference(place, anchor);
                cells.insert((place.clone(), at), (reference, Cell::default()));
            }
        }
        Self { geometry, cells, members: BTreeMap::new() }
    }

    /// Adds a household; must be called once for each.
    pub fn add(&mut self, region: Option<&Region>, patterns: &[Pattern]) {
        let places = self.geometry.places.of(region);
        for pattern in counted(patterns, |genre| self.geometry.has_cluster(genre)) {
            let near = nearest(&self.geometry.anchors, &pattern.genre, &pattern.embedding);
            for (place, at) in places.iter().zip(near.into_iter().cycle()) {
                if let Some((reference, cell)) = self.cells.get_mut(&(place.clone(), at)) {
                    let contribution =
                        Contribution::new(pattern, &reference.point, &self.geometry.axes);
                    cell.add(&contribution);
                    if place.is_none() {
                        self.members.entry(at).or_default().add(&contribution);
                    }
                }
            }
        }
    }

    /// What an honest release would be without noise, for measuring what noise costs.
    pub fn cells(&self) -> impl Iterator<Item = (&Place, &Anchor, &Cell)> {
        let anchors = &self.geometry.anchors;
        self.cells.iter().map(|((place, at), (_, cell))| (place, &anchors[*at], cell))
    }

    /// Clusters that may have been poisoned; seen by the operator only, and no part of the release.
    pub fn alarms(&self) -> Vec<Alarm> {
        let alarms = self.members.iter().filter_map(|(at, members)| {
            Some(Alarm { cluster: self.geometry.anchors[*at].id, why: members.alarm()? })
        });
        alarms.collect()
    }

    /// Adds noise to every cell and makes the patterns of those with enough households, by the noisy
    /// count.
    ///
    /// # Errors
    /// There is no randomness: nothing may be shown.
    pub fn release(
        self,
        noise: Noise,
        households_min: u32,
        entropy: &mut impl Entropy,
    ) -> Result<Vec<Released>, NoEntropy> {
        let mut released = Vec::new();
        for ((place, at), (reference, mut cell)) in self.cells {
            noise.add(&mut cell, entropy)?;
            let anchor = &self.geometry.anchors[at];
            let shown = estimate(&cell, &reference, &self.geometry.axes, noise, households_min);
            if let Some((embedding, households, rate)) = shown {
                let successes = (f64::from(households) * rate).round() as u32;
                let genre = anchor.genre.clone();
                let made = Pattern::new(anchor.id, genre, embedding, households, successes);
                if let Ok(pattern) = made {
                    released.push(Released { place, pattern });
                }
            }
        }
        Ok(released)
    }
}

/// What a noisy cell says: where the cluster's households are, how many, and their rate of success.
/// `None` when they are too few.
///
/// One step of a Kalman filter (Kalman 1960) along each axis. The reference has a variance: that of the
/// last release, by the noise that its number of households leaves, and of the drift since; at first that
/// of a cluster around its public centre, of which each axis has its share. The noisy mean has the noise's.
/// They are weighed by these; so many households are believed, and few leave the reference where it is.
fn estimate(
    cell: &Cell,
    reference: &Reference,
    axes: &Axes,
    noise: Noise,
    households_min: u32,
) -> Option<(Embedding, u32, f64)> {
    let households = cell.households();
    if households < f64::from(households_min) || households < 1.0 {
        return None;
    }
    // The weights of this many households are within these bounds, whatever the noise says.
    let total = cell.weight().clamp(households * weight(1), households);
    let variance = (noise.sigma() / total).powi(2);
    let last = reference.households.map(|last| {
        // As if each had weighed then what it weighs now.
        variance * (households / f64::from(last.max(1))).powi(2)
    });
    let mut moved = cell.mean(total);
    for (distance, share) in moved.iter_mut().zip(axes.shares()) {
        let prior = PRIOR_SQUARE * share;
        let known = last.map_or(prior, |last| prior * last / (prior + last) + prior * DRIFT);
        *distance *= known / (known + variance);
    }
    let mut place = axes.lift(&moved);
    place.iter_mut().zip(&reference.point).for_each(|(to, from)| *to += from);
    Some((embedding(&place).ok()?, households.round() as u32, cell.success_rate()))
}

#[cfg(test)]
mod tests;
