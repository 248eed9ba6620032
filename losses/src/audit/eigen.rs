//! The Hessian as a matrix, and the eigenvalues of a symmetric matrix by Jacobi's rotations.

use super::instance::{DualWorld, hessian_vector};
use engine::Tensor;

/// A symmetric matrix by its rows.
pub type Matrix = Vec<Vec<f64>>;

/// Computes the Hessian of f at x, [n, n], by one Hessian-vector product for each unit vector.
pub fn hessian(x: &[f64], f: impl Fn(&Tensor<DualWorld>) -> Tensor<DualWorld>) -> Matrix {
    let unit = |i: usize| (0..x.len()).map(|j| f64::from(i == j)).collect::<Vec<f64>>();
    (0..x.len()).map(|i| hessian_vector(x, &unit(i), &f)).collect()
}

/// Computes the largest |a_ij − a_ji|.
pub fn asymmetry(a: &Matrix) -> f64 {
    let pairs = (0..a.len()).flat_map(|i| (0..i).map(move |j| (i, j)));
    pairs.map(|(i, j)| (a[i][j] - a[j][i]).abs()).fold(0.0, f64::max)
}

/// Computes the eigenvalues, smallest first, by Jacobi's cyclic method (Golub and Van Loan, Matrix Computations, section 8.5). Every
/// rotation makes one pair of off-diagonal entries 0 and lowers the sum of squares off the diagonal. The convergence is quadratic. Every
/// eigenvalue is exact to a few roundings of the matrix's norm.
pub fn eigenvalues(matrix: &Matrix) -> Vec<f64> {
    let (mut a, n) = (matrix.clone(), matrix.len());
    for _sweep in 0..64 {
        let off: f64 = (0..n).flat_map(|i| (0..i).map(move |j| (i, j))).map(|(i, j)| a[i][j].powi(2)).sum();
        if off == 0.0 {
            break;
        }
        for q in 1..n {
            (0..q).for_each(|p| rotate(&mut a, p, q));
        }
    }
    let mut values: Vec<f64> = (0..n).map(|i| a[i][i]).collect();
    values.sort_by(f64::total_cmp);
    values
}

/// Replaces A by JᵀAJ with the rotation J in the plane (p, q) that makes a_pq zero.
fn rotate(a: &mut Matrix, p: usize, q: usize) {
    if a[p][q] == 0.0 {
        return;
    }
    let theta = (a[q][q] - a[p][p]) / (2.0 * a[p][q]);
    // The smaller root of t² + 2θt − 1 = 0: an angle of at most π/4.
    let t = theta.signum() / (theta.abs() + theta.hypot(1.0));
    let cosine = t.hypot(1.0).recip();
    let sine = t * cosine;
    let turn = |x: &mut f64, y: &mut f64| (*x, *y) = (cosine * *x - sine * *y, sine * *x + cosine * *y);
    for row in a.iter_mut() {
        let (left, right) = row.split_at_mut(q);
        turn(&mut left[p], &mut right[0]);
    }
    let (upper, lower) = a.split_at_mut(q);
    upper[p].iter_mut().zip(&mut lower[0]).for_each(|(x, y)| turn(x, y));
    (a[p][q], a[q][p]) = (0.0, 0.0);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_matrix_with_known_eigenvalues() {
        let second_difference = vec![vec![2.0, -1.0, 0.0], vec![-1.0, 2.0, -1.0], vec![0.0, -1.0, 2.0]];
        let root = 2f64.sqrt();
        for (found, known) in eigenvalues(&second_difference).iter().zip([2.0 - root, 2.0, 2.0 + root]) {
            assert!((found - known).abs() < 1e-14, "{found} {known}");
        }
        assert_eq!(eigenvalues(&vec![vec![3.0]]), [3.0]);
        assert_eq!(eigenvalues(&vec![vec![1.0, 0.0], vec![0.0, -1.0]]), [-1.0, 1.0]);
    }

    #[test]
    fn the_eigenvalues_keep_trace_and_norm() {
        let n = 12;
        let entry = |i: usize, j: usize| ((i * 7 + j * 7 + i * j) as f64).sin();
        let a: Matrix = (0..n).map(|i| (0..n).map(|j| entry(i, j)).collect()).collect();
        let values = eigenvalues(&a);
        let trace: f64 = (0..n).map(|i| a[i][i]).sum();
        let squares: f64 = a.iter().flatten().map(|x| x * x).sum();
        assert!((values.iter().sum::<f64>() - trace).abs() < 1e-12);
        assert!((values.iter().map(|x| x * x).sum::<f64>() - squares).abs() < 1e-11);
    }

    #[test]
    fn the_hessian_of_logsumexp_is_the_softmaxs_covariance() {
        let z: [f64; 3] = [0.3, -1.0, 0.5];
        let total: f64 = z.iter().map(|z| z.exp()).sum();
        let p = z.map(|z| z.exp() / total);
        let h = hessian(&z, |z| z.logsumexp());
        for (i, row) in h.iter().enumerate() {
            for (j, found) in row.iter().enumerate() {
                let known = f64::from(i == j) * p[i] - p[i] * p[j];
                assert!((found - known).abs() < 1e-15, "{i} {j}: {found} {known}");
            }
        }
        assert_eq!(asymmetry(&vec![vec![0.0, 1.0], vec![3.0, 0.0]]), 2.0);
    }
}
