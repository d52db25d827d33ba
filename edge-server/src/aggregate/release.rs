//! One epoch's release: contributions add up in cells, noise is added to all of them at once, and what
//! is shown is made of the noisy numbers and of nothing else.
//!
//! A cell is a cluster in a place. Places are a public list: the world, and the countries and parts of
//! countries that the operator names, so that which cells there are tells nothing. A household adds at
//! most [`GENRES_MAX`] contributions on each level (world, country, part), each to one cell: a level's
//! vector over all of its cells has the squared L2 sensitivity `GENRES_MAX` · [`CELL_SQUARED`], and the
//! levels' ρ add up to what the epoch costs.

use super::contribution::{CELL_SQUARED, Cell, Contribution, GENRES_MAX, UNITS, counted, weight};
use super::median::{Alarm, Members};
use super::privacy::{Entropy, Gaussian, NoEntropy, PrivacyError, Rho, Sensitivity};
use super::region::Region;
use super::space::{AXES, Anchor, Axes, dot, embedding, nearest, point};
use omega_sync_core::pattern::{Embedding, Genre, Pattern, PatternId};
use std::collections::{BTreeMap, BTreeSet};

/// What patterns are released for: the world (`None`), a country, or a part of one.
pub type Place = Option<Region>;

/// How far apart places of one level are from each other in the order of back-off.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Everybody.
    World,
    /// A country.
    Country,
    /// A part of one.
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

    /// All.
    pub fn all(&self) -> impl Iterator<Item = &Place> {
        self.0.iter()
    }

    /// How many levels are released.
    pub fn levels(&self) -> u32 {
        let levels: BTreeSet<Level> = self.0.iter().map(level).collect();
        u32::try_from(levels.len()).unwrap_or(1)
    }
}

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
        let cells = u32::try_from(GENRES_MAX).unwrap_or(u32::MAX);
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
    /// The clusters.
    pub anchors: Vec<Anchor>,
    /// The axes.
    pub axes: Axes,
    /// Where to release.
    pub places: Places,
    /// What was released last.
    pub released: BTreeMap<(Place, PatternId), Embedding>,
}

impl Geometry {
    /// What distances in a cell are measured from: the place's last release, else the world's, else the
    /// cluster's public centre.
    pub fn reference(&self, place: &Place, anchor: &Anchor) -> Embedding {
        let own = self.released.get(&(place.clone(), anchor.id));
        let world = || self.released.get(&(None, anchor.id));
        own.or_else(world).unwrap_or(&anchor.centre).clone()
    }

    fn has_cluster(&self, genre: &Genre) -> bool {
        self.anchors.iter().any(|anchor| anchor.genre == *genre)
    }
}

/// A cluster's pattern in a place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Released {
    /// Where.
    pub place: Place,
    /// The pattern: its samples are households.
    pub pattern: Pattern,
}

/// An epoch's contributions as they come in.
#[derive(Clone)]
pub struct Tally<'a> {
    geometry: &'a Geometry,
    /// By place and cluster; every one is there, also those that nobody adds to.
    cells: BTreeMap<(Place, usize), (Vec<f64>, Cell)>,
    /// Of the world's cells, for the alarm.
    members: BTreeMap<usize, Members>,
}

impl<'a> Tally<'a> {
    /// Nothing yet.
    pub fn new(geometry: &'a Geometry) -> Self {
        let mut cells = BTreeMap::new();
        for place in geometry.places.all() {
            for (at, anchor) in geometry.anchors.iter().enumerate() {
                let reference = point(&geometry.reference(place, anchor));
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
                    let contribution = Contribution::new(pattern, reference, &self.geometry.axes);
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
/// Noise makes a mean longer, so the distance from the reference is shortened by the share of its
/// square that noise of this width has on average (James & Stein 1961, positive part): a mean that
/// could be noise alone is left out, and the reference stays.
fn estimate(
    cell: &Cell,
    reference: &[f64],
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
    let mean = cell.mean(total);
    let square = dot(&mean, &mean);
    let noise_square = AXES as f64 * (noise.sigma() / total).powi(2);
    let kept = if square > noise_square { 1.0 - noise_square / square } else { 0.0 };
    let mut place = axes.lift(&mean.map(|distance| distance * kept));
    place.iter_mut().zip(reference).for_each(|(to, from)| *to += from);
    Some((embedding(&place).ok()?, households.round() as u32, cell.success_rate()))
}

#[cfg(test)]
mod tests;
