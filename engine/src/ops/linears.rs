//! Several linear layers of the same rows, such as the queries, keys and values of attention: one op, which reads the rows once for all.
//!
//! forward  Yᵢ = X·Wᵢᵀ + bᵢ
//! vjp      X̄ = Σ_i Ȳᵢ·Wᵢ, W̅ᵢ = Ȳᵢᵀ·X, b̅ᵢ = Σ_n Ȳᵢ\[n\]      (saves X and the Wᵢ)
#![doc = include_str!("../explain/text/linears.md")]
#![cfg_attr(doc, doc = include_str!("../../docs/katex.html"))]

use super::prelude::*;

struct Linears<B: Backend> {
    x: B::Array,
    weights: Vec<B::Array>,
    /// Which of the layers have a bias.
    biased: Vec<bool>,
}

impl<B: Backend> Linears<B> {
    /// Which parent a layer's weight is: they are x, then each layer's weight and bias.
    fn weight_parent(&self, layer: usize) -> usize {
        1 + layer + self.biased[..layer].iter().filter(|&&biased| biased).count()
    }
}

impl<B: Backend> Operation<B> for Linears<B> {
    fn name(&self) -> &'static str {
        "linears"
    }
    fn vjp(&self, _: &B, _: B::Array, _: &[bool]) -> Vec<Option<B::Array>> {
        unreachable!("linears: an op of several values")
    }
    fn parents_of_value(&self, layer: usize, _: usize) -> Vec<usize> {
        let weight = self.weight_parent(layer);
        [0].into_iter().chain(weight..weight + 1 + usize::from(self.biased[layer])).collect()
    }
    fn vjp_of_many(&self, backend: &B, y_bars: Vec<Option<B::Array>>, needed: &[bool]) -> Vec<Option<B::Array>> {
        let mut gradients: Vec<Option<B::Array>> = needed.iter().map(|_| None).collect();
        let present: Vec<(usize, &B::Array)> = y_bars.iter().enumerate().filter_map(|(layer, y_bar)| Some((layer, y_bar.as_ref()?))).collect();
        if needed[0] {
            let products: Vec<_> = present.iter().map(|&(layer, y_bar)| (y_bar, &self.weights[layer])).collect();
            gradients[0] = Some(backend.sum_of_products(&products));
        }
        let wanted: Vec<_> = present.iter().filter(|(layer, _)| needed[self.weight_parent(*layer)]).collect();
        let y_bars: Vec<&B::Array> = wanted.iter().map(|(_, y_bar)| *y_bar).collect();
        for (&&(layer, _), gradient) in wanted.iter().zip(backend.products_of_transposed(&y_bars, &self.x)) {
            gradients[self.weight_parent(layer)] = Some(gradient);
        }
        for &(layer, y_bar) in present.iter().filter(|(layer, _)| self.biased[*layer]) {
            let parent = self.weight_parent(layer) + 1;
            let out = backend.shape(y_bar)[1];
            gradients[parent] = needed[parent].then(|| backend.reshape(&backend.sum(y_bar, 0), &[out]));
        }
        gradients
    }
}

impl<B: Backend> Tensor<B> {
    /// self·weightᵀ (+ bias) for each layer of weight [out, in] and bias \[out\], on [N, in] → [N, out].
    ///
    /// # Panics
    /// If there is no layer or the extents do not fit.
    #[track_caller]
    pub fn linears(&self, layers: &[(&Self, Option<&Self>)]) -> Vec<Self> {
        let x = self.shape();
        assert!(!layers.is_empty(), "linears: there is no layer");
        for (weight, bias) in layers {
            let w = weight.shape();
            let fits = x.len() == 2 && w.len() == 2 && x[1] == w[1] && bias.is_none_or(|bias| bias.shape() == [w[0]]);
            assert!(fits, "linears: {x:?} with weight {w:?} and bias {:?}", bias.map(Self::shape));
        }
        let weights: Vec<&B::Array> = layers.iter().map(|(weight, _)| &weight.value).collect();
        let biases: Vec<Option<&B::Array>> = layers.iter().map(|(_, bias)| bias.map(|bias| &bias.value)).collect();
        let values = self.backend.linears(&self.value, &weights, &biases);
        let parents: Vec<&Self> = [self].into_iter().chain(layers.iter().flat_map(|(weight, bias)| [*weight].into_iter().chain(*bias))).collect();
        let saved = || Linears {
            x: self.value.clone(),
            weights: weights.iter().map(|&weight| weight.clone()).collect(),
            biased: biases.iter().map(Option::is_some).collect(),
        };
        Tensor::record_many(&self.backend, values, &parents, saved)
    }
}

pub(super) fn sample(draw: &mut Draw) -> Sample {
    let [n, width, first, second] = [draw.extent(), draw.extent(), draw.extent(), draw.extent()];
    let inputs = vec![draw.normal(&[n, width]), draw.normal(&[first, width]), draw.normal(&[second, width]), draw.normal(&[second])];
    // The second layer's value is left out now and then, so that it has no cotangent.
    let all = draw.coin();
    let twin = all;
    Sample::new(
        function!(|x; all: bool| {
            let y = x[0].linears(&[(&x[1], None), (&x[2], Some(&x[3])), (&x[1], None)]);
            let y: Vec<_> = y.iter().take(if *all { 3 } else { 1 }).collect();
            Tensor::concat(&y, 1)
        }),
        inputs,
    )
    .with_twin(function!(|x; twin: bool| {
        let first = x[0].linear(&x[1], None);
        if !twin {
            return first;
        }
        Tensor::concat(&[&first, &x[0].linear(&x[2], Some(&x[3])), &first], 1)
    }))
}
