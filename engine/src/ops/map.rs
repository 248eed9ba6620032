//! A function of one variable applied to every element: what all such ops share.
//!
//! forward  y = f(x)
//! vjp      x̄ = f′·ȳ, with f′ formed from x or from y, whichever the function saves

use super::prelude::*;
use crate::formula::{Saves, Unary};

struct Map<B: Backend, F> {
    f: F,
    saved: Option<B::Array>,
}

impl<B: Backend, F: Unary> Operation<B> for Map<B, F> {
    fn name(&self) -> &'static str {
        F::NAME
    }
    fn vjp(&self, backend: &B, y_bar: B::Array, _: &[bool]) -> Vec<Option<B::Array>> {
        vec![Some(backend.map_vjp(self.f, self.saved.as_ref().unwrap_or(&y_bar), &y_bar))]
    }
}

impl<B: Backend> Tensor<B> {
    /// f of every element, for a function with its derivative: how a function of one variable becomes an op.
    pub fn map<F: Unary>(&self, f: F) -> Self {
        let y = self.backend.map(f, &self.value);
        let saved = match F::SAVES {
            Saves::Input => Some(self.value.clone()),
            Saves::Output => Some(y.clone()),
            Saves::Nothing => None,
        };
        Tensor::record(&self.backend, y, &[self], || Map { f, saved })
    }
}
