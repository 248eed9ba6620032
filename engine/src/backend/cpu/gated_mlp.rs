//! The gated feed-forward part, a few rows at a time. The intermediate results stay in the L2 cache of the thread that computes them. The
//! readable twins are the defaults of [`Products`].

use super::Cpu;
use super::array::CpuArray;
use super::by_rows::{self, OutputRows, RightMatrices, with_buffers};
use super::element::Element;
use super::elementwise::{combine, combine_two};
use super::matmul;
use crate::backend::core::Core;
use crate::backend::precision::Precision;
use crate::backend::products::{Products, gated_mlp_by_products, products_of_needed};
use crate::formula::Add;
use crate::gemm::matrix::{Matrix, MatrixMut};
use crate::simd::vectorised;
use crate::threads::parallel_loop::InTasks;

/// Number of elements handled by one task if the products do not run by rows.
const TASK: usize = 1 << 13;

/// Computes silu(g)·u.
#[inline(always)]
pub fn swiglu<T: Element>(gate: T, up: T) -> T {
    gate * gate.sigmoid() * up
}

/// Computes ḡ and ū for the cotangent of [`swiglu`], and silu(g).
#[inline(always)]
pub fn swiglu_vjp<T: Element>(gate: T, up: T, cotangent: T) -> (T, T, T) {
    let sigmoid = gate.sigmoid();
    let silu = gate * sigmoid;
    ((sigmoid + silu * (T::one() - sigmoid)) * up * cotangent, silu * cotangent, silu)
}

/// Numbers are processed in groups of this fixed count, so that the compiler uses vectors.
const LANES: usize = 16;

/// Computes [`hidden`] for every element of `h`.
fn hidden_numbers<T: Element>(h: &mut [T], inputs: [&[T]; 2]) {
    let [gate, up] = inputs.map(|input| input[..h.len()].as_chunks::<LANES>());
    let (h, h_rest) = h.as_chunks_mut::<LANES>();
    vectorised::<T, _>(
        #[inline(always)]
        || {
            for (h, (gate, up)) in h.iter_mut().zip(gate.0.iter().zip(up.0)) {
                for i in 0..LANES {
                    h[i] = swiglu(gate[i], up[i]);
                }
            }
            for (h, (&gate, &up)) in h_rest.iter_mut().zip(gate.1.iter().zip(up.1)) {
                *h = swiglu(gate, up);
            }
        },
    );
}

/// Computes ḡ, ū and h from g, u and h̄.
#[inline(always)]
fn inner_cotangent<T: Element>(gate: T, up: T, h_bar: T) -> (T, T, T) {
    let (gate_bar, up_bar, silu) = swiglu_vjp(gate, up, h_bar);
    (gate_bar, up_bar, silu * up)
}

/// Computes [`inner_cotangent`] for every element of `h`.
fn inner_cotangents<T: Element>([g_bar, u_bar, h]: [&mut [T]; 3], inputs: [&[T]; 3]) {
    let len = h.len();
    let [gate, up, h_bar] = inputs.map(|input| input[..len].as_chunks::<LANES>());
    let [g_bar, u_bar, h] = [&mut g_bar[..len], &mut u_bar[..len], h].map(|output| output.as_chunks_mut::<LANES>());
    let whole = (g_bar.0.iter_mut().zip(u_bar.0).zip(h.0)).zip(gate.0.iter().zip(up.0).zip(h_bar.0));
    vectorised::<T, _>(
        #[inline(always)]
        || {
            for (((g_bar, u_bar), h), ((gate, up), h_bar)) in whole {
                for i in 0..LANES {
                    (g_bar[i], u_bar[i], h[i]) = inner_cotangent(gate[i], up[i], h_bar[i]);
                }
            }
            for i in 0..h.1.len() {
                (g_bar.1[i], u_bar.1[i], h.1[i]) = inner_cotangent(gate.1[i], up.1[i], h_bar.1[i]);
            }
        },
    );
}

/// # Panics
/// If X [N, D], Wg and Wu [F, D] and Wd [E, F] do not fit.
#[track_caller]
pub fn check<T: Element>(x: &CpuArray<T>, weights: [&CpuArray<T>; 3]) {
    let [x, gate, up, down] = [x, weights[0], weights[1], weights[2]].map(CpuArray::shape);
    let fits = [x, gate, up, down].iter().all(|shape| shape.len() == 2) && x[1] == gate[1] && gate == up && down[1] == gate[0];
    assert!(fits, "gated_mlp: {x:?} with gate {gate:?}, up {up:?} and down {down:?}");
}

/// Computes Y, and G and U if `keep`, by rows. The inputs must pass [`check`], and
/// [`should_run_by_rows`](super::by_rows::should_run_by_rows) must accept the weights.
pub fn forward_by_rows<T: Element>(
    precision: Precision,
    x: &CpuArray<T>,
    weights: [&CpuArray<T>; 3],
    keep: bool,
) -> (CpuArray<T>, Option<[CpuArray<T>; 2]>) {
    let [gate, up, down] = weights;
    let (n, inner, out) = (x.shape()[0], gate.shape()[0], down.shape()[0]);
    let mut y = T::allocate(n * out);
    let mut kept: Option<[Vec<T>; 2]> = keep.then(|| std::array::from_fn(|_| T::allocate(n * inner)));
    let outputs = (OutputRows::new(&mut y, out), kept.as_mut().map(|kept| kept.each_mut().map(|kept| OutputRows::new(kept, inner))));
    // SAFETY: the arrays' own strides, and extents that fit and are not 0.
    let (first, second) = unsafe {
        let first = RightMatrices::new(precision, n, x.shape()[1], vec![(gate.matrix().t(), inner), (up.matrix().t(), inner)]);
        (first, RightMatrices::new(precision, n, inner, vec![(down.matrix().t(), out)]))
    };
    first.for_rows(n, |from, count| {
        let (y, kept) = outputs;
        let own = if kept.is_some() { 0 } else { count * inner };
        with_buffers([count * inner, own, own], |[h, own_gate, own_up]: [&mut [T]; 3]| {
            // SAFETY: each task has its own rows of the outputs.
            unsafe {
                let (gate, up) = kept.map_or((own_gate, own_up), |[gate, up]| (gate.rows(from, count), up.rows(from, count)));
                first.multiply(
                    count,
                    x.matrix().rows_from(from),
                    false,
                    &[MatrixMut::row_major(gate, inner), MatrixMut::row_major(up, inner)],
                );
                hidden_numbers(h, [gate, up]);
                second.multiply(count, Matrix::row_major(h, inner), false, &[y.output(from)]);
            }
        });
    });
    (CpuArray::from_vec(y, &[n, out]), kept.map(|kept| kept.map(|kept| CpuArray::from_vec(kept, &[n, inner]))))
}

/// The cotangents of the first products: X̄, and Ḡ, Ū and H, if they are needed.
type Cotangents<T> = (Option<CpuArray<T>>, Option<[CpuArray<T>; 3]>);

/// # Panics
/// If the extents of the arrays do not fit, those of G, U and Ȳ included.
#[track_caller]
pub fn check_vjp<T: Element>(x: &CpuArray<T>, weights: [&CpuArray<T>; 3], saved: &[CpuArray<T>; 2], cotangent: &CpuArray<T>) {
    check(x, weights);
    let (n, [gate, _, down]) = (x.shape()[0], weights);
    let fits = saved.iter().all(|saved| saved.shape() == [n, gate.shape()[0]]) && cotangent.shape() == [n, down.shape()[0]];
    assert!(fits, "gated_mlp: {n} rows with a cotangent of {:?}", cotangent.shape());
}

/// Computes H from G and U.
pub fn hidden<T: Element>(gate: &CpuArray<T>, up: &CpuArray<T>) -> CpuArray<T> {
    combine(
        [gate, up],
        gate.shape(),
        #[inline(always)]
        |[gate, up]| swiglu(gate, up),
    )
}

/// Computes [`Cotangents`] product by product. The inputs must pass [`check_vjp`].
pub fn vjp_by_products<T: Element>(
    precision: Precision,
    [gate, up, down]: [&CpuArray<T>; 3],
    saved: &[CpuArray<T>; 2],
    cotangent: &CpuArray<T>,
    x_needed: bool,
) -> Cotangents<T> {
    let h_bar = matmul::matmul(precision, cotangent, down);
    let inputs = [&saved[0], &saved[1], &h_bar].map(CpuArray::elements);
    let mut bars: [Vec<T>; 3] = std::array::from_fn(|_| T::allocate(h_bar.view().len()));
    let [g_bar, u_bar, h] = bars.each_mut().map(|bar| bar.chunks_mut(TASK));
    g_bar.zip(u_bar).zip(h).enumerate().for_each_task(|(task, ((g_bar, u_bar), h))| {
        inner_cotangents([g_bar, u_bar, h], inputs.each_ref().map(|input| &input[task * TASK..]));
    });
    let bars = bars.map(|bar| CpuArray::from_vec(bar, h_bar.shape()));
    let x_bar = x_needed.then(|| matmul::sum_of_products(precision, &[(&bars[0], gate), (&bars[1], up)]));
    (x_bar, Some(bars))
}

/// Computes [`Cotangents`] by rows. The inputs must pass [`check_vjp`], and [`should_run_by_rows`](super::by_rows::should_run_by_rows) must
/// accept the weights. Ḡ, Ū and H are kept if a weight needs them.
pub fn vjp_by_rows<T: Element>(
    precision: Precision,
    [gate, up, down]: [&CpuArray<T>; 3],
    saved: &[CpuArray<T>; 2],
    cotangent: &CpuArray<T>,
    (x_needed, weight_needed): (bool, bool),
) -> Cotangents<T> {
    let ([n, out], [inner, width]) = ([0, 1].map(|axis| cotangent.shape()[axis]), [0, 1].map(|axis| gate.shape()[axis]));
    let saved = saved.each_ref().map(CpuArray::elements);
    let mut kept: Option<[Vec<T>; 3]> = weight_needed.then(|| std::array::from_fn(|_| T::allocate(n * inner)));
    let mut x_bar = x_needed.then(|| T::allocate(n * width));
    let kept_rows = kept.as_mut().map(|kept| kept.each_mut().map(|bar| OutputRows::new(bar, inner)));
    let x_bar_rows = x_bar.as_mut().map(|x_bar| OutputRows::new(x_bar, width));
    // SAFETY: the arrays' own strides, and extents that fit and are not 0.
    let (first, second) = unsafe {
        let first = RightMatrices::new(precision, n, out, vec![(down.matrix(), inner)]);
        (first, [gate, up].map(|weight| RightMatrices::new(precision, n, inner, vec![(weight.matrix(), width)])))
    };
    first.for_rows(n, |from, count| {
        let [gate, up] = saved.each_ref().map(|saved| &saved[from * inner..(from + count) * inner]);
        let own = if kept_rows.is_some() { 0 } else { count * inner };
        with_buffers([count * inner, own, own, own], |[h_bar, own @ ..]: [&mut [T]; 4]| {
            // SAFETY: each task has its own rows of the outputs.
            unsafe {
                let mut bars = kept_rows.map_or(own, |kept| kept.map(|bar| bar.rows(from, count)));
                first.multiply(count, cotangent.matrix().rows_from(from), false, &[MatrixMut::row_major(h_bar, inner)]);
                inner_cotangents(bars.each_mut().map(|bar| &mut **bar), [gate, up, h_bar]);
                if let Some(x_bar) = x_bar_rows {
                    second[0].multiply(count, Matrix::row_major(bars[0], inner), false, &[x_bar.output(from)]);
                    second[1].multiply(count, Matrix::row_major(bars[1], inner), true, &[x_bar.output(from)]);
                }
            }
        });
    });
    let kept = kept.map(|kept| kept.map(|bar| CpuArray::from_vec(bar, &[n, inner])));
    (x_bar.map(|x_bar| CpuArray::from_vec(x_bar, &[n, width])), kept)
}

impl<T: Element> Products for Cpu<T> {
    fn linears(&self, x: &CpuArray<T>, weights: &[&CpuArray<T>], biases: &[Option<&CpuArray<T>>]) -> Vec<CpuArray<T>> {
        let products = matmul::by_transposed(self.precision, x, weights).into_iter();
        products.zip(biases).map(|(y, bias)| bias.map_or_else(|| y.clone(), |bias| self.zip(Add, &y, bias))).collect()
    }
    fn sum_of_products(&self, products: &[(&CpuArray<T>, &CpuArray<T>)]) -> CpuArray<T> {
        matmul::sum_of_products(self.precision, products)
    }
    fn products_of_transposed(&self, a: &[&CpuArray<T>], b: &CpuArray<T>) -> Vec<CpuArray<T>> {
        matmul::of_transposed(self.precision, a, b)
    }
    fn swiglu(&self, gate: &CpuArray<T>, up: &CpuArray<T>) -> CpuArray<T> {
        hidden(gate, up)
    }
    fn swiglu_vjp(&self, gate: &CpuArray<T>, up: &CpuArray<T>, cotangent: &CpuArray<T>) -> (CpuArray<T>, CpuArray<T>) {
        combine_two(
            [gate, up, cotangent],
            #[inline(always)]
            |[gate, up, g]| {
                let (gate_bar, up_bar, _) = swiglu_vjp(gate, up, g);
                (gate_bar, up_bar)
            },
        )
    }
    fn gated_mlp(&self, x: &CpuArray<T>, weights: [&CpuArray<T>; 3], keep: bool) -> (CpuArray<T>, Option<[CpuArray<T>; 2]>) {
        check(x, weights);
        if by_rows::should_run_by_rows(x.shape()[0], weights.into_iter()) {
            forward_by_rows(self.precision, x, weights, keep)
        } else {
            gated_mlp_by_products(self, x, weights, keep)
        }
    }
    fn gated_mlp_vjp(
        &self,
        x: &CpuArray<T>,
        weights: [&CpuArray<T>; 3],
        saved: &[CpuArray<T>; 2],
        cotangent: &CpuArray<T>,
        needed: [bool; 4],
    ) -> [Option<CpuArray<T>>; 4] {
        check_vjp(x, weights, saved, cotangent);
        let [x_needed, gate_needed, up_needed, down_needed] = needed;
        let (x_bar, inner) = match needed {
            [false, false, false, _] => (None, None),
            _ if by_rows::should_run_by_rows(x.shape()[0], weights.into_iter()) => {
                let weight_needed = gate_needed || up_needed || down_needed;
                vjp_by_rows(self.precision, weights, saved, cotangent, (x_needed, weight_needed))
            }
            _ => vjp_by_products(self.precision, weights, saved, cotangent, x_needed),
        };
        let down_bar = down_needed.then(|| {
            let h = inner.as_ref().map_or_else(|| hidden(&saved[0], &saved[1]), |[_, _, h]| h.clone());
            matmul::of_transposed(self.precision, &[cotangent], &h).swap_remove(0)
        });
        let [gate_bar, up_bar] = inner.map_or([None, None], |[g, u, _]| products_of_needed(self, [&g, &u], x, [gate_needed, up_needed]));
        [x_bar, gate_bar, up_bar, down_bar]
    }
}
