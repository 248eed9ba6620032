//! What the gradient suite runs the whole decoder on: one small model of each kind, the log-probabilities of its targets as a function of
//! every parameter.

use crate::batch::Batch;
use crate::boundary::Sequence;
use crate::config::{Architecture, Config, MlpKind, PositionKind};
use crate::decoder::{Decoder, ForwardOptions};
use engine::gradcheck::{Draw, Entry, Input, Sample};
use engine::{Backend, Cpu, Tensor, function};

/// The decoders by name with their samples; the twin of each recomputes its activations.
pub fn registry() -> Vec<Entry> {
    vec![
        Entry::new("decoder-llama", |draw| sample(draw, llama())),
        Entry::new("decoder-qwen3", |draw| sample(draw, Config { architecture: Architecture::Qwen3, qk_norm: true, ..llama() })),
        Entry::new("decoder-gpt2", |draw| sample(draw, gpt2())),
        Entry::new("decoder-gptneox", |draw| sample(draw, gptneox())),
    ]
}

/// Two layers with grouped queries.
fn llama() -> Config {
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

fn gpt2() -> Config {
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

/// Weights with deviation 0.3, gains about 1, and two sequences of which one is all target.
fn sample(draw: &mut Draw, config: Config) -> Sample {
    let inputs: Vec<Input> = shapes(&config).into_iter().map(|(gain, shape)| weights(draw, gain, &shape)).collect();
    let mut sequence = |completion_start: usize| {
        let length = completion_start + 1 + draw.below(4);
        Sequence { tokens: (0..length).map(|_| draw.below(config.vocab_size) as u32).collect(), completion_start }
    };
    let batch = Batch::of_sequences(&[sequence(1), sequence(3)]);
    let (twin_config, twin_batch) = (config.clone(), batch.clone());
    Sample::new(function!(|x; config: Config, batch: Batch| log_probs(x, config, batch, false)), inputs)
        .with_twin(function!(|x; twin_config: Config, twin_batch: Batch| log_probs(x, twin_config, twin_batch, true)))
}

fn log_probs<B: Backend>(parameters: &[Tensor<B>], config: &Config, batch: &Batch, checkpoint: bool) -> Tensor<B> {
    let mut next = parameters.iter().cloned();
    let decoder = Decoder::build(config, &mut |name, _| Ok(next.next().unwrap_or_else(|| panic!("no value for {name}"))));
    let decoder = decoder.unwrap_or_else(|error| panic!("a decoder to check: {error}"));
    batch.token_log_probs(&decoder, &ForwardOptions { checkpoint, ..ForwardOptions::default() })
}

fn weights(draw: &mut Draw, gain: bool, shape: &[usize]) -> Input {
    let mut input = draw.normal(shape);
    input.data.iter_mut().for_each(|x| *x = (0.3 * *x + if gain { 1.0 } else { 0.0 }) as f32 as f64);
    input
}

/// The parameters in the order in which a decoder asks for them: whether each is a gain, and its shape.
fn shapes(config: &Config) -> Vec<(bool, Vec<usize>)> {
    let mut shapes = Vec::new();
    let built = Decoder::build(config, &mut |name, shape| {
        shapes.push((shape.len() == 1 && name.ends_with(".weight"), shape.to_vec()));
        Ok(Tensor::full(&Cpu::<f64>::new(), 0.0, shape))
    });
    built.unwrap_or_else(|error| panic!("a decoder to check: {error}"));
    shapes
}

#[cfg(test)]
mod tests {
    use super::*;
    use engine::gradcheck::check_entry;

    #[test]
    fn every_decoder_passes_every_method() {
        for entry in registry() {
            let report = check_entry(&entry, 0..3, 4);
            assert_eq!(report.checks.len(), 7, "{}", entry.name);
            report.assert();
        }
    }
}
