//! The logarithm of a sum of exponentials over the last axis, of all entries, of those a mask keeps, or of all but some.
//!
//! forward  y = m + ln Σⱼ e^{xⱼ − m}, m = max x; a masked entry counts as −∞
//! vjp      x̄ⱼ = e^{xⱼ − y}·ȳ, 0 where masked         (saves x and y)
//!
//! A row with nothing left gives −∞ and passes no cotangent on.
#![doc = include_str!("../explain/text/logsumexp.md")]
#![cfg_attr(doc, doc = include_str!("../../docs/katex.html"))]

use super::prelude::*;
use crate::formula::{Add, Mul, Sub};
use crate::functions::{Exp, FiniteOrZero};

struct Logsumexp<B: Backend> {
    /// The input, with −∞ where masked.
    x: B::Array,
    /// The output, with the last axis kept at extent 1.
    y: B::Array,
}

impl<B: Backend> Operation<B> for Logsumexp<B> {
    fn name(&self) -> &'static str {
        "logsumexp"
    }
    fn vjp(&self, backend: &B, y_bar: B::Array, _: &[bool]) -> Vec<Option<B::Array>> {
        let p = backend.map(Exp, &backend.zip(Sub, &self.x, &backend.map(FiniteOrZero, &self.y)));
        vec![Some(backend.zip(Mul, &p, &backend.reshape(&y_bar, backend.shape(&self.y))))]
    }
}

impl<B: Backend> Tensor<B> {
    /// ln Σ e^x over the last axis, which is dropped.
    ///
    /// # Panics
    /// If the tensor is a scalar.
    #[track_caller]
    pub fn logsumexp(&self) -> Self {
        assert!(self.rank() > 0, "logsumexp: a scalar has no last axis");
        self.logsumexp_of(self.value.clone())
    }

    /// ln Σ e^x over the entries of the last axis that `keep` (one for each element, row-major) says, −∞ where it keeps none.
    ///
    /// # Panics
    /// If the tensor is a scalar or `keep` has another number of elements.
    #[track_caller]
    pub fn masked_logsumexp(&self, keep: &[bool]) -> Self {
        assert!(self.rank() > 0, "masked_logsumexp: a scalar has no last axis");
        assert!(keep.len() == self.len(), "masked_logsumexp: a mask of {} for {:?}", keep.len(), self.shape());
        let mask = keep.iter().map(|&keep| if keep { B::Scalar::zero() } else { B::Scalar::neg_infinity() }).collect();
        self.logsumexp_of(self.backend.zip(Add, &self.value, &self.backend.from_vec(mask, self.shape())))
    }

    /// ln Σ e^x over the entries of the last axis, [.., n], that are not at `index`, which holds a few (the same ones may come twice) for
    /// each row, row-major; −∞ where none is left. The mask is made where the tensor is.
    ///
    /// # Panics
    /// If the tensor is a scalar, `index` does not hold a whole number of entries for each row, or one is not below n.
    #[track_caller]
    pub fn logsumexp_without(&self, index: &Indices) -> Self {
        assert!(self.rank() > 0, "logsumexp_without: a scalar has no last axis");
        let (rows, extent) = crate::shape::rows(self.shape());
        let fits = if rows == 0 { index.is_empty() } else { index.len().is_multiple_of(rows) };
        assert!(fits, "logsumexp_without: {} indices for the {rows} rows of {:?}", index.len(), self.shape());
        super::embedding::check_indices("logsumexp_without", index, extent);
        let left_out = self.backend.full(f64::NEG_INFINITY, &with_axis(self.shape(), self.rank() - 1, index.len() / rows.max(1)));
        let mask = self.backend.scatter_add_last(&left_out, index, extent);
        self.logsumexp_of(self.backend.zip(Add, &self.value, &mask))
    }

    fn logsumexp_of(&self, x: B::Array) -> Self {
        let y = self.backend.logsumexp(&x);
        let dropped = self.backend.reshape(&y, &self.shape()[..self.rank() - 1]);
        Tensor::record(&self.backend, dropped, &[self], || Logsumexp { x, y })
    }
}

pub(super) fn sample(draw: &mut Draw) -> Sample {
    let shape = draw.shape();
    if draw.coin() {
        return Sample::new(function!(|x| x[0].logsumexp()), [draw.logits(&shape)])
            .with_twin(function!(|x| {
                let rows = x[0].shape()[..x[0].rank() - 1].to_vec();
                let kept = [&rows[..], &[1]].concat();
                let m = x[0].max(x[0].rank() - 1).detach();
                x[0].sub(&m.reshape(&kept)).exp().sum(x[0].rank() - 1).ln().add(&m)
            }))
            .with_inner_magnitude(1.0);
    }
    let width = shape[shape.len() - 1];
    if width > 1 && draw.coin() {
        // The first entry of each row stays.
        let left_out = draw.extent() * (count(&shape) / width);
        let index: Indices = draw.indices(left_out, width - 1).iter().map(|i| i + 1).collect();
        return Sample::new(function!(|x; index: Indices| x[0].logsumexp_without(index)), [draw.logits(&shape)]).with_inner_magnitude(1.0);
    }
    let keep: Vec<bool> = (0..count(&shape)).map(|i| i % width == 0 || draw.coin()).collect();
    Sample::new(function!(|x; keep: Vec<bool>| x[0].masked_logsumexp(keep)), [draw.logits(&shape)]).with_inner_magnitude(1.0)
}

#[cfg(test)]
mod tests {
    use crate::{Cpu, Tensor};

    #[test]
    fn a_row_with_nothing_left_is_minus_infinity_and_passes_nothing_on() {
        let x = Tensor::parameter(&Cpu::<f64>::new(), &[1.0, 2.0], &[1, 2]);
        let y = x.masked_logsumexp(&[false, false]);
        assert_eq!(y.to_f64(), [f64::NEG_INFINITY]);
        assert_eq!(y.sum_all().backward().of(&x).to_f64(), [0.0, 0.0]);
    }

    #[test]
    fn leaving_entries_out_is_masking_them() {
        let x = Tensor::parameter(&Cpu::<f64>::new(), &[1.0, 2.0, 0.5, -1.0, 0.0, 3.0, 1.0, 1.0, 1.0], &[3, 3]);
        let (without, masked) = (
            x.logsumexp_without(&[0, 2, 1, 1, 0, 2].into()),
            x.masked_logsumexp(&[false, true, false, true, false, true, false, true, false]),
        );
        assert_eq!(without.to_f64(), masked.to_f64());
        let gradient = |y: Tensor<_>| y.sum_all().backward().of(&x).to_f64();
        assert_eq!(gradient(without), gradient(masked));
        assert_eq!(x.logsumexp_without(&[0, 1, 2, 0, 1, 2, 2, 1, 0].into()).to_f64(), [f64::NEG_INFINITY; 3]);
    }
}
