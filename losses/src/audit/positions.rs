//! Independent positions: next-token distributions that do not depend on the prefix, for the claims about the paper's listing.

use super::instance::{World, constant, uniform};
use crate::tokenwise::slpo_literal::slpo_literal;
use crate::tokenwise::token::{TokenInputs, TokenWeights};
use engine::backend::Indices;
use engine::{Generator, Tensor};

pub type Vector = Tensor<World>;

/// Number of tokens in the vocabulary of independent positions.
pub const TOKENS: usize = 4;

/// T positions whose next-token distributions do not depend on the prefix, with a winning and a losing token at each.
pub struct Positions {
    pub chosen: Indices,
    pub rejected: Indices,
    /// The winning and the losing tokens' probabilities.
    pub p: Vec<f64>,
    pub q: Vec<f64>,
    /// [T · V], the logarithms of the probabilities.
    pub logits: Vec<f64>,
}

impl Positions {
    /// Draws winning tokens of probability 0.25 to 0.35 and losing tokens of 0.15 to 0.25. The other tokens share the rest.
    pub fn draw(generator: &mut Generator, length: usize) -> Self {
        let (mut chosen, mut rejected, mut p, mut q, mut logits) = (vec![], vec![], vec![], vec![], vec![]);
        for _ in 0..length {
            let order = generator.permutation(TOKENS);
            let (w, l) = (uniform(generator, 0.25, 0.35), uniform(generator, 0.15, 0.25));
            let part = uniform(generator, 0.3, 0.7);
            let mut row = [0.0; TOKENS];
            let masses = [w, l, (1.0 - w - l) * part, (1.0 - w - l) * (1.0 - part)];
            order.iter().zip(masses).for_each(|(&token, mass)| row[token] = mass.ln());
            chosen.push(order[0] as u32);
            rejected.push(order[1] as u32);
            p.push(w);
            q.push(l);
            logits.extend(row);
        }
        Self { chosen: chosen.into(), rejected: rejected.into(), p, q, logits }
    }

    /// Returns T.
    pub fn len(&self) -> usize {
        self.p.len()
    }

    /// (π(y_w), π(y_l)).
    pub fn sequences(&self) -> (f64, f64) {
        (self.p.iter().product(), self.q.iter().product())
    }

    /// Computes the listing's loss with these weights, the mean over the positions.
    pub fn listing(&self, logits: &Vector, w_w: &[f64]) -> Vector {
        let inputs = token_inputs(&logits.reshape(&[self.len(), TOKENS]), &self.chosen, &self.rejected, w_w, None);
        inputs.mean(&slpo_literal(&inputs))
    }

    /// Computes (l_w, l_l) of both sequences as [2], from logits [T · V].
    pub fn log_probs(&self, logits: &Vector) -> Vector {
        let log_probs = logits.reshape(&[self.len(), TOKENS]).log_softmax();
        let sum = |tokens: &Indices| log_probs.gather(tokens).sum_all().reshape(&[1]);
        Tensor::concat(&[&sum(&self.chosen), &sum(&self.rejected)], 0)
    }
}

/// Makes token inputs with one position per row of logits, with weights for each, and no mask.
pub fn token_inputs(logits: &Vector, chosen: &Indices, rejected: &Indices, w_w: &[f64], w_l: Option<&[f64]>) -> TokenInputs<World> {
    let weights = TokenWeights::given(&constant(w_w), w_l.map(constant).as_ref()).expect("one weight for each position");
    TokenInputs::new(logits, chosen, rejected, weights, None).expect("tokens of the vocabulary, one for each position")
}
