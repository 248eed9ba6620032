//! Tensors laid one after another along an axis.
//!
//! forward  y = [x₁, x₂, …] along the axis
//! vjp      x̄ᵢ = the part of ȳ that xᵢ became
#![doc = include_str!("../explain/text/concat.md")]
#![cfg_attr(doc, doc = include_str!("../../docs/katex.html"))]

use super::prelude::*;

struct Concat {
    axis: usize,
    /// Where each part starts along the axis, and where the last ends.
    bounds: Vec<usize>,
}

impl<B: Backend> Operation<B> for Concat {
    fn name(&self) -> &'static str {
        "concat"
    }
    fn vjp(&self, backend: &B, y_bar: B::Array, needed: &[bool]) -> Vec<Option<B::Array>> {
        let part = |i: usize| backend.slice(&y_bar, self.axis, self.bounds[i], self.bounds[i + 1]);
        needed.iter().enumerate().map(|(i, needed)| needed.then(|| part(i))).collect()
    }
}

impl<B: Backend> Tensor<B> {
    /// The tensors one after another along `axis`; the other extents must agree.
    ///
    /// # Panics
    /// If there are no tensors, or their shapes differ elsewhere than along `axis`.
    #[track_caller]
    pub fn concat(parts: &[&Self], axis: usize) -> Self {
        let first = *parts.first().expect("concat: no tensors");
        check_axis("concat", first.shape(), axis);
        for part in parts {
            let fits = part.rank() == first.rank() && with_axis(part.shape(), axis, first.shape()[axis]) == first.shape();
            assert!(fits, "concat: {:?} and {:?} differ elsewhere than along axis {axis}", first.shape(), part.shape());
        }
        let arrays: Vec<&B::Array> = parts.iter().map(|p| &p.value).collect();
        let y = first.backend.concat(&arrays, axis);
        let ends = parts.iter().scan(0, |end, part| {
            *end += part.shape()[axis];
            Some(*end)
        });
        Tensor::record(&first.backend, y, parts, || Concat { axis, bounds: std::iter::once(0).chain(ends).collect() })
    }
}

pub(super) fn sample(draw: &mut Draw) -> Sample {
    let [a, b, c, d] = [draw.extent(), draw.extent(), draw.extent(), draw.extent()];
    let inputs = [draw.normal(&[a, b, d]), draw.normal(&[a, c, d]), draw.normal(&[a, 1, d])];
    Sample::new(function!(|x| Tensor::concat(&[&x[0], &x[1], &x[2]], 1)), inputs)
}
