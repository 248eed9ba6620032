//! The reference: the frozen model that a policy is compared with.

use super::reference_cache::ReferenceCache;
use crate::data::PreferencePair;
use crate::decoder::Decoder;
use crate::preference::{PairBatch, Scored};
use engine::Backend;

/// A decoder that is not trained, with an optional cache of its log-probabilities.
pub struct Reference<B: Backend> {
    decoder: Decoder<B>,
    cache: Option<ReferenceCache>,
}

impl<B: Backend> Reference<B> {
    /// Makes a reference without a cache: the decoder computes every value.
    pub fn live(decoder: Decoder<B>) -> Self {
        Self { decoder, cache: None }
    }

    /// Takes log-probabilities from `cache` from now on, for micro-batches whose pairs are all in it. A cache holds no logits, so only
    /// [pairwise](losses::Loss::is_pairwise) losses can use it.
    pub fn set_cache(&mut self, cache: ReferenceCache) {
        self.cache = Some(cache);
    }

    /// Returns the decoder.
    pub fn decoder(&self) -> &Decoder<B> {
        &self.decoder
    }

    /// Returns the cache of log-probabilities, if there is one.
    pub fn cache(&self) -> Option<&ReferenceCache> {
        self.cache.as_ref()
    }

    /// Scores the `pairs` that `batch` was packed from, in the same order.
    ///
    /// # Panics
    /// If the cache has every one of the `pairs`, and the batch has more or fewer pairs.
    pub fn scored<'a>(&'a self, batch: &'a PairBatch, pairs: &[&PreferencePair]) -> Scored<'a, B> {
        let known = self.cache.as_ref().and_then(|cache| pairs.iter().map(|pair| cache.get(pair)).collect::<Option<Vec<_>>>());
        match known {
            Some(known) => Scored::known_reference(batch, &self.decoder, &known),
            None => Scored::reference(batch, &self.decoder),
        }
    }
}
