//! Datasets in JSON lines or as a JSON array, read as preferences, as completions and as prompts.

use model::data::{ChatTemplate, Turns, completions, preferences, rows_of_bytes};
use std::path::Path;

/// Reads the rows in every way that a command does.
pub fn fuzz(data: &[u8]) {
    // A Parquet file has a target of its own.
    if model::data::parquet::is_parquet(data) {
        return;
    }
    let path = Path::new("rows.jsonl");
    let Ok(rows) = rows_of_bytes(path, data.to_vec()) else { return };
    let chat = ChatTemplate::default();
    let _ = completions::read_rows(path, rows.clone(), &chat, Turns::All);
    let _ = preferences::read_rows(path, rows, &chat);
}

/// One of each form.
pub fn seeds() -> Vec<Vec<u8>> {
    [
        "{\"prompt\":\"p\",\"chosen\":\"a\",\"rejected\":\"b\"}\n\n{\"prompt\":\"p\",\"chosen\":\"c\",\"rejected\":\"c\"}\n",
        r#"[{"prompt":[{"role":"user","content":"q"}],"chosen":[{"role":"assistant","content":"a"}],"rejected":[{"role":"assistant","content":"b"}]}]"#,
        r#"{"chosen":"\n\nHuman: hi\n\nAssistant: yes","rejected":"\n\nHuman: hi\n\nAssistant: no"}"#,
        r#"{"conversations":[{"from":"human","value":"q"}],"chosen":{"from":"gpt","value":"a"},"rejected":{"from":"gpt","value":"b"}}"#,
        r#"{"instruction":"do","input":"it","output":"done"}"#,
        r#"{"messages":[{"role":"system","content":[{"type":"text","text":"s"}]},{"role":"user","content":"q"},{"role":"assistant","content":"\u00e9"}]}"#,
        r#"{"prompt":"p","completion":"c"}"#,
    ]
    .map(|text| text.as_bytes().to_vec())
    .to_vec()
}
