//! Settings that have no effect beside the other settings. On the command line they are an error. In a settings file they are reported. A
//! run's config.toml leaves them out.

use super::command_line::Command;
use super::loss::{LENGTH_NORMALIZE, losses_of, users};
use super::{Align, FineTuning, LossSettings, Sft, Train, Verify};
use crate::failure::Failure;
use losses::{Loss, Need, Setting};
use std::collections::BTreeSet;

/// A setting without effect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unused {
    /// The setting, with `_` for `-`.
    pub setting: &'static str,
    /// The reason, and what uses the setting.
    pub reason: String,
}

fn unused(setting: &'static str, reason: impl Into<String>) -> Unused {
    Unused { setting, reason: reason.into() }
}

impl Command {
    /// Lists the settings that have no effect.
    pub fn unused(&self) -> Vec<Unused> {
        match self {
            Self::Train(train) => train.unused(),
            Self::Sft(sft) => sft.unused(),
            Self::Align(align) => align.unused(),
            Self::Verify(Verify { loss, settings, .. }) => settings.unused(loss),
            _ => Vec::new(),
        }
    }

    /// Refuses `flags` of the command line that do not fit together.
    ///
    /// # Errors
    /// [`Failure::Usage`].
    pub fn check_together(&self, flags: &BTreeSet<String>) -> Result<(), Failure> {
        let (warmup, steps, control) = match self {
            Self::Train(train) => (train.warmup, train.fixed_steps(), &train.control),
            Self::Sft(Sft { training, .. }) | Self::Align(Align { training, .. }) => (training.warmup, training.steps, &training.control),
            _ => return Ok(()),
        };
        if control.change && !control.resume {
            return Err(Failure::Usage("--change is for a run that goes on: give --resume too".to_owned()));
        }
        match (warmup, steps) {
            (Some(warmup), Some(steps)) if flags.contains("warmup") && warmup >= steps && warmup > 0 => Err(Failure::Usage(format!(
                "--warmup {warmup} is not below the run's {steps} steps: the learning rate would only rise; give a smaller --warmup, or none"
            ))),
            _ => Ok(()),
        }
    }
}

impl Train {
    /// Lists the settings that have no effect.
    pub fn unused(&self) -> Vec<Unused> {
        let measure = (self.held_out == 0.0).then(|| unused("eval_every", "--eval-every has nothing to measure with: --held-out is 0"));
        length(self.steps.is_some()).into_iter().chain(measure).collect()
    }
}

impl FineTuning {
    fn unused(&self) -> Vec<Unused> {
        let adapter = |setting| unused(setting, format!("--{} is of a LoRA adapter: give --lora-rank too", setting.replace('_', "-")));
        let adapter = ["lora_alpha", "lora_targets"].into_iter().filter(|_| self.lora.lora_rank.is_none()).map(adapter);
        length(self.steps.is_some()).into_iter().chain(adapter).collect()
    }
}

impl Sft {
    /// Lists the settings that have no effect.
    pub fn unused(&self) -> Vec<Unused> {
        let measure = self.training.eval_data.is_none();
        let measure = measure.then(|| unused("eval_every", "--eval-every has nothing to measure with: give --eval-data too"));
        self.training.unused().into_iter().chain(measure).collect()
    }
}

impl Align {
    /// Lists the settings that have no effect.
    pub fn unused(&self) -> Vec<Unused> {
        let losses = losses_of(&self.loss).unwrap_or_default();
        let hyper = self.settings.hyperparameters(&self.loss).unwrap_or_default();
        let referenced: Vec<Loss> = losses.into_iter().filter(|loss| loss.needs(Need::Reference, &hyper)).collect();
        let is_free = referenced.is_empty();
        let needs_more = referenced.iter().any(|loss| !loss.takes_cached_reference(&hyper));
        let is_off = self.reference_cache.as_deref().is_some_and(|path| path.as_os_str() == "off");
        let why = if referenced.iter().any(|loss| loss.is_unpaired()) {
            Some("the reference is run at every step")
        } else {
            needs_more.then_some("it needs more of the reference than its log-probabilities")
        };
        let cache = why.filter(|_| !is_off);
        let cache = cache.map(|why| unused("reference_cache", format!("{} does not use --reference-cache: {why}", self.loss)));
        let of_reference = |setting| unused(setting, format!("{} has no reference: leave --{} out", self.loss, setting.replace('_', "-")));
        let moves = self.reference_every.is_some_and(|every| every > 0);
        let mixup =
            (!moves).then(|| unused("reference_mixup", "--reference-mixup is for a reference that moves: give --reference-every too"));
        let stale =
            moves.then(|| unused("reference_cache", "--reference-cache has no effect beside --reference-every: the reference moves"));
        let reference = ["reference", "reference_cache", "reference_every"].into_iter().filter(|_| is_free).map(of_reference);
        let own = self.settings.unused(&self.loss);
        self.training.unused().into_iter().chain(own).chain(cache.filter(|_| !is_free)).chain(reference).chain(mixup).chain(stale).collect()
    }
}

impl LossSettings {
    /// Lists the settings that these losses do not use.
    pub fn unused(&self, loss: &str) -> Vec<Unused> {
        let Ok(losses) = losses_of(loss) else { return Vec::new() };
        let others = Setting::ALL.into_iter().filter(|setting| !losses.iter().any(|loss| self.has_effect(*loss, *setting)));
        let reason = |setting: Setting| format!("{loss} does not use --{}; {}", setting.name(), who_uses(setting));
        let mean = (losses != [Loss::Ipo]).then(|| unused(LENGTH_NORMALIZE, format!("{loss} does not use --length-normalize; ipo does")));
        others.map(|setting| unused(setting.field(), reason(setting))).chain(mean).collect()
    }

    /// True if a setting has an effect beside a loss. `--nll` adds a term to every pairwise loss, and that term has a reduction.
    fn has_effect(&self, loss: Loss, setting: Setting) -> bool {
        let adds_nll = loss.is_of_sequences() && self.gives(Setting::Nll);
        loss.uses().contains(&setting) || (adds_nll && matches!(setting, Setting::Nll | Setting::NllReduction))
    }
}

/// Names the losses that use a setting, as in `cdpo and robust do`.
fn who_uses(setting: Setting) -> String {
    let is_one = Loss::ALL.iter().filter(|loss| loss.uses().contains(&setting)).count() == 1;
    format!("{} {}", users(setting), if is_one { "does" } else { "do" })
}

/// Returns `--epochs` as unused if `--steps` is given, because `--steps` replaces it.
fn length(has_steps: bool) -> Option<Unused> {
    has_steps.then(|| unused("epochs", "--epochs has no effect beside --steps, which says how long the run is"))
}
