//! Whole decoders under losses, for the gradient suite: each loss as alignment uses it, and cross-entropy as fine-tuning uses it. A Llama
//! decoder is checked under every loss, a GPT-2 decoder under one loss of each kind of input. Each is a function of every parameter of the
//! policy. The reference is a constant decoder of the same form. Where a gradient takes numbers of the policy as constants, these follow
//! from a second decoder, which is constant too and equals the policy where the gradient is taken.

use super::{decoder, gpt2, llama, parameters};
use crate::align::objective::pair_inputs;
use crate::align::unpaired::rows_of_pairs;
use crate::align::{Alignment, Reference};
use crate::batch::Batch;
use crate::boundary::Sequence;
use crate::config::Config;
use crate::data::PreferencePair;
use crate::decoder::{Decoder, ForwardOptions};
use crate::preference::{PairBatch, Scored};
use engine::gradcheck::{Draw, Entry, Function, Input, Sample};
use engine::{Backend, Tensor};
use losses::{Hyperparameters, Loss, LossError, Objective, WeightRule};
use std::sync::LazyLock;

/// A function that makes the configuration of a decoder to check.
type Configuration = fn() -> Config;

/// The decoders below the losses.
const DECODERS: [(&str, Configuration); 2] = [("decoder-llama", llama), ("decoder-gpt2", gpt2)];

/// z of the losses that read it. It is a constant of their gradient.
const DIVERGENCE: f64 = 0.3;

/// Lists the decoders with what is above them: cross-entropy (`None`), or a loss.
fn stacks() -> impl Iterator<Item = (&'static str, Configuration, Option<Loss>)> {
    let losses = [Loss::ALL.to_vec(), Loss::one_of_each_input()];
    DECODERS.into_iter().zip(losses).flat_map(|((name, config), losses)| {
        let subjects = std::iter::once(None).chain(losses.into_iter().map(Some));
        subjects.map(move |loss| (name, config, loss))
    })
}

/// The names of the entries, such as `decoder-llama-dpo`.
static NAMES: LazyLock<Vec<String>> =
    LazyLock::new(|| stacks().map(|(decoder, _, loss)| format!("{decoder}-{}", loss.map_or("cross-entropy", Loss::name))).collect());

/// Lists the decoders under their losses, with one block each: the decoders alone are checked with several. The twin of each entry
/// recomputes the decoder's activations.
pub fn registry() -> Vec<Entry> {
    let entry = |(name, (_, config, loss)): (&'static String, (_, Configuration, Option<Loss>))| {
        Entry::new(name, move |draw| sample(draw, Config { layers: 1, ..config() }, loss))
    };
    NAMES.iter().zip(stacks()).map(entry).collect()
}

/// A loss of two pairs, or cross-entropy of two completions, over a decoder.
#[derive(Clone)]
struct OnTop {
    config: Config,
    pairs: Vec<PreferencePair>,
    reference: Vec<Input>,
    /// The policy where the gradient is taken.
    start: Vec<Input>,
    /// The loss. If there is none, cross-entropy of the chosen completions.
    objective: Option<Objective>,
    /// True if the decoder recomputes its activations.
    checkpoint: bool,
}

impl Function for OnTop {
    fn call<B: Backend>(&self, inputs: &[Tensor<B>]) -> Tensor<B> {
        let options = ForwardOptions { checkpoint: self.checkpoint, ..ForwardOptions::default() };
        let policy = decoder(inputs, &self.config);
        let Some(objective) = self.objective.clone() else {
            let batch = Batch::of_sequences(self.pairs.iter().map(|pair| &pair.chosen));
            return batch.token_log_probs(&policy, &options).mean_all().neg();
        };
        let reference = self.constant(policy.backend(), &self.reference);
        if objective.loss().has_policy_constants() {
            return self
                .with_constants(&objective, &policy, &reference, &options)
                .unwrap_or_else(|error| panic!("a loss to check: {error}"));
        }
        let alignment = Alignment { objective, reference: Reference::live(reference), at_once: self.pairs.len() };
        let total = if alignment.objective.is_unpaired() {
            let rows = rows_of_pairs(&self.pairs);
            alignment.total_of_rows(&policy, &rows.iter().collect::<Vec<_>>(), DIVERGENCE, &options)
        } else {
            alignment.total(&policy, &self.pairs.iter().collect::<Vec<_>>(), &options)
        };
        let (sum, count) = total.unwrap_or_else(|error| panic!("a loss to check: {error}"));
        sum.scale(1.0 / count)
    }
}

impl OnTop {
    fn constant<B: Backend>(&self, backend: &B, parameters: &[Input]) -> Decoder<B> {
        let constant = |input: &Input| Tensor::constant(backend, &input.data, &input.shape);
        decoder(&parameters.iter().map(constant).collect::<Vec<_>>(), &self.config)
    }

    /// The mean loss of the pairs, whose constants follow from the policy at the start.
    fn with_constants<B: Backend>(
        &self,
        objective: &Objective,
        policy: &Decoder<B>,
        reference: &Decoder<B>,
        options: &ForwardOptions,
    ) -> Result<Tensor<B>, LossError> {
        let batch = PairBatch::new(&self.pairs);
        let inputs = |policy| pair_inputs(objective, &policy, &Scored::reference(&batch, reference), None);
        let start = self.constant(policy.backend(), &self.start);
        let constants = inputs(Scored::reference(&batch, &start))?;
        let inputs = inputs(Scored::policy(&batch, policy, options))?.with_constants_of(constants)?;
        Ok(objective.pairwise(&inputs)?.mean_all())
    }
}

/// Draws a sample. Its inner magnitude is 1, as for the decoder alone: only the log-sum-exp of the logits cancels.
fn sample(draw: &mut Draw, config: Config, loss: Option<Loss>) -> Sample {
    let inputs = parameters(draw, &config);
    let reference = parameters(draw, &config);
    let pairs = (0..2).map(|_| pair(draw, &config)).collect();
    let objective = loss.map(|loss| Objective::new(loss, hyperparameters(draw)));
    let objective = objective.map(|objective| objective.unwrap_or_else(|error| panic!("a loss to check: {error}")));
    let function = OnTop { config, pairs, reference, start: inputs.clone(), objective, checkpoint: false };
    let twin = OnTop { checkpoint: true, ..function.clone() };
    Sample::new(function, inputs).with_twin(twin).with_inner_magnitude(1.0)
}

/// Draws the default hyper-parameters, or SLPO's other weight rule with a random α.
fn hyperparameters(draw: &mut Draw) -> Hyperparameters {
    if draw.coin() {
        return Hyperparameters::default();
    }
    Hyperparameters { weights: WeightRule::Shift, alpha: draw.uniform(&[], 0.0, 1.0).data[0], ..Hyperparameters::default() }
}

/// Draws a prompt of one or two tokens, and completions that share at most one token before they differ.
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
    fn every_loss_is_on_top_of_a_decoder() {
        let names: Vec<&str> = registry().iter().map(|entry| entry.name).collect();
        for (decoder, losses) in [("llama", Loss::ALL.to_vec()), ("gpt2", Loss::one_of_each_input())] {
            let expected: Vec<&str> = losses.into_iter().map(Loss::name).chain(["cross-entropy"]).collect();
            let found = names.iter().filter(|name| name.starts_with(&format!("decoder-{decoder}-"))).count();
            assert_eq!(found, expected.len());
            for loss in expected {
                assert!(names.contains(&&*format!("decoder-{decoder}-{loss}")), "{decoder} with {loss}");
            }
        }
    }
}
