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
        let mut sums = [0.0, f32::INFINITY, f32::INFINITY, f32::INFINITY];
        let mut paths = Vec::with_capacity(classes.len());
        for (at, (&wanted, &class)) in self.wanted.iter().zip(classes).enumerate() {
            let lambda = if at < lambda.turn { lambda.first } else { lambda.other };
            let weight = lambda / COST_ONE as f32;
            let best = candidates(costs, wanted.unsigned_abs() as f32 * part, class, weight);
            let (next, second) = onward(sums, best.sums);
            sums = next;
            paths.push((second, best.sizes));
        }
        let mut state = (0..sums.len()).min_by(|&a, &b| sums[a].total_cmp(&sums[b])).unwrap_or(0);
        let mut quanta = vec![0; classes.len()];
        for ((quantum, path), wanted) in quanta.iter_mut().zip(&paths).zip(&self.wanted).rev() {
            let (second, sizes) = path;
            let (before, taken) = backward(state, second >> state & 1 == 1);
            *quantum = i32::from(sizes[taken]) * wanted.signum();
            state = before;
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
            if quantum == 0 && self.levels[at] == 0 {
                continue;
            }
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

/// The best quanta for one coefficient: of the first quantiser the even and the odd one, then of the second.
struct Best {
    /// What each adds to the sum.
    sums: [f32; 4],
    sizes: [u16; 4],
}

/// Of each quantiser and parity the best quantum. `size` is in steps.
fn candidates(costs: &Costs, size: f32, class: usize, weight: f32) -> Best {
    // Where a quantum is, as `level` has it but for its rounding.
    let sum = |costs: &Costs, quantiser: usize, quantum: u32, back: f32| {
        let off = size - ((2 * quantum) as f32 - quantiser as f32 - back / 32.0);
        off * off + weight * costs.of(class + CLASSES * quantiser, quantum) as f32
    };
    let none = |quantiser| size * size + weight * costs.of(class + CLASSES * quantiser, 0) as f32;
    let sums = [none(0), sum(costs, 0, 1, 6.0), none(1), sum(costs, 1, 1, 6.0)];
    let mut best = Best { sums, sizes: [0, 1, 0, 1] };
    // Most are nearer to 0 than to anything else.
    if size < 1.0 {
        return best;
    }
    for quantiser in 0..2 {
        let low = ((size + quantiser as f32) / 2.0) as u32;
        if low == 0 {
            continue;
        }
        for quantum in low.max(3) - 1..=low + 1 {
            let sum = sum(costs, quantiser, quantum, 4.0);
            let slot = 2 * quantiser + (quantum as usize & 1);
            if sum < best.sums[slot] {
                best.sums[slot] = sum;
                best.sizes[slot] = quantum.min(u32::from(u16::MAX)) as u16;
            }
        }
    }
    best
}

/// One step of all four states: the least sum to each, and a bit for each that is set if it was reached by
/// the second of its two ways (see [`backward`]).
fn onward([a, b, c, d]: [f32; 4], [even, odd, even_too, odd_too]: [f32; 4]) -> ([f32; 4], u8) {
    let first = [a + even, c + even_too, a + odd, c + odd_too];
    let second = [b + odd, d + odd_too, b + even, d + even_too];
    let mut sums = first;
    let mut ways = 0;
    for state in 0..Trellis::STATES {
        if second[state] < first[state] {
            sums[state] = second[state];
            ways |= 1 << state;
        }
    }
    (sums, ways)
}

/// The state before a state, by the first or the second way to it, and which of [`Best`] was taken.
fn backward(state: usize, second: bool) -> (usize, usize) {
    let pair = 2 * (state & 1);
    let second = usize::from(second);
    (pair + second, pair + (second ^ state >> 1))
}

/// A point's component in units of 2^-15.
fn unit(component: i32) -> f64 {
    f64::from(component) / f64::from(1 << (POINT_BITS - 15))
}

fn rounded(value: f64) -> i32 {
    value.round_ties_even().clamp(-65_536.0, 65_536.0) as i32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ways_through_the_states_are_those_of_the_trellis() {
        for (state, second) in
            (0..Trellis::STATES).flat_map(|state| [(state, false), (state, true)])
        {
            let (before, taken) = backward(state, second);
            let before = Trellis::state(before);
            assert_eq!(before.after(taken as u32), state, "{state} {second}");
            assert_eq!(before.quantiser(), taken / 2, "{state} {second}");
        }
    }

    #[test]
    fn each_state_is_reached_by_the_cheaper_way() {
        let mut random = crate::id::Random::new([6; 16]);
        for _ in 0..200 {
            let mut some = || [(); 4].map(|()| random.up_to(20) as f32);
            let (before, sums) = (some(), some());
            let (after, ways) = onward(before, sums);
            for (state, &least) in after.iter().enumerate() {
                let way = |second| {
                    let (from, taken) = backward(state, second);
                    before[from] + sums[taken]
                };
                assert_eq!(least, way(false).min(way(true)));
                assert_eq!(least, way(ways >> state & 1 == 1));
            }
        }
    }
}
