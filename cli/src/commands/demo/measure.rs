//! Measurements of a model: reward, divergence from the reference, log-probabilities, accuracy.

use super::experiment::{DemoRun, Experiment, RUNS};
use super::scores::{Changes, Estimate, Point};
use crate::failure::Failure;
use crate::number::{fixed, signed};
use engine::{Device, no_grad};
use model::boundary::Sequence;
use model::decoder::{Decoder, ForwardOptions};
use model::preference::{PairBatch, Scored};
use model::study::learned_language::{MAX_TOKENS, draw, log_probs, rewards};
use model::study::path::{Moment, mean_at};
use model::study::statistics::{differences, mean_and_error};
use serde_json::{Value, json};

/// The divergences κ at which methods are compared, in nats a completion.
pub const DIVERGENCES: [f64; 3] = [0.25, 0.5, 1.0];
/// The share of the samples that are drawn at each moment of a run.
const OF_MOMENT: usize = 8;

/// A method after alignment: means over its runs.
pub struct Outcome {
    /// The name in the table.
    pub name: String,
    /// E\[r\] where KL(π‖π_ref) first reaches each of [`DIVERGENCES`]; `None` if not all runs get there.
    pub matched: [Option<f64>; DIVERGENCES.len()],
    /// E\[r\] at the end, over completions sampled from the model.
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
    /// The first run, step by step; empty for the reference.
    pub curve: Vec<Point>,
    /// The moments of each run.
    pub paths: Vec<Vec<Moment>>,
    /// The first sentences that the first run's model wrote, with their rewards. All models get the same prompts and random numbers.
    pub sentences: Vec<(String, f64)>,
}

/// Sentences that the report shows of a model.
const SHOWN: usize = 10;

/// What is measured of one model.
struct Measured {
    reward: Estimate,
    kl: Estimate,
    forward_kl: Estimate,
    changes: Changes,
    grammatical: f64,
    sentences: Vec<(String, f64)>,
}

/// Computes the mean of ln p(y) − ln q(y) over completions sampled from p.
fn divergence(p: &Decoder<Device>, q: &Decoder<Device>, drawn_from_p: &[Sequence]) -> Estimate {
    mean_and_error(&differences(&log_probs(p, drawn_from_p), &log_probs(q, drawn_from_p)))
}

/// Measures a model at a moment of its run: E\[r\] and KL(π‖π_ref), with the same random numbers at every moment.
pub fn moment(experiment: &Experiment, step: u64, decoder: &Decoder<Device>) -> Result<Moment, Failure> {
    let count = experiment.budget.samples.div_ceil(OF_MOMENT);
    let drawn = draw(&experiment.language, decoder, experiment.measuring_stream(), count)?;
    let (divergence, _) = divergence(decoder, &experiment.reference, &drawn);
    Ok(Moment { step, divergence, values: vec![mean_and_error(&rewards(&experiment.language, &drawn)).0] })
}

/// Measures a model against the language and the reference.
fn measure(experiment: &Experiment, decoder: &Decoder<Device>) -> Result<Measured, Failure> {
    let generator = experiment.measuring_stream();
    let count = experiment.budget.samples.div_ceil(RUNS as usize);
    let drawn = draw(&experiment.language, decoder, generator, count)?;
    let grammatical = drawn.iter().filter(|s| experiment.language.is_grammatical(&s.prompt()[1..], s.completion())).count();
    debug_assert!(drawn.iter().all(|s| s.completion().len() <= MAX_TOKENS));
    let from_reference = draw(&experiment.language, &experiment.reference, generator, count)?;
    let batch = PairBatch::new(experiment.held_out_pairs());
    let changes = no_grad(|| {
        let policy = Scored::policy(&batch, decoder, &ForwardOptions::default());
        Changes::of(&policy, &Scored::reference(&batch, &experiment.reference))
    });
    let rewards = rewards(&experiment.language, &drawn);
    let sentence = |(sequence, reward): (&Sequence, &f64)| (experiment.language.decode(&sequence.tokens[1..]), *reward);
    Ok(Measured {
        sentences: drawn.iter().zip(&rewards).take(SHOWN).map(sentence).collect(),
        reward: mean_and_error(&rewards),
        kl: divergence(decoder, &experiment.reference, &drawn),
        forward_kl: divergence(&experiment.reference, decoder, &from_reference),
        changes,
        grammatical: grammatical as f64 / drawn.len() as f64,
    })
}

/// Measures the reference.
pub fn reference(experiment: &Experiment) -> Result<Outcome, Failure> {
    Ok(Outcome::of("reference", &[measure(experiment, &experiment.reference)?], Vec::new(), Vec::new()))
}

/// Measures the runs of a method.
pub fn outcome(experiment: &Experiment, name: &str, runs: Vec<DemoRun>) -> Result<Outcome, Failure> {
    let measured = runs.iter().map(|run| measure(experiment, &run.decoder)).collect::<Result<Vec<Measured>, Failure>>()?;
    let curve = runs.first().map(|run| run.curve.clone()).unwrap_or_default();
    Ok(Outcome::of(name, &measured, curve, runs.into_iter().map(|run| run.path).collect()))
}

/// The mean over runs of E\[r\] where their KL(π‖π_ref) first reaches a divergence; `None` if not all get there.
pub fn matched(paths: &[Vec<Moment>], divergence: f64) -> Option<f64> {
    mean_at(paths.iter().map(Vec::as_slice), divergence, 0)
}

impl Outcome {
    fn of(name: &str, runs: &[Measured], curve: Vec<Point>, paths: Vec<Vec<Moment>>) -> Self {
        let count = runs.len() as f64;
        let mean = |value: fn(&Measured) -> f64| runs.iter().map(value).sum::<f64>() / count;
        let estimate = |of: fn(&Measured) -> Estimate| {
            let values = runs.iter().map(|run| of(run).0).sum::<f64>() / count;
            let error = runs.iter().map(|run| of(run).1.powi(2)).sum::<f64>().sqrt() / count;
            (values, error)
        };
        Self {
            name: name.to_owned(),
            matched: DIVERGENCES.map(|divergence| matched(&paths, divergence)),
            reward: estimate(|run| run.reward),
            kl: estimate(|run| run.kl),
            forward_kl: estimate(|run| run.forward_kl),
            chosen: mean(|run| run.changes.chosen),
            rejected: mean(|run| run.changes.rejected),
            accuracy: mean(|run| run.changes.accuracy),
            grammatical: mean(|run| run.grammatical),
            curve,
            paths,
            sentences: runs.first().map(|run| run.sentences.clone()).unwrap_or_default(),
        }
    }

    /// Returns the outcome with its standard errors.
    pub fn to_json(&self) -> Value {
        let estimate = |(value, error): Estimate| json!({ "value": value, "standard_error": error });
        json!({
            "method": self.name,
            "expected_reward_at_divergence": self.matched,
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
    pub fn cells(&self) -> [String; HEADINGS.len()] {
        let estimate = |(value, error): Estimate| format!("{} ± {}", fixed(value, 2), fixed(error, 2));
        let [quarter, half, whole] = self.matched.map(|reward| reward.map_or_else(|| "–".to_owned(), |reward| fixed(reward, 2)));
        [
            self.name.clone(),
            quarter,
            half,
            whole,
            estimate(self.reward),
            estimate(self.kl),
            estimate(self.forward_kl),
            signed(self.chosen, 2),
            signed(self.rejected, 2),
        ]
    }
}

/// The headings of [`Outcome::cells`]: E\[r\] at each of [`DIVERGENCES`], then what is measured at the end.
pub const HEADINGS: [&str; 9] =
    ["method", "at ¼ nat", "at ½ nat", "at 1 nat", "E[reward]", "KL(π‖ref)", "KL(ref‖π)", "Δ chosen", "Δ rejected"];

/// The most reward that the language allows at each of [`DIVERGENCES`].
pub fn best(experiment: &Experiment) -> [f64; DIVERGENCES.len()] {
    DIVERGENCES.map(|divergence| experiment.language.most_reward_at(divergence))
}

/// Formats the cells of the row above the methods: the most that is possible.
pub fn best_cells(experiment: &Experiment) -> [String; HEADINGS.len()] {
    let mut cells = HEADINGS.map(|_| String::new());
    cells[0] = "best possible".to_owned();
    for (cell, reward) in cells[1..].iter_mut().zip(best(experiment)) {
        *cell = fixed(reward, 2);
    }
    cells
}

/// Formats the outcomes as a table of text.
pub fn table(experiment: &Experiment, outcomes: &[Outcome]) -> String {
    let rows: Vec<Vec<String>> = [HEADINGS.map(str::to_owned).to_vec(), best_cells(experiment).to_vec()]
        .into_iter()
        .chain(outcomes.iter().map(|o| o.cells().to_vec()))
        .collect();
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
