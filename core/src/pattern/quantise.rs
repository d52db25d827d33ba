//! The encoder's choice: the fewest bytes whose decoded embedding is as near as the floor asks.
//!
//! Each coefficient takes the value with the least distortion plus λ times its cost (rate-distortion
//! optimised quantisation: Ramchandran and Vetterli 1994). For some steps λ is bisected until the cosine
//! is just above the floor, and the cheapest step wins. The search reckons as if the transform's rows were
//! orthonormal; the decoder's own arithmetic has the last word, and the floor is raised by what was
//! missed until it is met. Floating point decides only which valid bytes are written.

use super::entropy::{Costs, Kind, Models, SCALE_ZERO, SCALES, class, half_octaves};
use super::message::Floor;
use super::tables::Tables;
use super::transform::{
    POINT_BITS, Point, STEPS, add_row, level, normalise, point_of, project, step, variances_again,
};
use super::{DIMENSIONS, Embedding, PatternError};

/// Added to the floor, so that rounding an input to 16 bits does not bring a cosine below it.
const MARGIN: f64 = 2e-5;
/// Largest λ: distortion in squares of the step, cost in bits.
const LAMBDA_MAX: f32 = 0.4;
/// λ where the step is not searched for.
const LAMBDA_USUAL: f32 = 0.13;
/// How often the floor is raised before a finer step is tried.
const RAISES: usize = 4;

/// How hard to search.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effort {
    /// For an estimate.
    Quick,
    /// For bytes that travel.
    Full,
}

/// What is written of one embedding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Choice {
    /// Index of the scale.
    pub scale: usize,
    /// Index of the step.
    pub step: usize,
    /// A quantised value for each row of the transform.
    pub quanta: Vec<i32>,
    /// What the transform can't express.
    pub fine: Option<Fine>,
}

/// A correction, component by component.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fine {
    /// The class of all components.
    pub class: usize,
    /// Index of the step.
    pub step: usize,
    /// A quantised value for each component.
    pub quanta: Vec<i32>,
}

/// What the coefficients are expected to be like.
pub enum Spread {
    /// Those of a first version.
    First(Vec<u64>),
    /// Those of a later version, by the samples before and now.
    Again(u32, u32),
}

impl Spread {
    /// Half octaves of each coefficient's variance.
    pub fn octaves(&self, tables: &Tables, step: i32) -> Vec<i32> {
        let logs = |variances: &[u64]| variances.iter().map(|&v| half_octaves(v)).collect();
        match self {
            Self::First(variances) => logs(variances),
            Self::Again(before, now) => logs(&variances_again(tables, *before, *now, step)),
        }
    }
}

/// Half octaves of a step's square.
pub fn square_octaves(step: i32) -> i32 {
    half_octaves((i64::from(step) * i64::from(step)) as u64)
}

/// The point that a choice stands for, and the levels of its coefficients that are not zero.
pub fn build(tables: &Tables, prior: &Point, choice: &Choice) -> (Point, Vec<(usize, i32)>) {
    let mut point = *prior;
    let size = step(choice.step);
    let mut levels = Vec::new();
    for (at, &quantum) in choice.quanta.iter().enumerate().filter(|(_, quantum)| **quantum != 0) {
        let level = level(quantum, size);
        add_row(&mut point, tables.row(at), level);
        levels.push((at, level));
    }
    if let Some(fine) = &choice.fine {
        let size = step(fine.step);
        for (component, &quantum) in point.iter_mut().zip(&fine.quanta) {
            *component += level(quantum, size) << (POINT_BITS - 15);
        }
    }
    (point, levels)
}

/// Chooses for one embedding. `before` is the index of the step that a difference is told from.
pub struct Search<'a> {
    /// What both ends know.
    pub tables: &'a Tables,
    /// The adaptive decisions as they stand.
    pub models: &'a Models,
    /// The least cosine.
    pub floor: Floor,
    /// How hard to search.
    pub effort: Effort,
    /// First or later version.
    pub kind: Kind,
    /// What the coefficients are expected to be like.
    pub spread: &'a Spread,
    /// The step of the pattern before.
    pub before: usize,
}

/// A target seen from its prior: everything in units of 2^-15.
struct Aim {
    /// The coefficients.
    wanted: Vec<i32>,
    /// The square of the prior's norm.
    prior: f64,
    /// The square of the target's norm, scaled so that its offset is orthogonal to the prior.
    whole: f64,
}

/// One attempt.
#[derive(Clone)]
struct Trial {
    quanta: Vec<i32>,
    /// In 1/256 bit.
    cost: u32,
    cosine: f64,
}

impl Search<'_> {
    /// The cheapest choice that meets the floor.
    pub fn run(&self, target: &Embedding, prior: &Point) -> Result<Choice, PatternError> {
        let aim = self.aim(target, prior);
        let mut floor = f64::from(self.floor.cosine()) + MARGIN;
        let costs = self.models.costs(self.kind);
        let wanted: f64 = aim.wanted.iter().map(|&w| f64::from(w) * f64::from(w)).sum();
        let reach = ((aim.prior + wanted) / aim.whole).min(1.0).sqrt();
        if reach > floor + 1e-4 {
            for _ in 0..RAISES {
                let Some(choice) = self.cheapest(&aim, &costs, floor) else { break };
                let missed = floor_of(self.floor) - cosine(self.tables, target, prior, &choice)?;
                if missed <= 0.0 {
                    return Ok(choice);
                }
                floor += missed + MARGIN;
            }
        }
        self.with_fine(target, prior, &aim, &costs)
    }

    /// The target's offset from the prior. An embedding has no length, so the target is scaled to
    /// where the offset is shortest.
    fn aim(&self, target: &Embedding, prior: &Point) -> Aim {
        let unit = f64::from(1 << (POINT_BITS - 15));
        let (mut square, mut dot, mut own) = (0.0, 0.0, 0.0);
        for (&x, &p) in target.as_slice().iter().zip(prior) {
            let (x, p) = (f64::from(x), f64::from(p) / unit);
            square += p * p;
            dot += x * p;
            own += x * x;
        }
        // Beyond 80 degrees the nearest point of that ray would be too far away to be quantised well.
        let near = dot > 0.17 * (square * own).sqrt();
        let scale = if near { square / dot } else { 1.0 };
        let mut offset = [0; DIMENSIONS];
        for ((offset, &x), &p) in offset.iter_mut().zip(target.as_slice()).zip(prior) {
            let difference = f64::from(x) * scale - f64::from(p) / unit;
            *offset = difference.round_ties_even().clamp(-65_536.0, 65_536.0) as i32;
        }
        Aim { wanted: project(self.tables, &offset), prior: square, whole: own * scale * scale }
    }

    /// Tries steps around the one before; nothing if none meets the floor.
    fn cheapest(&self, aim: &Aim, costs: &Costs, floor: f64) -> Option<Choice> {
        let mut best: Option<(u32, Choice)> = None;
        let mut scale = SCALE_ZERO as usize;
        let mut at = self.before;
        let (mut direction, mut turned) = (1i32, false);
        // From a step at which the floor can be met uphill, then downhill, while it gets cheaper.
        loop {
            let found = self.at_step(aim, costs, floor, at, &mut scale);
            let sum = found.as_ref().map(|trial| trial.cost + 2 * 256 * self.apart(at));
            let better = sum.is_some_and(|sum| best.as_ref().is_none_or(|(least, _)| sum < *least));
            if let (true, Some(sum), Some(trial)) = (better, sum, found) {
                best = Some((sum, Choice { scale, step: at, quanta: trial.quanta, fine: None }));
            } else if best.is_none() {
                // Too coarse: nothing was met so far.
                (direction, turned) = (-1, true);
            } else if turned {
                break;
            } else {
                (direction, turned) = (-1, true);
                at = best.as_ref().map_or(at, |(_, choice)| choice.step);
            }
            let next = at as i32 + direction;
            if !(0..STEPS as i32).contains(&next) {
                break;
            }
            at = next as usize;
        }
        best.map(|(_, choice)| choice)
    }

    fn apart(&self, step: usize) -> u32 {
        step.abs_diff(self.before) as u32
    }

    /// A step and the classes of its coefficients, with the scale that makes them cheapest.
    fn classes(&self, aim: &Aim, costs: &Costs, at: usize, scale: &mut usize) -> (i32, Vec<usize>) {
        let size = step(at);
        let octaves = self.spread.octaves(self.tables, size);
        let square = square_octaves(size);
        let classes = |scale| -> Vec<usize> {
            octaves.iter().map(|&log| class(log, square, scale)).collect()
        };
        let usual = trial(aim, costs, &classes(*scale), size, LAMBDA_USUAL);
        let sum = |&scale: &usize| {
            let sizes = usual.quanta.iter().map(|quantum| quantum.unsigned_abs());
            let sum: u32 = classes(scale).iter().zip(sizes).map(|(&c, q)| costs.of(c, q)).sum();
            sum + self.models.scale_cost(self.kind, scale)
        };
        *scale = (0..SCALES).min_by_key(sum).unwrap_or(*scale);
        (size, classes(*scale))
    }

    /// The cheapest quanta of a step that meet the floor.
    fn at_step(
        &self,
        aim: &Aim,
        costs: &Costs,
        floor: f64,
        at: usize,
        scale: &mut usize,
    ) -> Option<Trial> {
        let (size, of) = self.classes(aim, costs, at, scale);
        let (mut low, mut high) = (0.0, LAMBDA_MAX);
        let mut best = None;
        // What a later version takes depends more on how near to the floor it ends.
        let rounds = match (self.effort, self.kind) {
            (Effort::Full, _) => 7,
            (Effort::Quick, Kind::Again) => 5,
            (Effort::Quick, _) => 3,
        };
        let mut lambda = LAMBDA_USUAL;
        for _ in 0..rounds {
            let trial = trial(aim, costs, &of, size, lambda);
            if trial.cosine >= floor {
                low = lambda;
                best = Some(trial);
            } else {
                high = lambda;
            }
            lambda = (low + high) / 2.0;
        }
        if best.is_none() {
            best = Some(trial(aim, costs, &of, size, 0.0)).filter(|trial| trial.cosine >= floor);
        }
        best.map(|trial| Trial {
            cost: trial.cost + self.models.scale_cost(self.kind, *scale),
            ..trial
        })
    }

    /// Corrects component by component what a few steps of the transform leave; always meets the floor.
    fn with_fine(
        &self,
        target: &Embedding,
        prior: &Point,
        aim: &Aim,
        costs: &Costs,
    ) -> Result<Choice, PatternError> {
        let fines = self.models.costs(Kind::Fine);
        let mut best: Option<(u32, Choice)> = None;
        for below in [0, 3, 6, 9, 12] {
            let at = self.before.saturating_sub(below);
            let mut scale = SCALE_ZERO as usize;
            let (size, of) = self.classes(aim, costs, at, &mut scale);
            let trial = trial(aim, costs, &of, size, LAMBDA_USUAL);
            let mut choice = Choice { scale, step: at, quanta: trial.quanta, fine: None };
            let (point, _) = build(self.tables, prior, &choice);
            let (fine, cost) = self.finest(target, &point, &fines)?;
            choice.fine = Some(fine);
            let sum = trial.cost + cost;
            if best.as_ref().is_none_or(|(least, _)| sum < *least) {
                best = Some((sum, choice));
            }
        }
        best.map(|(_, choice)| choice).ok_or(PatternError::Norm)
    }

    /// The coarsest correction of a point that meets the floor.
    fn finest(
        &self,
        target: &Embedding,
        point: &Point,
        costs: &Costs,
    ) -> Result<(Fine, u32), PatternError> {
        let aimed = point_of(target);
        let (mut own, mut dot) = (0.0, 0.0);
        for (&x, &p) in aimed.iter().zip(point) {
            own += f64::from(x) * f64::from(x);
            dot += f64::from(x) * f64::from(p);
        }
        let scale = (dot / own).max(0.25);
        let offset: Vec<f32> = aimed
            .iter()
            .zip(point)
            .map(|(&x, &p)| ((f64::from(x) * scale - f64::from(p)) / 128.0) as f32)
            .collect();
        let mean = offset.iter().map(|o| o * o).sum::<f32>() / DIMENSIONS as f32;
        for at in (0..STEPS).rev() {
            let size = step(at);
            let class = class(half_octaves(mean as u64), square_octaves(size), SCALE_ZERO as usize);
            let quanta: Vec<i32> = offset
                .iter()
                .map(|o| (o.abs() / size as f32 + 0.38) as i32 * o.signum() as i32)
                .collect();
            let mut corrected = *point;
            for (component, &quantum) in corrected.iter_mut().zip(&quanta) {
                *component += level(quantum, size) << (POINT_BITS - 15);
            }
            if exact(target, &normalise(&corrected)?) >= floor_of(self.floor) {
                let cost = quanta.iter().map(|q| costs.of(class, q.unsigned_abs())).sum();
                return Ok((Fine { class, step: at, quanta }, cost));
            }
        }
        Err(PatternError::Norm)
    }
}

/// The floor that the decoded cosine is compared with.
fn floor_of(floor: Floor) -> f64 {
    f64::from(floor.cosine()) + MARGIN / 2.0
}

fn exact(a: &Embedding, b: &Embedding) -> f64 {
    a.dot(b) as f64 / (a.dot(a) as f64 * b.dot(b) as f64).sqrt()
}

/// The cosine that a choice is decoded to.
fn cosine(
    tables: &Tables,
    target: &Embedding,
    prior: &Point,
    choice: &Choice,
) -> Result<f64, PatternError> {
    Ok(exact(target, &normalise(&build(tables, prior, choice).0)?))
}

/// Quantises each coefficient by distortion plus λ times cost.
fn trial(aim: &Aim, costs: &Costs, classes: &[usize], step: i32, lambda: f32) -> Trial {
    let part = 1.0 / step as f32;
    let weight = lambda / super::entropy::COST_ONE as f32;
    let mut quanta = vec![0; aim.wanted.len()];
    let mut sum = 0;
    let (mut dot, mut square) = (0.0, 0.0);
    for ((quantum, &wanted), &class) in quanta.iter_mut().zip(&aim.wanted).zip(classes) {
        let size = wanted.unsigned_abs() as f32 * part;
        let zero = costs.of(class, 0);
        if size < 0.45 {
            sum += zero;
            continue;
        }
        let mut taken = (0, zero, size * size + weight * zero as f32, 0);
        let low = (size + 0.05) as i32;
        for candidate in low.max(1)..=low + 1 {
            let cost = costs.of(class, candidate as u32);
            let level = level(candidate, step);
            let off = size - level as f32 * part;
            let total = off * off + weight * cost as f32;
            if total < taken.2 {
                taken = (candidate, cost, total, level);
            }
        }
        sum += taken.1;
        *quantum = if wanted < 0 { -taken.0 } else { taken.0 };
        dot += f64::from(wanted.abs()) * f64::from(taken.3);
        square += f64::from(taken.3) * f64::from(taken.3);
    }
    let cosine = (aim.prior + dot) / ((aim.prior + square) * aim.whole).sqrt();
    Trial { quanta, cost: sum, cosine }
}
