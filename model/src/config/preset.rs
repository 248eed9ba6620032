//! The sizes that the command line offers by name: Llama-style decoders with a tied head, RMSNorm ε 1e-5 and RoPE 1e4.

use super::{Architecture, Config, MlpKind, PositionKind};
use crate::error::{Error, Result};

/// The size of a training step's batch: `rows` sequences of `tokens` tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PresetBatch {
    /// Sequences a step (pairs, when optimising preferences).
    pub rows: usize,
    /// Tokens of each sequence.
    pub tokens: usize,
}

/// A named model size with its batches.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Preset {
    /// The name on the command line.
    pub name: &'static str,
    hidden_size: usize,
    layers: usize,
    heads: usize,
    intermediate_size: usize,
    vocab_size: usize,
    max_positions: usize,
    /// η at the peak of pretraining, unless another one is given. Wider models take smaller steps.
    pub learning_rate: f64,
    /// The batch on a processor.
    pub batch: PresetBatch,
    /// The batch on a GPU.
    pub gpu_batch: PresetBatch,
}

const fn batch(rows: usize, tokens: usize) -> PresetBatch {
    PresetBatch { rows, tokens }
}

/// Every preset, smallest first.
pub const PRESETS: [Preset; 4] = [
    Preset {
        name: "nano",
        hidden_size: 64,
        layers: 4,
        heads: 4,
        intermediate_size: 192,
        vocab_size: 512,
        max_positions: 512,
        learning_rate: 2e-3,
        batch: batch(16, 64),
        gpu_batch: batch(16, 64),
    },
    Preset {
        name: "micro",
        hidden_size: 128,
        layers: 4,
        heads: 4,
        intermediate_size: 384,
        vocab_size: 512,
        max_positions: 512,
        learning_rate: 1e-3,
        batch: batch(16, 128),
        gpu_batch: batch(16, 128),
    },
    Preset {
        name: "stories15m",
        hidden_size: 288,
        layers: 6,
        heads: 6,
        intermediate_size: 768,
        vocab_size: 32_000,
        max_positions: 512,
        learning_rate: 5e-4,
        batch: batch(4, 256),
        gpu_batch: batch(4, 256),
    },
    Preset {
        name: "gpt2s",
        hidden_size: 768,
        layers: 12,
        heads: 12,
        intermediate_size: 2048,
        vocab_size: 50_304,
        max_positions: 1024,
        learning_rate: 3e-4,
        batch: batch(1, 512),
        gpu_batch: batch(16, 1024),
    },
];

impl Preset {
    /// Returns the preset called `name`.
    ///
    /// # Errors
    /// [`Error::Unsupported`] with the list of names.
    pub fn named(name: &str) -> Result<&'static Preset> {
        PRESETS.iter().find(|preset| preset.name == name).ok_or_else(|| Error::Unsupported {
            path: None,
            what: format!("preset {name:?}"),
            supported: PRESETS.map(|preset| preset.name).join(", "),
        })
    }

    /// Returns the decoder of this size. `max_positions` is larger than the training window, so that longer prompts can be run.
    pub fn config(&self) -> Config {
        let head_dim = self.hidden_size / self.heads;
        Config {
            architecture: Architecture::Llama,
            vocab_size: self.vocab_size,
            hidden_size: self.hidden_size,
            intermediate_size: self.intermediate_size,
            layers: self.layers,
            heads: self.heads,
            kv_heads: self.heads,
            head_dim,
            max_positions: self.max_positions,
            norm_eps: 1e-5,
            position: PositionKind::Rope { theta: 1e4, rotary_dim: head_dim, scaling: None },
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
}

impl Config {
    /// Returns the decoder of the preset called `name`. It has no BOS or EOS until a tokenizer sets them.
    ///
    /// # Errors
    /// [`Error::Unsupported`] with the list of names.
    pub fn preset(name: &str) -> Result<Config> {
        Preset::named(name).map(Preset::config)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_preset_is_valid_and_has_the_size_that_its_dimensions_give() {
        let expected = [
            ("nano", 32_768 + 4 * (4 * 64 * 64 + 3 * 64 * 192 + 128) + 64),
            ("micro", 65_536 + 4 * (4 * 128 * 128 + 3 * 128 * 384 + 256) + 128),
            ("stories15m", 15_191_712),
            ("gpt2s", 38_633_472 + 12 * (4 * 768 * 768 + 3 * 768 * 2048 + 1536) + 768),
        ];
        for (name, parameters) in expected {
            let config = Config::preset(name).unwrap();
            config.validate().unwrap();
            assert_eq!(config.parameter_count(), parameters, "{name}");
        }
    }

    #[test]
    fn an_unknown_preset_is_answered_with_the_known_ones() {
        let message = Config::preset("large").unwrap_err().to_string();
        assert!(message.contains("\"large\"") && message.contains("nano, micro, stories15m, gpt2s"), "{message}");
    }
}
