//! Building a decoder: the names and shapes of its parameters in one place, filled at random, from a file, or from another backend.

use super::block::{Block, BlockShape, Linear, Norm};
use super::parameter::{Parameter, hash};
use super::{Decoder, layout};
use crate::config::{Config, Llama3Scaling, NormKind, PositionKind, RopeScaling};
use crate::error::{Error, Result};
use crate::safetensors_file::{NamedTensor, NamedTensors, StoredWeights, is_buffer};
use engine::backend::cpu::stored::StoredArray;
use engine::backend::device::DeviceArray;
use engine::{Backend, Device, Generator, Pairing, RotaryAngles, Scalar, Tensor};
use std::f64::consts::TAU;

/// The standard deviation of a matrix drawn at random (Radford et al. 2019); projections into the residual stream have it divided by
/// √(2·layers).
const INITIAL_DEVIATION: f64 = 0.02;

/// A source of parameters: takes a name and a shape, returns the tensor.
type Source<'a, B> = &'a mut dyn FnMut(&str, &[usize]) -> Result<Tensor<B>>;

/// A builder of the parts of a decoder. It asks the source for each parameter by name.
struct Builder<'a, B: Backend> {
    config: &'a Config,
    source: Source<'a, B>,
}

impl<B: Backend> Builder<'_, B> {
    fn parameter(&mut self, name: String, shape: &[usize]) -> Result<Parameter<B>> {
        let tensor = (self.source)(&name, shape)?;
        Ok(Parameter { name, tensor })
    }

    fn linear(&mut self, name: &str, [rows, columns]: [usize; 2], bias: bool) -> Result<Linear<B>> {
        let weight = self.parameter(format!("{name}.weight"), &[rows, columns])?;
        let bias = if bias { Some(self.parameter(format!("{name}.bias"), &[rows])?) } else { None };
        Ok(Linear { weight, bias })
    }

    fn norm(&mut self, name: &str, width: usize, bias: bool) -> Result<Norm<B>> {
        let gain = self.parameter(format!("{name}.weight"), &[width])?;
        let bias = if bias { Some(self.parameter(format!("{name}.bias"), &[width])?) } else { None };
        Ok(Norm { gain, bias, epsilon: self.config.norm_eps })
    }

    fn block(&mut self, index: usize) -> Result<Block<B>> {
        let config = self.config;
        let (hidden, inner, queries, keys) = (config.hidden_size, config.intermediate_size, config.query_size(), config.kv_size());
        let layer_norm = config.norm() == NormKind::Layer;
        let part = |name: &str| format!("model.layers.{index}.{name}");
        let mut head_norm = |name: &str| if config.qk_norm { self.norm(&part(name), config.head_dim, false).map(Some) } else { Ok(None) };
        let (q_norm, k_norm) = (head_norm("self_attn.q_norm")?, head_norm("self_attn.k_norm")?);
        let gated = config.mlp == crate::config::MlpKind::SwiGlu;
        Ok(Block {
            norm1: self.norm(&part("input_layernorm"), hidden, layer_norm)?,
            q: self.linear(&part("self_attn.q_proj"), [queries, hidden], config.qkv_bias)?,
            k: self.linear(&part("self_attn.k_proj"), [keys, hidden], config.qkv_bias)?,
            v: self.linear(&part("self_attn.v_proj"), [keys, hidden], config.qkv_bias)?,
            q_norm,
            k_norm,
            o: self.linear(&part("self_attn.o_proj"), [hidden, queries], config.attention_output_bias)?,
            norm2: self.norm(&part("post_attention_layernorm"), hidden, layer_norm)?,
            gate: if gated { Some(self.linear(&part("mlp.gate_proj"), [inner, hidden], config.mlp_bias)?) } else { None },
            up: self.linear(&part("mlp.up_proj"), [inner, hidden], config.mlp_bias)?,
            down: self.linear(&part("mlp.down_proj"), [hidden, inner], config.mlp_bias)?,
            adapters: Vec::new(),
            shape: BlockShape::from(config),
        })
    }

    fn decoder(&mut self) -> Result<Decoder<B>> {
        let config = self.config;
        let (vocabulary, hidden) = (config.vocab_size, config.hidden_size);
        let embedding = self.parameter("model.embed_tokens.weight".into(), &[vocabulary, hidden])?;
        let learned = config.position == PositionKind::Learned;
        let positions =
            if learned { Some(self.parameter("model.embed_positions.weight".into(), &[config.max_positions, hidden])?) } else { None };
        let blocks = (0..config.layers).map(|index| self.block(index)).collect::<Result<_>>()?;
        let norm = self.norm("model.norm", hidden, config.norm() == NormKind::Layer)?;
        let head = if config.tied_head { None } else { Some(self.parameter("lm_head.weight".into(), &[vocabulary, hidden])?) };
        let rotary = RotaryAngles::new(frequencies(config), Pairing::RotateHalf);
        Ok(Decoder { config: config.clone(), embedding, positions, blocks, norm, head, rotary, adapter: None })
    }
}

impl<B: Backend> Decoder<B> {
    /// Builds a decoder whose parameters the source gives by name and shape.
    ///
    /// # Errors
    /// Those of the configuration ([`Config::validate`]) and of the source.
    pub fn build(config: &Config, source: Source<'_, B>) -> Result<Self> {
        config.validate()?;
        Builder { config, source }.decoder()
    }

    /// Builds a decoder with random weights: normal with deviation 0.02 (0.02/√(2·layers) for projections into the residual stream), gains
    /// 1, biases 0. Each parameter has a random stream of its own, fixed by the seed and its name.
    ///
    /// # Errors
    /// Those of the configuration.
    pub fn random(backend: &B, config: &Config, seed: u64) -> Result<Self> {
        let residual = INITIAL_DEVIATION / (2.0 * config.layers as f64).sqrt();
        Self::build(config, &mut |name, shape| {
            let mut generator = Generator::new(seed).stream(hash(name));
            let count = shape.iter().product();
            let into_residual = name.ends_with("o_proj.weight") || name.ends_with("down_proj.weight");
            let deviation = if into_residual { residual } else { INITIAL_DEVIATION };
            let data = match (shape.len(), name.ends_with(".bias")) {
                (1, bias) => vec![if bias { 0.0 } else { 1.0 }; count],
                _ => (0..count).map(|_| deviation * generator.normal()).collect(),
            };
            Ok(Tensor::parameter(backend, &data, shape))
        })
    }

    /// Builds a decoder from a file's weights, in the file's names and layout. Takes the tensors by value, so that no weight is in memory
    /// twice.
    ///
    /// # Errors
    /// A missing tensor, one of another shape than the configuration asks for, or one that the configuration has no place for.
    pub fn from_tensors(backend: &B, config: &Config, tensors: NamedTensors) -> Result<Self> {
        let mut tensors = layout::from_file(config, tensors)?;
        let decoder = Self::build(config, &mut |name, shape| {
            let tensor = layout::take(&mut tensors, name, shape)?;
            let data = tensor.data.into_iter().map(|x| B::Scalar::from_f64(x.into())).collect();
            Ok(Tensor::from_vec(backend, data, shape).to_parameter())
        })?;
        layout::nothing_left(&tensors)?;
        Ok(decoder)
    }

    /// Returns the weights in the names and layout of the architecture's files, without an adapter's weights. [`Decoder::merged`] includes
    /// them.
    pub fn to_tensors(&self) -> NamedTensors {
        let value =
            |p: &Parameter<B>| NamedTensor::new(p.tensor.shape().to_vec(), p.tensor.to_f64().into_iter().map(|x| x as f32).collect());
        layout::to_file(self.config(), self.base_parameters().into_iter().map(|p| (p.name.clone(), value(p))).collect())
    }

    /// Copies the decoder to another backend. Each element passes through f64.
    pub fn to_backend<C: Backend>(&self, backend: &C) -> Decoder<C> {
        let by_name: std::collections::HashMap<&str, Vec<f64>> =
            self.base_parameters().into_iter().chain(self.parameters()).map(|p| (p.name.as_str(), p.tensor.to_f64())).collect();
        let value = |name: &str, shape: &[usize]| by_name.get(name).map(|data| Tensor::parameter(backend, data, shape));
        let missing = |name: &str| Error::MissingTensor { name: name.to_owned() };
        let built = Decoder::build(&self.config, &mut |name, shape| value(name, shape).ok_or_else(|| missing(name)));
        let built = built.and_then(|base| match &self.adapter {
            Some(settings) => base.with_adapter(settings, &mut |name, shape| Ok(value(name, shape))),
            None => Ok(base),
        });
        built.expect("a decoder that exists can be built again")
    }
}

impl Decoder<Device> {
    /// Builds a decoder that is read and not trained, on the processor. Matrices stay as they are stored where a step of generating reads
    /// them; the numbers that come out are those of [`Decoder::from_tensors`]. Other uses of such a matrix hold it in f32 too.
    ///
    /// # Errors
    /// As [`Decoder::from_tensors`].
    ///
    /// # Panics
    /// If there are matrices that stay, and files of this configuration have a layout of their own ([`layout::is_the_decoders_own`]).
    pub fn from_stored(device: &Device, config: &Config, mut weights: StoredWeights) -> Result<Self> {
        assert!(
            layout::is_the_decoders_own(config) || weights.matrices.is_empty(),
            "matrices that stay as they are must be those of the decoder"
        );
        weights.matrices.retain(|name, _| !is_buffer(name));
        if config.tied_head {
            check_tied_head(&mut weights)?;
        }
        let StoredWeights { mut matrices, tensors } = weights;
        let mut tensors = layout::from_file(config, tensors)?;
        let decoder = Self::build(config, &mut |name, shape| match matrices.swap_remove(name) {
            Some(matrix) if matrix.shape == *shape => {
                Ok(Tensor::from_array(device, DeviceArray::Stored(StoredArray::new(matrix.numbers, matrix.shape))).to_parameter())
            }
            Some(matrix) => Err(Error::ShapeMismatch { name: name.to_owned(), expected: shape.to_vec(), found: matrix.shape.to_vec() }),
            None => {
                let tensor = layout::take(&mut tensors, name, shape)?;
                Ok(Tensor::from_vec(device, tensor.data, shape).to_parameter())
            }
        })?;
        tensors.extend(matrices.into_iter().map(|(name, matrix)| (name, matrix.widened())));
        layout::nothing_left(&tensors)?;
        Ok(decoder)
    }
}

/// Takes a tied head out of the weights. It must be the embedding.
fn check_tied_head(weights: &mut StoredWeights) -> Result<()> {
    let heads: Vec<String> = weights.names().filter(|name| layout::is_head(name)).cloned().collect();
    let embedding = if heads.is_empty() { None } else { weights.widened("model.embed_tokens.weight") };
    for name in heads {
        if let Some(head) = weights.widened(&name) {
            layout::refuse_other_head(&name, &head, embedding.as_ref())?;
        }
        weights.remove(&name);
    }
    Ok(())
}

/// Returns the rotation of each pair in radians per position: θ^{−2i/R}, scaled if the configuration says so.
fn frequencies(config: &Config) -> Vec<f64> {
    let PositionKind::Rope { theta, rotary_dim, scaling } = config.position else { return Vec::new() };
    let plain = (0..rotary_dim / 2).map(|i| theta.powf(-2.0 * i as f64 / rotary_dim as f64));
    plain.map(|f| scaling.map_or(f, |scaling| scaling.scale(f))).collect()
}

impl RopeScaling {
    /// Scales a frequency `f`, in radians per position.
    pub fn scale(&self, f: f64) -> f64 {
        match self {
            Self::Linear { factor } => f / factor,
            Self::Llama3(scaling) => scaling.scale(f),
        }
    }
}

impl Llama3Scaling {
    /// Scales a frequency `f`, in radians per position. The formula is in the description of [`Llama3Scaling`].
    pub fn scale(&self, f: f64) -> f64 {
        let turns = self.original_max_positions as f64 * f / TAU;
        let (low, high) = (self.low_freq_factor, self.high_freq_factor);
        let s = ((turns - low) / (high - low)).clamp(0.0, 1.0);
        (1.0 - s) * f / self.factor + s * f
    }
}
