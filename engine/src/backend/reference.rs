//! The readable twin of the CPU: the primitives as plain loops, and not one default overridden.
//!
//! Whatever runs on [`Cpu`](super::cpu::Cpu) runs here too, slowly; the tests hold every fast path to it.

use super::attention::Attention;
use super::core::{Core, Indices};
use super::cpu::array::CpuArray;
use super::cpu::element::Element;
use super::cpu::storage_on_cpu;
use super::products::Products;
use super::rows::Rows;
use super::update::Update;
use super::vocabulary::Vocabulary;
use crate::formula::Formula;
use crate::shape::{around, broadcast_all, broadcast_or_panic, count, with_axis};
use std::fmt;
use std::marker::PhantomData;

/// Plain loops over elements of type T.
pub struct Reference<T>(PhantomData<T>);

impl<T> Reference<T> {
    /// The reference backend.
    pub fn new() -> Self {
        Self(PhantomData)
    }
}
impl<T> Default for Reference<T> {
    fn default() -> Self {
        Self::new()
    }
}
impl<T> Clone for Reference<T> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<T> Copy for Reference<T> {}
impl<T: Element> fmt::Debug for Reference<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Reference<{}>", T::NAME)
    }
}

/// f of the elements at each place of the shape that all arrays broadcast to.
fn each_element<T: Element>(x: &[&CpuArray<T>], f: &dyn Fn(&[T]) -> T) -> CpuArray<T> {
    let shapes: Vec<&[usize]> = x.iter().map(|x| x.shape()).collect();
    let shape = broadcast_all("elementwise", &shapes);
    let x: Vec<Vec<T>> = x.iter().map(|x| x.broadcast_to(&shape).elements().into_owned()).collect();
    let at = |i: usize| f(&x.iter().map(|x| x[i]).collect::<Vec<T>>());
    CpuArray::from_vec((0..count(&shape)).map(at).collect(), &shape)
}

/// Folds along an axis, in order.
fn fold<T: Element>(x: &CpuArray<T>, axis: usize, start: T, f: impl Fn(T, T) -> T) -> CpuArray<T> {
    let (outer, extent, inner) = around(x.shape(), axis);
    let elements = x.elements();
    let mut out = vec![start; outer * inner];
    for (i, y) in out.iter_mut().enumerate() {
        for j in 0..extent {
            *y = f(*y, elements[(i / inner * extent + j) * inner + i % inner]);
        }
    }
    CpuArray::from_vec(out, &with_axis(x.shape(), axis, 1))
}

impl<T: Element> Products for Reference<T> {}
impl<T: Element> Rows for Reference<T> {}
impl<T: Element> Attention for Reference<T> {}
impl<T: Element> Vocabulary for Reference<T> {}
impl<T: Element> Update for Reference<T> {}

impl<T: Element> Core for Reference<T> {
    storage_on_cpu!();

    fn elementwise<const N: usize, F: Formula<N>>(&self, f: F, x: [&CpuArray<T>; N]) -> CpuArray<T> {
        each_element(&x, &|x| f.at(x.try_into().expect("an element of each array")))
    }
    fn sum(&self, x: &CpuArray<T>, axis: usize) -> CpuArray<T> {
        fold(x, axis, T::zero(), |a, b| a + b)
    }
    fn max(&self, x: &CpuArray<T>, axis: usize) -> CpuArray<T> {
        fold(x, axis, T::neg_infinity(), T::maximum)
    }
    fn matmul(&self, a: &CpuArray<T>, b: &CpuArray<T>) -> CpuArray<T> {
        let (m, k, n) = (a.shape()[a.shape().len() - 2], a.shape()[a.shape().len() - 1], b.shape()[b.shape().len() - 1]);
        let lead = broadcast_or_panic("matmul", &a.shape()[..a.shape().len() - 2], &b.shape()[..b.shape().len() - 2]);
        let full = |tail: [usize; 2]| lead.iter().copied().chain(tail).collect::<Vec<_>>();
        let (a, b) = (a.broadcast_to(&full([m, k])), b.broadcast_to(&full([k, n])));
        let (a, b) = (a.elements(), b.elements());
        let mut out = Vec::with_capacity(count(&lead) * m * n);
        for batch in 0..count(&lead) {
            for (i, j) in (0..m * n).map(|ij| (ij / n, ij % n)) {
                out.push((0..k).map(|p| a[(batch * m + i) * k + p] * b[(batch * k + p) * n + j]).sum());
            }
        }
        CpuArray::from_vec(out, &full([m, n]))
    }
    fn gather_rows(&self, table: &CpuArray<T>, rows: &Indices) -> CpuArray<T> {
        let width = table.shape()[1];
        let elements = table.elements();
        let out = rows.iter().flat_map(|&row| elements[row as usize * width..][..width].to_vec()).collect();
        CpuArray::from_vec(out, &[rows.len(), width])
    }
    fn scatter_add_rows(&self, x: &CpuArray<T>, rows: &Indices, row_count: usize) -> CpuArray<T> {
        let width = x.shape()[1];
        let elements = x.elements();
        let mut out = vec![T::zero(); row_count * width];
        for (i, &x) in elements.iter().enumerate() {
            out[rows[i / width] as usize * width + i % width] += x;
        }
        CpuArray::from_vec(out, &[row_count, width])
    }
    fn gather_last(&self, x: &CpuArray<T>, index: &Indices, k: usize) -> CpuArray<T> {
        let n = x.shape()[x.shape().len() - 1];
        let elements = x.elements();
        let out = (0..index.len()).map(|i| elements[i / k * n + index[i] as usize]).collect();
        CpuArray::from_vec(out, &with_axis(x.shape(), x.shape().len() - 1, k))
    }
    fn scatter_add_last(&self, x: &CpuArray<T>, index: &Indices, n: usize) -> CpuArray<T> {
        let k = x.shape()[x.shape().len() - 1];
        let shape = with_axis(x.shape(), x.shape().len() - 1, n);
        let mut out = vec![T::zero(); count(&shape)];
        for (i, &x) in x.elements().iter().enumerate() {
            out[i / k * n + index[i] as usize] += x;
        }
        CpuArray::from_vec(out, &shape)
    }
}
