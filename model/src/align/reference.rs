//! The reference: the frozen model that a policy is compared with, if the loss compares it with one.

use super::reference_cache::ReferenceCache;
use crate::data::PreferencePair;
use crate::decoder::Decoder;
use crate::preference::{PairBatch, Scored};
use engine::{Backend, no_grad};

/// A decoder that is not trained, with an optional cache of its log-probabilities; or no reference, whose log-probabilities count as 0.
pub struct Reference<B: Backend> {
    decoder: Option<Decoder<B>>,
    cache: Option<ReferenceCache>,
}

impl<B: Backend> Reference<B> {
    /// Makes a reference without a cache: the decoder computes every value.
    pub fn live(decoder: Decoder<B>) -> Self {
        Self { decoder: Some(decoder), cache: None }
    }

    /// Makes the reference of losses that need none: no model is kept or run.
    pub fn none() -> Self {
        Self { decoder: None, cache: None }
    }

    /// Takes log-probabilities from `cache` from now on, for micro-batches whose pairs are all in it. A cache holds sums only. Losses that
    /// need more run the reference anyway: those without [`takes_cached_reference`](losses::Loss::takes_cached_reference).
    pub fn set_cache(&mut self, cache: ReferenceCache) {
        self.cache = Some(cache);
    }

    /// Moves the reference towards the policy (TR-DPO, Gorbatovski et al. 2024, soft update): each weight becomes α·policy +
    /// (1 − α)·reference.
    /// An adapter of the policy counts as merged. A cache of the reference's log-probabilities is dropped, because they change.
    ///
    /// # Panics
    /// If the two decoders have different shapes.
    pub fn mix(&mut self, policy: &Decoder<B>, alpha: f64) {
        let Some(reference) = &mut self.decoder else { return };
        let policy = if policy.adapter().is_some() { policy.merged() } else { policy.clone() };
        for (own, other) in reference.parameters_mut().into_iter().zip(policy.parameters()) {
            let mixed = no_grad(|| other.tensor.scale(alpha).add(&own.tensor.scale(1.0 - alpha)));
            own.tensor = mixed.detach();
        }
        self.cache = None;
    }

    /// Returns the decoder, if there is a reference.
    pub fn decoder(&self) -> Option<&Decoder<B>> {
        self.decoder.as_ref()
    }

    /// Returns the cache of log-probabilities, if there is one.
    pub fn cache(&self) -> Option<&ReferenceCache> {
        self.cache.as_ref()
    }

    /// Scores the `pairs` that `batch` was packed from, in the same order. Without a reference every log-probability is 0, and the scores
    /// name `policy` as their decoder, which is not run.
    ///
    /// # Panics
    /// If the cache has every one of the `pairs`, and the batch has more or fewer pairs.
    pub fn scored<'a>(&'a self, batch: &'a PairBatch, pairs: &[&PreferencePair], policy: &'a Decoder<B>) -> Scored<'a, B> {
        let Some(decoder) = &self.decoder else { return Scored::known_reference(batch, policy, &vec![(0.0, 0.0); pairs.len()]) };
        let known = self.cache.as_ref().and_then(|cache| pairs.iter().map(|pair| cache.get(pair)).collect::<Option<Vec<_>>>());
        match known {
            Some(known) => Scored::known_reference(batch, decoder, &known),
            None => Scored::reference(batch, decoder),
        }
    }
}
