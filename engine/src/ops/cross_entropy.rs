//! Cross-entropy of logits with integer targets.
//!
//! forward  y[n] = logsumexp z[n] − z[n, target n]
//! vjp      z̄[n, v] = ȳ[n]·(e^{z[n, v] − logsumexp z[n]} − [v = target n])      (saves z and its logsumexp)

use super::prelude::*;
use crate::backend::{Mul, Sub};
use crate::ops::exp::Exp;

struct CrossEntropy<B: Backend> {
    z: B::Array,
    logsumexp: B::Array,
    targets: Indices,
}

impl<B: Backend> Operation<B> for CrossEntropy<B> {
    fn name(&self) -> &'static str {
        "cross_entropy"
    }
    fn vjp(&self, backend: &B, y_bar: B::Array, _: &[bool]) -> Vec<Option<B::Array>> {
        let (n, vocabulary) = (self.targets.len(), backend.shape(&self.z)[1]);
        let column = backend.reshape(&y_bar, &[n, 1]);
        let p = backend.map(Exp, &backend.zip(Sub, &self.z, &self.logsumexp));
        let chosen = backend.scatter_add_last(&column, &self.targets, vocabulary);
        vec![Some(backend.zip(Sub, &backend.zip(Mul, &p, &column), &chosen))]
    }
}

impl<B: Backend> Tensor<B> {
    /// −ln softmax(z)[n, target n] for each row of logits z [N, V]: [N], in nats.
    ///
    /// # Panics
    /// If the logits have not two axes, there is not one target for each row, or one is not below V.
    #[track_caller]
    pub fn cross_entropy(&self, targets: &Indices) -> Self {
        let fits = self.rank() == 2 && self.shape()[0] == targets.len();
        assert!(fits, "cross_entropy: {} targets for logits {:?}", targets.len(), self.shape());
        super::embedding::check_indices("cross_entropy", targets, self.shape()[1]);
        let logsumexp = self.backend.logsumexp(&self.value);
        let y = self.backend.zip(Sub, &logsumexp, &self.backend.gather_last(&self.value, targets, 1));
        let y = self.backend.reshape(&y, &[targets.len()]);
        Tensor::record(&self.backend, y, &[self], || CrossEntropy { z: self.value.clone(), logsumexp, targets: targets.clone() })
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
