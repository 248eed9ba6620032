//! One description for every decoder that this program can run: the Llama family, GPT-2 and GPT-NeoX.
//!
//! [`Config`] says what the decoder computes, in this program's own terms. [`huggingface`] converts it from and to `config.json`,
//! [`validate`] rejects values that make no model, and [`preset`] names the sizes that the command line offers.

pub mod huggingface;
pub mod preset;
pub mod validate;

/// The model families, as `model_type` in `config.json` names them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Architecture {
    /// Llama 1 to 3 and everything built like it: RMSNorm, RoPE, SwiGLU, grouped queries.
    Llama,
    /// Llama with a sliding attention window.
    Mistral,
    /// Llama with biases on q, k and v.
    Qwen2,
    /// Llama with an RMSNorm on each head's query and key.
    Qwen3,
    /// LayerNorm, learned positions, GELU, biases everywhere, fused q, k and v stored `[in, out]`.
    Gpt2,
    /// LayerNorm, RoPE on part of each head, GELU, biases, attention and MLP side by side.
    GptNeoX,
}

/// The kind of normalisation of activations.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum NormKind {
    /// y = w · x / √(mean(x²) + ε) (Zhang and Sennrich 2019, Eq. 4).
    Rms,
    /// y = w · (x − mean x) / √(var x + ε) + b (Ba, Kiros and Hinton 2016, Eq. 3).
    Layer,
}

/// The frequency change of Llama 3.1's long contexts (`rope_type` "llama3").
///
/// With wavelength λ = 2π/f and L = `original_max_positions`: f is kept where λ < L / `high_freq_factor`, divided by
/// `factor` where λ > L / `low_freq_factor`, and in between mixed as (1 − s)·f / `factor` + s·f with
/// s = (L/λ − `low_freq_factor`) / (`high_freq_factor` − `low_freq_factor`).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Llama3Scaling {
    /// The divisor of low frequencies, at least 1.
    pub factor: f64,
    /// A frequency with fewer turns than this within the original context is low.
    pub low_freq_factor: f64,
    /// A frequency with more turns than this within the original context is high. The value is more than `low_freq_factor`.
    pub high_freq_factor: f64,
    /// The context length of the first training, in tokens.
    pub original_max_positions: usize,
}

/// A change of RoPE's frequencies for contexts longer than those of the first training.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum RopeScaling {
    /// Every frequency divided by `factor` (Chen et al. 2023): a position counts as position / `factor`.
    Linear {
        /// The divisor; above 0.
        factor: f64,
    },
    /// Llama 3.1's change.
    Llama3(Llama3Scaling),
}

/// The way in which a position enters the computation.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum PositionKind {
    /// Rotary embedding of queries and keys (Su et al. 2021), paired as rotate-half: component i < `rotary_dim`/2 rotates with
    /// component i + `rotary_dim`/2, by position · `theta`^(−2i/`rotary_dim`).
    Rope {
        /// The base of the frequencies, above 0.
        theta: f64,
        /// The number of leading components of each head that rotate: even, at most the head's dimension.
        rotary_dim: usize,
        /// The frequency change, if there is one.
        scaling: Option<RopeScaling>,
    },
    /// A learned vector per position, added to the token's.
    Learned,
}

/// The feed-forward part of a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum MlpKind {
    /// down(silu(gate x) ∘ up x) (Shazeer 2020, Eq. 6).
    SwiGlu,
    /// down(gelu(up x)) (Hendrycks and Gimpel 2016).
    Gelu {
        /// The approximation x/2 · (1 + tanh(√(2/π)(x + 0.044715 x³))), else the exact x·Φ(x).
        tanh: bool,
    },
}

/// Everything about a decoder except its weights.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// The family. It decides the names and the layout of the tensors in a file.
    pub architecture: Architecture,
    /// Rows of the embedding.
    pub vocab_size: usize,
    /// Width of the residual stream.
    pub hidden_size: usize,
    /// Width inside the MLP.
    pub intermediate_size: usize,
    /// Number of blocks.
    pub layers: usize,
    /// Number of query heads.
    pub heads: usize,
    /// Number of key and value heads: divides `heads`.
    pub kv_heads: usize,
    /// Components of one head; `heads` · `head_dim` may differ from `hidden_size`.
    pub head_dim: usize,
    /// The longest sequence, in tokens. For RoPE it is the length of the tables, for learned positions their number.
    pub max_positions: usize,
    /// The ε of every normalisation.
    pub norm_eps: f64,
    /// The way in which positions enter.
    pub position: PositionKind,
    /// The MLP's form.
    pub mlp: MlpKind,
    /// True if the q, k and v projections have biases.
    pub qkv_bias: bool,
    /// True if the attention's output projection has a bias.
    pub attention_output_bias: bool,
    /// True if the MLP has biases.
    pub mlp_bias: bool,
    /// True if each query and key has an RMSNorm over `head_dim` before RoPE. The heads share its weight.
    pub qk_norm: bool,
    /// True if x + attention(norm₁ x) + mlp(norm₂ x) is computed in one step, instead of one part after the other.
    pub parallel_residual: bool,
    /// The window. A token at t sees positions t − `sliding_window` + 1 to t only.
    pub sliding_window: Option<usize>,
    /// True if the output projection is the embedding itself.
    pub tied_head: bool,
    /// The token that starts a sequence.
    pub bos: Option<u32>,
    /// The tokens that end a sequence. Chat models have several.
    pub eos: Vec<u32>,
}

impl Config {
    /// Returns the normalisation of the blocks: LayerNorm for the GPT families, RMSNorm for the others.
    pub fn norm(&self) -> NormKind {
        match self.architecture {
            Architecture::Gpt2 | Architecture::GptNeoX => NormKind::Layer,
            _ => NormKind::Rms,
        }
    }

    /// Returns the width of all query heads together: `heads` · `head_dim`.
    pub fn query_size(&self) -> usize {
        self.heads * self.head_dim
    }

    /// Returns the width of all key (or value) heads together: `kv_heads` · `head_dim`.
    pub fn kv_size(&self) -> usize {
        self.kv_heads * self.head_dim
    }

    /// Counts the trained parameters. A tied head counts once.
    pub fn parameter_count(&self) -> u64 {
        let [vocab, hidden, inner, layers, head_dim, queries, keys] =
            [self.vocab_size, self.hidden_size, self.intermediate_size, self.layers, self.head_dim, self.query_size(), self.kv_size()]
                .map(|size| size as u64);
        let flag = u64::from;
        let norm = match self.norm() {
            NormKind::Rms => hidden,
            NormKind::Layer => 2 * hidden,
        };
        let attention = hidden * (2 * queries + 2 * keys)
            + flag(self.qkv_bias) * (queries + 2 * keys)
            + flag(self.attention_output_bias) * hidden
            + flag(self.qk_norm) * 2 * head_dim;
        let up_projections = match self.mlp {
            MlpKind::SwiGlu => 2,
            MlpKind::Gelu { .. } => 1,
        };
        let mlp = (up_projections + 1) * hidden * inner + flag(self.mlp_bias) * (up_projections * inner + hidden);
        let positions = match self.position {
            PositionKind::Learned => self.max_positions as u64 * hidden,
            PositionKind::Rope { .. } => 0,
        };
        let embeddings = (1 + flag(!self.tied_head)) * vocab * hidden + positions;
        embeddings + layers * (attention + mlp + 2 * norm) + norm
    }
}
