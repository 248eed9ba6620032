//! Products of few rows with columns that are contiguous, as generating text makes them: x·Wᵀ for a weight W [out, in].
//!
//! Such a product reads each number of W once, so memory sets its time, and packing would only copy what is read. Here B is read in the
//! order of its memory. A few columns at a time are multiplied by all rows of A, which stay in the first-level cache:
//!
//! ```text
//! for columns in B, a task each, on all threads:
//!     for one or two columns:
//!         for block of rows of A, up to 8 at a time:
//!             for p in 0..k, LANES at a time:
//!                 ask for what is a page further on
//!                 lanes[row, column] += A[row, p]·B[p, column]
//!             C[row, column] = sum of the lanes
//! ```
//!
//! - **What is a page further on is asked for**, because processors look ahead within a page only: weights of 60 MB, one row,
//!   6.0 ms → 2.2 ms on an Intel core.
//! - **Two columns at a time with AVX-512**, so that what is loaded of A is used twice: 8 rows 3.9 ms → 2.6 ms. AVX2 has no registers for
//!   them.
//!
//! B may be stored in bfloat16, in f16 or in blocks of eight-bit integers with a scale, as files of models are: fewer bytes. Each number is
//! widened, exactly, as it is read.
//!
//! A sum has [`LANES`] lanes, each in the order of k, which are added in a fixed order. So an element has the same bits on any number of
//! threads, with either set of instructions, and whatever other rows and columns there are.

use super::matrix::{Extents, Matrix, MatrixMut, SMALL, STREAMED_ROWS};
use super::stored::Q8Block;
use crate::simd::ask_a_page_ahead;
use crate::threads::parallel_loop::run_tasks;
use half::{bf16, f16};
use std::arch::x86_64::*;
use std::ops::Range;

/// Partial sums of an element: a register of AVX-512, two of AVX2.
const LANES: usize = 16;
/// Bytes of B that are worth a task.
const TASK_BYTES: usize = 1 << 16;

/// What B is stored in: a number, or a block of them.
pub trait Unit: Copy + Send + Sync {
    /// Numbers of a unit: 1, or a multiple of [`LANES`].
    const NUMBERS: usize;

    /// [`LANES`] numbers of a column from number `p` on, which is a multiple of [`LANES`], in f32.
    ///
    /// # Safety
    /// They must be there, and the processor must have the instructions of L.
    #[doc(hidden)]
    unsafe fn load<L: Lanes>(column: *const Self, p: usize) -> L;

    /// Number `place` of the unit in f32, exactly.
    fn widened(self, place: usize) -> f32;
}

impl Unit for f32 {
    const NUMBERS: usize = 1;
    #[inline(always)]
    unsafe fn load<L: Lanes>(column: *const Self, p: usize) -> L {
        // SAFETY: the caller's promise.
        unsafe { L::load(column.add(p)) }
    }
    #[inline(always)]
    fn widened(self, _: usize) -> f32 {
        self
    }
}

impl Unit for bf16 {
    const NUMBERS: usize = 1;
    #[inline(always)]
    unsafe fn load<L: Lanes>(column: *const Self, p: usize) -> L {
        // SAFETY: the caller's promise.
        unsafe { L::load_bf16(column.add(p)) }
    }
    #[inline(always)]
    fn widened(self, _: usize) -> f32 {
        self.to_f32()
    }
}

impl Unit for f16 {
    const NUMBERS: usize = 1;
    #[inline(always)]
    unsafe fn load<L: Lanes>(column: *const Self, p: usize) -> L {
        // SAFETY: the caller's promise.
        unsafe { L::load_f16(column.add(p)) }
    }
    #[inline(always)]
    fn widened(self, _: usize) -> f32 {
        self.to_f32()
    }
}

impl Unit for Q8Block {
    const NUMBERS: usize = Self::NUMBERS;
    #[inline(always)]
    unsafe fn load<L: Lanes>(column: *const Self, p: usize) -> L {
        // SAFETY: the caller's promise.
        unsafe {
            let block = &*column.add(p / Q8Block::NUMBERS);
            L::load_scaled(block.quants.as_ptr().add(p % Q8Block::NUMBERS), block.scale)
        }
    }
    #[inline(always)]
    fn widened(self, place: usize) -> f32 {
        self.scale * f32::from(self.quants[place])
    }
}

/// True for a product of few rows, contiguous along k in both operands, with a B that is too large for the product to run in one piece.
pub fn should_stream<N>((m, k, n): Extents, a: Matrix<f32>, b: Matrix<N>) -> bool {
    m <= STREAMED_ROWS && k * n > SMALL && a.strides.1 == 1 && b.strides.0 == 1 && has_instructions()
}

fn has_instructions() -> bool {
    is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") && is_x86_feature_detected!("f16c")
}

/// C ← A·B + βC on all threads, with C in row-major order. Strides of B are in units.
///
/// # Safety
/// [`should_stream`] must accept the product. Every element that is reached must be valid, and nothing else may touch those of C during the
/// call.
pub unsafe fn parallel<W: Unit>((m, k, n): Extents, a: Matrix<f32>, b: Matrix<W>, beta: f32, c: &mut [f32]) {
    let c = MatrixMut::row_major(c, n);
    let columns = (TASK_BYTES / (size_of::<W>() * k.div_ceil(W::NUMBERS))).max(1);
    let wide = is_x86_feature_detected!("avx512f");
    run_tasks(n.div_ceil(columns), &|task| {
        let columns = task * columns..((task + 1) * columns).min(n);
        // SAFETY: the caller's promise; tasks write disjoint columns of C.
        unsafe { if wide { avx512((m, k, n), a, b, beta, c, columns) } else { avx2((m, k, n), a, b, beta, c, columns) } }
    });
}

/// The lanes of a sum, in registers of one set of instructions. Its functions are safe to call where the processor has them.
#[doc(hidden)]
#[allow(clippy::missing_safety_doc)]
pub trait Lanes: Copy {
    /// Columns of B that are multiplied at a time.
    const COLUMNS: usize;
    /// Rows of A for whose sums, with those of all columns, there are registers.
    const ROWS: usize;
    unsafe fn zero() -> Self;
    /// The [`LANES`] numbers from `start` on.
    unsafe fn load(start: *const f32) -> Self;
    /// As [`Lanes::load`], from bfloat16.
    unsafe fn load_bf16(start: *const bf16) -> Self;
    /// As [`Lanes::load`], from f16.
    unsafe fn load_f16(start: *const f16) -> Self;
    /// As [`Lanes::load`], from integers times `scale`.
    unsafe fn load_scaled(start: *const i8, scale: f32) -> Self;
    /// self + x·y.
    unsafe fn plus_product(self, x: Self, y: Self) -> Self;
    /// The first half of the lanes plus the second.
    unsafe fn halves_added(self) -> __m256;
}

impl Lanes for __m512 {
    const COLUMNS: usize = 2;
    const ROWS: usize = 8;
    #[inline(always)]
    unsafe fn zero() -> Self {
        // SAFETY: the processor has the instructions.
        unsafe { _mm512_setzero_ps() }
    }
    #[inline(always)]
    unsafe fn load(start: *const f32) -> Self {
        // SAFETY: the caller's promise.
        unsafe { _mm512_loadu_ps(start) }
    }
    #[inline(always)]
    unsafe fn load_bf16(start: *const bf16) -> Self {
        // SAFETY: the caller's promise.
        unsafe { _mm512_castsi512_ps(_mm512_slli_epi32::<16>(_mm512_cvtepu16_epi32(_mm256_loadu_si256(start.cast())))) }
    }
    #[inline(always)]
    unsafe fn load_f16(start: *const f16) -> Self {
        // SAFETY: the caller's promise.
        unsafe { _mm512_cvtph_ps(_mm256_loadu_si256(start.cast())) }
    }
    #[inline(always)]
    unsafe fn load_scaled(start: *const i8, scale: f32) -> Self {
        // SAFETY: the caller's promise.
        unsafe {
            let numbers = _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128(start.cast())));
            _mm512_mul_ps(numbers, _mm512_set1_ps(scale))
        }
    }
    #[inline(always)]
    unsafe fn plus_product(self, x: Self, y: Self) -> Self {
        // SAFETY: the processor has the instructions.
        unsafe { _mm512_fmadd_ps(x, y, self) }
    }
    #[inline(always)]
    unsafe fn halves_added(self) -> __m256 {
        // SAFETY: the processor has the instructions.
        unsafe {
            let second = _mm256_castpd_ps(_mm512_extractf64x4_pd::<1>(_mm512_castps_pd(self)));
            _mm256_add_ps(_mm512_castps512_ps256(self), second)
        }
    }
}

impl Lanes for [__m256; 2] {
    const COLUMNS: usize = 1;
    const ROWS: usize = 4;
    #[inline(always)]
    unsafe fn zero() -> Self {
        // SAFETY: the processor has the instructions.
        unsafe { [_mm256_setzero_ps(); 2] }
    }
    #[inline(always)]
    unsafe fn load(start: *const f32) -> Self {
        // SAFETY: the caller's promise.
        unsafe { [_mm256_loadu_ps(start), _mm256_loadu_ps(start.add(LANES / 2))] }
    }
    #[inline(always)]
    unsafe fn load_bf16(start: *const bf16) -> Self {
        // SAFETY: the caller's promise.
        unsafe {
            [start, start.add(LANES / 2)].map(
                #[inline(always)]
                |half| _mm256_castsi256_ps(_mm256_slli_epi32::<16>(_mm256_cvtepu16_epi32(_mm_loadu_si128(half.cast())))),
            )
        }
    }
    #[inline(always)]
    unsafe fn load_f16(start: *const f16) -> Self {
        // SAFETY: the caller's promise.
        unsafe {
            [start, start.add(LANES / 2)].map(
                #[inline(always)]
                |half| _mm256_cvtph_ps(_mm_loadu_si128(half.cast())),
            )
        }
    }
    #[inline(always)]
    unsafe fn load_scaled(start: *const i8, scale: f32) -> Self {
        // SAFETY: the caller's promise.
        unsafe {
            [start, start.add(LANES / 2)].map(
                #[inline(always)]
                |half| _mm256_mul_ps(_mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64(half.cast()))), _mm256_set1_ps(scale)),
            )
        }
    }
    #[inline(always)]
    unsafe fn plus_product(self, x: Self, y: Self) -> Self {
        // SAFETY: the processor has the instructions.
        unsafe { [_mm256_fmadd_ps(x[0], y[0], self[0]), _mm256_fmadd_ps(x[1], y[1], self[1])] }
    }
    #[inline(always)]
    unsafe fn halves_added(self) -> __m256 {
        // SAFETY: the processor has the instructions.
        unsafe { _mm256_add_ps(self[0], self[1]) }
    }
}

/// Forms some columns of C with AVX-512.
///
/// # Safety
/// As [`parallel`], on a processor with AVX-512.
#[target_feature(enable = "avx512f,avx2,fma,f16c")]
unsafe fn avx512<W: Unit>(extents: Extents, a: Matrix<f32>, b: Matrix<W>, beta: f32, c: MatrixMut<f32>, columns: Range<usize>) {
    // SAFETY: the caller's promise.
    unsafe { run_task::<__m512, W>(extents, a, b, beta, c, columns) }
}

/// Forms some columns of C with AVX2.
///
/// # Safety
/// As [`parallel`].
#[target_feature(enable = "avx2,fma,f16c")]
unsafe fn avx2<W: Unit>(extents: Extents, a: Matrix<f32>, b: Matrix<W>, beta: f32, c: MatrixMut<f32>, columns: Range<usize>) {
    // SAFETY: the caller's promise.
    unsafe { run_task::<[__m256; 2], W>(extents, a, b, beta, c, columns) }
}

/// Forms some columns of C.
///
/// # Safety
/// As [`parallel`], on a processor with the instructions of L.
#[inline(always)]
unsafe fn run_task<L: Lanes, W: Unit>(
    (m, k, _): Extents,
    a: Matrix<f32>,
    b: Matrix<W>,
    beta: f32,
    c: MatrixMut<f32>,
    columns: Range<usize>,
) {
    let mut j = columns.start;
    while j < columns.end {
        // SAFETY: the caller's promise: the rows, the columns and the elements of C are inside.
        unsafe {
            let columns_of_b = Matrix { start: b.start.offset(j as isize * b.strides.1), ..b };
            let columns_of_c = MatrixMut { start: c.start.add(j), ..c };
            if L::COLUMNS == 2 && columns.end - j >= 2 {
                all_rows::<L, W, 2>(m, k, a, columns_of_b, beta, columns_of_c);
                j += 2;
            } else {
                all_rows::<L, W, 1>(m, k, a, columns_of_b, beta, columns_of_c);
                j += 1;
            }
        }
    }
}

/// Multiplies all rows of A by the first N columns of B. Writes to the first columns of C.
///
/// # Safety
/// As [`run_task`].
#[inline(always)]
unsafe fn all_rows<L: Lanes, W: Unit, const N: usize>(m: usize, k: usize, a: Matrix<f32>, b: Matrix<W>, beta: f32, c: MatrixMut<f32>) {
    let mut i = 0;
    while i < m {
        // SAFETY: the caller's promise.
        unsafe {
            let (a, c) = (a.rows_from(i), MatrixMut { start: c.start.add(i * c.row_stride), ..c });
            i += match m - i {
                8.. if L::ROWS >= 8 => block::<L, W, 8, N>(k, a, b, beta, c),
                4.. => block::<L, W, 4, N>(k, a, b, beta, c),
                2.. => block::<L, W, 2, N>(k, a, b, beta, c),
                _ => block::<L, W, 1, N>(k, a, b, beta, c),
            };
        }
    }
}

/// Multiplies M rows of A by N columns of B. Writes to the first rows and columns of C. Returns M.
///
/// # Safety
/// As [`run_task`]; A and C must have M rows, B and C N columns, and all rows and columns k contiguous elements.
#[inline(always)]
unsafe fn block<L: Lanes, W: Unit, const M: usize, const N: usize>(
    k: usize,
    a: Matrix<f32>,
    b: Matrix<W>,
    beta: f32,
    c: MatrixMut<f32>,
) -> usize {
    let whole = k / LANES * LANES;
    // SAFETY: the caller's promise. What is asked for need not be there.
    unsafe {
        let rows: [*const f32; M] = std::array::from_fn(|i| a.start.offset(i as isize * a.strides.0));
        let columns: [*const W; N] = std::array::from_fn(|j| b.start.offset(j as isize * b.strides.1));
        let mut sums = [[L::zero(); N]; M];
        for p in (0..whole).step_by(LANES) {
            let w = columns.map(
                #[inline(always)]
                |column| {
                    ask_a_page_ahead(column.add(p / W::NUMBERS));
                    W::load::<L>(column, p)
                },
            );
            for (sums, row) in sums.iter_mut().zip(rows) {
                let x = L::load(row.add(p));
                for (sum, w) in sums.iter_mut().zip(w) {
                    *sum = sum.plus_product(x, w);
                }
            }
        }
        for (i, (sums, row)) in sums.into_iter().zip(rows).enumerate() {
            for (j, (lanes, column)) in sums.into_iter().zip(columns).enumerate() {
                let mut sum = total(lanes.halves_added());
                for p in whole..k {
                    sum = (*row.add(p)).mul_add((*column.add(p / W::NUMBERS)).widened(p % W::NUMBERS), sum);
                }
                let element = c.start.add(i * c.row_stride + j);
                *element = if beta == 0.0 { sum } else { beta.mul_add(*element, sum) };
            }
        }
    }
    M
}

/// The sum of the lanes, by halves.
///
/// # Safety
/// The processor must have AVX2.
#[inline(always)]
unsafe fn total(lanes: __m256) -> f32 {
    // SAFETY: the caller's promise.
    unsafe {
        let four = _mm_add_ps(_mm256_castps256_ps128(lanes), _mm256_extractf128_ps::<1>(lanes));
        let two = _mm_add_ps(four, _mm_movehl_ps(four, four));
        _mm_cvtss_f32(_mm_add_ss(two, _mm_shuffle_ps::<1>(two, two)))
    }
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
        let (x, w) = (numbers(3, STREAMED_ROWS * k), numbers(4, n * k));
        let Some(all) = streamed((STREAMED_ROWS, k, n), &x, &w, 0.0, 0.0) else { return println!("skipped: no fused multiply-adds") };
        for m in 1..STREAMED_ROWS {
            assert!(streamed((m, k, n), &x, &w, 0.0, 0.0).unwrap() == all[..m * n], "{m} rows");
        }
        let one = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
        assert!(one.install(|| streamed((STREAMED_ROWS, k, n), &x, &w, 0.0, 0.0)).unwrap() == all);
        let twice = streamed((2, k, n), &x, &w, 0.5, 4.0).unwrap();
        assert!(twice.iter().zip(&all).all(|(sum, product)| (sum - (2.0 + product)).abs() <= 1e-4));
    }

    #[test]
    fn both_sets_of_instructions_give_the_same_bits() {
        let (k, n) = (515, 203);
        let (x, w) = (numbers(6, STREAMED_ROWS * k), numbers(7, n * k));
        for m in [1, 2, 3, 7, 8, 13, STREAMED_ROWS] {
            let [narrow, wide] = &formed((m, k, n), &x, &w)[..] else { return println!("skipped: no AVX-512") };
            assert!(narrow == wide, "{m} rows");
        }
    }

    /// C with either set of instructions, where the processor has it.
    fn formed<W: Unit>((m, k, n): Extents, x: &[f32], stored: &[W]) -> Vec<Vec<f32>> {
        let sets = [has_instructions(), has_instructions() && is_x86_feature_detected!("avx512f")];
        let form = |wide: bool| {
            let mut c = vec![f32::NAN; m * n];
            let (a, b, to) = (Matrix::row_major(x, k), Matrix::row_major(stored, k / W::NUMBERS).t(), MatrixMut::row_major(&mut c, n));
            // SAFETY: the matrices are whole slices, and the processor has the instructions.
            unsafe { if wide { avx512((m, k, n), a, b, 0.0, to, 0..n) } else { avx2((m, k, n), a, b, 0.0, to, 0..n) } }
            c
        };
        [false, true].into_iter().zip(sets).filter(|(_, there)| *there).map(|(wide, _)| form(wide)).collect()
    }

    /// Weights that are stored give the bits of the same weights in f32.
    fn hold_to_f32<W: Unit>(k: usize, stored: &[W]) {
        let n = W::NUMBERS * stored.len() / k;
        let x = numbers(8, STREAMED_ROWS * k);
        let widened: Vec<f32> = (0..n * k).map(|i| stored[i / W::NUMBERS].widened(i % W::NUMBERS)).collect();
        for m in [1, 2, 3, 5, 8, STREAMED_ROWS] {
            let Some(wanted) = streamed((m, k, n), &x, &widened, 0.0, 0.0) else { return println!("skipped: no fused multiply-adds") };
            for (set, found) in formed((m, k, n), &x, stored).into_iter().enumerate() {
                assert!(found == wanted, "{m} rows, set {set}");
            }
        }
    }

    #[test]
    fn weights_of_half_the_bits_give_the_bits_of_the_same_weights_in_f32() {
        let w = numbers(9, 515 * 203);
        hold_to_f32(515, &w.iter().map(|&w| bf16::from_f32(w)).collect::<Vec<_>>());
        // From the smallest subnormal number to 1.
        let small = |(i, &w): (usize, &f32)| f16::from_f32(w * 2f32.powi(-((i % 25) as i32)));
        hold_to_f32(515, &w.iter().enumerate().map(small).collect::<Vec<_>>());
    }

    #[test]
    fn weights_in_blocks_of_integers_give_the_bits_of_the_same_weights_in_f32() {
        // Scales of 11 bits, as f16 has them.
        let scale = |w: f32| f32::from_bits(w.to_bits() & 0xffff_e000);
        let block = |w: &[f32; 32]| Q8Block { scale: scale(w[0]), quants: w.map(|w| (40.0 * w) as i8) };
        hold_to_f32(544, &numbers(9, 544 * 203).as_chunks::<32>().0.iter().map(block).collect::<Vec<_>>());
    }

    #[test]
    fn other_products_are_left_to_the_packed_kernels() {
        let x = numbers(5, 300 * 300);
        let fits = |m, a, b| should_stream((m, 300, 300), a, b);
        let rows = Matrix::row_major(&x, 300);
        assert!(!fits(STREAMED_ROWS + 1, rows, rows.t()) && !fits(1, rows, rows) && !fits(2, rows.t(), rows.t()));
        assert!(!should_stream((1, 8, 8), rows, rows.t()), "small products run in one piece");
    }
}
