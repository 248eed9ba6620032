//! Every kernel against the triple sum.

use super::instructions::Instructions;
use super::kernel::Kernel;
use super::kernels::amx_bf16::AmxBf16;
use super::kernels::amx_f32::AmxF32;
use super::kernels::avx2::Avx2;
use super::kernels::avx512::Avx512;
use super::kernels::avx512_bf16::Avx512Bf16;
use super::matrix::{Extents, Matrix, MatrixMut};
use super::multiply::{parallel, parallel_batch, parallel_with, scale_by_beta, serial, serial_with};
use super::operand::{Member, split_range};
use super::prepacked::Prepacked;
use super::split_k::should_split_k;
use crate::{Generator, Scalar};

/// x rounded to bfloat16 by its definition: to nearest, ties to even.
fn to_bf16(x: f32) -> f32 {
    let bits = x.to_bits();
    f32::from_bits((bits + 0x7fff + (bits >> 16 & 1)) & 0xffff_0000)
}

fn row_major(x: &[f32], rows: usize, columns: usize, transposed: bool) -> Matrix<f32> {
    if transposed { Matrix::row_major(x, rows).t() } else { Matrix::row_major(x, columns) }
}

const SHAPES: [(usize, usize, usize); 19] = [
    (1, 1, 1),
    (12, 5, 32),
    (32, 32, 32),
    (13, 400, 33),
    (64, 64, 64),
    (97, 800, 95),
    (200, 3, 17),
    (5, 1030, 300),
    (96, 1024, 48),
    (40, 9000, 160),
    (50, 700, 70),
    (800, 40, 33),
    (24, 32, 1),
    (64, 64, 16),
    (50, 300, 40),
    (13, 33, 33000),
    (5000, 20, 40),
    (150, 1100, 160),
    (300, 600, 140),
];

/// γ = (k + 2)·u bounds the error of a sum of k products and of the old element relative to Σ |a·b| + |β·c|, in any order of the sum
/// (Higham 2002, equation 3.4); products of numbers of bfloat16 are exact in f32.
fn one_rounding_a_product(k: usize) -> f64 {
    (k + 2) as f64
}

fn agrees_with_the_triple_sum<K: Kernel>(name: &str, rounded: impl Fn(f32) -> f32, roundings: fn(usize) -> f64) {
    if !K::is_available() {
        return println!("skipped: this processor has no {name}");
    }
    let mut generator = Generator::new(7);
    for (m, k, n) in SHAPES {
        for (a_transposed, b_transposed, beta) in [(false, false, 0.0), (false, true, 1.0), (true, false, 1.0), (true, true, 0.5)] {
            let mut draw = |len: usize| -> Vec<f32> { (0..len).map(|_| generator.normal() as f32).collect() };
            let (a, b, c) = (draw(m * k), draw(k * n), draw(m * n));
            let a_of = |i: usize, p: usize| f64::from(rounded(a[if a_transposed { p * m + i } else { i * k + p }]));
            let b_of = |p: usize, j: usize| f64::from(rounded(b[if b_transposed { j * k + p } else { p * n + j }]));
            let (left, right) = (row_major(&a, m, k, a_transposed), row_major(&b, k, n, b_transposed));
            let (mut one, mut many) = (c.clone(), c.clone());
            // SAFETY: the matrices are whole slices and the instructions are there.
            unsafe {
                serial_with::<K>((m, k, n), left, right, beta, MatrixMut::row_major(&mut one, n));
                let out = MatrixMut::row_major(&mut many, n);
                let accumulate = scale_by_beta((m, k, n), beta, out);
                parallel_with::<K>(k, &[Member::single(left, m)], &[Member::single(right.t(), n)], accumulate, &[out]);
            }
            assert_eq!(one, many, "{name}: the same bits however the work is cut");
            for (position, &got) in one.iter().enumerate() {
                let (i, j) = (position / n, position % n);
                let terms = (0..k).map(|p| a_of(i, p) * b_of(p, j));
                let (sum, size) = terms.fold((0.0, 0.0), |(sum, size): (f64, f64), x| (sum + x, size + x.abs()));
                let old = f64::from(beta * c[position]);
                let bound = roundings(k) * f32::UNIT_ROUNDOFF * (size + old.abs());
                let error = (f64::from(got) - sum - old).abs();
                assert!(error <= bound, "{name} {m}×{k}×{n} at ({i}, {j}): {got} against {}", sum + old);
            }
        }
    }
}

#[test]
fn avx512() {
    agrees_with_the_triple_sum::<Avx512>("AVX-512", |x| x, one_rounding_a_product);
}

#[test]
fn avx2() {
    agrees_with_the_triple_sum::<Avx2>("AVX2", |x| x, one_rounding_a_product);
}

#[test]
fn amx_on_operands_rounded_to_bfloat16() {
    agrees_with_the_triple_sum::<AmxBf16>("AMX", to_bf16, one_rounding_a_product);
}

#[test]
fn avx512_bf16_on_operands_rounded_to_bfloat16() {
    agrees_with_the_triple_sum::<Avx512Bf16>("AVX512-BF16", to_bf16, one_rounding_a_product);
}

/// The instruction adds up 16 products of a step in each of two sums, then the two, then the result to the element: 17 roundings and one,
/// of which the last is made six times a step; the old element comes last. What the parts leave out is u of a product (and a little), and
/// with two signs they add up to 1 + 2⁻⁷ of it: at most another u of the roundings of a block, 113.
#[test]
fn amx_on_operands_in_three_parts() {
    agrees_with_the_triple_sum::<AmxF32>("AMX", |x| x, |k| (6 * k.div_ceil(32) + 17 + 4) as f64 + 0.01);
}

/// The root of the mean square of the errors relative to Σ |a·b|, in units of u.
fn mean_error<K: Kernel>((m, k, n): Extents, a: &[f32], b: &[f32]) -> f64 {
    let mut c = vec![0.0; m * n];
    let out = MatrixMut::row_major(&mut c, n);
    // SAFETY: the matrices are whole slices and the callers have seen to the instructions.
    unsafe {
        parallel_with::<K>(
            k,
            &[Member::single(Matrix::row_major(a, k), m)],
            &[Member::single(Matrix::row_major(b, n).t(), n)],
            false,
            &[out],
        )
    };
    let error = |position: usize| {
        let terms = (0..k).map(|p| f64::from(a[position / n * k + p]) * f64::from(b[p * n + position % n]));
        let (sum, size) = terms.fold((0.0, 0.0), |(sum, size): (f64, f64), x| (sum + x, size + x.abs()));
        ((f64::from(c[position]) - sum) / (size * f32::UNIT_ROUNDOFF)).powi(2)
    };
    ((0..m * n).map(error).sum::<f64>() / (m * n) as f64).sqrt()
}

/// A way to draw numbers.
type Draw = fn(&mut Generator) -> f64;

/// Products in three parts are as exact as sums of fused multiply-adds, for numbers of one size, of many sizes, of one sign, and with their
/// last bits set. The allowance is the root of the mean square of what the parts leave out of one product where its parts are spread
/// evenly, √2·(2⁻⁸/√3)·(2⁻¹⁷/√3) = 0.24 u at most: sums of many lose less.
#[test]
fn three_parts_are_no_less_exact_than_fused_multiply_adds() {
    if !AmxF32::is_available() {
        return println!("skipped: this processor has no AMX");
    }
    let mut generator = Generator::new(11);
    let kinds: [(&str, Draw); 4] = [
        ("normal", Generator::normal),
        ("of many sizes", |generator| generator.normal() * (8.0 * generator.normal()).exp2()),
        ("positive", |generator| generator.uniform() + 0.5),
        ("with all bits", |generator| f64::from(f32::from_bits(generator.bits() as u32 & 0x80ff_0000 | 0x3f00_7fff))),
    ];
    for (kind, draw) in kinds {
        for extents in [(64, 64, 64), (48, 777, 64), (64, 3000, 48)] {
            let mut numbers = |count: usize| -> Vec<f32> { (0..count).map(|_| draw(&mut generator) as f32).collect() };
            let (a, b) = (numbers(extents.0 * extents.1), numbers(extents.1 * extents.2));
            let (parts, fused) = (mean_error::<AmxF32>(extents, &a, &b), mean_error::<Avx512>(extents, &a, &b));
            println!("{kind} {extents:?}: {parts:.3} u in parts, {fused:.3} u fused");
            assert!(parts <= fused + 0.24, "{kind}, {extents:?}: {parts} u for {fused} u");
        }
    }
}

/// Runs `f` with every set of instructions that this processor has.
fn with_each(f: impl Fn(Instructions)) {
    let all = [
        (Instructions::Avx512, Avx512::is_available()),
        (Instructions::Avx2, Avx2::is_available()),
        (Instructions::AmxBf16, AmxBf16::is_available()),
        (Instructions::Avx512Bf16, Avx512Bf16::is_available()),
        (Instructions::AmxF32, AmxF32::is_available()),
    ];
    for (instructions, available) in all {
        if available {
            f(instructions);
        } else {
            println!("skipped: this processor has no {}", instructions.name());
        }
    }
}

fn product(with: Instructions, extents: Extents, a: Matrix<f32>, b: Matrix<f32>) -> Vec<f32> {
    let mut c = vec![0.0; extents.0 * extents.2];
    // SAFETY: the callers' matrices have these extents.
    unsafe { parallel(with, extents, a, b, 0.0, &mut c) };
    c
}

#[test]
fn avx2_gives_the_bits_of_avx512() {
    if !Avx512::is_available() || !Avx2::is_available() {
        return println!("skipped: this processor has no AVX-512");
    }
    let mut generator = Generator::new(9);
    let (m, k, n) = (70, 900, 65);
    let mut draw = |len: usize| -> Vec<f32> { (0..len).map(|_| generator.normal() as f32).collect() };
    let (a, b) = (draw(m * k), draw(k * n));
    let of = |with| product(with, (m, k, n), Matrix::row_major(&a, k), Matrix::row_major(&b, n));
    assert_eq!(of(Instructions::Avx512), of(Instructions::Avx2));
}

#[test]
fn products_that_share_an_operand_have_the_bits_of_products_of_their_own() {
    let mut generator = Generator::new(10);
    let (m, k, n) = (75, 700, 64);
    let mut draw = |len: usize| -> Vec<f32> { (0..len).map(|_| generator.normal() as f32).collect() };
    let (a, b) = (draw(m * k), [draw(k * n), draw(k * 5), draw(k * 33)]);
    let widths = [n, 5, 33];
    with_each(|with| {
        let many: Vec<_> = b.iter().zip(widths).map(|(b, n)| (Matrix::row_major(b, k).t(), n)).collect();
        let mut c: Vec<Vec<f32>> = widths.iter().map(|n| vec![f32::NAN; m * n]).collect();
        // SAFETY: the matrices are whole slices.
        unsafe { parallel_batch(with, k, &[(Matrix::row_major(&a, k), m)], &many, &mut c) };
        let own: Vec<_> = many.iter().map(|&(b, n)| product(with, (m, k, n), Matrix::row_major(&a, k), b)).collect();
        assert_eq!(c, own, "{with:?}: several B");
        let many: Vec<_> = b.iter().zip(widths).map(|(b, n)| (Matrix::row_major(b, n).t(), n)).collect();
        let mut c: Vec<Vec<f32>> = widths.iter().map(|n| vec![f32::NAN; n * m]).collect();
        // SAFETY: as above.
        unsafe { parallel_batch(with, k, &many, &[(Matrix::row_major(&a, m), m)], &mut c) };
        let own: Vec<_> = many.iter().map(|&(a_of, n)| product(with, (n, k, m), a_of, Matrix::row_major(&a, m))).collect();
        assert_eq!(c, own, "{with:?}: several A");
    });
}

/// Columns of several B are packed once and multiplied by some rows at a time.
#[test]
fn columns_that_are_packed_once_give_the_bits_of_products_of_their_own() {
    let (m, widths) = (75, [64, 5, 33]);
    let mut generator = Generator::new(11);
    let mut draw = |len: usize| -> Vec<f32> { (0..len).map(|_| generator.normal() as f32).collect() };
    for k in [70, 700, 1030] {
        let (a, b) = (draw(m * k), widths.map(|n| draw(k * n)));
        for transposed in [false, true] {
            let a_of = row_major(&a, m, k, transposed);
            let b_of: Vec<_> = b.iter().zip(widths).map(|(b, n)| (row_major(b, k, n, transposed), n)).collect();
            with_each(|with| {
                // SAFETY: the matrices are whole slices, and the rows that are multiplied lie inside them.
                let packed = unsafe { Prepacked::new(with, k, &b_of) };
                let mut c: Vec<Vec<f32>> = widths.iter().map(|n| vec![f32::NAN; m * n]).collect();
                for accumulate in [false, true] {
                    for rows in split_range(0..m, 32) {
                        let outputs: Vec<_> =
                            c.iter_mut().zip(widths).map(|(c, n)| MatrixMut::row_major(&mut c[rows.start * n..], n)).collect();
                        // SAFETY: as above.
                        unsafe { packed.multiply(rows.len(), a_of.rows_from(rows.start), accumulate, &outputs) };
                    }
                    for (c, &(b, n)) in c.iter().zip(&b_of) {
                        let mut own = product(with, (m, k, n), a_of, b);
                        if accumulate {
                            // SAFETY: as above.
                            unsafe { serial(with, (m, k, n), a_of, b, 1.0, MatrixMut::row_major(&mut own, n)) };
                        }
                        assert_eq!(c, &own, "{with:?}, k of {k}, accumulate: {accumulate}");
                    }
                }
            });
        }
    }
}

/// Every pair of strides of A and of B: dense, spread, broadcast in one direction or both, and columns far apart.
#[test]
fn operands_of_any_strides() {
    [21, 24].into_iter().for_each(products_of_any_strides);
}

/// Products with n columns.
fn products_of_any_strides(n: usize) {
    let (m, k) = (19, 70);
    let mut generator = Generator::new(8);
    let numbers: Vec<f32> = (0..1000 * k).map(|_| generator.normal() as f32).collect();
    let strides = |columns: isize| {
        [(columns, 1), (columns + 8, 1), (1, 30), (1, 80), (1, 1000), (2 * columns, 2), (0, 1), (1, 0), (0, 0), (1, 1), (3, 0)]
    };
    let dense = |rows: usize, columns: usize, strides: (isize, isize)| -> Vec<f32> {
        let at = |i: usize, j: usize| numbers[i * strides.0 as usize + j * strides.1 as usize];
        (0..rows * columns).map(|position| at(position / columns, position % columns)).collect()
    };
    with_each(|with| {
        for (a_strides, b_strides) in strides(k as isize).into_iter().flat_map(|a| strides(n as isize).map(|b| (a, b))) {
            let (a, b) = (dense(m, k, a_strides), dense(k, n, b_strides));
            let expected = product(with, (m, k, n), Matrix::row_major(&a, k), Matrix::row_major(&b, n));
            let of = |strides| Matrix { start: numbers.as_ptr(), strides };
            let mut alone = vec![f32::NAN; m * n];
            // SAFETY: the strides lead to numbers there are.
            unsafe { serial(with, (m, k, n), of(a_strides), of(b_strides), 0.0, MatrixMut::row_major(&mut alone, n)) };
            assert_eq!(expected, product(with, (m, k, n), of(a_strides), of(b_strides)), "{with:?}, {a_strides:?} by {b_strides:?}");
            assert_eq!(expected, alone, "{with:?}, {a_strides:?} by {b_strides:?} in one thread");
        }
    });
}

/// What is too large for the format goes to ∞, NaN stays NaN, and neither reaches other rows and columns.
#[test]
fn infinities_and_nan_stay_in_their_row_and_column() {
    let (m, k, n) = (33, 40, 34);
    let (mut a, mut b) = (vec![1.0; m * k], vec![1.0; k * n]);
    a[3 * k + 7] = f32::NAN;
    a[5 * k + 1] = f32::INFINITY;
    a[6 * k + 1] = f32::MAX;
    b[2 * n + 33] = f32::NEG_INFINITY;
    // Parts of different signs, which ∞ and what is too large meet.
    b[n + 20] = 1.0 + 2f32.powi(-8) + 2f32.powi(-10);
    b[n + 21] = 2f32.powi(20) - 2f32.powi(11);
    with_each(|with| {
        let rounds = matches!(with, Instructions::AmxBf16 | Instructions::Avx512Bf16);
        for (position, &x) in product(with, (m, k, n), Matrix::row_major(&a, k), Matrix::row_major(&b, n)).iter().enumerate() {
            let right = match (position / n, position % n) {
                (3, _) | (5, 33) => x.is_nan(),
                (5, _) => x == f32::INFINITY,
                (6, 33) if rounds => x.is_nan(),
                (_, 33) => x == f32::NEG_INFINITY,
                (6, 20 | 21) => !x.is_finite(),
                (_, 20 | 21) => x.is_finite(),
                (6, _) => x == if rounds { f32::INFINITY } else { f32::MAX },
                _ => x == 40.0,
            };
            assert!(right, "{with:?}: {x} at ({}, {})", position / n, position % n);
        }
    });
}

/// A line may have a NaN of any bits, ∞, the numbers next to it, or large and small numbers: the other lines keep their bits. This holds in
/// whole squares and at their edges, for operands of either order.
#[test]
fn a_line_of_any_numbers_leaves_the_others_as_they_are() {
    let (lines, k, others) = (40, 70, 35);
    let mut generator = Generator::new(12);
    let mut draw = |len: usize| -> Vec<f32> { (0..len).map(|_| generator.normal() as f32).collect() };
    let (clean, other) = (draw(lines * k), draw(k * others));
    for bits in [0x7fff_ffffu32, 0xffff_ffff, 0x7fc0_0001, 0x7f80_0000, 0xff80_0000, 0x7f7f_ffff, 0x4b80_0001, 0x0000_0001, 0x8070_0001] {
        for (line, place) in [(0, 0), (17, 33), (39, 69)] {
            let mut numbers = clean.clone();
            numbers[line * k + place] = f32::from_bits(bits);
            for transposed in [false, true] {
                let (with_it, without) = (row_major(&numbers, lines, k, false), row_major(&clean, lines, k, false));
                let transposes: [Vec<f32>; 2] = [&numbers, &clean].map(|x| (0..lines * k).map(|i| x[i % lines * k + i / lines]).collect());
                let of = |x, transpose| if transposed { row_major(transpose, lines, k, true) } else { x };
                let (with_it, without) = (of(with_it, &transposes[0]), of(without, &transposes[1]));
                with_each(|with| {
                    let as_a = |x| product(with, (lines, k, others), x, Matrix::row_major(&other, others));
                    let as_b = |x: Matrix<f32>| product(with, (others, k, lines), Matrix::row_major(&other, others).t(), x.t());
                    let (got, expected) = ([as_a(with_it), as_b(with_it)], [as_a(without), as_b(without)]);
                    for position in 0..lines * others {
                        let (in_a, in_b) = (position / others, position % lines);
                        assert!(in_a == line || got[0][position].to_bits() == expected[0][position].to_bits(), "{with:?}: {bits:x} in A");
                        assert!(in_b == line || got[1][position].to_bits() == expected[1][position].to_bits(), "{with:?}: {bits:x} in B");
                        let is_nan = f32::from_bits(bits).is_nan();
                        assert!(!is_nan || in_a != line || got[0][position].is_nan(), "{with:?}: {bits:x} in A is lost");
                        assert!(!is_nan || in_b != line || got[1][position].is_nan(), "{with:?}: {bits:x} in B is lost");
                    }
                });
            }
        }
    }
}

/// A number next to ∞ comes through a product with the identity as it is. It stands alone among ones, in operands of each order that
/// packing treats apart.
#[test]
fn the_largest_numbers_are_themselves() {
    let n = 32;
    let identity: Vec<f32> = (0..n * n).map(|i| if i % n == i / n { 1.0 } else { 0.0 }).collect();
    for bits in [0x7f7f_7fffu32, 0x7f7f_8000, 0x7f7f_ffff, 0xff7f_7fff, 0xff7f_8000, 0xff7f_ffff] {
        let mut spread = vec![1.0f32; 2 * n * n];
        let (row, column) = (3, 17);
        spread[2 * (row * n + column)] = f32::from_bits(bits);
        let dense: Vec<f32> = spread.iter().step_by(2).copied().collect();
        let transposed: Vec<f32> = (0..n * n).map(|i| dense[i % n * n + i / n]).collect();
        let of_spread = Matrix { start: spread.as_ptr(), strides: (2 * n as isize, 2) };
        for x in [Matrix::row_major(&dense, n), Matrix::row_major(&transposed, n).t(), of_spread] {
            with_each(|with| {
                if !matches!(with, Instructions::AmxBf16 | Instructions::Avx512Bf16) {
                    assert_eq!(product(with, (n, n, n), x, Matrix::row_major(&identity, n)), dense, "{with:?}: {bits:x} in A");
                    assert_eq!(product(with, (n, n, n), Matrix::row_major(&identity, n), x), dense, "{with:?}: {bits:x} in B");
                }
            });
        }
    }
}

/// A number may be so small that its parts are not normal. The numbers beside it come through a product with the identity as they are, in
/// every place of a step.
#[test]
fn numbers_beside_tiny_ones_are_themselves() {
    let n = 32;
    let identity: Vec<f32> = (0..n * n).map(|i| if i % n == i / n { 1.0 } else { 0.0 }).collect();
    let mut generator = Generator::new(13);
    let numbers: Vec<f32> = (0..n * n).map(|_| generator.normal() as f32).collect();
    for tiny in [0x0000_1234u32, 0x8012_ffff, 0x0a80_ffff, 0x8b9a_9a9a].map(f32::from_bits) {
        let mut x = numbers.clone();
        (0..n).for_each(|i| x[i * n + i] = tiny);
        let transposed: Vec<f32> = (0..n * n).map(|i| x[i % n * n + i / n]).collect();
        for x_of in [Matrix::row_major(&x, n), Matrix::row_major(&transposed, n).t()] {
            with_each(|with| {
                if matches!(with, Instructions::AmxBf16 | Instructions::Avx512Bf16) {
                    return;
                }
                let unit = Matrix::row_major(&identity, n);
                for got in [product(with, (n, n, n), x_of, unit), product(with, (n, n, n), unit, x_of)] {
                    let others = (0..n * n).filter(|i| i % n != i / n);
                    assert!(others.into_iter().all(|i| got[i] == x[i]), "{with:?}: beside {tiny:e}");
                }
            });
        }
    }
}

#[test]
fn sums_by_parts_of_k_have_the_bits_of_the_whole_for_several_outputs_and_any_number_of_threads() {
    let mut generator = Generator::new(12);
    let (m, k, n) = ([70, 5, 33], 1700, 50);
    assert!(should_split_k(4, (m.iter().sum(), k, n)));
    let mut draw = |len: usize| -> Vec<f32> { (0..len).map(|_| generator.normal() as f32).collect() };
    let (a, b) = (m.map(|m| draw(k * m)), draw(k * n));
    with_each(|with| {
        let many: Vec<_> = a.iter().zip(m).map(|(a, m)| (Matrix::row_major(a, m).t(), m)).collect();
        let of = |threads: usize| {
            let mut c: Vec<Vec<f32>> = m.iter().map(|m| vec![f32::NAN; m * n]).collect();
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            // SAFETY: the matrices are whole slices.
            pool.install(|| unsafe { parallel_batch(with, k, &many, &[(Matrix::row_major(&b, n), n)], &mut c) });
            c
        };
        let found = of(3);
        for threads in [1, 8, 40] {
            assert_eq!(of(threads), found, "{}, {threads} threads", with.name());
        }
        for (&(a, m), found) in many.iter().zip(&found) {
            let mut own = vec![0.0; m * n];
            // SAFETY: the matrices are whole slices.
            unsafe { serial(with, (m, k, n), a, Matrix::row_major(&b, n), 0.0, MatrixMut::row_major(&mut own, n)) };
            assert_eq!(&own, found, "{}", with.name());
        }
    });
}
