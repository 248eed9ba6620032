//! The reference's log-probabilities on disk.

use model::align::reference_cache::parse;

/// Reads a cache; what is taken are log-probabilities.
pub fn fuzz(data: &[u8]) {
    if let Ok(log_probs) = parse(data, "0123456789abcdef-9") {
        assert!(log_probs.values().flat_map(|&(chosen, rejected)| [chosen, rejected]).all(|value| value.is_finite() && value <= 0.0));
    }
}

/// A cache of two pairs.
pub fn seeds() -> Vec<Vec<u8>> {
    let text = r#"{"version":1,"reference":"0123456789abcdef-9","log_probs":{"a-9":[-1.5,-2.25],"b-7":[-1e-30,-1234.5]}}"#;
    vec![text.as_bytes().to_vec()]
}
