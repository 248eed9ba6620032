//! The gated feed-forward part, some rows at a time: what comes between its products stays in the second-level cache of the thread that forms it.
//! The readable twin is the default of `Backend::gated_mlp`.

use super::array::CpuArray;
use super::by_rows::{self, OnTheRight, Rows, for_rows, with_buffers};
use super::matmul::{self, Matrix, matrix};
use super::simd::vectorised;
use crate::backend::precision::Precision;
use crate::scalar::Scalar;

/// Is it quicker than product by product?
pub fn pays<T: Scalar>(x: &CpuArray<T>, weights: &[&CpuArray<T>; 3]) -> bool {
    x.shape()[1] > 0 && by_rows::pays(x.shape()[0], weights.iter().copied())
}

/// silu(g)·u.
#[inline(always)]
pub fn swiglu<T: Scalar>(gate: T, up: T) -> T {
    gate * gate.sigmoid() * up
}

/// ḡ and ū for the cotangent of [`swiglu`], and silu(g).
#[inline(always)]
pub fn swiglu_vjp<T: Scalar>(gate: T, up: T, cotangent: T) -> (T, T, T) {
    let sigmoid = gate.sigmoid();
    let silu = gate * sigmoid;
    ((sigmoid + silu * (T::one() - sigmoid)) * up * cotangent, silu * cotangent, silu)
}

/// Y, and G and U where `keep`.
pub fn forward<T: Scalar>(
    precision: Precision,
    x: &CpuArray<T>,
    [gate, up, down]: [&CpuArray<T>; 3],
    keep: bool,
) -> (CpuArray<T>, Option<[CpuArray<T>; 2]>) {
    let (n, inner, out) = (x.shape()[0], gate.shape()[0], down.shape()[0]);
    let mut y = T::allocate(n * out);
    let mut kept: Option<[Vec<T>; 2]> = keep.then(|| std::array::from_fn(|_| T::allocate(n * inner)));
    let outputs = (Rows::new(&mut y, out), kept.as_mut().map(|kept| kept.each_mut().map(|kept| Rows::new(kept, inner))));
    // SAFETY: the arrays' own strides and extents.
    let (first, second) = unsafe {
        let first = OnTheRight::new(precision, n, x.shape()[1], vec![(matrix(gate).t(), inner), (matrix(up).t(), inner)]);
        (first, OnTheRight::new(precision, n, inner, vec![(matrix(down).t(), out)]))
    };
    for_rows(n, |from, count| {
        let (y, kept) = outputs;
        with_buffers::<T, 3>(count * inner, |[own_gate, own_up, h]| {
            // SAFETY: each task has its own rows of the outputs.
            unsafe {
                let (gate, up) = kept.map_or((own_gate, own_up), |[gate, up]| (gate.rows(from, count), up.rows(from, count)));
                first.multiply(count, matrix(x).from_row(from), false, &[(gate.as_mut_ptr(), inner), (up.as_mut_ptr(), inner)]);
                hidden_rows(h, [gate, up]);
                second.multiply(count, Matrix::row_major(h, inner), false, &[y.output(from)]);
            }
        });
    });
    (CpuArray::from_vec(y, &[n, out]), kept.map(|kept| kept.map(|kept| CpuArray::from_vec(kept, &[n, inner]))))
}

/// The cotangents of X and the weights, those that are needed.
pub fn vjp<T: Scalar>(
    precision: Precision,
    x: &CpuArray<T>,
    weights: [&CpuArray<T>; 3],
    saved: &[CpuArray<T>; 2],
    cotangent: &CpuArray<T>,
    needed: [bool; 4],
) -> [Option<CpuArray<T>>; 4] {
    let [x_needed, gate_needed, up_needed, down_needed] = needed;
    let by_rows = pays(x, &weights);
    let (x_bar, [g_bar, u_bar, h]) = if by_rows {
        inner_cotangents_by_rows(precision, weights, saved, cotangent, x_needed)
    } else {
        inner_cotangents(precision, weights, saved, cotangent, x_needed)
    };
    let inner_bars: Vec<_> = gate_needed.then_some(&g_bar).into_iter().chain(up_needed.then_some(&u_bar)).collect();
    let mut weight_bars = matmul::of_transposed(precision, &inner_bars, x).into_iter();
    let [gate_bar, up_bar] = [gate_needed, up_needed].map(|needed| if needed { weight_bars.next() } else { None });
    let down_bar = down_needed.then(|| matmul::of_transposed(precision, &[cotangent], &h).swap_remove(0));
    [x_bar, gate_bar, up_bar, down_bar]
}

/// H from G and U, some rows.
fn hidden_rows<T: Scalar>(h: &mut [T], inputs: [&[T]; 2]) {
    let [gate, up] = inputs.map(|input| &input[..h.len()]);
    vectorised(
        #[inline(always)]
        || {
            for i in 0..h.len() {
                h[i] = swiglu(gate[i], up[i]);
            }
        },
    );
}

/// Ḡ, Ū and H from G, U and H̄, some rows.
fn cotangent_rows<T: Scalar>([g_bar, u_bar, h]: [&mut [T]; 3], inputs: [&[T]; 3]) {
    let [gate, up, h_bar] = inputs.map(|input| &input[..h.len()]);
    let (g_bar, u_bar) = (&mut g_bar[..h.len()], &mut u_bar[..h.len()]);
    vectorised(
        #[inline(always)]
        || {
            for i in 0..h.len() {
                let silu;
                (g_bar[i], u_bar[i], silu) = swiglu_vjp(gate[i], up[i], h_bar[i]);
                h[i] = silu * up[i];
            }
        },
    );
}

/// X̄ where it is needed, and Ḡ, Ū and H.
type InnerCotangents<T> = (Option<CpuArray<T>>, [CpuArray<T>; 3]);

/// [`InnerCotangents`] product by product.
fn inner_cotangents<T: Scalar>(
    precision: Precision,
    [gate, up, down]: [&CpuArray<T>; 3],
    saved: &[CpuArray<T>; 2],
    cotangent: &CpuArray<T>,
    x_needed: bool,
) -> InnerCotangents<T> {
    let h_bar = matmul::matmul(precision, cotangent, down);
    let shape = [h_bar.shape()[0], h_bar.shape()[1]];
    let inputs = [&saved[0], &saved[1], &h_bar].map(CpuArray::elements);
    let mut bars: [Vec<T>; 3] = std::array::from_fn(|_| T::allocate(shape[0] * shape[1]));
    let outputs = bars.each_mut().map(|bar| Rows::new(bar, shape[1]));
    for_rows(shape[0], |from, count| {
        let inputs = inputs.each_ref().map(|input| &input[from * shape[1]..(from + count) * shape[1]]);
        // SAFETY: each task has its own rows of the outputs.
        cotangent_rows(outputs.map(|bar| unsafe { bar.rows(from, count) }), inputs);
    });
    let [g_bar, u_bar, h] = bars.map(|bar| CpuArray::from_vec(bar, &shape));
    let x_bar = x_needed.then(|| matmul::sum_of_products(precision, &[(&g_bar, gate), (&u_bar, up)]));
    (x_bar, [g_bar, u_bar, h])
}

/// [`InnerCotangents`] some rows at a time.
fn inner_cotangents_by_rows<T: Scalar>(
    precision: Precision,
    [gate, up, down]: [&CpuArray<T>; 3],
    saved: &[CpuArray<T>; 2],
    cotangent: &CpuArray<T>,
    x_needed: bool,
) -> InnerCotangents<T> {
    let ([n, out], [inner, width]) = ([0, 1].map(|axis| cotangent.shape()[axis]), [0, 1].map(|axis| gate.shape()[axis]));
    let saved = saved.each_ref().map(CpuArray::elements);
    let mut bars: [Vec<T>; 3] = std::array::from_fn(|_| T::allocate(n * inner));
    let mut x_bar = x_needed.then(|| T::allocate(n * width));
    let outputs = (bars.each_mut().map(|bar| Rows::new(bar, inner)), x_bar.as_mut().map(|x_bar| Rows::new(x_bar, width)));
    // SAFETY: the arrays' own strides and extents.
    let (first, second) = unsafe {
        let first = OnTheRight::new(precision, n, out, vec![(matrix(down), inner)]);
        (first, [gate, up].map(|weight| OnTheRight::new(precision, n, inner, vec![(matrix(weight), width)])))
    };
    for_rows(n, |from, count| {
        let [gate, up] = saved.each_ref().map(|saved| &saved[from * inner..(from + count) * inner]);
        with_buffers::<T, 1>(count * inner, |[h_bar]| {
            // SAFETY: each task has its own rows of the outputs.
            unsafe {
                first.multiply(count, matrix(cotangent).from_row(from), false, &[(h_bar.as_mut_ptr(), inner)]);
                cotangent_rows(outputs.0.map(|bar| bar.rows(from, count)), [gate, up, h_bar]);
                if let Some(x_bar) = outputs.1 {
                    let [g_bar, u_bar, _] = outputs.0.map(|bar| Matrix::row_major(bar.rows(from, count), inner));
                    second[0].multiply(count, g_bar, false, &[x_bar.output(from)]);
                    second[1].multiply(count, u_bar, true, &[x_bar.output(from)]);
                }
            }
        });
    });
    (x_bar.map(|x_bar| CpuArray::from_vec(x_bar, &[n, width])), bars.map(|bar| CpuArray::from_vec(bar, &[n, inner])))
}
