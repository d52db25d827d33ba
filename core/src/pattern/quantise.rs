//! The encoder's choice: the fewest bytes whose decoded embedding is as near as the floor asks.
//!
//! The coefficients take the values with the least distortion plus λ times cost (rate-distortion optimised
//! quantisation: Ramchandran and Vetterli 1994). For some steps λ is bisected until the cosine is just above
//! the floor, and the cheapest step wins. Then the aim is taken anew from what came out, some times: the
//! decoder's own arithmetic has the last word. Floating point decides only which valid bytes are written.

use super::aim::{Aim, Lambda, Trial};
use super::entropy::{
    CLASSES, Costs, Kind, Models, SCALE_ZERO, SCALES, Trellis, class, half_octaves,
};
use super::message::Floor;
use super::tables::Tables;
use super::transform::{
    POINT_BITS, Point, STEPS, add_rows, level, normalise, plain_level, point_of, step,
    variances_again,
};
use super::{DIMENSIONS, Embedding, PatternError};

/// Added to the floor, so that rounding an input to 16 bits does not bring a cosine below it.
const MARGIN: f64 = 2e-5;
/// Largest λ: distortion in squares of the step, cost in bits.
const LAMBDA_MAX: f32 = 1.6;
/// λ where the step is not searched for.
const LAMBDA_USUAL: f32 = 0.42;
/// How often λ is bisected for one step, and then the place from which on it is greater.
const ROUNDS: usize = 7;
const TURNS: usize = 5;

/// How hard to search.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effort {
    /// For an estimate.
    Quick,
    /// For bytes that travel.
    Full,
}

impl Effort {
    /// How often an aim is taken: that is the work.
    fn looks(self) -> u32 {
        if self == Self::Full { 4 } else { 3 }
    }
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
    let mut trellis = Trellis::default();
    for (at, &quantum) in choice.quanta.iter().enumerate() {
        let level = level(quantum, trellis.pass(quantum), size);
        if level != 0 {
            levels.push((at, level));
        }
    }
    add_rows(&mut point, tables, &levels);
    if let Some(fine) = &choice.fine {
        let size = step(fine.step);
        for (component, &quantum) in point.iter_mut().zip(&fine.quanta) {
            *component += plain_level(quantum, size) << (POINT_BITS - 15);
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

impl Search<'_> {
    /// The cheapest choice that meets the floor.
    pub fn run(&self, target: &Embedding, prior: &Point) -> Result<Choice, PatternError> {
        let mut aim = Aim::new(self.tables, target, prior);
        let costs = self.models.costs(self.kind);
        let floor = floor_of(self.floor);
        if aim.best() > floor + 1e-4 {
            let mut best: Option<(u32, Choice)> = None;
            let mut at: Option<(usize, usize)> = None;
            for look in 0..self.effort.looks() {
                let asked = floor + f64::from(look) * MARGIN / 2.0;
                let found = match at {
                    None => self.cheapest(&aim, &costs, asked),
                    Some((at, scale)) => self.refined(&aim, &costs, asked, at, scale),
                };
                let Some((cost, choice)) = found else { break };
                at = Some((choice.step, choice.scale));
                let (point, levels) = build(self.tables, prior, &choice);
                let met = exact(target, &normalise(&point)?) - floor;
                let better = best.as_ref().is_none_or(|(least, _)| cost < *least);
                if met >= 0.0 && better {
                    best = Some((cost, choice));
                }
                if (0.0..MARGIN).contains(&met) && look > 0 {
                    break;
                }
                aim.take_from(self.tables, target, &point, &levels);
            }
            if let Some((_, choice)) = best {
                return Ok(choice);
            }
        }
        self.with_fine(target, prior, &costs)
    }

    /// Tries steps around the one before; nothing if none meets the floor.
    fn cheapest(&self, aim: &Aim, costs: &Costs, floor: f64) -> Option<(u32, Choice)> {
        let mut best: Option<(u32, Choice)> = None;
        let mut scale = SCALE_ZERO as usize;
        let mut at = self.before;
        let (mut direction, mut turned) = (1i32, false);
        // From a step at which the floor can be met uphill, then downhill, while it gets cheaper.
        loop {
            let found = self.at_step(aim, costs, floor, at, &mut scale);
            let sum = found.as_ref().map(|(trial, ..)| trial.cost + 2 * 256 * self.apart(at));
            let better = sum.is_some_and(|sum| best.as_ref().is_none_or(|(least, _)| sum < *least));
            if let (true, Some(sum), Some((trial, ..))) = (better, sum, found) {
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
        best
    }

    /// The cheapest quanta of this step, to the last bit: from some coefficient on a greater λ.
    fn refined(
        &self,
        aim: &Aim,
        costs: &Costs,
        floor: f64,
        at: usize,
        mut scale: usize,
    ) -> Option<(u32, Choice)> {
        let (mut best, [first, other], classes) =
            self.at_step(aim, costs, floor, at, &mut scale)?;
        let (mut least, mut most) = (0usize, classes.len());
        for _ in 0..TURNS {
            let turn = least.midpoint(most);
            let mut trial = aim.quantise(costs, &classes, step(at), Lambda { first, other, turn });
            if trial.cosine < floor {
                least = turn;
                continue;
            }
            most = turn;
            trial.cost += self.models.scale_cost(self.kind, scale);
            if trial.cost < best.cost {
                best = trial;
            }
        }
        let choice = Choice { scale, step: at, quanta: best.quanta, fine: None };
        Some((best.cost + 2 * 256 * self.apart(at), choice))
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
        let usual = aim.quantise(costs, &classes(*scale), size, LAMBDA_USUAL.into());
        let sum = |&scale: &usize| {
            let mut trellis = Trellis::default();
            let cost = |(class, &quantum): (usize, &i32)| {
                costs.of(class + CLASSES * trellis.pass(quantum), quantum.unsigned_abs())
            };
            let sum: u32 = classes(scale).into_iter().zip(&usual.quanta).map(cost).sum();
            sum + self.models.scale_cost(self.kind, scale)
        };
        *scale = (0..SCALES).min_by_key(sum).unwrap_or(*scale);
        (size, classes(*scale))
    }

    /// The cheapest quanta of a step that meet the floor; the λ that they are of, one that is too much; and
    /// the classes.
    fn at_step(
        &self,
        aim: &Aim,
        costs: &Costs,
        floor: f64,
        at: usize,
        scale: &mut usize,
    ) -> Option<(Trial, [f32; 2], Vec<usize>)> {
        let (size, of) = self.classes(aim, costs, at, scale);
        let (mut low, mut high) = (0.0f32, LAMBDA_MAX);
        let mut best = None;
        let mut lambda = LAMBDA_USUAL;
        for _ in 0..ROUNDS {
            let trial = aim.quantise(costs, &of, size, lambda.into());
            if trial.cosine >= floor {
                low = lambda;
                best = Some(trial);
            } else {
                high = lambda;
            }
            lambda = (low + high) / 2.0;
        }
        if best.is_none() {
            let trial = aim.quantise(costs, &of, size, 0.0.into());
            best = Some(trial).filter(|trial| trial.cosine >= floor);
        }
        let mut best = best?;
        best.cost += self.models.scale_cost(self.kind, *scale);
        Some((best, [low, high], of))
    }

    /// Corrects component by component what a few steps of the transform leave; always meets the floor.
    fn with_fine(
        &self,
        target: &Embedding,
        prior: &Point,
        costs: &Costs,
    ) -> Result<Choice, PatternError> {
        let aim = Aim::new(self.tables, target, prior);
        let fines = self.models.costs(Kind::Fine);
        let mut best: Option<(u32, Choice)> = None;
        for below in [0, 3, 6, 9, 12] {
            let at = self.before.saturating_sub(below);
            let mut scale = SCALE_ZERO as usize;
            let (size, of) = self.classes(&aim, costs, at, &mut scale);
            let trial = aim.quantise(costs, &of, size, LAMBDA_USUAL.into());
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
                *component += plain_level(quantum, size) << (POINT_BITS - 15);
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
