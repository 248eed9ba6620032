//! The maximum along an axis.
//!
//! forward  y = max x along an axis, which is dropped
//! vjp      x̄ᵢ = ȳ/c where xᵢ = y, else 0, with c the number of elements that reach the maximum
//!
//! Where several elements tie the function has a kink; the subgradient taken shares ȳ equally among them, which does not depend on
//! their order.
#![doc = include_str!("../explain/text/max.md")]
#![cfg_attr(doc, doc = include_str!("../../docs/katex.html"))]

use super::prelude::*;
use crate::formula::{Div, Equal, Mul};

struct Max<B: Backend> {
    x: B::Array,
    /// The maximum, with the axis kept at extent 1.
    y: B::Array,
    axis: usize,
}

impl<B: Backend> Operation<B> for Max<B> {
    fn name(&self) -> &'static str {
        "max"
    }
    fn vjp(&self, backend: &B, y_bar: B::Array, _: &[bool]) -> Vec<Option<B::Array>> {
        let reached = backend.zip(Equal, &self.x, &self.y);
        let kept = backend.reshape(&y_bar, backend.shape(&self.y));
        let share = backend.zip(Div, &kept, &backend.sum(&reached, self.axis));
        vec![Some(backend.zip(Mul, &reached, &share))]
    }
}

impl<B: Backend> Tensor<B> {
    /// The maximum along an axis, which is dropped from the shape; −∞ over nothing. A NaN is kept.
    ///
    /// # Panics
    /// If there is no such axis.
    #[track_caller]
    pub fn max(&self, axis: usize) -> Self {
        check_axis("max", self.shape(), axis);
        let y = self.backend.max(&self.value, axis);
        let mut shape = self.shape().to_vec();
        shape.remove(axis);
        let dropped = self.backend.reshape(&y, &shape);
        Tensor::record(&self.backend, dropped, &[self], || Max { x: self.value.clone(), y, axis })
    }
}

pub(super) fn sample(draw: &mut Draw) -> Sample {
    let shape = [draw.extent(), draw.extent(), draw.extent()];
    let axis = draw.below(3);
    Sample::new(function!(|x; axis: usize| x[0].max(*axis)), [draw.distinct(&shape)])
}

#[cfg(test)]
mod tests {
    use crate::{Cpu, Tensor};

    #[test]
    fn ties_share_the_cotangent_equally() {
        let x = Tensor::parameter(&Cpu::<f64>::new(), &[1.0, 3.0, 3.0], &[3]);
        assert_eq!(x.max(0).backward().of(&x).to_f64(), [0.0, 0.5, 0.5]);
    }
}
