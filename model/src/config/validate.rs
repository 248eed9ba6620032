//! The check of a configuration. Each error names the wrong key.

use super::{Architecture, Config, Llama3Scaling, PositionKind, RopeScaling};
use crate::error::{Error, Result};

/// Limits far above every published decoder. A larger number is a sign of a damaged file.
const LARGEST_SIZE: usize = 1 << 24;
const LARGEST_LAYERS: usize = 1 << 12;
const LARGEST_MODEL: u128 = 1 << 42;

impl Config {
    /// Checks every value by itself and against the others.
    ///
    /// # Errors
    /// [`Error::BadConfig`] naming the key as `config.json` spells it.
    pub fn validate(&self) -> Result<()> {
        self.check_sizes()?;
        self.check_heads()?;
        self.check_position()?;
        self.check_tokens()?;
        check(self.norm_eps > 0.0 && self.norm_eps < 1.0, || {
            format!("{} must be above 0 and below 1, not {}", self.key("norm_eps"), self.norm_eps)
        })?;
        check(self.sliding_window != Some(0), || "sliding_window must be at least 1".to_owned())
    }

    fn check_sizes(&self) -> Result<()> {
        let sizes = [
            ("vocab_size", self.vocab_size, LARGEST_SIZE),
            ("hidden_size", self.hidden_size, LARGEST_SIZE),
            ("intermediate_size", self.intermediate_size, LARGEST_SIZE),
            ("num_hidden_layers", self.layers, LARGEST_LAYERS),
            ("num_attention_heads", self.heads, LARGEST_SIZE),
            ("num_key_value_heads", self.kv_heads, LARGEST_SIZE),
            ("head_dim", self.head_dim, LARGEST_SIZE),
            ("max_position_embeddings", self.max_positions, 1 << 30),
        ];
        for (name, value, largest) in sizes {
            check((1..=largest).contains(&value), || format!("{} must be from 1 to {largest}, not {value}", self.key(name)))?;
        }
        let widest = [self.hidden_size, self.intermediate_size, self.query_size(), self.vocab_size].into_iter().max().unwrap_or(0);
        let at_least = self.layers as u128 * self.hidden_size as u128 * widest as u128;
        check(at_least <= LARGEST_MODEL, || {
            format!(
                "num_hidden_layers, hidden_size and vocab_size make a model of about {at_least} parameters, which cannot be held in memory"
            )
        })
    }

    fn check_heads(&self) -> Result<()> {
        check(self.heads.is_multiple_of(self.kv_heads), || {
            format!("num_attention_heads ({}) must be a multiple of num_key_value_heads ({})", self.heads, self.kv_heads)
        })?;
        let fused = matches!(self.architecture, Architecture::Gpt2 | Architecture::GptNeoX);
        check(!fused || self.query_size() == self.hidden_size, || {
            format!(
                "{} ({}) must be a multiple of {} ({})",
                self.key("hidden_size"),
                self.hidden_size,
                self.key("num_attention_heads"),
                self.heads
            )
        })
    }

    fn check_position(&self) -> Result<()> {
        let PositionKind::Rope { theta, rotary_dim, scaling } = self.position else {
            return Ok(());
        };
        check(theta.is_finite() && theta > 0.0, || format!("rope_theta must be finite and above 0, not {theta}"))?;
        check(rotary_dim >= 2 && rotary_dim.is_multiple_of(2) && rotary_dim <= self.head_dim, || {
            format!("RoPE turns pairs: it needs an even number of dimensions from 2 to head_dim ({}), not {rotary_dim}", self.head_dim)
        })?;
        match scaling {
            None => Ok(()),
            Some(RopeScaling::Linear { factor }) => {
                check(factor.is_finite() && factor > 0.0, || format!("rope factor must be above 0, not {factor}"))
            }
            Some(RopeScaling::Llama3(scaling)) => scaling.validate(),
        }
    }

    /// Checks the token ids. An id from a file is never above the vocabulary, because [`super::huggingface`] leaves such ids out.
    fn check_tokens(&self) -> Result<()> {
        let ids = self.bos.iter().map(|&id| ("bos_token_id", id));
        let ids = ids.chain(self.eos.iter().map(|&id| ("eos_token_id", id)));
        for (key, id) in ids {
            check((id as usize) < self.vocab_size, || format!("{key} {id} is outside the vocabulary of {} tokens", self.vocab_size))?;
        }
        Ok(())
    }

    /// Returns the key as this architecture's `config.json` spells it.
    fn key(&self, name: &'static str) -> &'static str {
        match (self.architecture, name) {
            (Architecture::Gpt2, "hidden_size") => "n_embd",
            (Architecture::Gpt2, "intermediate_size") => "n_inner",
            (Architecture::Gpt2, "num_hidden_layers") => "n_layer",
            (Architecture::Gpt2, "num_attention_heads") => "n_head",
            (Architecture::Gpt2, "max_position_embeddings") => "n_positions",
            (Architecture::Gpt2, "norm_eps") => "layer_norm_epsilon",
            (Architecture::GptNeoX, "norm_eps") => "layer_norm_eps",
            (_, "norm_eps") => "rms_norm_eps",
            (_, name) => name,
        }
    }
}

impl Llama3Scaling {
    fn validate(&self) -> Result<()> {
        check(self.factor.is_finite() && self.factor >= 1.0, || format!("rope factor must be at least 1, not {}", self.factor))?;
        let ordered = self.low_freq_factor > 0.0 && self.high_freq_factor > self.low_freq_factor && self.high_freq_factor.is_finite();
        check(ordered, || {
            format!(
                "rope low_freq_factor ({}) must be above 0 and below high_freq_factor ({})",
                self.low_freq_factor, self.high_freq_factor
            )
        })?;
        check(self.original_max_positions > 0, || "rope original_max_position_embeddings must be at least 1".to_owned())
    }
}

fn check(holds: bool, otherwise: impl FnOnce() -> String) -> Result<()> {
    if holds { Ok(()) } else { Err(Error::bad_config(otherwise())) }
}
