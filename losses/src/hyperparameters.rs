//! The losses' hyper-parameters, with their defaults and ranges.

use crate::error::LossError;
use crate::weights::{WeightRule, Weights};
use serde::{Deserialize, Serialize};

/// A setting of a loss: a field of [`Hyperparameters`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Setting {
    /// [`Hyperparameters::beta`].
    Beta,
    /// [`Hyperparameters::label_smoothing`].
    LabelSmoothing,
    /// [`Hyperparameters::alpha`].
    Alpha,
    /// [`Hyperparameters::weights`].
    Weights,
    /// [`Hyperparameters::length_normalize`].
    LengthNormalize,
}

impl Setting {
    /// All settings, in the order of the fields.
    pub const ALL: [Self; 5] = [Self::Beta, Self::LabelSmoothing, Self::Alpha, Self::Weights, Self::LengthNormalize];

    /// The name on the command line, without dashes in front.
    pub fn name(self) -> &'static str {
        match self {
            Self::Beta => "beta",
            Self::LabelSmoothing => "label-smoothing",
            Self::Alpha => "alpha",
            Self::Weights => "weights",
            Self::LengthNormalize => "length-normalize",
        }
    }

    /// The values that it may have, in words.
    pub fn range(self) -> &'static str {
        match self {
            Self::Beta => "from 1e-6 to 1e6",
            Self::LabelSmoothing => "at least 0 and at most 0.4995",
            Self::Alpha => "above 0.5 and at most 1 (from 0 with --weights shift)",
            Self::Weights => "eq7 or shift",
            Self::LengthNormalize => "true or false",
        }
    }
}

/// What may be chosen about a loss. Each loss reads only what it [`USES`](crate::PreferenceLoss::USES).
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
pub struct Hyperparameters {
    /// Inverse temperature β of DPO and its relatives, from 1e-6 to 1e6.
    pub beta: f64,
    /// Probability ε in [0, 0.4995] that a label is flipped, of cdpo and robust.
    pub label_smoothing: f64,
    /// α of SLPO's weights: in (0.5, 1] by the rule eq7, in [0, 1] by the rule shift.
    pub alpha: f64,
    /// The rule for SLPO's weights.
    pub weights: WeightRule,
    /// True if ipo takes the mean over the tokens of each completion instead of the sum.
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

    /// Checks the value of one setting; of all others, anything is allowed.
    ///
    /// # Errors
    /// [`LossError::Hyperparameter`] where it is out of its range.
    pub fn check(&self, setting: Setting) -> Result<(), LossError> {
        let (beta, epsilon, alpha) = (self.beta, self.label_smoothing, self.alpha);
        match setting {
            Setting::Beta => require("beta", beta, (LEAST_BETA..=MOST_BETA).contains(&beta), BETA_RANGE),
            Setting::LabelSmoothing => require("label-smoothing", epsilon, (0.0..=MOST_SMOOTHING).contains(&epsilon), SMOOTHING_RANGE),
            Setting::Alpha if self.weights == WeightRule::Eq7 => {
                require("alpha", alpha, alpha > 0.5 && alpha <= 1.0, "above 0.5 and at most 1 (Eq 7; see --weights shift)")
            }
            Setting::Alpha => require("alpha", alpha, (0.0..=1.0).contains(&alpha), "at least 0 and at most 1"),
            Setting::Weights | Setting::LengthNormalize => Ok(()),
        }
    }
}

/// The range of β. A margin of one nat then gives a β·margin that f32 tells from 0, and a margin of a thousand nats a finite gradient.
const LEAST_BETA: f64 = 1e-6;
const MOST_BETA: f64 = 1e6;
const BETA_RANGE: &str = "from 1e-6 to 1e6: the loss is a function of β times the margin in nats, and beyond that f32 sees no margin, or every margin as infinite";

/// The largest ε: robust divides by 1 − 2ε, which is 1/1000 there.
const MOST_SMOOTHING: f64 = 0.4995;
const SMOOTHING_RANGE: &str = "at least 0 and at most 0.4995: at 0.5 the labels say nothing, and robust divides by 1 − 2ε";

pub(crate) fn require(name: &'static str, value: f64, fits: bool, requirement: &'static str) -> Result<(), LossError> {
    if fits { Ok(()) } else { Err(LossError::Hyperparameter { name, value, requirement }) }
}
