//! What alignment on pairs and on labelled rows share: what they begin with, the check of the start, and the steps at which more is
//! measured.

use crate::arguments::{Align, Shared};
use crate::commands::common::to_train;
use crate::commands::{Loaded, longest_sequence, notices};
use crate::failure::Failure;
use crate::memory;
use crate::processes;
use engine::Device;
use losses::{Need, Objective};
use model::align::{Alignment, Reference, Start};
use model::boundary::Limits;
use model::data::ChatTemplate;
use model::decoder::Decoder;
use model::tokenizer::Tokenizer;
use model::train::Trainer;

/// The models, and how the data is read.
pub struct Prepared {
    /// What is minimised.
    pub objective: Objective,
    /// The policy before the first step.
    pub decoder: Decoder<Device>,
    /// The policy's tokenizer.
    pub tokenizer: Tokenizer,
    /// The model that the policy is compared with.
    pub reference: Reference<Device>,
    /// How the reference moves, if it does.
    pub mixing: Option<Mixing>,
    /// The limits on the length of sequences.
    pub limits: Limits,
    /// The way in which conversations become text.
    pub chat: ChatTemplate,
}

impl Prepared {
    /// Loads the models.
    ///
    /// # Errors
    /// [`Failure::Usage`] for settings that do not fit together, and the errors of the models' files.
    pub fn new(arguments: &Align, shared: &Shared) -> Result<Self, Failure> {
        let settings = &arguments.training;
        let objective = arguments.settings.of(&arguments.loss)?;
        check_batch(&objective, settings.accumulate)?;
        notices::of_losses(&objective);
        // An adapter's base is its own reference, so no copy is needed.
        let adapter = settings.lora.lora_rank.is_some();
        let has_reference = objective.needs(Need::Reference);
        let mixing = Mixing::of(arguments);
        let copies_reference = !adapter || arguments.reference.is_some() || mixing.is_some();
        memory::check_fine_tuning(&settings.model, adapter, has_reference && copies_reference)?;
        let Loaded { decoder, tokenizer } = Loaded::open(&settings.model)?;
        let decoder = to_train(decoder, settings, shared.seed)?;
        let reference = match &arguments.reference {
            _ if !has_reference => Reference::none(),
            Some(path) => Reference::live(check_reference(&decoder, Loaded::open(path)?.decoder)?),
            // With an adapter, this is the same weights with the adapter switched off.
            None => Reference::live(decoder.without_adapter()),
        };
        let longest = longest_sequence(decoder.config(), settings.max_tokens);
        let limits = Limits { truncation: settings.cut.truncation(), ..Limits::new(longest) };
        let chat = ChatTemplate::of(&tokenizer)?;
        Ok(Self { objective, decoder, tokenizer, reference, mixing, limits, chat })
    }
}

/// How far the reference moves towards the policy, unless the command line says it.
const DEFAULT_MIXUP: f64 = 0.6;

/// How the reference moves with the policy (TR-DPO).
#[derive(Clone, Copy)]
pub struct Mixing {
    /// The reference moves after each multiple of this number of steps.
    every: u64,
    /// The share of the policy in the new reference.
    alpha: f64,
}

impl Mixing {
    fn of(arguments: &Align) -> Option<Self> {
        let every = arguments.reference_every.filter(|every| *every > 0)?;
        Some(Self { every, alpha: arguments.reference_mixup.unwrap_or(DEFAULT_MIXUP) })
    }

    /// Moves the reference after a step, if it is due. The trainer keeps it for checkpoints.
    pub fn move_reference(self, step: u64, alignment: &mut Alignment<Device>, trainer: &mut Trainer<Device>) {
        if step.is_multiple_of(self.every) {
            alignment.reference.mix(&trainer.decoder, self.alpha);
            trainer.moving_reference = alignment.reference.decoder().cloned();
        }
    }
}

/// Takes the reference that moves from the trainer, whose checkpoint may have restored it.
pub fn restore_reference(alignment: &mut Alignment<Device>, trainer: &Trainer<Device>) {
    if let Some(reference) = &trainer.moving_reference {
        alignment.reference = Reference::live(reference.clone());
    }
}

/// The steps at which more is measured than the loss. Only the first process measures it.
#[derive(Clone, Copy)]
pub struct Measured {
    /// The run's last step.
    pub steps: u64,
    /// The divergence is measured before each multiple of this number of steps; 0 is for the first and the last step only.
    pub eval_every: u64,
    /// The steps of warm-up.
    pub warmup: u64,
}

impl Measured {
    /// True if the weights that a step changes are counted: at the first step, at the first step with the full learning rate, and at every
    /// hundredth.
    pub fn counts_changes(self, step: u64) -> bool {
        processes::is_first() && (step == 1 || step == self.warmup + 1 || step.is_multiple_of(100))
    }

    /// True if the divergence from the reference is measured before this step.
    pub fn measures_divergence(self, step: u64) -> bool {
        let is_due = step == 1 || step == self.steps || (self.eval_every > 0 && step.is_multiple_of(self.eval_every));
        is_due && processes::is_first()
    }
}

/// Refuses a step in parts for a loss that compares the pairs of a step with each other.
fn check_batch(objective: &Objective, accumulate: usize) -> Result<(), Failure> {
    if !objective.is_of_batch() || (accumulate == 1 && processes::count() == 1) {
        return Ok(());
    }
    let parts = if accumulate > 1 { "--accumulate 1" } else { "one process" };
    Err(Failure::Usage(format!(
        "{objective} compares the pairs of a step with each other, so a step cannot be split: {parts} and a larger --batch"
    )))
}

/// Returns the reference if it has the policy's vocabulary.
fn check_reference(policy: &Decoder<Device>, reference: Decoder<Device>) -> Result<Decoder<Device>, Failure> {
    let (own, other) = (policy.config().vocab_size, reference.config().vocab_size);
    if own != other {
        let reason = format!("the reference has a vocabulary of {other} tokens, the model one of {own}: they must be the same");
        return Err(Failure::Usage(reason));
    }
    Ok(reference)
}

/// Says that the loss before the first step is not what theory gives, and why.
pub fn start_differs(alignment: &Alignment<Device>, start: Start) -> String {
    let cause = match alignment.reference.cache() {
        Some(cache) => format!(
            "likely cause: {} holds log-probabilities that are not this reference's; delete it, or --reference-cache off",
            cache.path().display()
        ),
        None => "likely cause: the pairs' log-probabilities are at the edge of f32 (very long completions); \
                 otherwise a defect in this program, please report it"
            .to_owned(),
    };
    format!(
        "before the first step the loss of {} is {:.6}, and with the policy equal to its reference it must be {:.6}: {cause}",
        alignment.objective, start.found, start.expected
    )
}
