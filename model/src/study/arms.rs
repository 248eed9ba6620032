//! The arms of the study: each loss with the one setting that is its own strength.

use losses::{Loss, LossError, Objective, Setting};

/// A loss as it is compared.
#[derive(Clone, Copy, Debug)]
pub struct Arm {
    /// The name in tables and files.
    pub name: &'static str,
    /// The loss.
    pub loss: Loss,
    /// The setting that is tuned beside the learning rate, with the least value of the first trials. `None` if the loss has none: the
    /// learning rate then gets all trials.
    pub strength: Option<(Setting, f64)>,
    /// Settings that are the same in every trial, by name.
    fixed: &'static [(Setting, &'static str)],
}

/// The factor between neighbouring strengths: three steps are two powers of ten, from .05 to 5.
const STRENGTH_STEP: f64 = 4.641_588_833_612_779;

const fn of_beta(name: &'static str, loss: Loss) -> Arm {
    Arm { name, loss, strength: Some((Setting::Beta, 0.05)), fixed: &[] }
}

const fn of_rate(name: &'static str, loss: Loss, fixed: &'static [(Setting, &'static str)]) -> Arm {
    Arm { name, loss, strength: None, fixed }
}

/// All arms. The others are compared with the first.
pub const ARMS: [Arm; 27] = [
    of_beta("dpo", Loss::Dpo),
    of_rate("sft", Loss::Nll, &[]),
    Arm { fixed: &[(Setting::Nll, "1")], ..of_beta("dpo+nll", Loss::Dpo) },
    of_beta("cdpo", Loss::Cdpo),
    of_beta("robust", Loss::Robust),
    Arm { strength: Some((Setting::Beta, 0.02)), ..of_beta("ipo", Loss::Ipo) },
    of_beta("hinge", Loss::Hinge),
    of_beta("exo", Loss::Exo),
    of_beta("nca", Loss::Nca),
    of_beta("sppo", Loss::Sppo),
    of_beta("apo-zero", Loss::ApoZero),
    Arm { strength: Some((Setting::Beta, 0.5)), ..of_beta("simpo", Loss::SimPo) },
    of_beta("orpo", Loss::Orpo),
    of_beta("kto", Loss::Kto),
    of_beta("dpop", Loss::Dpop),
    of_beta("cal-dpo", Loss::CalDpo),
    of_beta("chi-po", Loss::ChiPo),
    of_rate("slpo eq6", Loss::Slpo, &[(Setting::Alpha, "1")]),
    of_rate("slpo eq7", Loss::Slpo, &[(Setting::Alpha, "0.9")]),
    of_rate("slpo shift", Loss::Slpo, &[(Setting::Alpha, "0.9"), (Setting::Weights, "shift")]),
    of_rate("slpo-token", Loss::SlpoToken, &[(Setting::Alpha, "1")]),
    of_rate("slpo-literal", Loss::SlpoLiteral, &[]),
    of_rate("slpo-exact", Loss::SlpoExact, &[(Setting::Alpha, "1")]),
    of_rate("slpo-gkl 1", Loss::SlpoGkl, &[(Setting::Alpha, "1")]),
    of_rate("slpo-gkl .9", Loss::SlpoGkl, &[(Setting::Alpha, "0.9")]),
    of_rate("slpo-gkl .7", Loss::SlpoGkl, &[(Setting::Alpha, "0.7")]),
    Arm { strength: Some((Setting::Temperature, 0.3)), ..of_beta("slpo-halves", Loss::SlpoHalves) },
];

impl Arm {
    /// Returns the arm of a name: an arm of the study, or else a loss under any of its names.
    pub fn named(name: &str) -> Option<Self> {
        let in_study = ARMS.iter().find(|arm| arm.name == name).copied();
        in_study.or_else(|| name.parse().ok().map(Self::of))
    }

    /// Returns the arm of a loss with its usual settings. Its strength is that of the study's arm of the loss, or else β if the loss has
    /// one.
    pub fn of(loss: Loss) -> Self {
        let in_study = ARMS.iter().find(|arm| arm.loss == loss && arm.fixed.is_empty());
        let strength =
            in_study.map_or_else(|| of_beta("", loss).strength.filter(|_| loss.uses().contains(&Setting::Beta)), |arm| arm.strength);
        Self { name: loss.name(), loss, strength, fixed: &[] }
    }

    /// Returns the strength at a place of the grid; `None` if the arm has none. Place 0 is the least of the first trials.
    pub fn strength_at(&self, place: i32) -> Option<f64> {
        self.strength.map(|(_, least)| least * STRENGTH_STEP.powi(place))
    }

    /// Returns what is minimised at this strength.
    ///
    /// # Errors
    /// [`LossError::Hyperparameter`] if the strength is out of the setting's range.
    pub fn objective(&self, strength: Option<f64>) -> Result<Objective, LossError> {
        let mut hyper = self.loss.defaults();
        for (setting, value) in self.fixed {
            hyper.set(*setting, value)?;
        }
        if let (Some((setting, _)), Some(value)) = (self.strength, strength) {
            hyper.set(setting, &value.to_string())?;
        }
        Objective::new(self.loss, hyper)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use losses::WeightRule;
    use std::collections::BTreeSet;

    #[test]
    fn every_arm_has_a_name_of_its_own_and_an_objective_over_its_grid() {
        let names: BTreeSet<&str> = ARMS.iter().map(|arm| arm.name).collect();
        assert_eq!((names.len(), ARMS[0].name), (ARMS.len(), "dpo"));
        for (place, arm) in ARMS.iter().enumerate() {
            assert_eq!(Arm::named(arm.name).map(|named| named.name), Some(arm.name), "{place}");
            for at in -2..8 {
                let objective = arm.objective(arm.strength_at(at)).unwrap();
                let terms = objective.terms().len();
                assert_eq!(terms, if arm.name == "dpo+nll" { 2 } else { 1 }, "{}", arm.name);
            }
        }
        let span = ARMS[0].strength_at(3).unwrap();
        assert!((span - 5.0).abs() < 1e-9, "{span}");
        let alpha = Arm::named("slpo shift").unwrap().objective(None).unwrap();
        assert!(Arm::named("no such loss").is_none());
        assert_eq!((alpha.hyperparameters().alpha, alpha.hyperparameters().weights), (0.9, WeightRule::Shift));
    }

    #[test]
    fn a_loss_that_is_no_arm_of_the_study_is_tuned_by_its_beta_if_it_has_one() {
        for loss in Loss::ALL {
            let arm = Arm::of(loss);
            assert_eq!(arm.name, loss.name());
            assert!(arm.objective(arm.strength_at(0)).is_ok(), "{}", loss.name());
            assert!(arm.strength.is_some() || !loss.uses().contains(&Setting::Beta), "{}", loss.name());
        }
        assert_eq!(Arm::of(Loss::SimPo).strength, Some((Setting::Beta, 0.5)));
        assert_eq!(Arm::of(Loss::Nll).strength, None);
    }
}
