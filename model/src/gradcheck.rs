//! The models that the gradient suite checks, for one small model of each kind:
//!
//! - the decoder: the log-probabilities of its targets as a function of every parameter
//! - one block alone: its output as a function of its input and its parameters
//!
//! A parameter is 0.05 times an input (plus 1 for a gain). The steps of finite differences are made for inputs of order 1. Scaled by 0.05,
//! they stay within the distance on which a decoder with its norms is nearly a polynomial. With the parameters themselves as inputs, the
//! extrapolated Hessian would be off by some percent. It converges to the exact one as the step shrinks.

pub mod aligned;

use crate::batch::Batch;
use crate::boundary::Sequence;
use crate::config::{Architecture, Config, MlpKind, PositionKind};
use crate::decoder::{Decoder, ForwardOptions, LoraSettings};
use engine::gradcheck::{Draw, Entry, Input, Sample};
use engine::{Backend, Cpu, Tensor, function};

/// Lists the blocks and decoders by name with their samples; the twin of each recomputes its activations.
pub fn registry() -> Vec<Entry> {
    vec![
        Entry::new("block-llama", |draw| block_sample(draw, llama())),
        Entry::new("block-qwen3", |draw| block_sample(draw, qwen3())),
        Entry::new("block-gpt2", |draw| block_sample(draw, gpt2())),
        Entry::new("block-gptneox", |draw| block_sample(draw, gptneox())),
        Entry::new("decoder-llama", |draw| sample(draw, llama())),
        Entry::new("decoder-qwen3", |draw| sample(draw, qwen3())),
        Entry::new("decoder-gpt2", |draw| sample(draw, gpt2())),
        Entry::new("decoder-lora", |draw| lora_sample(draw, llama(), &["q_proj", "v_proj", "o_proj", "gate_proj", "down_proj"])),
        Entry::new("decoder-lora-fused", |draw| lora_sample(draw, gptneox(), &["query_key_value", "dense"])),
        Entry::new("decoder-gptneox", |draw| sample(draw, gptneox())),
    ]
}

/// Returns a Llama of two layers with grouped queries: 11 tokens, width 8.
pub fn llama() -> Config {
    Config {
        architecture: Architecture::Llama,
        vocab_size: 11,
        hidden_size: 8,
        intermediate_size: 12,
        layers: 2,
        heads: 2,
        kv_heads: 1,
        head_dim: 4,
        max_positions: 16,
        norm_eps: 1e-5,
        position: PositionKind::Rope { theta: 1e4, rotary_dim: 4, scaling: None },
        mlp: MlpKind::SwiGlu,
        qkv_bias: false,
        attention_output_bias: false,
        mlp_bias: false,
        qk_norm: false,
        parallel_residual: false,
        sliding_window: None,
        tied_head: true,
        bos: None,
        eos: Vec::new(),
    }
}

/// Returns the same Llama with Qwen3's norms of queries and keys.
fn qwen3() -> Config {
    Config { architecture: Architecture::Qwen3, qk_norm: true, ..llama() }
}

/// Returns a GPT-2 of the same size: learned positions, biases, GELU.
pub fn gpt2() -> Config {
    Config {
        architecture: Architecture::Gpt2,
        kv_heads: 2,
        position: PositionKind::Learned,
        mlp: MlpKind::Gelu { tanh: true },
        qkv_bias: true,
        attention_output_bias: true,
        mlp_bias: true,
        ..llama()
    }
}

fn gptneox() -> Config {
    Config {
        architecture: Architecture::GptNeoX,
        position: PositionKind::Rope { theta: 1e4, rotary_dim: 2, scaling: None },
        mlp: MlpKind::Gelu { tanh: false },
        parallel_residual: true,
        tied_head: false,
        ..gpt2()
    }
}

/// The change of a parameter for each unit of an input.
const UNIT: f64 = 0.05;

/// Makes a sample of two sequences; in one, all tokens but the first are targets. Values that cancel inside are of order 1: the log-sum-exp
/// of the logits, and the gradient of a key's bias. Attention does not depend on that bias.
fn sample(draw: &mut Draw, config: Config) -> Sample {
    let inputs = parameters(draw, &config);
    let batch = Batch::of_sequences(&[sequence(draw, &config, 1), sequence(draw, &config, 3)]);
    let (twin_config, twin_batch) = (config.clone(), batch.clone());
    Sample::new(function!(|x; config: Config, batch: Batch| log_probs(x, config, batch, false)), inputs)
        .with_inner_magnitude(1.0)
        .with_twin(function!(|x; twin_config: Config, twin_batch: Batch| log_probs(x, twin_config, twin_batch, true)))
}

/// Makes a sample of the same decoders, frozen, with an adapter of rank 2; the inputs are its A and B. A is 0.05 and B 1 times its input,
/// so that the product has the size of a change of the weights.
fn lora_sample(draw: &mut Draw, config: Config, targets: &[&str]) -> Sample {
    let base = frozen(draw, &config);
    let targets = targets.iter().map(|target| (*target).to_owned()).collect();
    let settings = LoraSettings { rank: 2, alpha: 2.0, rank_stabilised: false, targets, base: String::new(), ..LoraSettings::default() };
    let new = base.with_new_adapter(&settings, 1).unwrap_or_else(|error| panic!("an adapter to check: {error}"));
    let names: Vec<(String, Vec<usize>)> = new.parameters().into_iter().map(|p| (p.name.clone(), p.tensor.shape().to_vec())).collect();
    let inputs: Vec<Input> = names.iter().map(|(_, shape)| draw.normal(shape)).collect();
    let batch = Batch::of_sequences(&[sequence(draw, &config, 1), sequence(draw, &config, 3)]);
    let (twin_base, twin_settings, twin_names, twin_batch) = (base.clone(), settings.clone(), names.clone(), batch.clone());
    Sample::new(
        function!(|x; base: Decoder<Cpu<f64>>, settings: LoraSettings, names: Vec<(String, Vec<usize>)>, batch: Batch| {
            adapted_log_probs(x, base, settings, names, batch, false)
        }),
        inputs,
    )
    .with_inner_magnitude(1.0)
    .with_twin(function!(
        |x; twin_base: Decoder<Cpu<f64>>, twin_settings: LoraSettings, twin_names: Vec<(String, Vec<usize>)>, twin_batch: Batch| {
            adapted_log_probs(x, twin_base, twin_settings, twin_names, twin_batch, true)
        }
    ))
}

/// Builds a decoder with the weights of [`sample`].
fn frozen(draw: &mut Draw, config: &Config) -> Decoder<Cpu<f64>> {
    let cpu = Cpu::new();
    let built = Decoder::build(config, &mut |name, shape| {
        let gain = if shape.len() == 1 && name.ends_with(".weight") { 1.0 } else { 0.0 };
        let data: Vec<f64> = weights(draw, shape).data.iter().map(|x| UNIT * x + gain).collect();
        Ok(Tensor::parameter(&cpu, &data, shape))
    });
    built.unwrap_or_else(|error| panic!("a decoder to check: {error}"))
}

fn adapted_log_probs<B: Backend>(
    inputs: &[Tensor<B>],
    base: &Decoder<Cpu<f64>>,
    settings: &LoraSettings,
    names: &[(String, Vec<usize>)],
    batch: &Batch,
    checkpoint: bool,
) -> Tensor<B> {
    let base = base.to_backend(inputs[0].backend());
    let adapted = base.with_adapter(settings, &mut |name, _| {
        let found = names.iter().position(|(known, _)| known == name);
        Ok(found.map(|i| if name.ends_with("lora_A.weight") { inputs[i].scale(UNIT) } else { inputs[i].clone() }))
    });
    let adapted = adapted.unwrap_or_else(|error| panic!("an adapter to check: {error}"));
    batch.token_log_probs(&adapted, &ForwardOptions { checkpoint, ..ForwardOptions::default() })
}

fn log_probs<B: Backend>(inputs: &[Tensor<B>], config: &Config, batch: &Batch, checkpoint: bool) -> Tensor<B> {
    batch.token_log_probs(&decoder(inputs, config), &ForwardOptions { checkpoint, ..ForwardOptions::default() })
}

/// Makes a sample of the first block on two sequences of hidden states of order 1. Values that cancel inside are of order 1 too.
fn block_sample(draw: &mut Draw, config: Config) -> Sample {
    let config = Config { layers: 1, ..config };
    let batch = Batch::of_sequences(&[sequence(draw, &config, 1), sequence(draw, &config, 2)]);
    let hidden = draw.normal(&[batch.inputs.tokens().len(), config.hidden_size]);
    let weights = shapes(&config).into_iter().filter(|(name, _)| in_block(name)).map(|(_, shape)| weights(draw, &shape));
    let inputs: Vec<Input> = std::iter::once(hidden).chain(weights).collect();
    let (twin_config, twin_batch) = (config.clone(), batch.clone());
    Sample::new(function!(|x; config: Config, batch: Batch| block(x, config, batch, false)), inputs)
        .with_inner_magnitude(1.0)
        .with_twin(function!(|x; twin_config: Config, twin_batch: Batch| block(x, twin_config, twin_batch, true)))
}

/// Computes the block's output from the hidden states and its parameters. The decoder around it is zero and takes no part.
fn block<B: Backend>(inputs: &[Tensor<B>], config: &Config, batch: &Batch, checkpoint: bool) -> Tensor<B> {
    let mut next = inputs[1..].iter();
    let decoder = build(config, &mut |name, shape| match in_block(name) {
        true => parameter(next.next(), name, shape),
        false => Tensor::full(inputs[0].backend(), 0.0, shape),
    });
    decoder.block(0, &inputs[0], &batch.inputs, &ForwardOptions { checkpoint, ..ForwardOptions::default() })
}

fn in_block(name: &str) -> bool {
    name.starts_with("model.layers.0.")
}

/// Draws a sequence of `context` tokens and one to four tokens that are to be predicted.
fn sequence(draw: &mut Draw, config: &Config, context: usize) -> Sequence {
    let length = context + 1 + draw.below(4);
    Sequence::new((0..length).map(|_| draw.below(config.vocab_size) as u32).collect(), context)
}

/// Draws inputs for [`decoder`], in units of 0.05: weights with deviation 0.3 and gains about 1. f32 holds them exactly.
pub fn parameters(draw: &mut Draw, config: &Config) -> Vec<Input> {
    shapes(config).into_iter().map(|(_, shape)| weights(draw, &shape)).collect()
}

fn weights(draw: &mut Draw, shape: &[usize]) -> Input {
    let mut input = draw.normal(shape);
    input.data.iter_mut().for_each(|x| *x = (0.3 / UNIT * *x) as f32 as f64);
    input
}

/// Builds the decoder of a valid configuration. Its parameters are these inputs (in the order of [`parameters`]) times 0.05, plus 1 for a
/// gain.
///
/// # Panics
/// If the inputs are not those of the configuration.
pub fn decoder<B: Backend>(inputs: &[Tensor<B>], config: &Config) -> Decoder<B> {
    let mut next = inputs.iter();
    build(config, &mut |name, shape| parameter(next.next(), name, shape))
}

fn parameter<B: Backend>(input: Option<&Tensor<B>>, name: &str, shape: &[usize]) -> Tensor<B> {
    let change = input.unwrap_or_else(|| panic!("no value for {name}")).scale(UNIT);
    let gain = shape.len() == 1 && name.ends_with(".weight");
    if gain { change.add(&Tensor::full(change.backend(), 1.0, &[])) } else { change }
}

fn build<B: Backend>(config: &Config, value: &mut dyn FnMut(&str, &[usize]) -> Tensor<B>) -> Decoder<B> {
    let built = Decoder::build(config, &mut |name, shape| Ok(value(name, shape)));
    built.unwrap_or_else(|error| panic!("a decoder to check: {error}"))
}

/// Lists the parameters' names and shapes in the order in which a decoder asks for them.
fn shapes(config: &Config) -> Vec<(String, Vec<usize>)> {
    let mut shapes = Vec::new();
    build(config, &mut |name, shape| {
        shapes.push((name.to_owned(), shape.to_vec()));
        Tensor::full(&Cpu::<f64>::new(), 0.0, shape)
    });
    shapes
}

#[cfg(test)]
mod tests {
    use super::*;
    use engine::gradcheck::check_entry;

    #[test]
    fn every_block_and_decoder_passes_every_method() {
        for entry in registry() {
            let report = check_entry(&entry, 0..6, 4);
            assert_eq!(report.checks.len(), 7, "{}", entry.name);
            report.assert();
        }
    }
}
