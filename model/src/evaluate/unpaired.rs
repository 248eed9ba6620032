//! How well a decoder tells desirable completions from undesirable ones.

use super::{Check, check, check_vocabularies, divergence};
use crate::batch::Batch;
use crate::data::LabelledSequence;
use crate::decoder::{Decoder, ForwardOptions};
use crate::error::Result;
use engine::{Backend, no_grad};

/// Means over labelled rows. t = ln π(y|x)/π_ref(y|x) is a row's log-ratio.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct RowScore {
    /// Rows that were scored.
    pub rows: usize,
    /// The fraction of rows whose log-ratio has the label's sign: above 0 for desirable ones, below 0 for the others. 0 counts as wrong.
    pub accuracy: f64,
    /// Mean t of the desirable rows, in nats; `None` without such rows.
    pub desirable_log_ratio: Option<f64>,
    /// Mean t of the undesirable rows, in nats; `None` without such rows.
    pub undesirable_log_ratio: Option<f64>,
    /// KL(π‖π_ref) of the next token in nats, exact over the vocabulary: the mean over all tokens of all completions.
    pub kl: f64,
}

/// The log-ratios of some rows, summed by label.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct RatioSums {
    /// Desirable, then undesirable rows.
    rows: [f64; 2],
    log_ratios: [f64; 2],
    right: f64,
}

impl RatioSums {
    /// Adds one row.
    pub fn add(&mut self, is_desirable: bool, log_ratio: f64) {
        let place = usize::from(!is_desirable);
        self.rows[place] += 1.0;
        self.log_ratios[place] += log_ratio;
        self.right += f64::from(u8::from(if is_desirable { log_ratio > 0.0 } else { log_ratio < 0.0 }));
    }

    /// The sums as numbers that add up over processes.
    pub fn to_numbers(self) -> [f64; 5] {
        let ([desirable, undesirable], [a, b]) = (self.rows, self.log_ratios);
        [desirable, undesirable, a, b, self.right]
    }

    /// The sums of [`RatioSums::to_numbers`].
    pub fn from_numbers([desirable, undesirable, a, b, right]: [f64; 5]) -> Self {
        Self { rows: [desirable, undesirable], log_ratios: [a, b], right }
    }

    /// The number of rows.
    pub fn count(&self) -> f64 {
        self.rows[0] + self.rows[1]
    }

    /// The mean log-ratio of all rows.
    pub fn mean(&self) -> f64 {
        (self.log_ratios[0] + self.log_ratios[1]) / self.count()
    }

    /// The mean log-ratios of the desirable and of the undesirable rows, where there are such.
    pub fn means(&self) -> [Option<f64>; 2] {
        [0, 1].map(|place| (self.rows[place] > 0.0).then(|| self.log_ratios[place] / self.rows[place]))
    }

    /// The fraction of rows whose log-ratio has the label's sign.
    pub fn accuracy(&self) -> f64 {
        self.right / self.count()
    }
}

/// Scores labelled rows against a reference; `batch` rows are run at once.
///
/// # Errors
/// As [`super::pairs`].
pub fn rows<B: Backend>(
    decoder: &Decoder<B>,
    reference: &Decoder<B>,
    rows: &[LabelledSequence],
    batch: usize,
    go_on: Check<'_>,
) -> Result<RowScore> {
    check_vocabularies(decoder, reference)?;
    let (mut sums, mut kl, mut tokens) = (RatioSums::default(), 0.0, 0);
    for part in rows.chunks(batch.max(1)) {
        go_on()?;
        for model in [decoder, reference] {
            part.iter().try_for_each(|row| check(model, &row.sequence.tokens))?;
        }
        let packed = Batch::of_sequences(part.iter().map(|row| &row.sequence));
        no_grad(|| {
            let states = [decoder, reference].map(|model| packed.hidden(model, &ForwardOptions::default()));
            let log_probs = [0, 1].map(|model: usize| {
                let head = [decoder, reference][model].head_weight();
                states[model].linear_log_prob(head, &packed.targets).group_sum(&packed.groups, packed.sequences).to_f64()
            });
            let ratios = log_probs[0].iter().zip(&log_probs[1]).map(|(policy, reference)| policy - reference);
            part.iter().zip(ratios).for_each(|(row, ratio)| sums.add(row.is_desirable, ratio));
            go_on()?;
            kl += divergence([[&states[0], decoder.head_weight()], [&states[1], reference.head_weight()]], go_on)?;
            tokens += packed.target_count();
            Ok::<(), crate::Error>(())
        })?;
    }
    let [desirable_log_ratio, undesirable_log_ratio] = sums.means();
    let accuracy = sums.accuracy();
    Ok(RowScore { rows: rows.len(), accuracy, desirable_log_ratio, undesirable_log_ratio, kl: kl / tokens as f64 })
}
