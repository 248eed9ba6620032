//! The names of metrics in the files that other programs read, `metrics.csv` and TensorBoard's events: the program's own, or TRL's.
//! `metrics.jsonl` keeps the program's own, because the program reads it.

use model::align::metrics::{ACCURACY, CHOSEN_LOG_PROB, CHOSEN_LOG_RATIO, KL, MARGIN, REJECTED_LOG_PROB};
use model::align::unpaired::{DESIRABLE_LOG_RATIO, MISMATCHED_KL, UNDESIRABLE_LOG_RATIO};

/// What a name begins with where it is about held-out data: here, and in TRL.
const HELD_OUT: (&str, &str) = ("held_out_", "eval_");

/// Whose names a run's files have.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum MetricNames {
    /// The program's own.
    #[default]
    Own,
    /// Those of TRL's trainers for DPO, KTO and SFT (version 1.16). A log-ratio is a reward there, β·ln π/π_ref.
    Trl {
        /// β; 1 for a loss without it.
        beta: f64,
    },
}

impl MetricNames {
    /// The values as `metrics.csv` has them. What TRL has no name for keeps its own.
    pub fn in_table(self, values: &[(&str, f64)]) -> Vec<(String, f64)> {
        let Self::Trl { beta } = self else { return values.iter().map(|&(name, value)| (name.to_owned(), value)).collect() };
        let mut renamed: Vec<(String, f64)> = values.iter().map(|&(name, value)| renamed(name, value, beta)).collect();
        for prefix in ["", HELD_OUT.1] {
            let reward = |of: &str| renamed.iter().find(|(name, _)| *name == format!("{prefix}rewards/{of}")).map(|(_, value)| *value);
            let (chosen, rejected, margin) = (reward("chosen"), reward("rejected"), reward("margins"));
            let third = match (chosen, rejected, margin) {
                (Some(chosen), None, Some(margin)) => Some(("rejected", chosen - margin)),
                (Some(chosen), Some(rejected), None) => Some(("margins", chosen - rejected)),
                _ => None,
            };
            renamed.extend(third.map(|(name, value)| (format!("{prefix}rewards/{name}"), value)));
        }
        renamed
    }

    /// The values as TensorBoard shows them. TRL's stand in two groups there, train and eval.
    pub fn in_tensorboard(self, values: &[(&str, f64)]) -> Vec<(String, f64)> {
        let renamed = self.in_table(values);
        if self == Self::Own {
            return renamed;
        }
        let grouped = |name: String| match name.strip_prefix(HELD_OUT.1) {
            Some(rest) => format!("eval/{rest}"),
            None => format!("train/{name}"),
        };
        renamed.into_iter().map(|(name, value)| (grouped(name), value)).collect()
    }
}

/// A value under TRL's name.
fn renamed(name: &str, value: f64, beta: f64) -> (String, f64) {
    if let Some(rest) = name.strip_prefix(HELD_OUT.0) {
        let (rest, value) = renamed(rest, value, beta);
        return (HELD_OUT.1.to_owned() + &rest, value);
    }
    let (name, value) = match name {
        "gradient_norm" => ("grad_norm", value),
        CHOSEN_LOG_PROB => ("logps/chosen", value),
        REJECTED_LOG_PROB => ("logps/rejected", value),
        CHOSEN_LOG_RATIO | DESIRABLE_LOG_RATIO => ("rewards/chosen", beta * value),
        UNDESIRABLE_LOG_RATIO => ("rewards/rejected", beta * value),
        MARGIN => ("rewards/margins", beta * value),
        ACCURACY => ("rewards/accuracies", value),
        // KTO's z has the short name there, so the divergence itself gets a longer one.
        MISMATCHED_KL => ("kl", value),
        KL => ("kl_per_token", value),
        own => (own, value),
    };
    (name.to_owned(), value)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRL: MetricNames = MetricNames::Trl { beta: 0.5 };

    #[test]
    fn log_ratios_become_rewards_and_the_third_of_a_pair_follows_from_two() {
        let values = [("loss", 0.25), (CHOSEN_LOG_PROB, -8.0), (CHOSEN_LOG_RATIO, 1.0), (MARGIN, 3.0), (ACCURACY, 0.75), (KL, 0.125)];
        let expected = [
            ("loss", 0.25),
            ("logps/chosen", -8.0),
            ("rewards/chosen", 0.5),
            ("rewards/margins", 1.5),
            ("rewards/accuracies", 0.75),
            ("kl_per_token", 0.125),
            ("rewards/rejected", -1.0),
        ];
        assert_eq!(TRL.in_table(&values), expected.map(|(name, value)| (name.to_owned(), value)));
    }

    #[test]
    fn rows_without_pairs_have_both_rewards_and_their_difference() {
        let values = [(DESIRABLE_LOG_RATIO, 2.0), (UNDESIRABLE_LOG_RATIO, -4.0), (MISMATCHED_KL, 0.5)];
        let expected = [("rewards/chosen", 1.0), ("rewards/rejected", -2.0), ("kl", 0.5), ("rewards/margins", 3.0)];
        assert_eq!(TRL.in_table(&values), expected.map(|(name, value)| (name.to_owned(), value)));
        assert_eq!(TRL.in_table(&values[..1]).len(), 1, "one of two says nothing of the third");
    }

    #[test]
    fn held_out_values_are_a_group_of_their_own() {
        let values = [("held_out_loss", 2.0), ("held_out_margin", 4.0), ("held_out_preferred", 0.5), ("learning_rate", 1e-3)];
        let names = |renamed: Vec<(String, f64)>| renamed.into_iter().map(|(name, _)| name).collect::<Vec<_>>();
        assert_eq!(names(TRL.in_table(&values)), ["eval_loss", "eval_rewards/margins", "eval_preferred", "learning_rate"]);
        assert_eq!(names(TRL.in_tensorboard(&values)), ["eval/loss", "eval/rewards/margins", "eval/preferred", "train/learning_rate"]);
        assert_eq!(names(MetricNames::Own.in_tensorboard(&values)), values.map(|(name, _)| name));
    }

    #[test]
    fn no_two_metrics_share_a_name() {
        let all = [
            "loss",
            "gradient_norm",
            "learning_rate",
            CHOSEN_LOG_PROB,
            REJECTED_LOG_PROB,
            CHOSEN_LOG_RATIO,
            MARGIN,
            ACCURACY,
            MISMATCHED_KL,
            KL,
            "held_out_loss",
            "held_out_margin",
        ];
        let renamed = TRL.in_table(&all.map(|name| (name, 1.0)));
        let names: std::collections::BTreeSet<&str> = renamed.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names.len(), renamed.len(), "{renamed:?}");
    }
}
