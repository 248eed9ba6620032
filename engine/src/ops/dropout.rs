//! Dropout (Srivastava et al. 2014), scaled at training time.
//!
//! forward  y = x∘m, m = 1/(1 − p) with probability 1 − p, else 0, drawn from a counter-based stream
//! vjp      x̄ = ȳ∘m                                 (saves m)
#![doc = include_str!("../explain/text/dropout.md")]
#![cfg_attr(doc, doc = include_str!("../../docs/katex.html"))]

use super::prelude::*;
use crate::formula::Mul;
use crate::random::Generator;

struct Dropout<B: Backend> {
    mask: B::Array,
}

impl<B: Backend> Operation<B> for Dropout<B> {
    fn name(&self) -> &'static str {
        "dropout"
    }
    fn vjp(&self, backend: &B, y_bar: B::Array, _: &[bool]) -> Vec<Option<B::Array>> {
        vec![Some(backend.zip(Mul, &y_bar, &self.mask))]
    }
}

impl<B: Backend> Tensor<B> {
    /// Each element zero with probability `p` and otherwise multiplied by 1/(1 − p); which ones is fixed by the generator's key and
    /// position.
    ///
    /// # Panics
    /// Unless 0 ≤ p < 1.
    #[track_caller]
    pub fn dropout(&self, p: f64, mut generator: Generator) -> Self {
        assert!((0.0..1.0).contains(&p), "dropout: a probability of {p} is not in [0, 1)");
        if p == 0.0 {
            return self.clone();
        }
        let kept = B::Scalar::from_f64(1.0 / (1.0 - p));
        let mut element = || if generator.uniform() < p { B::Scalar::zero() } else { kept };
        let mask = self.backend.from_vec((0..self.len()).map(|_| element()).collect(), self.shape());
        let y = self.backend.zip(Mul, &self.value, &mask);
        Tensor::record(&self.backend, y, &[self], || Dropout { mask })
    }
}

pub(super) fn sample(draw: &mut Draw) -> Sample {
    let shape = draw.shape();
    let generator = Generator::new(draw.below(1 << 20) as u64);
    Sample::new(function!(|x; generator: Generator| x[0].dropout(0.3, *generator)), [draw.normal(&shape)])
}

#[cfg(test)]
mod tests {
    use crate::{Cpu, Generator, Tensor};

    #[test]
    fn about_p_of_the_elements_are_dropped_and_the_mean_stays() {
        let x = Tensor::full(&Cpu::<f64>::new(), 1.0, &[10_000]);
        let y = x.dropout(0.25, Generator::new(3)).to_f64();
        let dropped = y.iter().filter(|&&v| v == 0.0).count();
        assert!((dropped as f64 - 2500.0).abs() < 5.0 * (10_000.0f64 * 0.25 * 0.75).sqrt(), "{dropped}");
        assert!(y.iter().all(|&v| v == 0.0 || v == 1.0 / 0.75));
    }
}
