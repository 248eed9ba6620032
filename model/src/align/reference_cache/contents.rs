//! The format of the cache's file, and the checks of a file that anyone may have written.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The format version that this program writes, and the only one that it reads.
pub const VERSION: u64 = 1;

/// The contents of the whole file.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Contents {
    /// Must be [`VERSION`].
    pub version: u64,
    /// A fingerprint of the reference's weights and of how its products round.
    pub reference: String,
    /// ln π_ref of the chosen and of the rejected completion, in nats, by a fingerprint of the pair.
    pub log_probs: BTreeMap<String, (f64, f64)>,
}

/// Returns the log-probabilities in a file of this `reference`. The error says why the file cannot be used.
pub fn parse(bytes: &[u8], reference: &str) -> Result<BTreeMap<String, (f64, f64)>, &'static str> {
    let found: Contents = serde_json::from_slice(bytes).map_err(|_| "it is not a cache that this version wrote")?;
    let is_log_prob = |value: &f64| (f64::from(f32::MIN)..=0.0).contains(value);
    if found.version != VERSION || found.reference != reference {
        return Err("it is of another reference or another precision");
    }
    if !found.log_probs.values().all(|(chosen, rejected)| is_log_prob(chosen) && is_log_prob(rejected)) {
        return Err("it holds numbers that are no log-probabilities");
    }
    Ok(found.log_probs)
}
