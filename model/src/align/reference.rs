//! The model that a policy is held to. It stays as it is.

use super::reference_cache::ReferenceCache;
use crate::data::PreferencePair;
use crate::decoder::Decoder;
use crate::preference::{PairBatch, Scored};
use engine::Backend;

/// A decoder that is not trained, perhaps with log-probabilities that it was asked for before.
pub struct Reference<B: Backend> {
    decoder: Decoder<B>,
    cache: Option<ReferenceCache>,
}

impl<B: Backend> Reference<B> {
    /// A reference that computes whatever it is asked.
    pub fn live(decoder: Decoder<B>) -> Self {
        Self { decoder, cache: None }
    }

    /// From here on log-probabilities come from `cache`, for micro-batches of which it has every pair. A cache has no logits, so it is of
    /// no use to the losses that are not [pairwise](losses::Loss::is_pairwise).
    pub fn set_cache(&mut self, cache: ReferenceCache) {
        self.cache = Some(cache);
    }

    /// The decoder.
    pub fn decoder(&self) -> &Decoder<B> {
        &self.decoder
    }

    /// Where log-probabilities come from, if not from the decoder.
    pub fn cache(&self) -> Option<&ReferenceCache> {
        self.cache.as_ref()
    }

    /// How the reference sees the `pairs` that `batch` was packed from, in the same order.
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
