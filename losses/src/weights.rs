//! SLPO's target masses: how much probability the chosen, the rejected and all other completions shall have.
//!
//! Eq 7 of the paper (Eq 6 at α = 1):  w_w = α·m,         w_l = (1 − α)·m
//! shift (Eq 7 of the revised paper):   w_w = π_w + α·π_l, w_l = (1 − α)·π_l
//!
//! with m = π_w + π_l, and w_o = 1 − m for both. Eq 7 as first published lowers the winner wherever π_w/m > α (claim S5 of the audit). The
//! shift never does, for any α from 0 to 1 (claim R1); the paper's later revision has it. They are computed for one
//! pair, or for all pairs of a batch where the reference's log-probabilities are: on a device with a queue the host need not wait for them.

use crate::error::LossError;
use crate::numeric::logaddexp;
use engine::backend::Formula;
use engine::{Backend, Scalar, Tensor};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// The rule for the target masses, by its name on the command line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum WeightRule {
    /// `eq7`: the pair's mass is divided α to 1 − α.
    #[default]
    Eq7,
    /// `shift`: a part α of the loser's mass goes to the winner. It is Eq 7 of the paper's later revision.
    Shift,
}

impl fmt::Display for WeightRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Eq7 => "eq7",
            Self::Shift => "shift",
        })
    }
}

impl FromStr for WeightRule {
    type Err = LossError;
    fn from_str(name: &str) -> Result<Self, LossError> {
        match name {
            "eq7" => Ok(Self::Eq7),
            "shift" => Ok(Self::Shift),
            _ => Err(LossError::UnknownWeights { name: name.to_string() }),
        }
    }
}

/// A rule with its α.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Weights {
    /// w_w = α·m, w_l = (1 − α)·m (Eq 7 of the paper as first published).
    Eq7 {
        /// The winner's part of the pair's mass, in (0.5, 1] in the paper.
        alpha: f64,
    },
    /// w_w = π_w + α·π_l, w_l = (1 − α)·π_l (Eq 7 of the revision).
    Shift {
        /// The part of the loser's mass that is moved, in [0, 1].
        alpha: f64,
    },
}

/// Target masses of the chosen, the rejected and all other completions.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Shares<T> {
    /// w_w.
    pub chosen: T,
    /// w_l.
    pub rejected: T,
    /// w_o.
    pub others: T,
}

/// One of the three masses.
#[derive(Clone, Copy, Debug)]
enum Class {
    Chosen,
    Rejected,
    Others,
}

/// One of [`Weights::shares`] as a function of ln π_w and ln π_l.
#[derive(Clone, Copy, Debug)]
struct Mass(Weights, Class);

impl Formula<2> for Mass {
    #[inline(always)]
    fn at<T: Scalar>(self, [log_chosen, log_rejected]: [T; 2]) -> T {
        let shares = self.0.shares(log_chosen, log_rejected);
        match self.1 {
            Class::Chosen => shares.chosen,
            Class::Rejected => shares.rejected,
            Class::Others => shares.others,
        }
    }
}

/// One of [`Weights::relative`], which leave nothing to the others, as a function of ln π_w and ln π_l.
#[derive(Clone, Copy, Debug)]
struct RelativeMass(Weights, Class);

impl Formula<2> for RelativeMass {
    #[inline(always)]
    fn at<T: Scalar>(self, [log_chosen, log_rejected]: [T; 2]) -> T {
        let (chosen, rejected) = self.0.relative(log_chosen, log_rejected);
        match self.1 {
            Class::Chosen => chosen,
            Class::Rejected => rejected,
            Class::Others => T::zero(),
        }
    }
}

impl Weights {
    /// (w_w, w_l, w_o) from the reference's log-probabilities. Masses below the smallest number are 0. A pair's mass above 1, which
    /// rounding can produce, is scaled back to 1.
    pub fn shares<T: Scalar>(self, log_chosen: T, log_rejected: T) -> Shares<T> {
        let log_mass = logaddexp(log_chosen, log_rejected);
        let excess = T::select(T::zero().is_below(log_mass), log_mass, T::zero());
        let log_mass = log_mass - excess;
        let (chosen, rejected) = match self {
            Self::Eq7 { alpha } => (T::from_f64(alpha) * log_mass.exp(), T::from_f64(1.0 - alpha) * log_mass.exp()),
            Self::Shift { alpha } => {
                let (chosen, rejected) = ((log_chosen - excess).exp(), (log_rejected - excess).exp());
                (chosen + T::from_f64(alpha) * rejected, T::from_f64(1.0 - alpha) * rejected)
            }
        };
        Shares { chosen, rejected, others: -log_mass.exp_m1() }
    }

    /// (w_w/m, w_l/m) from the reference's log-probabilities: of order 1 however improbable the pair is.
    pub fn relative<T: Scalar>(self, log_chosen: T, log_rejected: T) -> (T, T) {
        match self {
            Self::Eq7 { alpha } => (T::from_f64(alpha), T::from_f64(1.0 - alpha)),
            Self::Shift { alpha } => {
                let (chosen, rejected) = ((log_chosen - log_rejected).sigmoid(), (log_rejected - log_chosen).sigmoid());
                (chosen + T::from_f64(alpha) * rejected, T::from_f64(1.0 - alpha) * rejected)
            }
        }
    }

    /// [`Weights::shares`] of many pairs, from the reference's log-probabilities in one shape: constants of that shape.
    pub(crate) fn shares_of<B: Backend>(self, log_chosen: &Tensor<B>, log_rejected: &Tensor<B>) -> Shares<Tensor<B>> {
        let mass = |class| log_chosen.detached_zip(Mass(self, class), log_rejected);
        Shares { chosen: mass(Class::Chosen), rejected: mass(Class::Rejected), others: mass(Class::Others) }
    }

    /// [`Weights::relative`] of many pairs, as [`Weights::shares_of`].
    pub(crate) fn relative_of<B: Backend>(self, log_chosen: &Tensor<B>, log_rejected: &Tensor<B>) -> (Tensor<B>, Tensor<B>) {
        let mass = |class| log_chosen.detached_zip(RelativeMass(self, class), log_rejected);
        (mass(Class::Chosen), mass(Class::Rejected))
    }
}
