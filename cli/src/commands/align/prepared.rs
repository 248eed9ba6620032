//! What alignment on pairs and alignment on labelled rows share: what they begin with, and the check of the start.

use crate::arguments::{Align, Shared};
use crate::commands::common::to_train;
use crate::commands::{Loaded, longest_sequence};
use crate::failure::Failure;
use crate::memory;
use engine::Device;
use losses::{Need, Objective};
use model::align::{Alignment, Reference, Start};
use model::boundary::Limits;
use model::data::ChatTemplate;
use model::decoder::Decoder;
use model::tokenizer::Tokenizer;

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
        // An adapter's base is its own reference, so no copy is needed.
        let adapter = settings.lora.lora_rank.is_some();
        let has_reference = objective.needs(Need::Reference);
        memory::check_fine_tuning(&settings.model, adapter, has_reference && (!adapter || arguments.reference.is_some()))?;
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
        Ok(Self { objective, decoder, tokenizer, reference, limits, chat })
    }
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
