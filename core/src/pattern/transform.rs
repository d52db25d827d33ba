//! From coefficients to an embedding, in integers: what the decoder does, and the encoder repeats.
//!
//! A pattern is its prior plus the sum of the transform's rows, each times its coefficient, scaled to
//! norm 1. The prior of a first version is the genre's centroid plus what the patterns before it in the
//! same message had in common beyond theirs: the posterior mean of a model with an effect of the
//! message, one of the genre within it, and one of the pattern. That is how tables which were trained on
//! other titles follow a catalogue (best linear unbiased prediction: Henderson 1975).
//!
//! Invariant: no input overflows. Components of a prior stay within ±2^25, coefficients within ±2^15,
//! row components within ±2^7, so a sum of 256 rows stays within 2^25 + 2^30.

use super::tables::Tables;
use super::{DIMENSIONS, Embedding, ONE, PatternError};

/// Bits after the point of a point that is not yet scaled to norm 1.
pub const POINT_BITS: u32 = 22;
/// Bits after the point of a row's components.
pub const ROW_BITS: u32 = 7;
/// Components of a prior are within this.
const PRIOR_MAX: i64 = 1 << 25;
/// What a pattern adds to the sums is within this.
const DEVIATION_MAX: i32 = 1 << 24;
/// Steps are 2^(index/4) times 2^-11, to two digits: from 2^-11 to nearly 1.
pub const STEPS: usize = 44;
const MANTISSAS: [u32; 4] = [16, 19, 23, 27];

/// A point of the space, [`POINT_BITS`] bits after the point.
pub type Point = [i32; DIMENSIONS];

/// The step of the quantiser with this index, in units of 2^-15.
pub fn step(index: usize) -> i32 {
    (MANTISSAS[index % 4] << (index / 4)) as i32
}

/// What a quantised value of a quantiser (see [`Trellis`]) stands for, in units of 2^-15: nearer to zero
/// than its place.
///
/// [`Trellis`]: super::entropy::Trellis
pub fn level(quantum: i32, quantiser: usize, step: i32) -> i32 {
    if quantum == 0 {
        return 0;
    }
    let size = i64::from(quantum.unsigned_abs());
    let back = if size == 1 { 6 } else { 4 };
    let place = 32 * (2 * size - quantiser as i64) - back;
    let level = ((place * i64::from(step)) >> 5).min(i64::from(ONE)) as i32;
    if quantum < 0 { -level } else { level }
}

/// What a value of a plain quantiser stands for.
pub fn plain_level(quantum: i32, step: i32) -> i32 {
    let size = i64::from(quantum.unsigned_abs());
    let back = if size == 1 { 3 } else { 2 };
    let level = (((size * 32 - back) * i64::from(step)) >> 5).clamp(0, i64::from(ONE)) as i32;
    if quantum < 0 { -level } else { level }
}

/// Adds rows of the transform, by their places and their levels in units of 2^-15. Four at a time: a
/// component is read and written once for all of them.
pub fn add_rows(point: &mut Point, tables: &Tables, levels: &[(usize, i32)]) {
    let (fours, rest) = levels.as_chunks::<4>();
    for four in fours {
        add_four(point, four.map(|(at, level)| (tables.row(at), level)));
    }
    for &(at, level) in rest {
        for (component, &row) in point.iter_mut().zip(tables.row(at)) {
            *component += i32::from(row) * level;
        }
    }
}

/// Four components at a time, because a compiler that saves bytes, as for the web, does not unroll.
fn add_four(point: &mut Point, [(a, w), (b, x), (c, y), (d, z)]: [(&[i8; DIMENSIONS], i32); 4]) {
    let [a, b, c, d] = [a, b, c, d].map(|row| row.as_chunks::<4>().0);
    let rows = a.iter().zip(b).zip(c).zip(d);
    for (component, (((a, b), c), d)) in point.as_chunks_mut::<4>().0.iter_mut().zip(rows) {
        component[0] += dot([a[0], b[0], c[0], d[0]], [w, x, y, z]);
        component[1] += dot([a[1], b[1], c[1], d[1]], [w, x, y, z]);
        component[2] += dot([a[2], b[2], c[2], d[2]], [w, x, y, z]);
        component[3] += dot([a[3], b[3], c[3], d[3]], [w, x, y, z]);
    }
}

#[inline(always)]
fn dot(a: [i8; 4], b: [i32; 4]) -> i32 {
    i32::from(a[0]) * b[0]
        + i32::from(a[1]) * b[1]
        + i32::from(a[2]) * b[2]
        + i32::from(a[3]) * b[3]
}

/// The inner products of a vector in units of 2^-15 with each row, in such units. Four rows at a time: a
/// component is read once for all of them.
pub fn project(tables: &Tables, vector: &[i32; DIMENSIONS]) -> Vec<i32> {
    let mut products = Vec::with_capacity(tables.rank());
    let (fours, rest) = tables.rows().as_chunks::<4>();
    for [a, b, c, d] in fours {
        let (mut w, mut x, mut y, mut z) = (0i32, 0i32, 0i32, 0i32);
        for ((((&v, &a), &b), &c), &d) in vector.iter().zip(a).zip(b).zip(c).zip(d) {
            w = w.wrapping_add(i32::from(a) * v);
            x = x.wrapping_add(i32::from(b) * v);
            y = y.wrapping_add(i32::from(c) * v);
            z = z.wrapping_add(i32::from(d) * v);
        }
        products.extend([w, x, y, z]);
    }
    for row in rest {
        let product = |sum: i32, (&a, &b): (&i8, &i32)| sum.wrapping_add(i32::from(a) * b);
        products.push(row.iter().zip(vector).fold(0, product));
    }
    products.iter_mut().for_each(|product| *product >>= ROW_BITS);
    products
}

/// The point scaled to norm 1.
pub fn normalise(point: &Point) -> Result<Embedding, PatternError> {
    // 18 bits after the point are enough, and their squares can be summed.
    let at = |component: i32| i64::from(component >> 4);
    let square: i64 = point.iter().map(|&component| at(component) * at(component)).sum();
    let norm = square.isqrt();
    if norm == 0 {
        return Err(PatternError::Norm);
    }
    let inverse = (1 << 44) / (2 * norm);
    let mut units = [0; DIMENSIONS];
    for (unit, &component) in units.iter_mut().zip(point) {
        let divided = divided((at(component) << 16) + norm, 2 * norm, inverse);
        *unit = divided.clamp(-i64::from(ONE - 1), i64::from(ONE - 1)) as i16;
    }
    Ok(Embedding::from_scaled(units))
}

/// The quotient rounded down, by 2^44 over the divisor and what that is off: a division takes many times
/// as long as a product. The quotient is within ±2^16.
fn divided(value: i64, by: i64, inverse: i64) -> i64 {
    let mut quotient = (value * inverse) >> 44;
    while quotient * by > value {
        quotient -= 1;
    }
    while (quotient + 1) * by <= value {
        quotient += 1;
    }
    quotient
}

/// An embedding as a point.
pub fn point_of(embedding: &Embedding) -> Point {
    embedding.as_slice().map(|unit| i32::from(unit) << (POINT_BITS - 15))
}

/// The sums of one genre within a message.
#[derive(Clone)]
struct Group {
    count: i64,
    sums: Vec<i64>,
    /// The sums times the genre's weight.
    weighted: Vec<i64>,
}

/// What the patterns of a message have in common.
#[derive(Clone)]
pub struct Common {
    groups: Vec<Option<Group>>,
    /// The sum of all groups' `weighted`.
    weighted: Vec<i64>,
    /// Of each coefficient, the sum of its squares so far.
    squares: Vec<u64>,
    count: u64,
}

impl Common {
    /// Nothing yet.
    pub fn new(tables: &Tables) -> Self {
        Self {
            groups: vec![None; tables.genres().len() + 1],
            weighted: vec![0; DIMENSIONS],
            squares: vec![0; tables.rank()],
            count: 0,
        }
    }

    /// The prior of a pattern of this genre, [`Tables::genres`] counts.
    pub fn prior(&self, tables: &Tables, genre: usize) -> Point {
        let weights = tables.weights();
        let reach = |group: &Group| weights.own + weights.genre * group.count;
        let total: i64 =
            self.groups.iter().flatten().map(|group| (group.count << 16) / reach(group)).sum();
        let message = (weights.message << 32) / ((1 << 16) + weights.message * total);
        let group = self.groups[genre].as_ref();
        let own = group.map_or(0, |group| (weights.genre << 16) / reach(group));
        let centroid = tables.centroid(genre);
        let mut prior = [0; DIMENSIONS];
        for (at, component) in prior.iter_mut().enumerate() {
            let shared = (self.weighted[at] * message) >> 16;
            let beyond = group.map_or(0, |g| ((g.sums[at] - g.count * shared) * own) >> 16);
            let sum = i64::from(centroid[at]) + shared + beyond;
            *component = sum.clamp(-PRIOR_MAX, PRIOR_MAX) as i32;
        }
        prior
    }

    /// Counts a pattern in: its point before scaling, and the levels of its coefficients.
    pub fn add(&mut self, tables: &Tables, genre: usize, point: &Point, levels: &[(usize, i32)]) {
        let weights = tables.weights();
        let empty = || Group { count: 0, sums: vec![0; DIMENSIONS], weighted: vec![0; DIMENSIONS] };
        let group = self.groups[genre].get_or_insert_with(empty);
        group.count += 1;
        let weight = (1 << 16) / (weights.own + weights.genre * group.count);
        let centroid = tables.centroid(genre);
        for at in 0..DIMENSIONS {
            let deviation = point[at].saturating_sub(centroid[at]);
            group.sums[at] += i64::from(deviation.clamp(-DEVIATION_MAX, DEVIATION_MAX));
            let weighted = (group.sums[at] * weight) >> 16;
            self.weighted[at] += weighted - group.weighted[at];
            group.weighted[at] = weighted;
        }
        self.count += 1;
        for &(at, level) in levels {
            self.squares[at] += level.unsigned_abs() as u64 * level.unsigned_abs() as u64;
        }
    }

    /// The expected variance of each coefficient of a first version, in units of 2^-30.
    pub fn variances(&self, tables: &Tables) -> Vec<u64> {
        let certain = tables.weights().certainty;
        let factor = (1 << 16) / (certain + self.count);
        let known = tables.variances().iter().zip(&self.squares);
        known.map(|(&variance, &square)| ((variance * certain + square) * factor) >> 16).collect()
    }
}

/// The expected variance of each coefficient of a later version, in units of 2^-30: what new samples
/// move, and what the last version's quantiser left.
pub fn variances_again(tables: &Tables, before: u32, now: u32, step: i32) -> Vec<u64> {
    let (before, now) = (u64::from(before), u64::from(now));
    let fresh = now.abs_diff(before).max(1);
    let moved = ((fresh << 20) / (now * now).max(1)).min(1 << 20);
    let left = (i64::from(step) * i64::from(step)) as u64 >> 5;
    tables.variances().iter().map(|&variance| ((variance * moved * 8) >> 20) + left).collect()
}

#[cfg(test)]
mod tests {
    use super::super::tables::{Parts, RANK_MAX, Weights, start};
    use super::*;

    fn tables(rows: Vec<Vec<i8>>) -> Tables {
        let parts = Parts {
            genres: Vec::new(),
            centroids: vec![vec![0; DIMENSIONS]],
            variances: vec![0; rows.len()],
            rows,
            weights: Weights { message: 0, genre: 0, own: 1, certainty: 1 },
            step: 0,
            starts: start(),
        };
        Tables::read(&parts.write().expect("valid")).expect("valid")
    }

    #[test]
    fn a_point_is_scaled_to_norm_one_whatever_its_length() {
        for scale in [40, 1_000, 1 << 20] {
            let mut point = [0; DIMENSIONS];
            point.iter_mut().enumerate().for_each(|(at, c)| *c = (at as i32 % 7 - 3) * scale);
            let embedding = normalise(&point).expect("not zero");
            assert!(Embedding::from_units(embedding.as_slice()).is_ok(), "{scale}");
        }
        let mut point = [0; DIMENSIONS];
        assert_eq!(normalise(&point), Err(PatternError::Norm));
        point[5] = i32::MIN + 1;
        assert_eq!(normalise(&point).expect("not zero").as_slice()[5], -32_767);
        assert_eq!(normalise(&[i32::MAX; DIMENSIONS]).expect("not zero").as_slice()[0], 1_672);
    }

    #[test]
    fn levels_are_nearer_to_zero_than_their_middle_and_never_above_one() {
        assert_eq!(
            [plain_level(0, 320), plain_level(1, 320), plain_level(-2, 320)],
            [0, 290, -620]
        );
        let levels = |quantiser| [-1, 0, 1, 2].map(|quantum| level(quantum, quantiser, 320));
        assert_eq!([levels(0), levels(1)], [[-580, 0, 580, 1_240], [-260, 0, 260, 920]]);
        assert_eq!(level(1 << 16, 1, step(STEPS - 1)), ONE);
        assert_eq!(plain_level(1 << 16, step(STEPS - 1)), ONE);
        assert!((1..STEPS).all(|at| step(at) > step(at - 1)));
    }

    #[test]
    fn sums_at_their_limits_do_not_overflow() {
        let mut point = [PRIOR_MAX as i32; DIMENSIONS];
        let tables = |component: i8| tables(vec![vec![component; DIMENSIONS]; RANK_MAX]);
        let levels: Vec<(usize, i32)> = (0..RANK_MAX).map(|at| (at, ONE)).collect();
        add_rows(&mut point, &tables(127), &levels);
        let most = PRIOR_MAX as i32 + RANK_MAX as i32 * 127 * ONE;
        assert!(point.iter().all(|component| *component == most));
        add_rows(&mut point, &tables(-128), &levels[1..]);
        add_rows(&mut point, &tables(-128), &levels);
        assert!(point[0] < 0);
    }

    #[test]
    fn rows_are_added_and_projected_whether_they_come_in_fours_or_not() {
        let mut random = crate::id::Random::new([4; 16]);
        let mut up_to = |most: u64| random.up_to(2 * most) as i32 - most as i32;
        for rank in [1, 3, 4, 9] {
            let row = |_| (0..DIMENSIONS).map(|_| up_to(127) as i8).collect();
            let tables = tables((0..rank).map(row).collect());
            let vector = [(); DIMENSIONS].map(|()| up_to(1 << 13));
            let product = |row: &[i8; DIMENSIONS]| -> i32 {
                row.iter().zip(&vector).map(|(&a, &b)| i32::from(a) * b).sum()
            };
            let products: Vec<i32> =
                tables.rows().iter().map(|row| product(row) >> ROW_BITS).collect();
            assert_eq!(project(&tables, &vector), products, "{rank}");
            let levels: Vec<(usize, i32)> = (0..rank).map(|at| (at, up_to(1 << 15))).collect();
            let mut point = [7; DIMENSIONS];
            add_rows(&mut point, &tables, &levels);
            for (at, &component) in point.iter().enumerate() {
                let sum: i32 = levels.iter().map(|&(k, l)| i32::from(tables.row(k)[at]) * l).sum();
                assert_eq!(component, 7 + sum, "{rank} {at}");
            }
        }
    }

    #[test]
    fn a_quotient_is_exact_for_every_norm() {
        let mut random = crate::id::Random::new([9; 16]);
        for _ in 0..100_000 {
            let norm = 1 + (random.bits() >> (23 + random.up_to(40))) as i64 / 20;
            let value = random.up_to(2 * norm as u64) as i64 - norm;
            let doubled = (value << 16) + norm;
            let quotient = divided(doubled, 2 * norm, (1 << 44) / (2 * norm));
            assert_eq!(quotient, doubled.div_euclid(2 * norm), "{value} {norm}");
        }
    }
}
