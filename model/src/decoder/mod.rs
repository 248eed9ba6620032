//! The decoder: one transformer that covers the Llama family, GPT-2 and GPT-NeoX, written once for every backend.
//!
//! For tokens t and a block with norms n₁, n₂:
//!
//! ```text
//! x  = embedding[t] (+ positions)
//! x  = x + attention(n₁ x);  x = x + mlp(n₂ x)          (GPT-NeoX: x + attention(n₁ x) + mlp(n₂ x))
//! h  = norm x;  logits = h·headᵀ
//! ```
//!
//! Sequences are packed, not padded: a batch is one list of tokens with [`engine::Segments`] for its boundaries.

mod adapter;
mod block;
mod build;
mod cache;
pub mod layout;
mod lora;
mod packed;
pub mod packed_checks;
mod parameter;

pub use block::ForwardOptions;
pub use cache::Cache;
pub use lora::{LoraSettings, ModulePattern, usual_targets};
pub use packed::{Packed, SharedStart};
pub use parameter::Parameter;

use crate::config::{Config, PositionKind};
use block::{Block, Norm};
use engine::{Backend, RotaryAngles, RotaryTable, Tensor};

/// A decoder's weights on a backend, with the configuration that says how they are used.
#[derive(Clone)]
pub struct Decoder<B: Backend> {
    config: Config,
    embedding: Parameter<B>,
    positions: Option<Parameter<B>>,
    blocks: Vec<Block<B>>,
    norm: Norm<B>,
    head: Option<Parameter<B>>,
    /// The angles by which pairs are rotated; empty for learned positions.
    rotary: RotaryAngles,
    /// The settings of the blocks' adapters, if they have any.
    adapter: Option<LoraSettings>,
}

impl<B: Backend> Decoder<B> {
    /// Returns the configuration.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Returns the backend that holds the weights.
    pub fn backend(&self) -> &B {
        self.embedding.tensor.backend()
    }

    /// Returns the matrix of the output projection, [V, D]. With a tied head, it is the embedding.
    pub fn head_weight(&self) -> &Tensor<B> {
        &self.head.as_ref().unwrap_or(&self.embedding).tensor
    }

    /// Computes the hidden state of every token after the last norm, [N, D].
    ///
    /// # Panics
    /// If a token is not in the vocabulary or a position is past the learned ones: check the data first with [`Packed::check`].
    pub fn hidden(&self, batch: &Packed, options: &ForwardOptions) -> Tensor<B> {
        let mut x = self.embed(batch, options);
        let rotary = self.rotary_table(batch);
        let attended = batch.attended(self.config.sliding_window);
        for (index, block) in self.blocks.iter().enumerate() {
            x = block.forward_maybe_checkpointed(index, &x, rotary.as_ref(), &attended, options);
        }
        self.norm.forward(&x)
    }

    /// Runs one block alone: takes the hidden state of every token before it, [N, D], and returns that after it, [N, D].
    ///
    /// # Panics
    /// If there is no such block, or the rows of x are not the tokens of the batch.
    pub fn block(&self, index: usize, x: &Tensor<B>, batch: &Packed, options: &ForwardOptions) -> Tensor<B> {
        let attended = batch.attended(self.config.sliding_window);
        self.blocks[index].forward_maybe_checkpointed(index, x, self.rotary_table(batch).as_ref(), &attended, options)
    }

    /// Like [`Decoder::hidden`], for tokens that follow those in the cache. Adds the new tokens to the cache.
    ///
    /// # Panics
    /// As [`Decoder::hidden`], and if the batch has another number of sequences than the cache.
    pub fn hidden_cached(&self, batch: &Packed, cache: &mut Cache<B>) -> Tensor<B> {
        let lengths = batch.lengths();
        let batch = batch.clone().shifted(cache.lengths());
        let options = ForwardOptions::default();
        let mut x = self.embed(&batch, &options);
        let rotary = self.rotary_table(&batch);
        let segments = cache.make_room(&lengths).with_window(self.config.sliding_window);
        for (index, block) in self.blocks.iter().enumerate() {
            x = block.forward(index, &x, rotary.as_ref(), &segments, &options, |k, v| cache.extend(index, &lengths, k, v));
        }
        cache.count(&lengths);
        self.norm.forward(&x)
    }

    /// Computes the logits of every token, [N, V].
    pub fn logits(&self, batch: &Packed) -> Tensor<B> {
        self.hidden(batch, &ForwardOptions::default()).linear(self.head_weight(), None)
    }

    /// Makes an empty cache for generating `sequences` sequences at once.
    pub fn cache(&self, sequences: usize) -> Cache<B> {
        Cache::new(self.config.layers, sequences)
    }

    fn embed(&self, batch: &Packed, options: &ForwardOptions) -> Tensor<B> {
        let x = self.embedding.tensor.embedding(batch.tokens());
        let x = match &self.positions {
            Some(positions) => x.add(&positions.tensor.embedding(batch.positions())),
            None => x,
        };
        options.drop(x, 0)
    }

    fn rotary_table(&self, batch: &Packed) -> Option<RotaryTable<B>> {
        let rotary = matches!(self.config.position, PositionKind::Rope { .. });
        rotary.then(|| self.rotary.table(self.backend(), batch.positions()))
    }

    /// Returns every trained parameter, in the order of the computation: the adapter's, or all if there is no adapter.
    pub fn parameters(&self) -> Vec<&Parameter<B>> {
        if self.adapter.is_none() {
            return self.base_parameters();
        }
        self.blocks.iter().flat_map(|block| &block.adapters).flat_map(|lora| [&lora.a, &lora.b]).collect()
    }

    /// Returns every trained parameter, in the same order, for an optimiser to replace.
    pub fn parameters_mut(&mut self) -> Vec<&mut Parameter<B>> {
        if self.adapter.is_none() {
            return self.base_parameters_mut();
        }
        self.blocks.iter_mut().flat_map(|block| &mut block.adapters).flat_map(|lora| [&mut lora.a, &mut lora.b]).collect()
    }

    /// Returns every parameter but those of an adapter, in the order of the computation.
    pub fn base_parameters(&self) -> Vec<&Parameter<B>> {
        let blocks = self.blocks.iter().flat_map(Block::parameters);
        let first = std::iter::once(&self.embedding).chain(&self.positions);
        first.chain(blocks).chain(self.norm.parameters()).chain(&self.head).collect()
    }

    fn base_parameters_mut(&mut self) -> Vec<&mut Parameter<B>> {
        let blocks = self.blocks.iter_mut().flat_map(Block::parameters_mut);
        let first = std::iter::once(&mut self.embedding).chain(&mut self.positions);
        first.chain(blocks).chain(self.norm.parameters_mut()).chain(&mut self.head).collect()
    }

    /// Counts the numbers that are trained.
    pub fn parameter_count(&self) -> usize {
        self.parameters().iter().map(|p| p.tensor.len()).sum()
    }

    /// Computes the hidden states after the embedding, after each block and after the last norm, each [N, D].
    pub fn residual_stream(&self, batch: &Packed) -> Vec<Tensor<B>> {
        let options = ForwardOptions::default();
        let rotary = self.rotary_table(batch);
        let attended = batch.attended(self.config.sliding_window);
        let mut stream = vec![self.embed(batch, &options)];
        for (index, block) in self.blocks.iter().enumerate() {
            let x = block.forward_maybe_checkpointed(index, &stream[index], rotary.as_ref(), &attended, &options);
            stream.push(x);
        }
        stream.push(self.norm.forward(&stream[self.blocks.len()]));
        stream
    }
}
