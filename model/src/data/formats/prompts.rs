//! Plain texts: `prompt` with `chosen` and `rejected`, `prompt` with `completion`, or only `text`.

use super::reader::{Completions, Pair, Reader, plain, unknown};
use crate::data::PreferenceRow;
use crate::data::jsonl::Row;
use crate::error::Result;

pub fn pair(row: &Row, _: &mut Reader) -> Result<Pair> {
    let [prompt, chosen, rejected] = [row.text("prompt")?, row.text("chosen")?, row.text("rejected")?].map(str::to_owned);
    Ok(Ok(PreferenceRow { line: row.line, prompt, alone: None, chosen, rejected, framed: false }))
}

pub fn completion(row: &Row, _: &mut Reader) -> Result<Completions> {
    if !row.has("completion") && row.has("chosen") {
        return Err(unknown(row, "\"prompt\" and \"completion\", \"messages\" or \"text\""));
    }
    Ok(Ok(vec![plain(row, row.text("prompt")?, row.text("completion")?)]))
}

pub fn text(row: &Row, _: &mut Reader) -> Result<Completions> {
    Ok(Ok(vec![plain(row, "", row.text("text")?)]))
}
