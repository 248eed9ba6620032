//! The decoder of pytorch_step.py in burn. Burn's attention has no kernel with a backward pass: the frozen reference uses the one without,
//! the trained model composes the same function of ops that have one.

use burn::module::Module;
use burn::nn::{Embedding, EmbeddingConfig, Initializer, Linear, LinearConfig, RmsNorm, RmsNormConfig};
use burn::tensor::activation::{log_softmax, silu};
use burn::tensor::ops::AttentionModuleOptions;
use burn::tensor::{Device, Int, Tensor, TensorData, module};

use crate::harness::Shape;

#[derive(Module, Debug)]
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

/// Values that all blocks read: rotations, [1, 1, tokens, head width / 2] each, and the causal mask, [1, 1, tokens, tokens].
pub struct Positions {
    cos: Tensor<4>,
    sin: Tensor<4>,
    mask: Tensor<4>,
}

#[derive(Module, Debug)]
pub struct Decoder {
    embedding: Embedding,
    blocks: Vec<Block>,
    norm: RmsNorm,
}

/// Weights uniform within ±1/√inputs, burn's default, as PyTorch has it.
fn linear(inputs: usize, outputs: usize, device: &Device) -> Linear {
    LinearConfig::new(inputs, outputs).with_bias(false).init(device)
}

fn norm(dim: usize, device: &Device) -> RmsNorm {
    RmsNormConfig::new(dim).with_epsilon(1e-5).init(device)
}

impl Block {
    fn new(Shape { dim, heads, hidden, .. }: Shape, device: &Device) -> Self {
        Self {
            heads,
            norm1: norm(dim, device),
            norm2: norm(dim, device),
            q: linear(dim, dim, device),
            k: linear(dim, dim, device),
            v: linear(dim, dim, device),
            o: linear(dim, dim, device),
            gate: linear(dim, hidden, device),
            up: linear(dim, hidden, device),
            down: linear(hidden, dim, device),
        }
    }

    /// Its input and output are [rows, tokens, dim].
    fn forward(&self, x: Tensor<3>, positions: &Positions, frozen: bool) -> Tensor<3> {
        let [rows, tokens, dim] = x.dims();
        let y = self.norm1.forward(x.clone());
        let by_head = |linear: &Linear| linear.forward(y.clone()).reshape([rows, tokens, self.heads, dim / self.heads]).swap_dims(1, 2);
        let (q, k, v) = (positions.rotated(by_head(&self.q)), positions.rotated(by_head(&self.k)), by_head(&self.v));
        let y = if frozen { fused_attention(q, k, v) } else { attention(q, k, v, positions) };
        let x = x + self.o.forward(y.swap_dims(1, 2).reshape([rows, tokens, dim]));
        let y = self.norm2.forward(x.clone());
        x + self.down.forward(silu(self.gate.forward(y.clone())) * self.up.forward(y))
    }
}

/// Causal attention of [rows, heads, tokens, width]. The softmax is divided by its sum after the product with v, where there is less to
/// divide.
fn attention(q: Tensor<4>, k: Tensor<4>, v: Tensor<4>, positions: &Positions) -> Tensor<4> {
    let [.., width] = q.dims();
    let scores = (q * (width as f64).powf(-0.5)).matmul(k.transpose()) + positions.mask.clone();
    let most = scores.clone().detach().max_dim(3);
    let weights = (scores - most).exp();
    let sums = weights.clone().sum_dim(3);
    weights.matmul(v) * sums.recip()
}

/// The same by burn's kernel without a backward pass.
fn fused_attention(q: Tensor<4>, k: Tensor<4>, v: Tensor<4>) -> Tensor<4> {
    module::attention(q, k, v, None, None, AttentionModuleOptions { is_causal: true, ..AttentionModuleOptions::default() })
}

impl Positions {
    pub fn new(shape: Shape, device: &Device) -> Self {
        let (tokens, width) = (shape.tokens, shape.dim / shape.heads);
        let angle = |token: usize, i: usize| token as f32 * 1e4f32.powf(-2.0 * i as f32 / width as f32);
        let angles: Vec<f32> = (0..tokens).flat_map(|token| (0..width / 2).map(move |i| angle(token, i))).collect();
        let angles = Tensor::<4>::from_data(TensorData::new(angles, [1, 1, tokens, width / 2]), device);
        let mask: Vec<f32> = (0..tokens * tokens).map(|at| if at % tokens > at / tokens { f32::NEG_INFINITY } else { 0.0 }).collect();
        let mask = Tensor::from_data(TensorData::new(mask, [1, 1, tokens, tokens]), device);
        Self { cos: angles.clone().cos(), sin: angles.sin(), mask }
    }

    /// Rotates the two halves of each head of [rows, heads, tokens, width].
    fn rotated(&self, x: Tensor<4>) -> Tensor<4> {
        let width = x.dims()[3];
        let (a, b) = (x.clone().narrow(3, 0, width / 2), x.narrow(3, width / 2, width / 2));
        let turned = a.clone() * self.cos.clone() - b.clone() * self.sin.clone();
        Tensor::cat(vec![turned, b * self.cos.clone() + a * self.sin.clone()], 3)
    }
}

impl Decoder {
    pub fn new(shape: Shape, device: &Device) -> Self {
        let normal = Initializer::Normal { mean: 0.0, std: 0.02 };
        Self {
            embedding: EmbeddingConfig::new(shape.vocabulary, shape.dim).with_initializer(normal).init(device),
            blocks: (0..shape.layers).map(|_| Block::new(shape, device)).collect(),
            norm: norm(shape.dim, device),
        }
    }

    /// −ln p of each target, [rows, tokens], for inputs and targets of that shape; `frozen` where no gradient is wanted.
    pub fn losses(&self, inputs: Tensor<2, Int>, targets: Tensor<2, Int>, positions: &Positions, frozen: bool) -> Tensor<2> {
        let [rows, tokens] = inputs.dims();
        let x = self.blocks.iter().fold(self.embedding.forward(inputs), |x, block| block.forward(x, positions, frozen));
        let x: Tensor<2> = self.norm.forward(x).flatten(0, 1);
        let logits = x.matmul(self.embedding.weight.val().transpose());
        -log_softmax(logits, 1).gather(1, targets.reshape([rows * tokens, 1])).reshape([rows, tokens])
    }
}
