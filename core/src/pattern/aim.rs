//! What an encoder looks for, seen from where it is: and the cheapest quanta that come near to it.
//!
//! The rows of the transform are nearly orthonormal, not quite. So an [`Aim`] is taken from a point that
//! has been built, whose cosine is known exactly, and says what a change of the levels does to it: to first
//! order exactly, to second order as if rows were orthonormal. Taken again from the choice that it led to,
//! it is exact where it matters.

use super::entropy::{CLASSES, COST_ONE, Costs, Trellis};
use super::tables::Tables;
use super::transform::{POINT_BITS, Point, level, project};
use super::{DIMENSIONS, Embedding};

/// A target seen from a point: everything in units of 2^-15.
pub struct Aim {
    /// What the target is scaled by: an embedding has no length.
    scale: f64,
    /// The square of the scaled target's norm.
    whole: f64,
    /// The inner products of the scaled target with each row.
    reach: Vec<i32>,
    /// The levels at the point.
    levels: Vec<i32>,
    /// The levels that would be best.
    pub wanted: Vec<i32>,
    /// The inner product of the point with the scaled target, and with itself.
    dot: f64,
    square: f64,
}

/// One attempt.
#[derive(Clone)]
pub struct Trial {
    /// A value for each row.
    pub quanta: Vec<i32>,
    /// In 1/256 bit.
    pub cost: u32,
    /// The cosine with the target, as the aim tells it.
    pub cosine: f64,
}

/// λ of the first coefficients and of all others: distortion in squares of the step, cost in bits.
#[derive(Clone, Copy)]
pub struct Lambda {
    /// Of the coefficients before `turn`.
    pub first: f32,
    /// Of the others.
    pub other: f32,
    /// How many come first.
    pub turn: usize,
}

impl From<f32> for Lambda {
    fn from(all: f32) -> Self {
        Self { first: all, other: all, turn: 0 }
    }
}

impl Aim {
    /// From the prior. The target is scaled to where it is nearest.
    pub fn new(tables: &Tables, target: &Embedding, prior: &Point) -> Self {
        let (mut square, mut dot, mut own) = (0.0, 0.0, 0.0);
        for (&x, &p) in target.as_slice().iter().zip(prior) {
            let (x, p) = (f64::from(x), unit(p));
            square += p * p;
            dot += x * p;
            own += x * x;
        }
        // Beyond 80 degrees the nearest point of that ray would be too far away to be quantised well.
        let near = dot > 0.17 * (square * own).sqrt();
        let scale = if near { square / dot } else { 1.0 };
        let rank = tables.rank();
        let scaled = target.as_slice().map(|x| rounded(f64::from(x) * scale));
        let mut aim = Self {
            scale,
            whole: own * scale * scale,
            reach: project(tables, &scaled),
            levels: vec![0; rank],
            wanted: Vec::new(),
            dot,
            square,
        };
        aim.take_from(tables, target, prior, &[]);
        aim
    }

    /// From a point, and the levels there that are not zero.
    pub fn take_from(
        &mut self,
        tables: &Tables,
        target: &Embedding,
        point: &Point,
        levels: &[(usize, i32)],
    ) {
        let mut offset = [0; DIMENSIONS];
        (self.dot, self.square) = (0.0, 0.0);
        for ((offset, &x), &p) in offset.iter_mut().zip(target.as_slice()).zip(point) {
            let (x, p) = (f64::from(x) * self.scale, unit(p));
            self.dot += x * p;
            self.square += p * p;
            *offset = rounded(x - p);
        }
        self.levels.fill(0);
        levels.iter().for_each(|&(at, level)| self.levels[at] = level);
        self.wanted = project(tables, &offset);
        self.wanted.iter_mut().zip(&self.levels).for_each(|(wanted, level)| *wanted += level);
    }

    /// The best cosine that levels can bring, as if rows were orthonormal.
    pub fn best(&self) -> f64 {
        let changes = self.wanted.iter().zip(&self.levels);
        let left: f64 = changes.map(|(w, l)| f64::from(w - l) * f64::from(w - l)).sum();
        ((self.square + left) / self.whole).min(1.0).sqrt()
    }

    /// The quanta with the least distortion plus λ times cost (Viterbi 1967), given each coefficient's class.
    pub fn quantise(&self, costs: &Costs, classes: &[usize], step: i32, lambda: Lambda) -> Trial {
        let part = 1.0 / step as f32;
        let mut sums = [f32::INFINITY; Trellis::STATES];
        sums[0] = 0.0;
        let mut paths = Vec::with_capacity(classes.len());
        for (at, (&wanted, &class)) in self.wanted.iter().zip(classes).enumerate() {
            let lambda = if at < lambda.turn { lambda.first } else { lambda.other };
            let weight = lambda / COST_ONE as f32;
            let best = candidates(costs, wanted.unsigned_abs() as f32 * part, class, weight);
            let mut next = [f32::INFINITY; Trellis::STATES];
            let mut path = [(0u8, 0u16); Trellis::STATES];
            for (state, &so_far) in sums.iter().enumerate() {
                let before = Trellis::state(state);
                for (cost, quantum) in best[before.quantiser()] {
                    let after = before.after(quantum.into());
                    if so_far + cost < next[after] {
                        next[after] = so_far + cost;
                        path[after] = (state as u8, quantum);
                    }
                }
            }
            sums = next;
            paths.push(path);
        }
        let mut state = (0..sums.len()).min_by(|&a, &b| sums[a].total_cmp(&sums[b])).unwrap_or(0);
        let mut quanta = vec![0; classes.len()];
        for ((quantum, path), wanted) in quanta.iter_mut().zip(&paths).zip(&self.wanted).rev() {
            let (before, size) = path[state];
            *quantum = i32::from(size) * wanted.signum();
            state = before.into();
        }
        self.trial(costs, classes, step, quanta)
    }

    /// What quanta cost, and how near they come.
    fn trial(&self, costs: &Costs, classes: &[usize], step: i32, quanta: Vec<i32>) -> Trial {
        let (mut dot, mut square) = (self.dot, self.square);
        let mut trellis = Trellis::default();
        let mut cost = 0;
        for (at, (&quantum, &class)) in quanta.iter().zip(classes).enumerate() {
            let quantiser = trellis.pass(quantum);
            cost += costs.of(class + CLASSES * quantiser, quantum.unsigned_abs());
            let change = f64::from(level(quantum, quantiser, step) - self.levels[at]);
            // Of the point with the row: that of the target, less that of the offset.
            let reach = f64::from(self.reach[at]);
            let inner = reach - f64::from(self.wanted[at] - self.levels[at]);
            dot += reach * change;
            square += 2.0 * inner * change + change * change;
        }
        Trial { quanta, cost, cosine: dot / (square * self.whole).sqrt() }
    }
}

/// For each quantiser the best even and the best odd size, with what it adds to the sum. `size` is
/// in steps.
fn candidates(costs: &Costs, size: f32, class: usize, weight: f32) -> [[(f32, u16); 2]; 2] {
    let mut best = [[(f32::INFINITY, 0); 2]; 2];
    for (quantiser, best) in best.iter_mut().enumerate() {
        let class = class + CLASSES * quantiser;
        // Where a size is, as `level` has it but for its rounding.
        let off = |candidate: u32, back: f32| {
            let off = size - ((2 * candidate) as f32 - quantiser as f32 - back / 32.0);
            off * off + weight * costs.of(class, candidate) as f32
        };
        best[0] = (size * size + weight * costs.of(class, 0) as f32, 0);
        best[1] = (off(1, 6.0), 1);
        let low = ((size + quantiser as f32) / 2.0) as u32;
        if low == 0 {
            continue;
        }
        for candidate in low.max(3) - 1..=low + 1 {
            let sum = off(candidate, 4.0);
            let slot = &mut best[candidate as usize & 1];
            if sum < slot.0 {
                *slot = (sum, candidate.min(u32::from(u16::MAX)) as u16);
            }
        }
    }
    best
}

/// A point's component in units of 2^-15.
fn unit(component: i32) -> f64 {
    f64::from(component) / f64::from(1 << (POINT_BITS - 15))
}

fn rounded(value: f64) -> i32 {
    value.round_ties_even().clamp(-65_536.0, 65_536.0) as i32
}
