//! The linear layer: weight [out, in] on rows of extent `in`, as a fused op whose gradients come out contiguous.
//!
//! forward  Y = X·Wᵀ + b
//! vjp      X̄ = Ȳ·W, W̄ = Ȳᵀ·X, b̄ = Σ_n Ȳ\[n\]                (saves X and W)
#![doc = include_str!("../explain/text/linear.md")]
#![cfg_attr(doc, doc = include_str!("../../docs/katex.html"))]

use super::prelude::*;

struct Linear<B: Backend> {
    x: B::Array,
    weight: B::Array,
    bias: bool,
}

impl<B: Backend> Operation<B> for Linear<B> {
    fn name(&self) -> &'static str {
        "linear"
    }
    fn vjp(&self, backend: &B, y_bar: B::Array, needed: &[bool]) -> Vec<Option<B::Array>> {
        let x = needed[0].then(|| backend.matmul(&y_bar, &self.weight));
        let weight = needed[1].then(|| backend.matmul_wide(&backend.transpose(&y_bar), &self.x));
        let mut gradients = vec![x, weight];
        if self.bias {
            let out = backend.shape(&y_bar)[1];
            gradients.push(needed[2].then(|| backend.reshape(&backend.sum(&y_bar, 0), &[out])));
        }
        gradients
    }
}

impl<B: Backend> Tensor<B> {
    /// self·weightᵀ (+ bias): the linear layer with weight [out, in] and bias \[out\], on [.., in] → [.., out].
    ///
    /// # Panics
    /// If the extents do not fit.
    #[track_caller]
    pub fn linear(&self, weight: &Self, bias: Option<&Self>) -> Self {
        let (x, w) = (self.shape(), weight.shape());
        let fits = !x.is_empty() && w.len() == 2 && x[x.len() - 1] == w[1] && bias.is_none_or(|bias| bias.shape() == [w[0]]);
        assert!(fits, "linear: {x:?} with weight {w:?} and bias {:?}", bias.map(Self::shape));
        if x.len() != 2 {
            let shape = with_axis(x, x.len() - 1, w[0]);
            return self.reshape(&[count(&x[..x.len() - 1]), w[1]]).linear(weight, bias).reshape(&shape);
        }
        let y = match bias {
            Some(bias) => self.backend.linear(&self.value, &weight.value, &bias.value),
            None => self.backend.matmul(&self.value, &self.backend.transpose(&weight.value)),
        };
        let parents: Vec<&Self> = [self, weight].into_iter().chain(bias).collect();
        let saved = || Linear { x: self.value.clone(), weight: weight.value.clone(), bias: bias.is_some() };
        Tensor::record(&self.backend, y, &parents, saved)
    }
}

pub(super) fn sample(draw: &mut Draw) -> Sample {
    let [n, width, out] = [draw.extent(), draw.extent(), draw.extent()];
    let mut inputs = vec![draw.normal(&[n, width]), draw.normal(&[out, width])];
    if draw.coin() {
        return Sample::new(function!(|x| x[0].linear(&x[1], None)), inputs).with_twin(function!(|x| x[0].matmul(&x[1].t())));
    }
    inputs.push(draw.normal(&[out]));
    Sample::new(function!(|x| x[0].linear(&x[1], Some(&x[2]))), inputs).with_twin(function!(|x| x[0].matmul(&x[1].t()).add(&x[2])))
}
