//! The decoder of pytorch_step.py in candle. Candle's kernels of RMS norm, rotary embedding and attention have no backward pass: the
//! frozen reference uses them, the trained model composes the same functions of ops that have one.

use candle_core::{D, DType, Device, Module, Result, Tensor, Var};
use candle_nn::attention::{AttnMask, flash_attn};
use candle_nn::rotary_emb::{rope_slow, rope_thd};
use candle_nn::{Init, Linear, RmsNorm, VarBuilder, VarMap, rms_norm};

use crate::harness::Shape;

struct Block {
    heads: usize,
    norm1: RmsNorm,
    norm2: RmsNorm,
    q: Linear,
    k: Linear,
    v: Linear,
    o: Linear,
    gate: Linear,
    up: Linear,
    down: Linear,
}

/// Values that all blocks read: rotations, [tokens, head width / 2] each, and the causal mask, [tokens, tokens].
struct Positions {
    cos: Tensor,
    sin: Tensor,
    mask: Tensor,
}

pub struct Decoder {
    embedding: Tensor,
    blocks: Vec<Block>,
    norm: RmsNorm,
    positions: Positions,
    frozen: bool,
}

fn linear(inputs: usize, outputs: usize, weights: VarBuilder) -> Result<Linear> {
    let bound = 1.0 / (inputs as f64).sqrt();
    Ok(Linear::new(weights.get_with_hints((outputs, inputs), "weight", Init::Uniform { lo: -bound, up: bound })?, None))
}

impl Block {
    fn new(shape: Shape, weights: VarBuilder) -> Result<Self> {
        let Shape { dim, heads, hidden, .. } = shape;
        Ok(Self {
            heads,
            norm1: rms_norm(dim, 1e-5, weights.pp("norm1"))?,
            norm2: rms_norm(dim, 1e-5, weights.pp("norm2"))?,
            q: linear(dim, dim, weights.pp("q"))?,
            k: linear(dim, dim, weights.pp("k"))?,
            v: linear(dim, dim, weights.pp("v"))?,
            o: linear(dim, dim, weights.pp("o"))?,
            gate: linear(dim, hidden, weights.pp("gate"))?,
            up: linear(dim, hidden, weights.pp("up"))?,
            down: linear(hidden, dim, weights.pp("down"))?,
        })
    }

    /// Its input and output are [rows, tokens, dim].
    fn forward(&self, x: &Tensor, positions: &Positions, frozen: bool) -> Result<Tensor> {
        let (rows, tokens, dim) = x.dims3()?;
        let y = normalised(&self.norm1, x, frozen)?;
        let split = |linear: &Linear| linear.forward(&y)?.reshape((rows, tokens, self.heads, dim / self.heads));
        let attention = if frozen { fused_attention } else { attention };
        let y = attention(&split(&self.q)?, &split(&self.k)?, &split(&self.v)?, positions)?;
        let x = (x + self.o.forward(&y.reshape((rows, tokens, dim))?)?)?;
        let y = normalised(&self.norm2, &x, frozen)?;
        let y = (self.gate.forward(&y)?.silu()? * self.up.forward(&y)?)?;
        x + self.down.forward(&y)?
    }
}

fn normalised(norm: &RmsNorm, x: &Tensor, frozen: bool) -> Result<Tensor> {
    if frozen { norm.forward(x) } else { norm.forward_diff(x) }
}

/// Causal attention of [rows, tokens, heads, width]. The softmax is divided by its sum after the product with v, where there is less to
/// divide.
fn attention(q: &Tensor, k: &Tensor, v: &Tensor, positions: &Positions) -> Result<Tensor> {
    let by_head = |x: &Tensor| x.transpose(1, 2)?.contiguous();
    let rotated = |x: &Tensor| rope_slow(&by_head(x)?, &positions.cos, &positions.sin);
    let q = (rotated(q)? * (q.dim(D::Minus1)? as f64).powf(-0.5))?;
    let scores = q.matmul(&rotated(k)?.t()?)?.broadcast_add(&positions.mask)?;
    let weights = scores.broadcast_sub(&scores.detach().max_keepdim(D::Minus1)?)?.exp()?;
    let sums = weights.sum_keepdim(D::Minus1)?;
    weights.matmul(&by_head(v)?)?.broadcast_mul(&sums.recip()?)?.transpose(1, 2)
}

/// The same by candle's kernels without a backward pass.
fn fused_attention(q: &Tensor, k: &Tensor, v: &Tensor, positions: &Positions) -> Result<Tensor> {
    let rotated = |x: &Tensor| rope_thd(x, &positions.cos, &positions.sin);
    let scale = (q.dim(D::Minus1)? as f32).powf(-0.5);
    flash_attn::<f32>(&rotated(q)?, &rotated(k)?, v, scale, AttnMask::causal(), None, None)?.transpose(1, 2)
}

impl Positions {
    fn new(tokens: usize, width: usize, device: &Device) -> Result<Self> {
        let angle = |token: usize, i: usize| token as f32 * 1e4f32.powf(-2.0 * i as f32 / width as f32);
        let angles: Vec<f32> = (0..tokens).flat_map(|token| (0..width / 2).map(move |i| angle(token, i))).collect();
        let angles = Tensor::from_vec(angles, (tokens, width / 2), device)?;
        let mask: Vec<f32> = (0..tokens * tokens).map(|at| if at % tokens > at / tokens { f32::NEG_INFINITY } else { 0.0 }).collect();
        Ok(Self { cos: angles.cos()?, sin: angles.sin()?, mask: Tensor::from_vec(mask, (tokens, tokens), device)? })
    }
}

impl Decoder {
    fn new(shape: Shape, weights: VarBuilder, frozen: bool) -> Result<Self> {
        let normal = Init::Randn { mean: 0.0, stdev: 0.02 };
        Ok(Self {
            embedding: weights.get_with_hints((shape.vocabulary, shape.dim), "embedding", normal)?,
            blocks: (0..shape.layers).map(|at| Block::new(shape, weights.pp(at))).collect::<Result<_>>()?,
            norm: rms_norm(shape.dim, 1e-5, weights.pp("norm"))?,
            positions: Positions::new(shape.tokens, shape.dim / shape.heads, weights.device())?,
            frozen,
        })
    }

    /// A decoder with random weights, and its variables.
    pub fn trained(shape: Shape) -> Result<(Self, VarMap)> {
        let variables = VarMap::new();
        let decoder = Self::new(shape, VarBuilder::from_varmap(&variables, DType::F32, &Device::Cpu), false)?;
        Ok((decoder, variables))
    }

    /// The decoder whose weights these variables are now, copied: no gradient is recorded.
    pub fn frozen(shape: Shape, variables: &VarMap) -> Result<Self> {
        let variables = variables.data().lock().expect("nothing panics with this lock");
        let copy = |var: &Var| var.as_tensor().copy().map(|tensor| tensor.detach());
        let weights = variables.iter().map(|(name, var)| Ok((name.clone(), copy(var)?))).collect::<Result<_>>()?;
        Self::new(shape, VarBuilder::from_tensors(weights, DType::F32, &Device::Cpu), true)
    }

    /// −ln p of each target, [rows · tokens], for inputs [rows, tokens] and targets [rows · tokens].
    pub fn losses(&self, inputs: &Tensor, targets: &Tensor) -> Result<Tensor> {
        let (rows, tokens) = inputs.dims2()?;
        let mut x = self.embedding.index_select(&inputs.flatten_all()?, 0)?.reshape((rows, tokens, ()))?;
        for block in &self.blocks {
            x = block.forward(&x, &self.positions, self.frozen)?;
        }
        let x = normalised(&self.norm, &x, self.frozen)?;
        let logits = x.flatten_to(1)?.matmul(&self.embedding.t()?)?;
        let shifted = logits.broadcast_sub(&logits.detach().max_keepdim(1)?)?;
        let sums = shifted.exp()?.sum_keepdim(1)?;
        (sums.log()? - shifted.gather(&targets.unsqueeze(1)?, 1)?)?.squeeze(1)
    }
}
