//! The losses by name, and the dispatch of those that are functions of sequence log-probabilities.

use crate::cdpo::Cdpo;
use crate::dpo::Dpo;
use crate::error::LossError;
use crate::hinge::Hinge;
use crate::hyperparameters::{Hyperparameters, Setting};
use crate::ipo::Ipo;
use crate::pair::{Pair, PairInputs, PairLoss};
use crate::robust::Robust;
use crate::slpo::Slpo;
use crate::slpo_gkl::SlpoGkl;
use engine::{Backend, Tensor};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// A preference loss, by its name on the command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Loss {
    /// `dpo`: direct preference optimisation.
    Dpo,
    /// `cdpo`: conservative DPO, with smoothed labels.
    Cdpo,
    /// `ipo`: identity preference optimisation.
    Ipo,
    /// `hinge`: the hinge loss of SLiC on DPO's margin.
    Hinge,
    /// `robust`: DPO corrected for flipped labels.
    Robust,
    /// `slpo`: SLPO on sequences.
    Slpo,
    /// `slpo-token`: the paper's listing, mended.
    SlpoToken,
    /// `slpo-literal`: the paper's listing, as printed.
    SlpoLiteral,
    /// `slpo-exact`: towards the exact autoregressive target.
    SlpoExact,
    /// `slpo-gkl`: the rescaled limit of SLPO.
    SlpoGkl,
}

impl Loss {
    /// All losses, in the order of the documentation.
    pub const ALL: [Self; 10] = [
        Self::Dpo,
        Self::Cdpo,
        Self::Ipo,
        Self::Hinge,
        Self::Robust,
        Self::Slpo,
        Self::SlpoToken,
        Self::SlpoLiteral,
        Self::SlpoExact,
        Self::SlpoGkl,
    ];

    /// The name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Dpo => "dpo",
            Self::Cdpo => "cdpo",
            Self::Ipo => "ipo",
            Self::Hinge => "hinge",
            Self::Robust => "robust",
            Self::Slpo => "slpo",
            Self::SlpoToken => "slpo-token",
            Self::SlpoLiteral => "slpo-literal",
            Self::SlpoExact => "slpo-exact",
            Self::SlpoGkl => "slpo-gkl",
        }
    }

    /// Other names that are understood: those of TRL and of the papers.
    pub fn aliases(self) -> &'static [&'static str] {
        match self {
            Self::Dpo => &["sigmoid"],
            Self::Cdpo => &["conservative"],
            _ => &[],
        }
    }

    /// The settings that the loss uses. Every other one changes nothing.
    pub fn uses(self) -> &'static [Setting] {
        match self {
            Self::Dpo | Self::Hinge => &[Setting::Beta],
            Self::Cdpo | Self::Robust => &[Setting::Beta, Setting::LabelSmoothing],
            Self::Ipo => &[Setting::Beta, Setting::LengthNormalize],
            Self::Slpo | Self::SlpoToken | Self::SlpoExact | Self::SlpoGkl => &[Setting::Alpha, Setting::Weights],
            Self::SlpoLiteral => &[],
        }
    }

    /// All names, with commas between.
    pub fn names() -> String {
        Self::ALL.map(Self::name).join(", ")
    }

    /// Is it a function of the four sequence log-probabilities of a pair (and perhaps the lengths)?
    pub fn is_pairwise(self) -> bool {
        !matches!(self, Self::SlpoToken | Self::SlpoLiteral | Self::SlpoExact)
    }

    /// The loss of one pair where the policy is the reference, from theory; `None` for losses that are not pairwise.
    pub fn at_start(self, hyper: &Hyperparameters, pair: &Pair<f64>) -> Option<f64> {
        let (beta, label_smoothing, weights) = (hyper.beta, hyper.label_smoothing, hyper.weights());
        match self {
            Self::Dpo => Some(Dpo { beta }.at_start(pair)),
            Self::Cdpo => Some(Cdpo { beta, label_smoothing }.at_start(pair)),
            Self::Robust => Some(Robust { beta, label_smoothing }.at_start(pair)),
            Self::Hinge => Some(Hinge { beta }.at_start(pair)),
            Self::Ipo => Some(Ipo { beta, length_normalize: hyper.length_normalize }.at_start(pair)),
            Self::Slpo => Some(Slpo { weights }.at_start(pair)),
            Self::SlpoGkl => Some(SlpoGkl { weights }.at_start(pair)),
            Self::SlpoToken | Self::SlpoLiteral | Self::SlpoExact => None,
        }
    }

    /// [`Loss::at_start`] where it is the same for every pair: it is then a number even of a pair that is NaN.
    pub fn start_value(self, hyper: &Hyperparameters) -> Option<f64> {
        let nan = f64::NAN;
        let unknown = Pair { chosen: nan, rejected: nan, reference_chosen: nan, reference_rejected: nan, lengths: (nan, nan) };
        self.at_start(hyper, &unknown).filter(|start| !start.is_nan())
    }
}

impl fmt::Display for Loss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Loss {
    type Err = LossError;

    /// Reads a name or an alias, in capital or small letters.
    fn from_str(name: &str) -> Result<Self, LossError> {
        let lower = name.trim().to_lowercase().replace('_', "-");
        let is_called = |loss: &Self| loss.name() == lower || loss.aliases().contains(&lower.as_str());
        Self::ALL.into_iter().find(is_called).ok_or_else(|| LossError::UnknownLoss { name: name.to_string() })
    }
}

/// Evaluates `$inputs.$form` of the loss that a name and hyper-parameters mean.
macro_rules! dispatch {
    ($loss:expr, $hyper:expr, $inputs:expr, $form:ident) => {{
        let (loss, hyper, inputs) = ($loss, $hyper, $inputs);
        hyper.validate(loss)?;
        let (beta, label_smoothing, weights) = (hyper.beta, hyper.label_smoothing, hyper.weights());
        let length_normalize = hyper.length_normalize;
        if loss == Loss::Ipo && length_normalize && inputs.lengths().is_none() {
            return Err(LossError::MissingLengths { loss });
        }
        match loss {
            Loss::Dpo => Ok(Dpo { beta }.$form(inputs)),
            Loss::Cdpo => Ok(Cdpo { beta, label_smoothing }.$form(inputs)),
            Loss::Ipo => Ok(Ipo { beta, length_normalize }.$form(inputs)),
            Loss::Hinge => Ok(Hinge { beta }.$form(inputs)),
            Loss::Robust => Ok(Robust { beta, label_smoothing }.$form(inputs)),
            Loss::Slpo => Ok(Slpo { weights }.$form(inputs)),
            Loss::SlpoGkl => Ok(SlpoGkl { weights }.$form(inputs)),
            Loss::SlpoToken | Loss::SlpoLiteral | Loss::SlpoExact => Err(LossError::NotPairwise { loss }),
        }
    }};
}

/// A loss of each pair, `[B]`, as one fused op; its mean is the batch's loss. The fused op works on the host: on a device with a queue, which
/// it would make the host wait for, the loss is the composition of ops instead.
///
/// # Errors
/// If the loss is not pairwise, a hyper-parameter is out of range, or lengths are needed and missing.
pub fn pairwise<B: Backend>(loss: Loss, hyper: &Hyperparameters, inputs: &PairInputs<B>) -> Result<Tensor<B>, LossError> {
    dispatch!(loss, hyper, inputs, evaluate)
}

/// The same as [`pairwise`] as a composition of ops, with no derivative written by hand.
///
/// # Errors
/// As [`pairwise`].
pub fn pairwise_composed<B: Backend>(loss: Loss, hyper: &Hyperparameters, inputs: &PairInputs<B>) -> Result<Tensor<B>, LossError> {
    dispatch!(loss, hyper, inputs, composed)
}
