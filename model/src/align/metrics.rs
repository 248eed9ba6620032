//! Metrics of the pairs of a step, and the names under which runs log them.

use crate::error::Result;
use crate::parallel::Processes;
use crate::preference::Scored;
use engine::{Backend, Tensor, no_grad};
use losses::logaddexp;

/// The name of [`PairMetrics::chosen_log_prob`].
pub const CHOSEN_LOG_PROB: &str = "chosen_log_prob";
/// The name of [`PairMetrics::rejected_log_prob`].
pub const REJECTED_LOG_PROB: &str = "rejected_log_prob";
/// The name of [`PairMetrics::chosen_log_ratio`].
pub const CHOSEN_LOG_RATIO: &str = "chosen_log_ratio";
/// The name of [`PairMetrics::margin`].
pub const MARGIN: &str = "margin";
/// The name of [`PairMetrics::accuracy`].
pub const ACCURACY: &str = "accuracy";
/// The name of KL(π‖π_ref) of the next token on a step's pairs, before the step ([`Alignment::divergence`](super::Alignment::divergence)).
pub const KL: &str = "kl";
/// The name of the fraction of the weights that a step changed ([`StepOutcome::changed`](crate::train::StepOutcome::changed)).
pub const WEIGHTS_CHANGED: &str = "weights_changed";

/// Names of the results of [`evaluate::pairs`](crate::evaluate::pairs) on held-out pairs, and of
/// [`evaluate::unpaired::rows`](crate::evaluate::unpaired::rows) on held-out rows, which are not trained on.
pub mod held_out {
    /// The name of [`PairScore::accuracy`](crate::evaluate::PairScore::accuracy).
    pub const ACCURACY: &str = "held_out_accuracy";
    /// The name of [`PairScore::accuracy_unreferenced`](crate::evaluate::PairScore::accuracy_unreferenced).
    pub const PREFERRED: &str = "held_out_preferred";
    /// The name of [`PairScore::chosen_log_prob`](crate::evaluate::PairScore::chosen_log_prob).
    pub const CHOSEN_LOG_PROB: &str = "held_out_chosen_log_prob";
    /// The name of [`PairScore::rejected_log_prob`](crate::evaluate::PairScore::rejected_log_prob).
    pub const REJECTED_LOG_PROB: &str = "held_out_rejected_log_prob";
    /// The name of [`PairScore::margin`](crate::evaluate::PairScore::margin).
    pub const MARGIN: &str = "held_out_margin";
    /// The name of [`RowScore::desirable_log_ratio`](crate::evaluate::unpaired::RowScore::desirable_log_ratio).
    pub const DESIRABLE_LOG_RATIO: &str = "held_out_desirable_log_ratio";
    /// The name of [`RowScore::undesirable_log_ratio`](crate::evaluate::unpaired::RowScore::undesirable_log_ratio).
    pub const UNDESIRABLE_LOG_RATIO: &str = "held_out_undesirable_log_ratio";
    /// The name of [`PairScore::kl`](crate::evaluate::PairScore::kl).
    pub const KL: &str = "held_out_kl";
}

/// Means over the pairs of a step, before the step. y_w is the chosen and y_l the rejected completion. All values but the accuracy are in
/// nats.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PairMetrics {
    /// Mean ln π(y_w|x).
    pub chosen_log_prob: f64,
    /// Mean ln π(y_l|x).
    pub rejected_log_prob: f64,
    /// Mean a with a = ln π(y_w|x)/π_ref(y_w|x).
    pub chosen_log_ratio: f64,
    /// Mean a − r with r = ln π(y_l|x)/π_ref(y_l|x).
    pub margin: f64,
    /// The fraction of pairs with a − r above 0; a tie counts as wrong.
    pub accuracy: f64,
    /// The largest ln m of a pair, m = π_ref(y_w|x) + π_ref(y_l|x).
    pub largest_log_mass: f64,
}

impl PairMetrics {
    /// Returns the means with their names, in the order in which they are logged.
    pub fn named(&self) -> [(&'static str, f64); 5] {
        [
            (CHOSEN_LOG_PROB, self.chosen_log_prob),
            (REJECTED_LOG_PROB, self.rejected_log_prob),
            (CHOSEN_LOG_RATIO, self.chosen_log_ratio),
            (MARGIN, self.margin),
            (ACCURACY, self.accuracy),
        ]
    }
}

/// Concatenates ln π of a micro-batch's chosen and rejected completions, then ln π_ref of both, [4·pairs]. One tensor needs only one read
/// from the device. No gradients are recorded.
pub(super) fn log_probs<B: Backend>(policy: &Scored<'_, B>, reference: &Scored<'_, B>) -> Tensor<B> {
    let ((chosen, rejected), (reference_chosen, reference_rejected)) = (policy.sequence_log_probs(), reference.sequence_log_probs());
    no_grad(|| Tensor::concat(&[&chosen, &rejected, &reference_chosen, &reference_rejected], 0))
}

/// Sums over pairs.
#[derive(Default)]
pub(super) struct Sums {
    pairs: f64,
    chosen: f64,
    rejected: f64,
    chosen_log_ratio: f64,
    margin: f64,
    correct: f64,
    /// The largest ln m of a pair.
    log_mass: Option<f64>,
}

impl Sums {
    /// Adds a micro-batch's [`log_probs`].
    pub fn add<B: Backend>(&mut self, log_probs: &Tensor<B>) {
        let (values, pairs) = (log_probs.to_f64(), log_probs.len() / 4);
        for pair in 0..pairs {
            let [w, l, reference_w, reference_l] = std::array::from_fn(|part| values[part * pairs + pair]);
            let log_mass = logaddexp(reference_w, reference_l);
            let margin = (w - reference_w) - (l - reference_l);
            self.log_mass = Some(self.log_mass.map_or(log_mass, |largest| largest.max(log_mass)));
            self.pairs += 1.0;
            self.chosen += w;
            self.rejected += l;
            self.chosen_log_ratio += w - reference_w;
            self.margin += margin;
            self.correct += f64::from(u8::from(margin > 0.0));
        }
    }

    /// Adds up the sums of all processes, in the order of ranks.
    pub fn of_all(self, processes: Option<&Processes>) -> Result<Self> {
        let Some(processes) = processes else { return Ok(self) };
        let own = [self.pairs, self.chosen, self.rejected, self.chosen_log_ratio, self.margin, self.correct];
        let [pairs, chosen, rejected, chosen_log_ratio, margin, correct] =
            processes.sum(&own)?.try_into().expect("as many sums as numbers");
        let largest = processes.gather(self.log_mass.unwrap_or(f64::NEG_INFINITY).to_le_bytes().to_vec())?;
        let largest = largest.into_iter().filter_map(|bytes| bytes.try_into().ok()).map(f64::from_le_bytes);
        Ok(Self { pairs, chosen, rejected, chosen_log_ratio, margin, correct, log_mass: largest.reduce(f64::max) })
    }

    pub fn means(&self) -> PairMetrics {
        PairMetrics {
            chosen_log_prob: self.chosen / self.pairs,
            rejected_log_prob: self.rejected / self.pairs,
            chosen_log_ratio: self.chosen_log_ratio / self.pairs,
            margin: self.margin / self.pairs,
            accuracy: self.correct / self.pairs,
            largest_log_mass: self.log_mass.unwrap_or(f64::NEG_INFINITY),
        }
    }
}
