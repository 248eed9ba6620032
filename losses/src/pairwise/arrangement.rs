//! Other pairs of the same completions, and their weights, for the losses in which the pairs of a batch see each other.

/// Which completions of a batch of B pairs form pair i.
#[derive(Clone, Debug, PartialEq)]
pub struct Arrangement {
    /// The pair whose reference log-probabilities stand beside the policy's of pair i.
    pub references: Vec<usize>,
    /// The pair whose rejected completion stands beside the chosen one of pair i, with its reference's log-probability.
    pub rejected: Vec<usize>,
    /// The weight of pair i, a constant; 1 for all where there are none.
    pub weights: Option<Vec<f64>>,
}

impl Arrangement {
    /// Every pair as it came.
    pub fn identity(pairs: usize) -> Self {
        Self { references: (0..pairs).collect(), rejected: (0..pairs).collect(), weights: None }
    }
}
