//! The losses' hyper-parameters, with their defaults and ranges.

use crate::error::LossError;
use crate::loss::Loss;
use crate::weights::{WeightRule, Weights};
use serde::{Deserialize, Serialize};

/// What may be chosen about a loss. Each loss reads only what concerns it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
pub struct Hyperparameters {
    /// Inverse temperature β > 0 of DPO and its relatives.
    pub beta: f64,
    /// Probability ε in [0, 0.5) that a label is flipped, of cdpo and robust.
    pub label_smoothing: f64,
    /// α of SLPO's weights: in (0.5, 1] by the rule eq7, in [0, 1] by the rule shift.
    pub alpha: f64,
    /// The rule for SLPO's weights.
    pub weights: WeightRule,
    /// Does ipo take the mean over the tokens of each completion instead of the sum?
    pub length_normalize: bool,
}

impl Default for Hyperparameters {
    fn default() -> Self {
        Self { beta: 0.1, label_smoothing: 0.1, alpha: 1.0, weights: WeightRule::Eq7, length_normalize: false }
    }
}

impl Hyperparameters {
    /// SLPO's weights: the rule with its α.
    pub fn weights(&self) -> Weights {
        match self.weights {
            WeightRule::Eq7 => Weights::Eq7 { alpha: self.alpha },
            WeightRule::Shift => Weights::Shift { alpha: self.alpha },
        }
    }

    /// Are all the values in range for this loss?
    ///
    /// # Errors
    /// [`LossError::Hyperparameter`] for the first that is not.
    pub fn validate(&self, loss: Loss) -> Result<(), LossError> {
        let check = |name, value: f64, fits: bool, requirement| match fits {
            true => Ok(()),
            false => Err(LossError::Hyperparameter { name, value, requirement }),
        };
        let (beta, epsilon, alpha) = (self.beta, self.label_smoothing, self.alpha);
        check("beta", beta, beta > 0.0 && beta.is_finite(), "a positive number")?;
        check("label-smoothing", epsilon, (0.0..0.5).contains(&epsilon), "at least 0 and below 0.5")?;
        match self.weights {
            WeightRule::Eq7 => check("alpha", alpha, alpha > 0.5 && alpha <= 1.0, "above 0.5 and at most 1 (Eq 7; see --weights shift)")?,
            WeightRule::Shift => check("alpha", alpha, (0.0..=1.0).contains(&alpha), "at least 0 and at most 1")?,
        }
        let exact = loss != Loss::SlpoExact || self.weights == WeightRule::Shift || alpha == 1.0;
        check("alpha", alpha, exact, "1 for slpo-exact unless --weights shift says that a part α of the loser's mass is moved")
    }
}
