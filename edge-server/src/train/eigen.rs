//! Eigenvalues and eigenvectors of a symmetric matrix by cyclic Jacobi rotations (Golub and Van Loan,
//! "Matrix Computations", 8.5): slow, short, accurate, and the same on every run.

/// Passes over all pairs; the last ones find nothing to do.
pub const SWEEPS: usize = 12;
/// Off-diagonal entries below this part of the trace count as zero.
const SMALL: f64 = 1e-12;

/// The eigenvalues, largest first, and a unit vector for each, whose largest component is positive.
/// `tick` is called [`SWEEPS`] times.
pub fn decompose(mut matrix: Vec<Vec<f64>>, tick: &mut dyn FnMut()) -> (Vec<f64>, Vec<Vec<f64>>) {
    let size = matrix.len();
    let mut vectors: Vec<Vec<f64>> =
        (0..size).map(|row| (0..size).map(|at| f64::from(row == at)).collect()).collect();
    let small = SMALL * (0..size).map(|at| matrix[at][at]).sum::<f64>();
    for _ in 0..SWEEPS {
        for p in 0..size {
            for q in p + 1..size {
                if matrix[p][q].abs() > small {
                    rotate(&mut matrix, &mut vectors, p, q);
                }
            }
        }
        tick();
    }
    let mut order: Vec<usize> = (0..size).collect();
    order.sort_by(|&a, &b| matrix[b][b].total_cmp(&matrix[a][a]));
    let values = order.iter().map(|&at| matrix[at][at]).collect();
    let vectors = order.iter().map(|&at| pointing_up(vectors[at].clone())).collect();
    (values, vectors)
}

/// Makes entry (p, q) zero. `vectors` are rows.
fn rotate(matrix: &mut [Vec<f64>], vectors: &mut [Vec<f64>], p: usize, q: usize) {
    let theta = (matrix[q][q] - matrix[p][p]) / (2.0 * matrix[p][q]);
    let tangent = theta.signum() / (theta.abs() + (theta * theta + 1.0).sqrt());
    let cosine = 1.0 / (tangent * tangent + 1.0).sqrt();
    let sine = tangent * cosine;
    let turn = |a: &mut f64, b: &mut f64| {
        (*a, *b) = (cosine * *a - sine * *b, sine * *a + cosine * *b);
    };
    for row in matrix.iter_mut() {
        let (left, right) = row.split_at_mut(q);
        turn(&mut left[p], &mut right[0]);
    }
    for rows in [matrix, vectors] {
        let (above, below) = rows.split_at_mut(q);
        above[p].iter_mut().zip(&mut below[0]).for_each(|(a, b)| turn(a, b));
    }
}

fn pointing_up(mut vector: Vec<f64>) -> Vec<f64> {
    let largest = vector.iter().copied().max_by(|a, b| a.abs().total_cmp(&b.abs()));
    if largest.is_some_and(|largest| largest < 0.0) {
        vector.iter_mut().for_each(|component| *component = -*component);
    }
    vector
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vectors_are_orthonormal_and_give_the_matrix_back() {
        let size = 9;
        let entry = |a: usize, b: usize| ((a * b) as f64).sin() + f64::from(a == b) * 3.0;
        let matrix: Vec<Vec<f64>> =
            (0..size).map(|a| (0..size).map(|b| entry(a.min(b), a.max(b))).collect()).collect();
        let (values, vectors) = decompose(matrix.clone(), &mut || ());
        assert!(values.is_sorted_by(|a, b| a >= b));
        for a in 0..size {
            for b in 0..size {
                let dot: f64 = vectors[a].iter().zip(&vectors[b]).map(|(x, y)| x * y).sum();
                assert!((dot - f64::from(a == b)).abs() < 1e-9, "{a} {b}: {dot}");
                let back: f64 = (0..size).map(|k| values[k] * vectors[k][a] * vectors[k][b]).sum();
                assert!((back - matrix[a][b]).abs() < 1e-9, "{a} {b}");
            }
        }
    }
}
