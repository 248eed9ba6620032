//! Products of few rows with columns that are contiguous, as generating text makes them: x·Wᵀ for a weight W [out, in].
//!
//! Such a product reads each number of W once, so memory sets its time, and packing would only copy what is read. Here B is read in the
//! order of its memory, column by column. Each column is multiplied by all rows of A, which stay in the first-level cache:
//!
//! ```text
//! for columns in B, a task each, on all threads:
//!     for column in columns:
//!         for block of rows of A, 8, 4, 2 or 1 at a time:
//!             for p in 0..k, LANES at a time:
//!                 lanes[row] += A[row, p]·B[p, column]
//!             C[row, column] = sum of the lanes
//! ```
//!
//! A sum has [`LANES`] lanes, each in the order of k, which are added in a fixed order. So an element has the same bits on any number of
//! threads and whatever other rows and columns there are. Wider vectors than those of AVX2 would wait for memory too. Several columns at a
//! time are several streams of memory, which was slower for weights of 288 × 768: 13 to 15 GB/s instead of 20.

use super::matrix::{Extents, Matrix, MatrixMut, SMALL};
use crate::threads::parallel_loop::run_tasks;
use std::arch::x86_64::*;
use std::ops::Range;

/// Products with at most this many rows are streamed.
pub const MOST_ROWS: usize = 16;
/// Partial sums of an element: a register of AVX2.
const LANES: usize = 8;
/// Bytes of B that are worth a task.
const TASK_BYTES: usize = 1 << 16;

/// True for a product of few rows, contiguous along k in both operands, with a B that is too large for the product to run in one piece.
pub fn should_stream((m, k, n): Extents, a: Matrix<f32>, b: Matrix<f32>) -> bool {
    m <= MOST_ROWS && k * n > SMALL && a.strides.1 == 1 && b.strides.0 == 1 && has_instructions()
}

fn has_instructions() -> bool {
    is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma")
}

/// C ← A·B + βC on all threads, with C in row-major order.
///
/// # Safety
/// [`should_stream`] must accept the product. Every element that is reached must be valid, and nothing else may touch those of C during the
/// call.
pub unsafe fn parallel((m, k, n): Extents, a: Matrix<f32>, b: Matrix<f32>, beta: f32, c: &mut [f32]) {
    let c = MatrixMut::row_major(c, n);
    let columns = (TASK_BYTES / (size_of::<f32>() * k)).max(1);
    run_tasks(n.div_ceil(columns), &|task| {
        let columns = task * columns..((task + 1) * columns).min(n);
        // SAFETY: the caller's promise; tasks write disjoint columns of C.
        unsafe { run_task((m, k, n), a, b, beta, c, columns) }
    });
}

/// Forms some columns of C.
///
/// # Safety
/// As [`parallel`].
#[target_feature(enable = "avx2,fma")]
unsafe fn run_task((m, k, _): Extents, a: Matrix<f32>, b: Matrix<f32>, beta: f32, c: MatrixMut<f32>, columns: Range<usize>) {
    for j in columns {
        let mut i = 0;
        while i < m {
            // SAFETY: the caller's promise: the rows, the column and the elements of C are inside.
            unsafe {
                let (a, column) = (a.rows_from(i), b.start.offset(j as isize * b.strides.1));
                let c = MatrixMut { start: c.start.add(i * c.row_stride + j), ..c };
                i += match m - i {
                    8.. => rows_by_column::<8>(k, a, column, beta, c),
                    4.. => rows_by_column::<4>(k, a, column, beta, c),
                    2.. => rows_by_column::<2>(k, a, column, beta, c),
                    _ => rows_by_column::<1>(k, a, column, beta, c),
                };
            }
        }
    }
}

/// Multiplies R rows of A by a column of B. Writes to the first column of C. Returns R.
///
/// # Safety
/// As [`parallel`]; A and C must have R rows and all of them k contiguous elements, as the column has.
#[inline]
#[target_feature(enable = "avx2,fma")]
unsafe fn rows_by_column<const R: usize>(k: usize, a: Matrix<f32>, column: *const f32, beta: f32, c: MatrixMut<f32>) -> usize {
    let whole = k / LANES * LANES;
    let mut sums = [_mm256_setzero_ps(); R];
    // SAFETY: the caller's promise.
    unsafe {
        let rows: [*const f32; R] = std::array::from_fn(|i| a.start.offset(i as isize * a.strides.0));
        for p in (0..whole).step_by(LANES) {
            let w = _mm256_loadu_ps(column.add(p));
            for (sum, row) in sums.iter_mut().zip(rows) {
                *sum = _mm256_fmadd_ps(_mm256_loadu_ps(row.add(p)), w, *sum);
            }
        }
        for (i, (lanes, row)) in sums.into_iter().zip(rows).enumerate() {
            let mut sum = total(lanes);
            for p in whole..k {
                sum = (*row.add(p)).mul_add(*column.add(p), sum);
            }
            let element = c.start.add(i * c.row_stride);
            *element = if beta == 0.0 { sum } else { beta.mul_add(*element, sum) };
        }
    }
    R
}

/// The sum of the lanes, by halves.
#[inline]
#[target_feature(enable = "avx2")]
fn total(lanes: __m256) -> f32 {
    let four = _mm_add_ps(_mm256_castps256_ps128(lanes), _mm256_extractf128_ps::<1>(lanes));
    let two = _mm_add_ps(four, _mm_movehl_ps(four, four));
    _mm_cvtss_f32(_mm_add_ss(two, _mm_shuffle_ps::<1>(two, two)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Generator;

    fn numbers(seed: u64, len: usize) -> Vec<f32> {
        let mut generator = Generator::new(seed);
        (0..len).map(|_| generator.normal() as f32).collect()
    }

    fn streamed((m, k, n): Extents, x: &[f32], w: &[f32], beta: f32, before: f32) -> Option<Vec<f32>> {
        let (a, b) = (Matrix::row_major(x, k), Matrix::row_major(w, k).t());
        let mut c = vec![before; m * n];
        // SAFETY: the matrices are whole slices.
        should_stream((m, k, n), a, b).then(|| unsafe { parallel((m, k, n), a, b, beta, &mut c) })?;
        Some(c)
    }

    /// A sum of k products errs by at most (k + 2)u Σ|x·w|.
    #[test]
    fn sums_are_near_those_in_f64() {
        for (m, k, n) in [(1, 300, 301), (2, 257, 259), (3, 288, 400), (4, 1000, 77), (7, 65, 1100), (16, 4096, 18), (1, 70_000, 1)] {
            let (x, w) = (numbers(1, m * k), numbers(2, n * k));
            let Some(c) = streamed((m, k, n), &x, &w, 0.0, f32::NAN) else { return println!("skipped: no fused multiply-adds") };
            for (place, sum) in c.into_iter().enumerate() {
                let terms = || x[place / n * k..][..k].iter().zip(&w[place % n * k..][..k]).map(|(x, w)| f64::from(*x) * f64::from(*w));
                let error = (f64::from(sum) - terms().sum::<f64>()).abs();
                let tolerance = (k + 2) as f64 * f64::from(f32::EPSILON) / 2.0 * terms().map(f64::abs).sum::<f64>();
                assert!(error <= tolerance, "{m} × {k} × {n}: {error} at {place}");
            }
        }
    }

    #[test]
    fn a_row_has_the_same_bits_whatever_rows_and_threads_there_are() {
        let (k, n) = (515, 203);
        let (x, w) = (numbers(3, MOST_ROWS * k), numbers(4, n * k));
        let Some(all) = streamed((MOST_ROWS, k, n), &x, &w, 0.0, 0.0) else { return println!("skipped: no fused multiply-adds") };
        for m in 1..MOST_ROWS {
            assert!(streamed((m, k, n), &x, &w, 0.0, 0.0).unwrap() == all[..m * n], "{m} rows");
        }
        let one = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
        assert!(one.install(|| streamed((MOST_ROWS, k, n), &x, &w, 0.0, 0.0)).unwrap() == all);
        let twice = streamed((2, k, n), &x, &w, 0.5, 4.0).unwrap();
        assert!(twice.iter().zip(&all).all(|(sum, product)| (sum - (2.0 + product)).abs() <= 1e-4));
    }

    #[test]
    fn other_products_are_left_to_the_packed_kernels() {
        let x = numbers(5, 300 * 300);
        let fits = |m, a, b| should_stream((m, 300, 300), a, b);
        let rows = Matrix::row_major(&x, 300);
        assert!(!fits(MOST_ROWS + 1, rows, rows.t()) && !fits(1, rows, rows) && !fits(2, rows.t(), rows.t()));
        assert!(!should_stream((1, 8, 8), rows, rows.t()), "small products run in one piece");
    }
}
