//! Cross-entropy of logits with integer targets.
//!
//! forward  y\[n\] = −l[n, target n], l = z − logsumexp z, the log-softmax
//! vjp      z̄[n, v] = ȳ\[n\]·(e^{l[n, v]} − [v = target n])      (saves l)
#![doc = include_str!("../explain/text/cross_entropy.md")]
#![cfg_attr(doc, doc = include_str!("../../docs/katex.html"))]

use super::prelude::*;
use crate::formula::{Mul, Sub};
use crate::functions::Exp;

struct CrossEntropy<B: Backend> {
    log_probs: B::Array,
    targets: Indices,
}

impl<B: Backend> Operation<B> for CrossEntropy<B> {
    fn name(&self) -> &'static str {
        "cross_entropy"
    }
    fn vjp(&self, backend: &B, y_bar: B::Array, _: &[bool]) -> Vec<Option<B::Array>> {
        let (n, vocabulary) = (self.targets.len(), backend.shape(&self.log_probs)[1]);
        let column = backend.reshape(&y_bar, &[n, 1]);
        let p = backend.map(Exp, &self.log_probs);
        let chosen = backend.scatter_add_last(&column, &self.targets, vocabulary);
        vec![Some(backend.zip(Sub, &backend.zip(Mul, &p, &column), &chosen))]
    }
}

impl<B: Backend> Tensor<B> {
    /// −ln softmax(z)[n, target n] for each row of logits z [N, V]: \[N\], in nats.
    ///
    /// # Panics
    /// If the logits have not two axes, there is not one target for each row, or one is not below V.
    #[track_caller]
    pub fn cross_entropy(&self, targets: &Indices) -> Self {
        let fits = self.rank() == 2 && self.shape()[0] == targets.len();
        assert!(fits, "cross_entropy: {} targets for logits {:?}", targets.len(), self.shape());
        super::embedding::check_indices("cross_entropy", targets, self.shape()[1]);
        let log_probs = self.backend.log_softmax(&self.value);
        let y = self.backend.scale(&self.backend.gather_last(&log_probs, targets, 1), -1.0);
        let y = self.backend.reshape(&y, &[targets.len()]);
        Tensor::record(&self.backend, y, &[self], || CrossEntropy { log_probs, targets: targets.clone() })
    }
}

pub(super) fn sample(draw: &mut Draw) -> Sample {
    let [n, v] = [draw.extent(), draw.extent() + 1];
    let targets = draw.indices(n, v);
    let twin = targets.clone();
    Sample::new(function!(|x; targets: Indices| x[0].cross_entropy(targets)), [draw.logits(&[n, v])])
        .with_twin(function!(|x; twin: Indices| x[0].log_softmax().gather(twin).neg().reshape(&[twin.len()])))
        .with_inner_magnitude(1.0)
}
