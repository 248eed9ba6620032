//! A decoder with a LoRA adapter (Hu et al. 2022, section 4.1): the decoder stays as it is, the adapter is trained.
//!
//! forward  y = x·Wᵀ + s·(x·Aᵀ)·Bᵀ   with A [r, in], B [out, r] and s = α/r (α/√r where rank-stabilised: Kalajdzievski 2023)
//! merged   W' = W + s·B·A
//!
//! GPT-2 and GPT-NeoX hold q, k and v in one matrix, so there one A serves all three, and B's rows are those of q, k and v in this order.

use super::block::{Block, Linear};
use super::build::hash;
use super::{Decoder, Parameter};
use crate::config::{Architecture, Config, MlpKind};
use crate::error::{Error, Result};
use crate::safetensors_file::{NamedTensor, NamedTensors};
use engine::{Backend, Generator, Tensor};

/// Gives the value of a parameter by its name and shape.
type Source<'a, T> = &'a mut dyn FnMut(&str, &[usize]) -> Result<T>;

/// How an adapter is made and scaled.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct LoraSettings {
    /// The inner width r, at least 1.
    pub rank: usize,
    /// α: the adapter's product is scaled by α/r.
    pub alpha: f64,
    /// Other ranks of some modules: the first pattern that a module's name matches counts.
    pub ranks: Vec<(ModulePattern, usize)>,
    /// Other α of some modules, in the same way.
    pub alphas: Vec<(ModulePattern, f64)>,
    /// Whether it is scaled by α/√r instead.
    pub rank_stabilised: bool,
    /// The modules that have an adapter, as the ends of their names in the model's file: `q_proj`, `c_attn`, `mlp.c_proj`.
    pub targets: Vec<String>,
    /// The folder or hub name of the model it belongs to.
    pub base: String,
}

/// Which modules a setting is for: those of this name, or whose name ends in it after a dot.
#[derive(Debug, Clone, PartialEq)]
pub struct ModulePattern(String);

impl ModulePattern {
    /// peft takes regular expressions. Those are read that are a name, with `^` before it where only the whole name counts.
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

    /// The pattern as peft has it.
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

/// The value of the first pattern that matches, or else the usual one.
fn first_match<T: Copy>(patterns: &[(ModulePattern, T)], module: &str, usual: T) -> T {
    patterns.iter().find(|(pattern, _)| pattern.is_of(module)).map_or(usual, |(_, value)| *value)
}

impl LoraSettings {
    /// The inner width at a module of this name.
    pub fn rank_of(&self, module: &str) -> usize {
        first_match(&self.ranks, module, self.rank)
    }

    /// s, the factor of the product at a module of this name.
    pub fn scale_of(&self, module: &str) -> f64 {
        let rank = self.rank_of(module) as f64;
        first_match(&self.alphas, module, self.alpha) / if self.rank_stabilised { rank.sqrt() } else { rank }
    }

    /// Checks the ranges and that every target is a module of the architecture.
    ///
    /// # Errors
    /// [`Error::BadConfig`]; [`Error::Unsupported`] with the names of the modules there are.
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

/// The targets of an adapter where none are named, as in peft: q and v, or the matrix that holds them.
pub fn usual_targets(config: &Config) -> Vec<String> {
    let names: &[&str] = match config.architecture {
        Architecture::Gpt2 => &["c_attn"],
        Architecture::GptNeoX => &["query_key_value"],
        _ => &["q_proj", "v_proj"],
    };
    names.iter().map(|name| (*name).to_owned()).collect()
}

/// Which product of a block an adapter is added to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Site {
    /// q, k and v at once.
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
struct Module {
    site: Site,
    /// Its name in the file, inside a block.
    path: &'static str,
    shape: [usize; 2],
}

impl Module {
    /// peft's rule: a target is a module's name or an end of it after a dot.
    fn is(&self, target: &str) -> bool {
        self.path == target || self.path.strip_suffix(target).is_some_and(|before| before.ends_with('.'))
    }
}

fn modules(config: &Config) -> Vec<Module> {
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

/// What a file's names begin with before a block's number.
fn blocks(config: &Config) -> &'static str {
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
    /// s·(x·Aᵀ)·Bᵀ.
    pub fn forward(&self, x: &Tensor<B>) -> Tensor<B> {
        x.linear(&self.a.tensor, None).linear(&self.b.tensor, None).scale(self.scale)
    }

    /// s·B·A, in rows of the matrix that it is added to.
    fn product(&self) -> Vec<f64> {
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

impl<B: Backend> Decoder<B> {
    /// This decoder, frozen, with an adapter whose parameters `source` gives by name and shape: `PATH.lora_A.weight` and
    /// `PATH.lora_B.weight`, PATH being the module's name in the model's file. A module whose A it does not give has none.
    ///
    /// # Errors
    /// Those of [`LoraSettings::validate`] and of the source; [`Error::MissingTensor`] where it gives A and not B.
    pub fn with_adapter(&self, settings: &LoraSettings, source: Source<'_, Option<Tensor<B>>>) -> Result<Self> {
        settings.validate(&self.config)?;
        let mut decoder = self.without_adapter();
        decoder.freeze();
        for (index, block) in decoder.blocks.iter_mut().enumerate() {
            for Module { site, path, shape: [rows, columns] } in modules(&self.config) {
                let name = format!("{}{index}.{path}", blocks(&self.config));
                let (a_name, b_name) = (format!("{name}.lora_A.weight"), format!("{name}.lora_B.weight"));
                let rank = settings.rank_of(&name);
                let Some(a) = source(&a_name, &[rank, columns])? else { continue };
                let b = source(&b_name, &[rows, rank])?.ok_or_else(|| Error::MissingTensor { name: b_name.clone() })?;
                let parameter = |name, tensor: Tensor<B>| Parameter { name, tensor };
                block.adapters.push(Lora { site, a: parameter(a_name, a), b: parameter(b_name, b), scale: settings.scale_of(&name) });
            }
        }
        decoder.adapter = Some(settings.clone());
        Ok(decoder)
    }

    /// This decoder, frozen, with a new adapter on the settings' targets: A uniform within ±1/√in, B zero, so that nothing is changed yet
    /// (as peft begins). Each parameter has a stream of its own, fixed by the seed and its name.
    ///
    /// # Errors
    /// Those of [`LoraSettings::validate`].
    pub fn with_new_adapter(&self, settings: &LoraSettings, seed: u64) -> Result<Self> {
        let (backend, wanted) = (self.backend().clone(), modules(&self.config));
        self.with_adapter(settings, &mut |name, shape| {
            let path = name.trim_end_matches(".lora_A.weight").trim_end_matches(".lora_B.weight");
            let module =
                wanted.iter().find(|module| path.ends_with(module.path) && settings.targets.iter().any(|target| module.is(target)));
            let count = shape.iter().product();
            let mut generator = Generator::new(seed).stream(hash(name));
            let bound = 1.0 / (shape[1] as f64).sqrt();
            let data: Vec<f64> = match name.ends_with(".lora_A.weight") {
                true => (0..count).map(|_| bound * (2.0 * generator.uniform() - 1.0)).collect(),
                false => vec![0.0; count],
            };
            Ok(module.map(|_| Tensor::parameter(&backend, &data, shape)))
        })
    }

    /// The settings of the adapter, where there is one.
    pub fn adapter(&self) -> Option<&LoraSettings> {
        self.adapter.as_ref()
    }

    /// The decoder with its adapter off. It shares the weights: there is no second copy.
    pub fn without_adapter(&self) -> Self {
        let mut base = self.clone();
        base.adapter = None;
        base.blocks.iter_mut().for_each(|block| block.adapters.clear());
        base
    }

    /// A decoder without adapter whose weights are W + s·B·A: it computes the same. It can be trained.
    pub fn merged(&self) -> Self {
        let mut merged = self.without_adapter();
        for (block, adapted) in merged.blocks.iter_mut().zip(&self.blocks) {
            for lora in &adapted.adapters {
                block.add_product(lora);
            }
        }
        merged.base_parameters_mut().into_iter().for_each(|p| p.tensor = p.tensor.to_parameter());
        merged
    }

    /// This decoder with other values of the parameters that are trained, given by name and shape: the adapter's, or all.
    ///
    /// # Errors
    /// Those of the source.
    pub fn with_trained(&self, source: Source<'_, Tensor<B>>) -> Result<Self> {
        let mut decoder = self.clone();
        for parameter in decoder.parameters_mut() {
            let shape = parameter.tensor.shape().to_vec();
            parameter.tensor = source(&parameter.name, &shape)?.to_parameter();
        }
        Ok(decoder)
    }

    /// The adapter's parameters by name, in the file's order of rows; empty where there is none.
    pub fn adapter_tensors(&self) -> NamedTensors {
        let loras = self.blocks.iter().flat_map(|block| &block.adapters);
        let value =
            |p: &Parameter<B>| NamedTensor::new(p.tensor.shape().to_vec(), p.tensor.to_f64().into_iter().map(|x| x as f32).collect());
        let pairs = loras.flat_map(|lora| {
            let b = match lora.site {
                Site::Fused => super::layout::fused_rows_to_file(&self.config, &value(&lora.b)),
                _ => value(&lora.b),
            };
            [(lora.a.name.clone(), value(&lora.a)), (lora.b.name.clone(), b)]
        });
        pairs.collect()
    }

    /// This decoder, frozen, with the adapter that these tensors hold, rows in the file's order. All are used up.
    ///
    /// # Errors
    /// As [`Decoder::with_adapter`]; [`Error::ShapeMismatch`]; [`Error::BadConfig`] for a tensor that belongs to no module of the decoder.
    pub fn with_adapter_tensors(&self, settings: &LoraSettings, mut tensors: NamedTensors) -> Result<Self> {
        let (backend, config) = (self.backend().clone(), self.config.clone());
        let fused = modules(&config).into_iter().find(|module| module.site == Site::Fused).map(|module| module.path);
        let decoder = self.with_adapter(settings, &mut |name, shape| {
            if !tensors.contains_key(name) {
                return Ok(None);
            }
            let mut tensor = super::layout::take(&mut tensors, name, shape)?;
            if fused.is_some_and(|path| name.ends_with(&format!("{path}.lora_B.weight"))) {
                tensor = super::layout::fused_rows_from_file(&config, name, &tensor)?;
            }
            let data: Vec<f64> = tensor.data.into_iter().map(f64::from).collect();
            Ok(Some(Tensor::parameter(&backend, &data, shape)))
        })?;
        match tensors.keys().next() {
            Some(name) => Err(Error::bad_config(format!("the adapter holds {name}, which is for no module of this model"))),
            None => Ok(decoder),
        }
    }

    fn freeze(&mut self) {
        self.base_parameters_mut().into_iter().for_each(|parameter| parameter.tensor = parameter.tensor.detach());
    }
}

impl<B: Backend> Block<B> {
    /// The adapter at a site.
    pub(super) fn lora(&self, site: Site) -> Option<&Lora<B>> {
        self.adapters.iter().find(|lora| lora.site == site)
    }

    /// The product of a module, with its adapter's where it has one.
    pub(super) fn adapted(&self, site: Site, linear: &Linear<B>, x: &Tensor<B>) -> Tensor<B> {
        self.with_adapter(site, linear.forward(x), x)
    }

    /// The products of several modules of the same rows, each with its adapter's where it has one.
    pub(super) fn adapted_together<const N: usize>(&self, modules: [(Site, &Linear<B>); N], x: &Tensor<B>) -> [Tensor<B>; N] {
        let layers = modules.map(|(_, linear)| linear.layer());
        let mut products = x.linears(&layers).into_iter();
        modules.map(|(site, _)| self.with_adapter(site, products.next().expect("a product for each module"), x))
    }

    /// y, a module's product of x, with its adapter's.
    fn with_adapter(&self, site: Site, y: Tensor<B>, x: &Tensor<B>) -> Tensor<B> {
        match self.lora(site) {
            Some(lora) => y.add(&lora.forward(x)),
            None => y,
        }
    }

    /// q, k and v of x, with whatever adapters there are.
    pub(super) fn projections(&self, x: &Tensor<B>) -> [Tensor<B>; 3] {
        let own = self.adapted_together([(Site::Q, &self.q), (Site::K, &self.k), (Site::V, &self.v)], x);
        let Some(fused) = self.lora(Site::Fused) else { return own };
        let (change, mut start) = (fused.forward(x), 0);
        own.map(|y| {
            let end = start + y.shape()[1];
            let part = change.slice(1, start, end);
            start = end;
            y.add(&part)
        })
    }

    fn add_product(&mut self, lora: &Lora<B>) {
        let product = lora.product();
        let mut rest = product.as_slice();
        let targets = match lora.site {
            Site::Fused => vec![&mut self.q, &mut self.k, &mut self.v],
            Site::Q => vec![&mut self.q],
            Site::K => vec![&mut self.k],
            Site::V => vec![&mut self.v],
            Site::O => vec![&mut self.o],
            Site::Gate => self.gate.as_mut().into_iter().collect(),
            Site::Up => vec![&mut self.up],
            Site::Down => vec![&mut self.down],
        };
        for Linear { weight, .. } in targets {
            let (own, after) = rest.split_at(weight.tensor.len());
            rest = after;
            let sum: Vec<f64> = weight.tensor.to_f64().iter().zip(own).map(|(w, change)| w + change).collect();
            weight.tensor = Tensor::parameter(weight.tensor.backend(), &sum, weight.tensor.shape());
        }
    }
}
