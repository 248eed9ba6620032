//! Measurements of a model: reward, divergence from the reference, log-probabilities, accuracy.

use super::experiment::{Experiment, MAX_TOKENS};
use super::scores::{CHUNK, Changes, Estimate, Point, log_probs, mean_and_error};
use crate::failure::Failure;
use crate::number::{fixed, signed};
use engine::{Device, Generator, no_grad};
use model::boundary::Sequence;
use model::decoder::{Decoder, ForwardOptions};
use model::preference::{PairBatch, Scored};
use serde_json::{Value, json};

/// A model after alignment.
pub struct Outcome {
    /// The name in the table.
    pub name: String,
    /// E\[r\], over completions sampled from the model.
    pub reward: Estimate,
    /// KL(π‖π_ref) in nats per completion, over completions sampled from π.
    pub kl: Estimate,
    /// KL(π_ref‖π) in nats per completion, over completions sampled from π_ref. It is large if π has lost other completions.
    pub forward_kl: Estimate,
    /// Mean change of ln π(y_w) on the held-out pairs.
    pub chosen: f64,
    /// Mean change of ln π(y_l) on the held-out pairs.
    pub rejected: f64,
    /// The fraction of held-out pairs whose ln π/π_ref is larger for the chosen completion.
    pub accuracy: f64,
    /// The fraction of sampled completions that are sentences of the language.
    pub grammatical: f64,
    /// The alignment, step by step.
    pub curve: Vec<Point>,
}

/// Computes the mean of ln p(y) − ln q(y) over completions sampled from p.
fn divergence(p: &Decoder<Device>, q: &Decoder<Device>, drawn_from_p: &[Sequence]) -> Estimate {
    let differences: Vec<f64> = log_probs(p, drawn_from_p).iter().zip(log_probs(q, drawn_from_p)).map(|(p, q)| p - q).collect();
    mean_and_error(&differences)
}

/// Prompts from the language, with completions sampled from a model.
fn draw(experiment: &Experiment, decoder: &Decoder<Device>, generator: Generator) -> Result<Vec<Sequence>, Failure> {
    let mut uniform = generator.stream(2);
    let prompts: Vec<Vec<u32>> =
        (0..experiment.budget.samples).map(|_| experiment.language.sample_prompt(&mut || uniform.uniform())).collect();
    let mut sequences = Vec::new();
    for (number, chunk) in prompts.chunks(CHUNK).enumerate() {
        let completions = experiment.complete(decoder, chunk, &generator.stream(3 + number as u64))?;
        sequences.extend(chunk.iter().zip(completions).map(|(prompt, completion)| {
            let tokens = [&[experiment.language.end()], prompt.as_slice(), &completion].concat();
            Sequence::new(tokens, 1 + prompt.len())
        }));
    }
    Ok(sequences)
}

/// Measures a model against the language and the reference.
pub fn measure(experiment: &Experiment, name: &str, decoder: &Decoder<Device>, curve: Vec<Point>) -> Result<Outcome, Failure> {
    let (language, generator) = (&experiment.language, experiment.measuring_stream());
    let drawn = draw(experiment, decoder, generator)?;
    let rewards: Vec<f64> = drawn.iter().map(|s| language.reward(&s.prompt()[1..], s.completion())).collect();
    let grammatical = drawn.iter().filter(|s| language.is_grammatical(&s.prompt()[1..], s.completion())).count();
    debug_assert!(drawn.iter().all(|s| s.completion().len() <= MAX_TOKENS));
    let from_reference = draw(experiment, &experiment.reference, generator)?;
    let batch = PairBatch::new(experiment.held_out_pairs());
    let changes = no_grad(|| {
        let policy = Scored::policy(&batch, decoder, &ForwardOptions::default());
        Changes::of(&policy, &Scored::reference(&batch, &experiment.reference))
    });
    Ok(Outcome {
        name: name.to_owned(),
        reward: mean_and_error(&rewards),
        kl: divergence(decoder, &experiment.reference, &drawn),
        forward_kl: divergence(&experiment.reference, decoder, &from_reference),
        chosen: changes.chosen,
        rejected: changes.rejected,
        accuracy: changes.accuracy,
        grammatical: grammatical as f64 / drawn.len() as f64,
        curve,
    })
}

impl Outcome {
    /// Returns the outcome with its standard errors.
    pub fn to_json(&self) -> Value {
        let estimate = |(value, error): Estimate| json!({ "value": value, "standard_error": error });
        json!({
            "method": self.name,
            "expected_reward": estimate(self.reward),
            "kl_from_reference": estimate(self.kl),
            "kl_of_reference_from_policy": estimate(self.forward_kl),
            "chosen_log_prob_change": self.chosen,
            "rejected_log_prob_change": self.rejected,
            "held_out_accuracy": self.accuracy,
            "grammatical": self.grammatical,
        })
    }

    /// Formats the cells of the outcome's row.
    pub fn cells(&self) -> [String; 8] {
        let estimate = |(value, error): Estimate| format!("{} ± {}", fixed(value, 2), fixed(error, 2));
        [
            self.name.clone(),
            estimate(self.reward),
            estimate(self.kl),
            estimate(self.forward_kl),
            signed(self.chosen, 2),
            signed(self.rejected, 2),
            if self.name == "reference" { "–".to_owned() } else { format!("{:.1}%", 100.0 * self.accuracy) },
            format!("{:.1}%", 100.0 * self.grammatical),
        ]
    }
}

/// The headings of [`Outcome::cells`].
pub const HEADINGS: [&str; 8] = ["method", "E[reward]", "KL(π‖ref)", "KL(ref‖π)", "Δ chosen", "Δ rejected", "accuracy", "grammatical"];

/// Formats the outcomes as a table of text.
pub fn table(outcomes: &[Outcome]) -> String {
    let rows: Vec<Vec<String>> =
        std::iter::once(HEADINGS.map(str::to_owned).to_vec()).chain(outcomes.iter().map(|o| o.cells().to_vec())).collect();
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let line = |row: &Vec<String>| {
        let cells = row.iter().enumerate().map(|(i, cell)| {
            let gap = " ".repeat(width(i) - cell.chars().count());
            if i == 0 { format!("{cell}{gap}") } else { format!("{gap}{cell}") }
        });
        cells.collect::<Vec<_>>().join("  ")
    };
    rows.iter().map(line).collect::<Vec<_>>().join("\n")
}
