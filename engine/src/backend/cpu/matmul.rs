//! Products of arrays: the GEMM takes their strides unchanged, and leading axes broadcast.

use super::array::CpuArray;
use super::by_rows;
use super::element::{Element, product};
use crate::backend::precision::Precision;
use crate::gemm::matrix::{Matrix, SMALL, pairs};
use crate::threads::parallel_loop::InTasks;

/// Computes products over the last two axes, with the leading axes broadcast.
pub fn matmul<T: Element>(precision: Precision, a: &CpuArray<T>, b: &CpuArray<T>) -> CpuArray<T> {
    let (a_lead, m, k) = lead_and_last_two(a.shape());
    let (b_lead, b_k, n) = lead_and_last_two(b.shape());
    assert_eq!(k, b_k, "matmul: inner extents differ");
    let lead = crate::shape::broadcast_or_panic("matmul", a_lead, b_lead);
    let batch: usize = lead.iter().product();
    let shape: Vec<usize> = lead.iter().copied().chain([m, n]).collect();
    let mut out = T::allocate(batch * m * n);
    if m * n == 0 {
        return CpuArray::from_vec(out, &shape);
    }
    let (a_offsets, b_offsets) = (batch_offsets(a, &lead), batch_offsets(b, &lead));
    let one = |index: usize, out: &mut [T]| {
        // SAFETY: the offsets and strides are those of the arrays, within their extents.
        unsafe {
            let (a, b) = (a.matrix(), b.matrix());
            let a = Matrix { start: a.start.offset(a_offsets[index]), ..a };
            let b = Matrix { start: b.start.offset(b_offsets[index]), ..b };
            product(precision, (m, k, n), a, b, T::zero(), out);
        }
    };
    if batch == 1 {
        one(0, &mut out)
    } else {
        run_batch(&mut out, m * n, m * k * n, one)
    }
    CpuArray::from_vec(out, &shape)
}

/// Computes X·Wᵢᵀ for X [m, k] and each Wᵢ [nᵢ, k].
pub fn by_transposed<T: Element>(precision: Precision, x: &CpuArray<T>, weights: &[&CpuArray<T>]) -> Vec<CpuArray<T>> {
    let [m, k] = extents(x);
    assert!(weights.iter().all(|w| extents(w)[1] == k), "products by transposed matrices: inner extents differ");
    let b: Vec<_> = weights.iter().map(|w| (w.matrix().t(), w.shape()[0])).collect();
    // SAFETY: the arrays' own strides and extents.
    let outs = unsafe { products_with_shared(precision, k, &[(x.matrix(), m)], &b) };
    outs.into_iter().zip(b).map(|(out, (_, n))| CpuArray::from_vec(out, &[m, n])).collect()
}

/// Computes Aᵢᵀ·B for each Aᵢ [k, mᵢ] and B [k, n].
pub fn of_transposed<T: Element>(precision: Precision, a: &[&CpuArray<T>], b: &CpuArray<T>) -> Vec<CpuArray<T>> {
    let [k, n] = extents(b);
    assert!(a.iter().all(|a| extents(a)[0] == k), "products of transposed matrices: inner extents differ");
    let a: Vec<_> = a.iter().map(|a| (a.matrix().t(), a.shape()[1])).collect();
    // SAFETY: the arrays' own strides and extents.
    let outs = unsafe { products_with_shared(precision, k, &a, &[(b.matrix(), n)]) };
    outs.into_iter().zip(a).map(|(out, (_, m))| CpuArray::from_vec(out, &[m, n])).collect()
}

/// Computes Σ_i Aᵢ·Bᵢ for Aᵢ [m, kᵢ] and Bᵢ [kᵢ, n].
pub fn sum_of_products<T: Element>(precision: Precision, products: &[(&CpuArray<T>, &CpuArray<T>)]) -> CpuArray<T> {
    let (a, b) = products.first().expect("a sum of at least one product");
    let (m, n) = (extents(a)[0], extents(b)[1]);
    let fits = |&(a, b): &(&CpuArray<T>, &CpuArray<T>)| extents(a) == [m, extents(b)[0]] && extents(b)[1] == n;
    assert!(products.iter().all(fits), "a sum of products: extents differ");
    if products.len() > 1 && by_rows::should_run_by_rows(m, products.iter().map(|(_, b)| *b)) {
        return by_rows::sum_of_products(precision, products);
    }
    let mut out = T::allocate(m * n);
    for (number, (a, b)) in products.iter().enumerate() {
        let beta = if number == 0 { T::zero() } else { T::one() };
        // SAFETY: the arrays' own strides and extents.
        unsafe { product(precision, (m, a.shape()[1], n), a.matrix(), b.matrix(), beta, &mut out) };
    }
    CpuArray::from_vec(out, &[m, n])
}

/// Computes the products of several A with one B, or of one A with several B, given as (matrix, rows) and (matrix, columns). Large ones run
/// as one product.
///
/// # Safety
/// As [`product`].
unsafe fn products_with_shared<T: Element>(
    precision: Precision,
    k: usize,
    a: &[(Matrix<T>, usize)],
    b: &[(Matrix<T>, usize)],
) -> Vec<Vec<T>> {
    let mut outs: Vec<Vec<T>> = pairs(a, b).map(|((_, m), (_, n))| T::allocate(m * n)).collect();
    let work: usize = outs.iter().map(|out| out.len() * k).sum();
    // SAFETY: the caller's promise.
    unsafe {
        if work > SMALL && outs.iter().all(|out| !out.is_empty()) {
            T::parallel_gemm_batch(precision, k, a, b, &mut outs);
        } else {
            pairs(a, b).zip(&mut outs).for_each(|(((a, m), (b, n)), out)| product(precision, (m, k, n), a, b, T::zero(), out));
        }
    }
    outs
}

/// Returns the extents of an array of two axes.
fn extents<T: Element>(x: &CpuArray<T>) -> [usize; 2] {
    x.shape().try_into().expect("an array of two axes")
}

/// Runs the products of a batch in parallel. Small products run several per task. A few large ones run one after another, each in parallel.
fn run_batch<T: Element>(out: &mut [T], size: usize, work: usize, one: impl Fn(usize, &mut [T]) + Sync) {
    if work > SMALL && out.len() / size < rayon::current_num_threads() {
        return out.chunks_exact_mut(size).enumerate().for_each(|(i, out)| one(i, out));
    }
    let per_task = (SMALL / work.max(1)).max(1);
    out.chunks_mut(size * per_task).enumerate().for_each_task(|(task, outs)| {
        for (i, out) in outs.chunks_exact_mut(size).enumerate() {
            one(task * per_task + i, out);
        }
    });
}

fn lead_and_last_two(shape: &[usize]) -> (&[usize], usize, usize) {
    let (lead, last) = shape.split_at(shape.len() - 2);
    (lead, last[0], last[1])
}

/// Computes the offset of each matrix of a batch whose leading axes broadcast to `lead`.
fn batch_offsets<T: Element>(x: &CpuArray<T>, lead: &[usize]) -> Vec<isize> {
    let own = x.shape().len() - 2;
    let skipped = lead.len() - own;
    (0..lead.iter().product())
        .map(|mut index: usize| {
            let mut offset = 0;
            for axis in (0..lead.len()).rev() {
                let position = index % lead[axis];
                index /= lead[axis];
                if axis >= skipped && x.shape()[axis - skipped] != 1 {
                    offset += position as isize * x.strides()[axis - skipped];
                }
            }
            offset
        })
        .collect()
}
