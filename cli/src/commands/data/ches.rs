//! How alike the model finds the two completions of each pair.

use crate::arguments::Data;
use crate::commands::Loaded;
use crate::commands::common::EVALUATED_AT_ONCE;
use crate::failure::Failure;
use model::align::{Ches, ches};
use model::boundary::Limits;
use model::data::{ChatTemplate, PreferencePair, PreferenceSet};
use serde_json::{Value, json};
use std::io::{self, Write};

/// Pairs of the highest scores that are named.
const NAMED: usize = 5;

/// The scores of a file's pairs, each with the line of its pair; the highest first.
pub struct Summary {
    scores: Vec<(usize, Ches)>,
}

impl Summary {
    /// Scores the pairs of the data by the model.
    ///
    /// # Errors
    /// Those of the model and of the data, which must be preferences.
    pub fn of(arguments: &Data, chat: &ChatTemplate, limits: &Limits) -> Result<Self, Failure> {
        let Loaded { decoder, tokenizer } = Loaded::open(&arguments.model)?;
        let pairs = PreferenceSet::load(&arguments.data, &tokenizer, chat, limits)?.pairs;
        let pairs: Vec<&PreferencePair> = pairs.iter().collect();
        let scores = ches(&decoder, &pairs, EVALUATED_AT_ONCE);
        let mut scores: Vec<(usize, Ches)> = pairs.iter().map(|pair| pair.line).zip(scores).collect();
        scores.sort_by(|(_, a), (_, b)| b.normalised.total_cmp(&a.normalised));
        Ok(Self { scores })
    }

    /// The normalised score below which a fraction q of the pairs lies.
    fn quantile(&self, q: f64) -> f64 {
        let last = self.scores.len() - 1;
        self.scores[last - (q * last as f64).round() as usize].1.normalised
    }

    /// The share of pairs whose completions are at least as alike as the chosen one is to itself.
    fn share_above_zero(&self) -> f64 {
        self.scores.iter().filter(|(_, ches)| ches.normalised >= 0.0).count() as f64 / self.scores.len() as f64
    }

    /// The scores as a JSON object: quantiles of the normalised score, and each pair's two scores, the highest first.
    pub fn to_json(&self) -> Value {
        let pair = |(line, ches): &(usize, Ches)| json!({"line": line, "ches": ches.score, "normalised": ches.normalised});
        json!({
            "median": self.quantile(0.5),
            "p95": self.quantile(0.95),
            "max": self.quantile(1.0),
            "share_above_zero": self.share_above_zero(),
            "pairs": self.scores.iter().map(pair).collect::<Vec<_>>(),
        })
    }

    /// Prints the quantiles and the pairs with the highest scores.
    pub fn show(&self, to: &mut dyn Write) -> io::Result<()> {
        writeln!(to, "\nCHES, divided by the lengths: how alike the model finds chosen and rejected completions")?;
        let [median, p95, most] = [0.5, 0.95, 1.0].map(|q| self.quantile(q));
        writeln!(to, "  median {median:.3}, p95 {p95:.3}, max {most:.3}; {:.1} % at 0 or above", 100.0 * self.share_above_zero())?;
        let lines: Vec<String> = self.scores.iter().take(NAMED).map(|(line, _)| line.to_string()).collect();
        writeln!(to, "  the highest, where alignment may lower the chosen completion too: line {}", lines.join(", "))
    }
}
