//! What the commands that fine-tune share.

use crate::arguments::Tuning;
use crate::failure::Failure;
use engine::{Cpu, Generator};
use model::decoder::{Decoder, ForwardOptions};
use model::model_folder::ModelFolder;
use model::optimizer::{Rule, Schedule};
use model::tokenizer::Tokenizer;
use std::path::Path;

/// Rows that are evaluated at once.
pub const EVALUATED_AT_ONCE: usize = 32;

/// A model's folder as a decoder and its tokenizer.
pub fn load_model(path: &Path) -> Result<(Decoder<Cpu<f32>>, Tokenizer), Failure> {
    let folder = ModelFolder::open(path)?;
    let decoder = Decoder::from_tensors(&Cpu::new(), &folder.config, &folder.tensors)?;
    Ok((decoder, folder.tokenizer))
}

/// How a step's forward pass is run.
pub fn options(dropout: f64, checkpoint: bool, generator: Generator) -> ForwardOptions {
    ForwardOptions { dropout: (dropout > 0.0).then_some((dropout, generator)), checkpoint }
}

/// The learning rate over the steps, and AdamW with its decay.
pub fn schedule_and_rule(tuning: &Tuning, steps: u64) -> (Schedule, Rule) {
    let schedule = Schedule { learning_rate: tuning.learning_rate, warmup: tuning.warmup.min(steps), steps, final_fraction: 0.1 };
    let rule = Rule::adamw(tuning.weight_decay);
    (schedule, rule)
}

/// Keeps the last `fraction` of the rows apart; the others, then those.
pub fn split_rows<T>(mut rows: Vec<T>, fraction: f64) -> (Vec<T>, Vec<T>) {
    let kept_apart = (rows.len() as f64 * fraction).round() as usize;
    let held_out = rows.split_off(rows.len() - kept_apart.min(rows.len().saturating_sub(1)));
    (rows, held_out)
}
