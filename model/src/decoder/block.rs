//! One block of the decoder: norms, attention and the feed-forward part.

use super::Parameter;
use super::lora::{Lora, Site};
use super::packed::Attended;
use crate::config::{Config, MlpKind};
use engine::{Backend, Generator, RotaryTable, Segments, Tensor, checkpoint};

/// Options of a forward pass. The default neither drops nor recomputes anything.
#[derive(Clone, Debug, Default)]
pub struct ForwardOptions {
    /// The probability of dropping an activation, and the random stream that decides which. Applies after the embedding, the attention and
    /// the feed-forward part.
    pub dropout: Option<(f64, Generator)>,
    /// True to recompute each block's activations in the backward pass instead of keeping them. This saves memory.
    pub checkpoint: bool,
}

impl ForwardOptions {
    /// Returns the options for micro-batch `number` of a step, with a dropout stream of its own.
    #[must_use]
    pub fn of_micro_batch(&self, number: usize) -> Self {
        let dropout = self.dropout.map(|(probability, generator)| (probability, generator.stream(number as u64)));
        Self { dropout, ..*self }
    }

    /// Applies dropout to x, with the stream of `place`.
    pub(super) fn drop<B: Backend>(&self, x: Tensor<B>, place: u64) -> Tensor<B> {
        match self.dropout {
            Some((p, generator)) => x.dropout(p, generator.stream(place)),
            None => x,
        }
    }
}

/// y = x·weightᵀ + bias.
#[derive(Clone)]
pub(super) struct Linear<B: Backend> {
    pub weight: Parameter<B>,
    pub bias: Option<Parameter<B>>,
}

impl<B: Backend> Linear<B> {
    pub fn forward(&self, x: &Tensor<B>) -> Tensor<B> {
        let (weight, bias) = self.layer();
        x.linear(weight, bias)
    }
    /// Returns the weight and the bias.
    pub fn layer(&self) -> (&Tensor<B>, Option<&Tensor<B>>) {
        (&self.weight.tensor, self.bias.as_ref().map(|bias| &bias.tensor))
    }
    fn parameters(&self) -> impl Iterator<Item = &Parameter<B>> {
        std::iter::once(&self.weight).chain(&self.bias)
    }
    fn parameters_mut(&mut self) -> impl Iterator<Item = &mut Parameter<B>> {
        std::iter::once(&mut self.weight).chain(&mut self.bias)
    }
}

/// RMSNorm, or LayerNorm where there is a bias.
#[derive(Clone)]
pub(super) struct Norm<B: Backend> {
    pub gain: Parameter<B>,
    pub bias: Option<Parameter<B>>,
    pub epsilon: f64,
}

impl<B: Backend> Norm<B> {
    pub fn forward(&self, x: &Tensor<B>) -> Tensor<B> {
        match &self.bias {
            Some(bias) => x.layer_norm(&self.gain.tensor, &bias.tensor, self.epsilon),
            None => x.rms_norm(&self.gain.tensor, self.epsilon),
        }
    }
    pub fn parameters(&self) -> impl Iterator<Item = &Parameter<B>> {
        std::iter::once(&self.gain).chain(&self.bias)
    }
    pub fn parameters_mut(&mut self) -> impl Iterator<Item = &mut Parameter<B>> {
        std::iter::once(&mut self.gain).chain(&mut self.bias)
    }
}

/// Norms, attention and feed-forward part of one layer.
#[derive(Clone)]
pub(super) struct Block<B: Backend> {
    pub norm1: Norm<B>,
    pub q: Linear<B>,
    pub k: Linear<B>,
    pub v: Linear<B>,
    pub q_norm: Option<Norm<B>>,
    pub k_norm: Option<Norm<B>>,
    pub o: Linear<B>,
    pub norm2: Norm<B>,
    /// The gate of SwiGLU; GELU has none.
    pub gate: Option<Linear<B>>,
    pub up: Linear<B>,
    pub down: Linear<B>,
    /// The LoRA adapters of the block's matrices; empty without an adapter.
    pub adapters: Vec<Lora<B>>,
    pub shape: BlockShape,
}

/// The numbers of a configuration that a block's forward pass needs.
#[derive(Clone, Copy)]
pub(super) struct BlockShape {
    heads: usize,
    kv_heads: usize,
    head_dim: usize,
    mlp: MlpKind,
    parallel: bool,
}

impl From<&Config> for BlockShape {
    fn from(config: &Config) -> Self {
        let Config { heads, kv_heads, head_dim, mlp, parallel_residual: parallel, .. } = *config;
        Self { heads, kv_heads, head_dim, mlp, parallel }
    }
}

impl<B: Backend> Block<B> {
    /// Runs the block, x [N, D] → [N, D]. Keeps the activations, or recomputes them in the backward pass if `options.checkpoint` is set.
    pub fn forward_maybe_checkpointed(
        &self,
        index: usize,
        x: &Tensor<B>,
        rotary: Option<&RotaryTable<B>>,
        attended: &Attended,
        options: &ForwardOptions,
    ) -> Tensor<B> {
        if !options.checkpoint {
            return self.forward(index, x, rotary, &attended.segments, options, |k, v| (attended.rows(k), attended.rows(v)));
        }
        let (block, rotary, attended, options) = (self.clone(), rotary.cloned(), attended.clone(), options.clone());
        checkpoint(x, move |x| {
            block.forward(index, x, rotary.as_ref(), &attended.segments, &options, |k, v| (attended.rows(k), attended.rows(v)))
        })
    }

    /// Runs the block, x [N, D] → [N, D]. `cached` takes this call's keys and values and returns those to attend to.
    pub fn forward(
        &self,
        index: usize,
        x: &Tensor<B>,
        rotary: Option<&RotaryTable<B>>,
        segments: &Segments,
        options: &ForwardOptions,
        cached: impl FnOnce(Tensor<B>, Tensor<B>) -> (Tensor<B>, Tensor<B>),
    ) -> Tensor<B> {
        let place = 1 + 2 * index as u64;
        let attended = self.attention(&self.norm1.forward(x), rotary, segments, cached);
        let attended = options.drop(attended, place).into_add(x);
        let input = if self.shape.parallel { x } else { &attended };
        options.drop(self.mlp(&self.norm2.forward(input)), place + 1).into_add(&attended)
    }

    fn attention(
        &self,
        x: &Tensor<B>,
        rotary: Option<&RotaryTable<B>>,
        segments: &Segments,
        cached: impl FnOnce(Tensor<B>, Tensor<B>) -> (Tensor<B>, Tensor<B>),
    ) -> Tensor<B> {
        let BlockShape { heads, kv_heads, head_dim, .. } = self.shape;
        let n = x.shape()[0];
        let turned = |x: Tensor<B>, heads: usize, norm: &Option<Norm<B>>| {
            let split = x.reshape(&[n, heads, head_dim]);
            drop(x);
            let x = match norm {
                Some(norm) => norm.forward(&split),
                None => split,
            };
            match rotary {
                Some(table) => x.into_rope(table),
                None => x,
            }
        };
        let [q, k, v] = self.projections(x);
        let (q, k) = (turned(q, heads, &self.q_norm), turned(k, kv_heads, &self.k_norm));
        let v = v.reshape(&[n, kv_heads, head_dim]);
        let (k, v) = cached(k, v);
        let scale = 1.0 / (head_dim as f64).sqrt();
        self.adapted(Site::O, &self.o, &q.attention(&k, &v, segments, scale).reshape(&[n, heads * head_dim]))
    }

    fn mlp(&self, x: &Tensor<B>) -> Tensor<B> {
        if let Some([gate, up, down]) = self.plain_gated_mlp() {
            return x.gated_mlp(gate, up, down);
        }
        let up = || self.adapted(Site::Up, &self.up, x);
        let inner = match (self.shape.mlp, &self.gate) {
            (MlpKind::SwiGlu, Some(gate)) => {
                let [gate, up] = self.adapted_together([(Site::Gate, gate), (Site::Up, &self.up)], x);
                gate.swiglu(&up)
            }
            (MlpKind::Gelu { tanh: true }, _) => up().gelu_tanh(),
            _ => up().gelu_erf(),
        };
        self.adapted(Site::Down, &self.down, &inner)
    }

    /// Returns the weights of SwiGLU's gate, up and down if none has a bias or an adapter. The feed-forward part is then one op.
    fn plain_gated_mlp(&self) -> Option<[&Tensor<B>; 3]> {
        let gate = self.gate.as_ref().filter(|_| self.shape.mlp == MlpKind::SwiGlu)?;
        let layers = [(Site::Gate, gate), (Site::Up, &self.up), (Site::Down, &self.down)];
        let plain = layers.iter().all(|(site, layer)| layer.bias.is_none() && self.lora(*site).is_none());
        plain.then_some(layers.map(|(_, layer)| &layer.weight.tensor))
    }

    pub fn parameters(&self) -> Vec<&Parameter<B>> {
        let mut all: Vec<&Parameter<B>> = self.norm1.parameters().collect();
        for layer in [&self.q, &self.k, &self.v] {
            all.extend(layer.parameters());
        }
        all.extend([&self.q_norm, &self.k_norm].into_iter().flatten().flat_map(Norm::parameters));
        all.extend(self.o.parameters());
        all.extend(self.norm2.parameters());
        for layer in self.gate.iter().chain([&self.up, &self.down]) {
            all.extend(layer.parameters());
        }
        all
    }

    pub fn parameters_mut(&mut self) -> Vec<&mut Parameter<B>> {
        let mut all: Vec<&mut Parameter<B>> = self.norm1.parameters_mut().collect();
        for layer in [&mut self.q, &mut self.k, &mut self.v] {
            all.extend(layer.parameters_mut());
        }
        all.extend([&mut self.q_norm, &mut self.k_norm].into_iter().flatten().flat_map(Norm::parameters_mut));
        all.extend(self.o.parameters_mut());
        all.extend(self.norm2.parameters_mut());
        for layer in self.gate.iter_mut().chain([&mut self.up, &mut self.down]) {
            all.extend(layer.parameters_mut());
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decoder::{Decoder, LoraSettings};
    use crate::gradcheck::llama;
    use engine::Cpu;

    fn decoder() -> Decoder<Cpu<f64>> {
        Decoder::random(&Cpu::new(), &llama(), 7).unwrap()
    }

    fn rows() -> Tensor<Cpu<f64>> {
        let mut generator = Generator::new(3);
        let data: Vec<f64> = (0..5 * 8).map(|_| generator.normal()).collect();
        Tensor::parameter(&Cpu::new(), &data, &[5, 8])
    }

    fn ops(y: &Tensor<Cpu<f64>>) -> Vec<&'static str> {
        let mut ops: Vec<_> = y.graph().iter().map(|node| node.op).filter(|op| *op != "parameter").collect();
        ops.dedup();
        ops
    }

    /// Returns the elements of y, then the gradients of Σ y² with respect to `leaves`.
    fn results(y: Tensor<Cpu<f64>>, leaves: &[&Tensor<Cpu<f64>>]) -> Vec<f64> {
        let value = y.to_f64();
        let gradients = y.mul(&y).sum_all().backward();
        leaves.iter().fold(value, |all, leaf| [all, gradients.of(leaf).to_f64()].concat())
    }

    #[track_caller]
    fn close(a: &[f64], b: &[f64]) {
        assert_eq!(a.len(), b.len());
        // f64 sums in another order.
        assert!(a.iter().zip(b).all(|(a, b)| (a - b).abs() <= 1e-13 * b.abs().max(1.0)), "{a:?} and {b:?}");
    }

    #[test]
    fn the_feed_forward_part_as_one_op_is_that_of_its_layers() {
        let (decoder, x) = (decoder(), rows());
        let block = &decoder.blocks[0];
        let [gate, up, down] = block.plain_gated_mlp().expect("no bias and no adapter");
        let leaves = [&x, gate, up, down];
        let composed = x.linear(gate, None).swiglu(&x.linear(up, None)).linear(down, None);
        let fused = block.mlp(&x);
        assert_eq!(ops(&fused), ["gated_mlp"]);
        close(&results(fused, &leaves), &results(composed, &leaves));
    }

    #[test]
    fn an_adapter_that_changes_nothing_takes_the_layers_apart_only_where_it_sits_in_them() {
        let (decoder, x) = (decoder(), rows());
        let one = results(decoder.blocks[0].mlp(&x), &[&x]);
        for (target, apart) in [("gate_proj", true), ("up_proj", true), ("down_proj", true), ("o_proj", false)] {
            let targets = vec![target.to_owned()];
            let settings =
                LoraSettings { rank: 2, alpha: 2.0, rank_stabilised: false, targets, base: String::new(), ..LoraSettings::default() };
            let adapted = decoder.with_new_adapter(&settings, 1).unwrap();
            let y = adapted.blocks[0].mlp(&x);
            assert_eq!(ops(&y).contains(&"swiglu"), apart, "{target}");
            assert_eq!(ops(&y).contains(&"gated_mlp"), !apart, "{target}");
            close(&results(y, &[&x]), &one);
        }
    }

    #[test]
    fn layers_with_biases_are_taken_apart() {
        let x = rows();
        let biased = Decoder::random(&Cpu::new(), &Config { mlp_bias: true, ..llama() }, 7).unwrap();
        let y = biased.blocks[0].mlp(&x);
        assert!(ops(&y).contains(&"swiglu") && !ops(&y).contains(&"gated_mlp"));
        // Biases are zero at the start.
        close(&results(y, &[&x]), &results(decoder().blocks[0].mlp(&x), &[&x]));
    }
}
