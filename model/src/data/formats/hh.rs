//! Anthropic's HH form: two whole transcripts, of which the last `"\n\nAssistant:"` turn was compared (Bai et al. 2022).

use super::Pair;
use crate::data::jsonl::Row;
use crate::data::{ChatTemplate, DropReason, PreferenceRow};
use crate::error::Result;

const TURN: &str = "\n\nAssistant:";

pub fn pair(row: &Row, _: &ChatTemplate) -> Result<Pair> {
    let (prompt, chosen) = last_turn(row, "chosen")?;
    let (other_prompt, rejected) = last_turn(row, "rejected")?;
    if prompt != other_prompt {
        return Ok(Err(DropReason::PromptsDiffer));
    }
    Ok(Ok(PreferenceRow { line: row.line, prompt: prompt.to_owned(), chosen: chosen.to_owned(), rejected: rejected.to_owned() }))
}

/// The transcript up to and with the last `"\n\nAssistant:"`, and the rest.
fn last_turn<'a>(row: &'a Row, key: &str) -> Result<(&'a str, &'a str)> {
    let text = row.text(key)?;
    match text.rfind(TURN) {
        Some(at) => Ok(text.split_at(at + TURN.len())),
        None => Err(row.error(format!("a row without \"prompt\" needs transcripts, and {key:?} has no turn that begins with {TURN:?}"))),
    }
}
