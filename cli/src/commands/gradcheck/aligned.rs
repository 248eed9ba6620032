//! What the gradient suite runs on top of whole decoders: every loss as alignment has it, and cross-entropy as fine-tuning has it, as a
//! function of every parameter of the policy. The reference is another decoder of the same form, and constant.

use engine::gradcheck::{Draw, Entry, Function, Input, Sample};
use engine::{Backend, Tensor};
use losses::{Hyperparameters, Loss, WeightRule};
use model::align::{Alignment, Objective, Reference};
use model::batch::Batch;
use model::boundary::Sequence;
use model::config::Config;
use model::data::PreferencePair;
use model::decoder::ForwardOptions;
use model::gradcheck::{decoder, gpt2, llama, parameters};
use std::sync::LazyLock;

/// Makes the configuration of a decoder to check.
type Configuration = fn() -> Config;

/// The decoders that the losses stand on.
const DECODERS: [(&str, Configuration); 2] = [("decoder-llama", llama), ("decoder-gpt2", gpt2)];

/// Cross-entropy first, then every loss.
fn subjects() -> impl Iterator<Item = Option<Loss>> {
    std::iter::once(None).chain(Loss::ALL.map(Some))
}

/// The names of the entries: `decoder-llama-dpo`.
static NAMES: LazyLock<Vec<String>> = LazyLock::new(|| {
    let of = |decoder| move |loss: Option<Loss>| format!("{decoder}-{}", loss.map_or("cross-entropy", Loss::name));
    DECODERS.iter().flat_map(|(decoder, _)| subjects().map(of(decoder))).collect()
});

/// A Llama and a GPT-2 with each loss on top; the twin of each recomputes the decoder's activations.
pub fn registry() -> Vec<Entry> {
    let on_top = DECODERS.iter().flat_map(|&(_, config)| subjects().map(move |loss| (config, loss)));
    NAMES.iter().zip(on_top).map(|(name, (config, loss))| Entry::new(name, move |draw| sample(draw, config(), loss))).collect()
}

/// A loss of two pairs, or of two completions, under a decoder.
#[derive(Clone)]
struct OnTop {
    config: Config,
    pairs: Vec<PreferencePair>,
    reference: Vec<Input>,
    /// Cross-entropy of the chosen completions where there is none.
    objective: Option<Objective>,
    /// True if the decoder recomputes its activations.
    checkpoint: bool,
}

impl Function for OnTop {
    fn call<B: Backend>(&self, inputs: &[Tensor<B>]) -> Tensor<B> {
        let options = ForwardOptions { checkpoint: self.checkpoint, ..ForwardOptions::default() };
        let policy = decoder(inputs, &self.config);
        let Some(objective) = self.objective else {
            let batch = Batch::of_sequences(self.pairs.iter().map(|pair| &pair.chosen));
            return batch.token_log_probs(&policy, &options).mean_all().neg();
        };
        let constant = |input: &Input| Tensor::constant(policy.backend(), &input.data, &input.shape);
        let reference = decoder(&self.reference.iter().map(constant).collect::<Vec<_>>(), &self.config);
        let alignment = Alignment { objective, reference: Reference::live(reference), at_once: self.pairs.len() };
        let total = alignment.total(&policy, &self.pairs.iter().collect::<Vec<_>>(), &options);
        let (sum, count) = total.unwrap_or_else(|error| panic!("a loss to check: {error}"));
        sum.scale(1.0 / count)
    }
}

/// Inner magnitude 1, as for the decoder alone: what cancels is the log-sum-exp of its logits.
fn sample(draw: &mut Draw, config: Config, loss: Option<Loss>) -> Sample {
    let inputs = parameters(draw, &config);
    let reference = parameters(draw, &config);
    let pairs = (0..2).map(|_| pair(draw, &config)).collect();
    let objective = loss.map(|loss| Objective::new(loss, hyperparameters(draw)));
    let objective = objective.map(|objective| objective.unwrap_or_else(|error| panic!("a loss to check: {error}")));
    let function = OnTop { config, pairs, reference, objective, checkpoint: false };
    let twin = OnTop { checkpoint: true, ..function.clone() };
    Sample::new(function, inputs).with_twin(twin).with_inner_magnitude(1.0)
}

/// The defaults, or SLPO's other rule with any α.
fn hyperparameters(draw: &mut Draw) -> Hyperparameters {
    if draw.coin() {
        return Hyperparameters::default();
    }
    Hyperparameters { weights: WeightRule::Shift, alpha: draw.uniform(&[], 0.0, 1.0).data[0], ..Hyperparameters::default() }
}

/// A prompt of one or two tokens, and completions that share at most one token before they part.
fn pair(draw: &mut Draw, config: &Config) -> PreferencePair {
    let mut tokens = |count: usize| draw.indices(count, config.vocab_size).to_vec();
    let (prompt, fork) = (tokens(2), tokens(2));
    let (shared, tails) = (tokens(1), [tokens(2), tokens(2)]);
    let (prompt, shared) = (&prompt[..1 + draw.below(2)], &shared[..draw.below(2)]);
    let other = (fork[0] + 1 + fork[1] % (config.vocab_size as u32 - 1)) % config.vocab_size as u32;
    let mut completion = |first: u32, tail: &[u32]| {
        let tokens = [prompt, shared, &[first], &tail[..draw.below(3)]].concat();
        Sequence::new(tokens, prompt.len())
    };
    let (chosen, rejected) = (completion(fork[0], &tails[0]), completion(other, &tails[1]));
    PreferencePair { line: 1, chosen, rejected }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_loss_is_on_top_of_both_decoders() {
        let names: Vec<&str> = registry().iter().map(|entry| entry.name).collect();
        for loss in Loss::ALL.map(Loss::name).into_iter().chain(["cross-entropy"]) {
            for decoder in ["decoder-llama", "decoder-gpt2"] {
                assert!(names.contains(&&*format!("{decoder}-{loss}")), "{decoder} with {loss}");
            }
        }
        assert_eq!(names.len(), 2 * (Loss::ALL.len() + 1));
    }
}
