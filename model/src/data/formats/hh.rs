//! Pairs without a `prompt`: two whole texts that share their start.
//!
//! Anthropic's HH form is two transcripts that differ in their last `"\n\nAssistant:"` turn (Bai et al. 2022). In texts without such turns
//! (TRL's implicit prompt), the prompt is the common start. A space at its end belongs to the next word.

use super::reader::{Pair, Reader};
use crate::data::jsonl::Row;
use crate::data::turns::common_start;
use crate::data::{DropReason, PreferenceRow};
use crate::error::Result;

const TURN: &str = "\n\nAssistant:";

pub fn pair(row: &Row, reader: &mut Reader) -> Result<Pair> {
    let [whole_chosen, whole_rejected] = [row.text("chosen")?, row.text("rejected")?];
    if !whole_chosen.contains(TURN) && !whole_rejected.contains(TURN) {
        reader.remarks.note("the row has no prompt: what both answers begin with is taken for it", row.line);
        return Ok(Ok(implicit(row.line, whole_chosen, whole_rejected)));
    }
    let (prompt, chosen) = last_turn(row, "chosen")?;
    let (other_prompt, rejected) = last_turn(row, "rejected")?;
    if prompt != other_prompt {
        return Ok(Err(DropReason::PromptsDiffer));
    }
    let [prompt, chosen, rejected] = [prompt, chosen, rejected].map(str::to_owned);
    Ok(Ok(PreferenceRow { line: row.line, prompt, alone: None, chosen, rejected, framed: false }))
}

fn implicit(line: usize, chosen: &str, rejected: &str) -> PreferenceRow {
    let shared = &chosen[..common_start(chosen, rejected)];
    let differ = shared.len() < chosen.len() && shared.len() < rejected.len();
    let prompt = if differ { shared.strip_suffix(' ').unwrap_or(shared) } else { shared };
    let [chosen, rejected] = [chosen, rejected].map(|text| text[prompt.len()..].to_owned());
    PreferenceRow { line, prompt: prompt.to_owned(), alone: None, chosen, rejected, framed: false }
}

/// Splits a transcript after its last `"\n\nAssistant:"`.
fn last_turn<'a>(row: &'a Row, key: &str) -> Result<(&'a str, &'a str)> {
    let text = row.text(key)?;
    match text.rfind(TURN) {
        Some(at) => Ok(text.split_at(at + TURN.len())),
        None => Err(row.error(format!("one of the two texts is a transcript, and {key:?} has no turn that begins with {TURN:?}"))),
    }
}
