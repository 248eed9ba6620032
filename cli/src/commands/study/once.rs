//! What several runs share, made by the first of them while the others wait.

use crate::failure::Failure;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

/// Values by their keys, each made once.
pub struct Once<K, V>(Mutex<BTreeMap<K, Place<V>>>);

type Place<V> = Arc<OnceLock<Result<V, String>>>;

impl<K: Ord, V> Once<K, V> {
    /// Makes nothing yet.
    pub fn new() -> Self {
        Self(Mutex::new(BTreeMap::new()))
    }

    /// Applies `f` to the value of a key, which `make` makes if it is not there.
    ///
    /// # Errors
    /// [`Failure::Failed`] with what `make` said; those of `f`.
    pub fn with<R>(&self, key: K, make: impl FnOnce() -> model::Result<V>, f: impl FnOnce(&V) -> Result<R, Failure>) -> Result<R, Failure> {
        let place = self.0.lock().unwrap_or_else(PoisonError::into_inner).entry(key).or_default().clone();
        match place.get_or_init(|| make().map_err(|error| error.to_string())) {
            Ok(value) => f(value),
            Err(error) => Err(Failure::Failed(error.clone())),
        }
    }
}
