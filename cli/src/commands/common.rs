//! What the commands that fine-tune share.

use crate::arguments::FineTuning;
use crate::failure::Failure;
use crate::training::Plan;
use engine::{Device, Generator};
use model::decoder::{Decoder, ForwardOptions, LoraSettings, usual_targets};
use model::optimizer::{Rule, Schedule};
use model::train::OnNonFinite;

/// Rows that are evaluated at once.
pub const EVALUATED_AT_ONCE: usize = 32;

/// How a step's forward pass is run.
pub fn options(dropout: f64, checkpoint: bool, generator: Generator) -> ForwardOptions {
    ForwardOptions { dropout: (dropout > 0.0).then_some((dropout, generator)), checkpoint }
}

/// The learning rate over the steps, and AdamW with its decay.
pub fn schedule_and_rule(tuning: &FineTuning, steps: u64) -> (Schedule, Rule) {
    let schedule = Schedule { learning_rate: tuning.learning_rate, warmup: tuning.warmup.min(steps), steps, final_fraction: 0.1 };
    let rule = Rule::adamw(tuning.weight_decay);
    (schedule, rule)
}

/// The decoder as it is trained: whole, or frozen with a new LoRA adapter.
///
/// # Errors
/// [`Failure::Usage`] for settings that the model cannot have.
pub fn to_train(decoder: Decoder<Device>, tuning: &FineTuning, seed: u64) -> Result<Decoder<Device>, Failure> {
    let Some(rank) = tuning.lora.lora_rank else { return Ok(decoder) };
    let named = |names: &String| names.split(',').map(|name| name.trim().to_owned()).collect();
    let settings = LoraSettings {
        rank,
        alpha: tuning.lora.lora_alpha.unwrap_or(2.0 * rank as f64),
        rank_stabilised: false,
        targets: tuning.lora.lora_targets.as_ref().map_or_else(|| usual_targets(decoder.config()), named),
        base: tuning.model.display().to_string(),
        ..LoraSettings::default()
    };
    decoder.with_new_adapter(&settings, seed).map_err(|error| Failure::Usage(error.to_string()))
}

/// What `--on-nonfinite` says.
pub fn on_non_finite(name: &str) -> OnNonFinite {
    if name == "skip" { OnNonFinite::Skip } else { OnNonFinite::Stop }
}

/// When a fine-tuning run stops, looks and saves.
pub fn plan(tuning: &FineTuning, steps: u64) -> Plan {
    let FineTuning { ref out, eval_every, checkpoint_every, resume, keep, profile, .. } = *tuning;
    let on_non_finite = on_non_finite(&tuning.on_nonfinite);
    Plan { out: out.clone(), steps, eval_every, checkpoint_every, keep, on_non_finite, resume, profile, base: Some(tuning.model.clone()) }
}

/// Steps of a run over `rows` rows: as many as were asked for, or what the epochs come to, at least one.
pub fn steps(tuning: &FineTuning, rows: usize) -> u64 {
    let per_epoch = rows as f64 / (tuning.batch * tuning.accumulate) as f64;
    tuning.steps.unwrap_or_else(|| ((tuning.epochs * per_epoch).ceil() as u64).max(1))
}
