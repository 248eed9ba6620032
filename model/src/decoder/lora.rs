//! LoRA (Hu et al. 2022, section 4.1): its settings, the modules that can have it, and the two matrices of one module.
//!
//! forward  y = x·Wᵀ + s·(x·Aᵀ)·Bᵀ   with A [r, in], B [out, r] and s = α/r (α/√r where rank-stabilised: Kalajdzievski 2023)
//! merged   W' = W + s·B·A
//!
//! GPT-2 and GPT-NeoX hold q, k and v in one matrix. There one A serves all three, and B holds the rows of q, k and v in this order.

use super::Parameter;
use crate::config::{Architecture, Config, MlpKind};
use crate::error::{Error, Result};
use engine::{Backend, Tensor};

/// Settings of an adapter: its width, its scale and its modules.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct LoraSettings {
    /// The inner width r, at least 1.
    pub rank: usize,
    /// α: the adapter's product is scaled by α/r.
    pub alpha: f64,
    /// Ranks of single modules that replace `rank`. The first pattern that matches a module's name counts.
    pub ranks: Vec<(ModulePattern, usize)>,
    /// α of single modules, chosen in the same way.
    pub alphas: Vec<(ModulePattern, f64)>,
    /// True if the product is scaled by α/√r instead of α/r.
    pub rank_stabilised: bool,
    /// The modules that have an adapter, as the ends of their names in the model's file: `q_proj`, `c_attn`, `mlp.c_proj`.
    pub targets: Vec<String>,
    /// The folder or hub name of the model that the adapter belongs to.
    pub base: String,
}

/// A pattern for modules: matches modules of this name, and those whose name ends in it after a dot.
#[derive(Debug, Clone, PartialEq)]
pub struct ModulePattern(String);

impl ModulePattern {
    /// Reads a pattern of peft, where it is a regular expression. Only a name is supported, with `^` before it if the whole name must
    /// match.
    ///
    /// # Errors
    /// [`Error::Unsupported`] for other regular expressions.
    pub fn new(pattern: &str) -> Result<Self> {
        let name = pattern.strip_prefix('^').unwrap_or(pattern).replace("\\.", ".");
        match name.contains(|c: char| !(c.is_alphanumeric() || "._-".contains(c))) {
            true => {
                Err(crate::keys::unsupported(format!("the pattern {pattern:?}"), "names of modules: a whole name, or its end after a dot"))
            }
            false => Ok(Self(if pattern.starts_with('^') { format!("^{name}") } else { name })),
        }
    }

    /// Returns the pattern in the form that peft reads.
    pub fn text(&self) -> &str {
        &self.0
    }

    fn is_of(&self, module: &str) -> bool {
        match self.0.strip_prefix('^') {
            Some(whole) => whole == module,
            None => module.strip_suffix(self.0.as_str()).is_some_and(|before| before.is_empty() || before.ends_with('.')),
        }
    }
}

/// Returns the value of the first pattern that matches, or `usual` if none does.
fn first_match<T: Copy>(patterns: &[(ModulePattern, T)], module: &str, usual: T) -> T {
    patterns.iter().find(|(pattern, _)| pattern.is_of(module)).map_or(usual, |(_, value)| *value)
}

impl LoraSettings {
    /// Returns the inner width at a module of this name.
    pub fn rank_of(&self, module: &str) -> usize {
        first_match(&self.ranks, module, self.rank)
    }

    /// Returns s, the factor of the product at a module of this name.
    pub fn scale_of(&self, module: &str) -> f64 {
        let rank = self.rank_of(module) as f64;
        first_match(&self.alphas, module, self.alpha) / if self.rank_stabilised { rank.sqrt() } else { rank }
    }

    /// Checks the ranges and that every target is a module of the architecture.
    ///
    /// # Errors
    /// [`Error::BadConfig`]; [`Error::Unsupported`] with the names of the modules that exist.
    pub fn validate(&self, config: &Config) -> Result<()> {
        let largest = config.hidden_size.max(config.intermediate_size);
        let mut ranks = std::iter::once(self.rank).chain(self.ranks.iter().map(|(_, rank)| *rank));
        if let Some(rank) = ranks.find(|rank| !(1..=largest).contains(rank)) {
            return Err(Error::bad_config(format!("the rank of an adapter must be from 1 to the model's width {largest}, not {rank}")));
        }
        let mut alphas = std::iter::once(self.alpha).chain(self.alphas.iter().map(|(_, alpha)| *alpha));
        if let Some(alpha) = alphas.find(|alpha| !(alpha.is_finite() && *alpha > 0.0)) {
            return Err(Error::bad_config(format!("alpha of an adapter must be above 0, not {alpha}")));
        }
        let modules = modules(config);
        let unknown = self.targets.iter().find(|target| !modules.iter().any(|module| module.is(target)));
        if let Some(unknown) = unknown {
            let names: Vec<&str> = modules.iter().map(|module| module.path.rsplit('.').next().unwrap_or_default()).collect();
            return Err(Error::Unsupported { path: None, what: format!("the target {unknown:?}"), supported: names.join(", ") });
        }
        if self.targets.is_empty() {
            return Err(Error::bad_config("an adapter needs at least one target module"));
        }
        Ok(())
    }
}

/// Returns the default targets of an adapter, as in peft: q and v, or the matrix that holds them.
pub fn usual_targets(config: &Config) -> Vec<String> {
    let names: &[&str] = match config.architecture {
        Architecture::Gpt2 => &["c_attn"],
        Architecture::GptNeoX => &["query_key_value"],
        _ => &["q_proj", "v_proj"],
    };
    names.iter().map(|name| (*name).to_owned()).collect()
}

/// The product of a block that an adapter is added to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Site {
    /// q, k and v in one product.
    Fused,
    Q,
    K,
    V,
    O,
    Gate,
    Up,
    Down,
}

/// A matrix of a block that can have an adapter.
#[derive(Debug, Clone, Copy)]
pub(super) struct Module {
    pub site: Site,
    /// Its name in the file, inside a block.
    pub path: &'static str,
    pub shape: [usize; 2],
}

impl Module {
    /// True if `target` is the module's name or an end of it after a dot, which is peft's rule.
    pub fn is(&self, target: &str) -> bool {
        self.path == target || self.path.strip_suffix(target).is_some_and(|before| before.ends_with('.'))
    }
}

/// Lists the matrices of a block that can have an adapter, in the order of the computation.
pub(super) fn modules(config: &Config) -> Vec<Module> {
    let (hidden, inner, queries, keys) = (config.hidden_size, config.intermediate_size, config.query_size(), config.kv_size());
    let module = |site, path, shape| Module { site, path, shape };
    let fused = |qkv, o, up, down| {
        vec![
            module(Site::Fused, qkv, [queries + 2 * keys, hidden]),
            module(Site::O, o, [hidden, queries]),
            module(Site::Up, up, [inner, hidden]),
            module(Site::Down, down, [hidden, inner]),
        ]
    };
    match config.architecture {
        Architecture::Gpt2 => fused("attn.c_attn", "attn.c_proj", "mlp.c_fc", "mlp.c_proj"),
        Architecture::GptNeoX => fused("attention.query_key_value", "attention.dense", "mlp.dense_h_to_4h", "mlp.dense_4h_to_h"),
        _ => {
            let mut all = vec![
                module(Site::Q, "self_attn.q_proj", [queries, hidden]),
                module(Site::K, "self_attn.k_proj", [keys, hidden]),
                module(Site::V, "self_attn.v_proj", [keys, hidden]),
                module(Site::O, "self_attn.o_proj", [hidden, queries]),
                module(Site::Gate, "mlp.gate_proj", [inner, hidden]),
                module(Site::Up, "mlp.up_proj", [inner, hidden]),
                module(Site::Down, "mlp.down_proj", [hidden, inner]),
            ];
            all.retain(|module| module.site != Site::Gate || config.mlp == MlpKind::SwiGlu);
            all
        }
    }
}

/// Returns the prefix of a file's tensor names before a block's number.
pub(super) fn blocks(config: &Config) -> &'static str {
    match config.architecture {
        Architecture::Gpt2 => "transformer.h.",
        Architecture::GptNeoX => "gpt_neox.layers.",
        _ => "model.layers.",
    }
}

/// A and B of one module.
#[derive(Clone)]
pub(super) struct Lora<B: Backend> {
    pub site: Site,
    pub a: Parameter<B>,
    pub b: Parameter<B>,
    pub scale: f64,
}

impl<B: Backend> Lora<B> {
    /// Computes s·(x·Aᵀ)·Bᵀ.
    pub fn forward(&self, x: &Tensor<B>) -> Tensor<B> {
        x.linear(&self.a.tensor, None).linear(&self.b.tensor, None).scale(self.scale)
    }

    /// Computes s·B·A in row-major order, with the shape of the matrix that it is added to.
    pub fn product(&self) -> Vec<f64> {
        let (a, b) = (self.a.tensor.to_f64(), self.b.tensor.to_f64());
        let (rank, columns) = (self.a.tensor.shape()[0], self.a.tensor.shape()[1]);
        let mut product = vec![0.0; self.b.tensor.shape()[0] * columns];
        for (row, weights) in product.chunks_exact_mut(columns).zip(b.chunks_exact(rank)) {
            for (weight, inner) in weights.iter().zip(a.chunks_exact(columns)) {
                row.iter_mut().zip(inner).for_each(|(sum, x)| *sum += self.scale * weight * x);
            }
        }
        product
    }
}
