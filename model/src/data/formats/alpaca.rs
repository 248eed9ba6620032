//! Alpaca's form: an `instruction`, an optional `input`, and an `output` or two answers.
//!
//! The prompt is the instruction and the input, each on its own line. An empty input is left out. If any row of the file has a `system`
//! text or a `history` of earlier turns, all rows are conversations. The prompt is then the person's message.

use super::conversations::{compare, learn, with_setting};
use super::reader::{Completions, Pair, Reader, plain};
use crate::data::PreferenceRow;
use crate::data::jsonl::Row;
use crate::data::message::{Message, Role, in_row};
use crate::error::Result;
use serde_json::Value;

/// True if the row has earlier turns or a system text.
pub fn has_conversation(row: &Row) -> bool {
    let says = |key: &str| match row.keys.get(key) {
        Some(Value::String(text)) => !text.trim().is_empty(),
        Some(Value::Array(turns)) => !turns.is_empty(),
        _ => false,
    };
    row.has("instruction") && (says("system") || says("history"))
}

pub fn pair(row: &Row, reader: &mut Reader) -> Result<Pair> {
    let [chosen, rejected] = [row.text("chosen")?, row.text("rejected")?];
    if reader.alpaca_converses {
        let before = conversation(row)?;
        let answer = |text: &str| vec![Message::new(Role::Assistant, text)];
        return compare(row, reader, before, [answer(chosen), answer(rejected)]);
    }
    let (prompt, chosen, rejected) = (instruction(row)? + "\n", chosen.to_owned(), rejected.to_owned());
    Ok(Ok(PreferenceRow { line: row.line, prompt, alone: None, chosen, rejected, framed: false }))
}

pub fn completion(row: &Row, reader: &mut Reader) -> Result<Completions> {
    let output = row.text("output")?;
    if reader.alpaca_converses {
        let mut messages = conversation(row)?;
        messages.push(Message::new(Role::Assistant, output));
        return learn(row, reader, messages);
    }
    Ok(Ok(vec![plain(row, &(instruction(row)? + "\n"), output)]))
}

/// Returns the prompt of a row, and whether a chat template wrote it.
pub fn prompt(row: &Row, reader: &mut Reader) -> Result<(String, bool)> {
    if !reader.alpaca_converses {
        return Ok((instruction(row)? + "\n", false));
    }
    let conversation = with_setting(row, conversation(row)?)?;
    let text = reader.turner.chat().prompt(&conversation).map_err(|error| in_row(row, error))?;
    Ok((text, reader.framed()))
}

/// Joins the instruction and its input, a line each, without a line break at the end.
fn instruction(row: &Row) -> Result<String> {
    let instruction = row.text("instruction")?;
    let input = if row.has("input") { row.text("input")? } else { "" };
    Ok(if input.is_empty() { instruction.to_owned() } else { format!("{instruction}\n{input}") })
}

/// Returns the earlier turns (pairs of question and answer) and the instruction. The system text is left out, because all conversations
/// read that column.
fn conversation(row: &Row) -> Result<Vec<Message>> {
    let bad = || row.error("\"history\" must be a list of pairs [question, answer] of texts");
    let mut messages = Vec::new();
    let history = match row.keys.get("history") {
        None | Some(Value::Null) => &[][..],
        Some(Value::Array(turns)) => turns,
        Some(_) => return Err(bad()),
    };
    for turn in history {
        let Some([question, answer]) = turn.as_array().map(Vec::as_slice) else { return Err(bad()) };
        messages.push(Message::new(Role::User, question.as_str().ok_or_else(bad)?));
        messages.push(Message::new(Role::Assistant, answer.as_str().ok_or_else(bad)?));
    }
    messages.push(Message::new(Role::User, instruction(row)?));
    Ok(messages)
}
