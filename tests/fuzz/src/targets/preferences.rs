//! Preference pairs in JSON lines, as far as the tokens that are trained on.

use model::boundary::Limits;
use model::data::{ChatTemplate, PreferenceSet, parquet, preferences, rows_of_bytes};
use model::tokenizer::Tokenizer;
use std::path::Path;

/// The most tokens of a sequence.
const LONGEST: usize = 24;

/// Reads pairs and holds each of them to what training asks of it.
pub fn fuzz(data: &[u8]) {
    if parquet::is_parquet(data) {
        return;
    }
    let path = Path::new("pairs.jsonl");
    let Ok(rows) = rows_of_bytes(path, data.to_vec()) else { return };
    let Ok((rows, report)) = preferences::read_rows(path, rows, &ChatTemplate::default()) else { return };
    let Ok(set) = PreferenceSet::from_rows(&rows, report, &Tokenizer::bytes(), &Limits::new(LONGEST)) else { return };
    assert!(!set.pairs.is_empty() && set.report.kept == set.pairs.len());
    for pair in &set.pairs {
        assert_ne!(pair.chosen.tokens, pair.rejected.tokens);
        for sequence in [&pair.chosen, &pair.rejected] {
            assert!(sequence.tokens.len() <= LONGEST && !sequence.completion().is_empty() && sequence.completion_start > 0);
        }
    }
}

/// Rows of each form, and one that is cut.
pub fn seeds() -> Vec<Vec<u8>> {
    let long = "a long answer. ".repeat(4);
    [
        r#"{"prompt":"p","chosen":"a","rejected":"b"}
{"prompt":"","chosen":"c","rejected":"d"}
"#,
        &format!(r#"{{"prompt":"why","chosen":"{long}","rejected":"no {long}!"}}"#),
        r#"{"instruction":"do","input":"\u00e9","chosen":"yes","rejected":"no"}"#,
        r#"{"chosen":[{"role":"user","content":"q"},{"role":"assistant","content":"a"}],"rejected":[{"role":"user","content":"q"},{"role":"assistant","content":"b"}]}"#,
        r#"{"chosen":"\n\nHuman: hi\n\nAssistant: yes","rejected":"\n\nHuman: hi\n\nAssistant: no"}"#,
    ]
    .map(|text| text.as_bytes().to_vec())
    .to_vec()
}
