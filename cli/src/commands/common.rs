//! Code that the fine-tuning commands share.

use crate::arguments::FineTuning;
use crate::failure::Failure;
use crate::training::RunRequest;
use engine::{Device, Generator};
use model::decoder::{Decoder, ForwardOptions, LoraSettings, usual_targets};
use model::optimizer::{Rule, Schedule};
use model::train::Plan;

/// Rows that are evaluated at once.
pub const EVALUATED_AT_ONCE: usize = 32;

/// Returns the options of a step's forward pass.
pub fn options(dropout: f64, checkpoint: bool, generator: Generator) -> ForwardOptions {
    ForwardOptions { dropout: (dropout > 0.0).then_some((dropout, generator)), checkpoint }
}

/// The least warm-up of a run that has at least four times as many steps.
const LEAST_WARMUP: u64 = 5;

/// Returns the steps of warm-up: the number that was asked for, else a tenth of the run. The tenth is at least [`LEAST_WARMUP`] (or a
/// quarter of the run, if that is less) and at most `most`.
pub fn warmup(asked: Option<u64>, steps: u64, most: u64) -> u64 {
    let usual = || steps.div_ceil(10).max(LEAST_WARMUP.min(steps / 4)).min(most);
    asked.unwrap_or_else(usual).min(steps)
}

/// Returns warnings about a schedule that is probably a mistake.
pub fn remarks(asked_warmup: Option<u64>, steps: u64, learning_rate: f64, weight_decay: f64) -> Vec<String> {
    let warmup = asked_warmup.filter(|&warmup| warmup > 0 && warmup >= steps).map(|warmup| {
        format!(
            "a warm-up of {warmup} steps is not below the run's {steps}: the learning rate only rises; give a smaller --warmup, or none"
        )
    });
    let decay = learning_rate * weight_decay;
    let decay = (decay >= 1.0).then(|| {
        format!(
            "--learning-rate times --weight-decay is {decay}: a step multiplies each weight by 1 less that, so its sign turns or it \
             vanishes"
        )
    });
    warmup.into_iter().chain(decay).collect()
}

/// The most steps of warm-up in fine-tuning if the command line gives none.
const MOST_WARMUP: u64 = 10;

/// Returns the learning rate's schedule, and AdamW with its weight decay.
pub fn schedule_and_rule(tuning: &FineTuning, steps: u64) -> (Schedule, Rule) {
    let warmup = warmup(tuning.warmup, steps, MOST_WARMUP);
    let schedule = Schedule { learning_rate: tuning.learning_rate, warmup, steps, final_fraction: 0.1 };
    (schedule, Rule::adamw(tuning.weight_decay))
}

/// Prepares the decoder for training: whole, or frozen with a new LoRA adapter.
///
/// # Errors
/// [`Failure::Usage`] for settings that the model does not support.
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

/// What a fine-tuning command asks of its run.
pub fn request(tuning: &FineTuning, steps: u64) -> RunRequest {
    let FineTuning { ref out, eval_every, checkpoint_every, ref control, .. } = *tuning;
    let remarks = remarks(tuning.warmup, steps, tuning.learning_rate, tuning.weight_decay);
    RunRequest::new(out, Plan { steps, eval_every, checkpoint_every }, control, Some(&tuning.model), remarks)
}

/// Returns the steps of a run over `rows` rows: the number that was asked for, or as many as the epochs need. At least one.
///
/// # Errors
/// [`Failure::Usage`] for too many steps.
pub fn steps(tuning: &FineTuning, rows: usize) -> Result<u64, Failure> {
    let per_epoch = rows as f64 / (tuning.batch * tuning.accumulate) as f64;
    tuning.steps.map_or_else(|| steps_of(tuning.epochs.unwrap_or(1.0), per_epoch), Ok)
}

/// Returns the steps that the epochs need, at least one.
///
/// # Errors
/// [`Failure::Usage`] for too many steps.
pub fn steps_of(epochs: f64, per_epoch: f64) -> Result<u64, Failure> {
    let steps = (epochs * per_epoch).ceil().max(1.0);
    if steps > f64::from(u32::MAX) {
        return Err(Failure::Usage(format!(
            "--epochs {epochs:e} comes to {steps:.1e} steps, and a run has at most {}: give fewer",
            u32::MAX
        )));
    }
    Ok(steps as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_run_is_all_warm_up_where_nothing_is_asked_for() {
        for steps in 1..3000 {
            let usual = warmup(None, steps, 50);
            assert!((1..=50).contains(&usual) && (usual < steps || steps == 1), "{steps}: {usual}");
            assert!(usual <= steps.div_ceil(4), "{steps}: {usual}");
        }
        assert_eq!([20, 100, 300, 2000].map(|steps| warmup(None, steps, 50)), [5, 10, 30, 50]);
        assert_eq!((warmup(Some(50), 20, 50), warmup(Some(0), 20, 50)), (20, 0), "what is asked for stays");
    }

    #[test]
    fn epochs_are_counted_as_far_as_steps_go() {
        assert_eq!((steps_of(0.001, 5.0).unwrap(), steps_of(2.0, 2.5).unwrap()), (1, 5));
        let refused = steps_of(1e30, 5.0).unwrap_err().to_string();
        assert!(refused.contains("--epochs 1e30 comes to 5.0e30 steps"), "{refused}");
    }
}
