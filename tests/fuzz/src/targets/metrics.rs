//! `metrics.jsonl` of a run.

use crate::record::parse_all;

/// Reads the records.
pub fn fuzz(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    match parse_all(text) {
        Ok(records) => assert_eq!(records.len(), text.lines().count()),
        Err((line, reason)) => assert!((1..=text.lines().count()).contains(&line) && !reason.is_empty()),
    }
}

/// Records as runs write them.
pub fn seeds() -> Vec<Vec<u8>> {
    let text = r#"{"step":1,"loss":0.5,"gradient_norm":1e-300}
{"step":2,"loss":"NaN","kl":"-Infinity"}
"#;
    vec![text.as_bytes().to_vec()]
}
