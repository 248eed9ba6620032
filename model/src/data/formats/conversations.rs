//! Conversations: lists of `{"role", "content"}`, or of ShareGPT's `{"from", "value"}`.
//!
//! If a prompt ends with the model's own message, the answers continue that message. Answers may repeat the conversation, from its start or
//! from one of its turns. They are joined to the part that they do not repeat.

use super::reader::{Completions, Pair, Reader};
use crate::data::chat::Conversation;
use crate::data::columns::judge_conversation;
use crate::data::jsonl::Row;
use crate::data::message::{Message, Role, in_row, messages, without_nulls};
use crate::data::turns::{Answers, Learned};
use crate::data::{DropReason, PreferenceRow};
use crate::error::Result;
use serde_json::Value;

/// True if the prompt or an answer is a list of messages.
pub fn is_pair(row: &Row) -> bool {
    ["prompt", "chosen", "rejected"].iter().any(|key| is_list(row, key))
}

/// True if the prompt or the completion is a list of messages.
pub fn is_completion(row: &Row) -> bool {
    ["prompt", "completion"].iter().any(|key| is_list(row, key))
}

fn is_list(row: &Row, key: &str) -> bool {
    row.keys.get(key).is_some_and(Value::is_array)
}

pub fn pair(row: &Row, reader: &mut Reader) -> Result<Pair> {
    answers(row, reader, "prompt")
}

pub fn sharegpt_pair(row: &Row, reader: &mut Reader) -> Result<Pair> {
    answers(row, reader, "conversations")
}

fn answers(row: &Row, reader: &mut Reader, prompt_key: &str) -> Result<Pair> {
    let before = if row.has(prompt_key) { turns(row, prompt_key, Role::User)? } else { Vec::new() };
    let answers = [turns(row, "chosen", Role::Assistant)?, turns(row, "rejected", Role::Assistant)?];
    compare(row, reader, before, answers)
}

pub fn completion(row: &Row, reader: &mut Reader) -> Result<Completions> {
    let prompt = turns(row, "prompt", Role::User)?;
    let answer = turns(row, "completion", Role::Assistant)?;
    if answer.iter().all(Message::is_empty) {
        return Ok(Err(DropReason::EmptyCompletion));
    }
    let Joined { conversation, own, before } = join(row, &prompt, &answer, "completion")?;
    judge_conversation(row, reader.turner.chat(), &conversation, &mut reader.remarks);
    if conversation.messages[own..].iter().any(|message| !message.learned) {
        return Ok(Err(DropReason::NothingLearned));
    }
    let turned = reader.turner.answers(&before, [&conversation.messages], own);
    let Answers { prompt, alone, completions: [completion] } = turned.map_err(|error| in_row(row, error))?;
    Ok(reader.rows(row, vec![Learned { prompt, alone, completion, context: Vec::new(), openings: Vec::new(), turns: 1 }]))
}

pub fn transcript(row: &Row, reader: &mut Reader) -> Result<Completions> {
    let key = if row.has("messages") { "messages" } else { "conversations" };
    let turns = messages(row, key, &row.keys[key])?;
    learn(row, reader, turns)
}

/// Returns the learned texts of a conversation.
pub fn learn(row: &Row, reader: &mut Reader, turns: Vec<Message>) -> Result<Completions> {
    let conversation = with_setting(row, turns)?;
    judge_conversation(row, reader.turner.chat(), &conversation, &mut reader.remarks);
    let own: Vec<&Message> = conversation.messages.iter().filter(|message| message.role == Role::Assistant).collect();
    if own.is_empty() {
        return Err(row.error("the conversation has no message by the assistant, so there is nothing to learn"));
    }
    if own.iter().all(|message| message.is_empty()) {
        return Ok(Err(DropReason::EmptyCompletion));
    }
    if conversation.messages.last().is_some_and(|message| message.role != Role::Assistant) {
        reader.remarks.note("the conversation ends with a message that is not the assistant's, which teaches nothing", row.line);
    }
    let learned = reader.turner.learned(&conversation, reader.turns).map_err(|error| in_row(row, error))?;
    if learned.len() > 1 && reader.framed() {
        reader
            .remarks
            .note("the chat template writes earlier turns otherwise later, so that each turn is learned in a text of its own", row.line);
    }
    Ok(reader.rows(row, learned))
}

/// Reads a list of messages. A text is one message by `speaker`.
fn turns(row: &Row, key: &str, speaker: Role) -> Result<Vec<Message>> {
    match row.keys.get(key) {
        Some(Value::String(content)) => Ok(vec![Message::new(speaker, content.as_str())]),
        Some(value) => messages(row, key, value),
        None => Err(row.error(format!("{key:?} is missing"))),
    }
}

/// Adds the row's system text, its tools, its documents and its variables for the template to the turns.
pub fn with_setting(row: &Row, mut messages: Vec<Message>) -> Result<Conversation> {
    let system = match row.keys.get("system") {
        Some(Value::String(text)) if !text.trim().is_empty() => Some(text),
        None | Some(Value::Null | Value::String(_)) => None,
        Some(_) => return Err(row.error("\"system\" must be a text")),
    };
    if let Some(system) = system {
        match messages.first() {
            Some(first) if first.role == Role::System && first.text() == *system => {}
            Some(first) if first.role == Role::System => {
                return Err(row.error("\"system\" and the conversation's own system message are not the same: keep one of them"));
            }
            _ => messages.insert(0, Message::new(Role::System, system.as_str())),
        }
    }
    let arguments = match json_column(row, "chat_template_kwargs")? {
        None => None,
        Some(Value::Object(variables)) => Some(variables),
        Some(_) => return Err(row.error("\"chat_template_kwargs\" must be an object")),
    };
    let list = |key: &str| match json_column(row, key)? {
        Some(Value::Array(items)) => Ok(Some(Value::Array(items))),
        None => Ok(None),
        Some(_) => Err(row.error(format!("{key:?} must be a list"))),
    };
    Ok(Conversation { messages, tools: list("tools")?, documents: list("documents")?, arguments })
}

/// Reads a column that holds a list or an object, or its JSON as a text. Returns `None` if it is empty.
fn json_column(row: &Row, key: &str) -> Result<Option<Value>> {
    let value = match row.keys.get(key) {
        // A text keeps its nulls: its writer wrote them, not a table.
        Some(Value::String(text)) if !text.trim().is_empty() => {
            serde_json::from_str(text).map_err(|_| row.error(format!("{key:?} is a text that is not JSON")))?
        }
        Some(value) => without_nulls(value.clone()),
        None => Value::Null,
    };
    let empty = match &value {
        Value::Array(items) => items.is_empty(),
        Value::Object(keys) => keys.is_empty(),
        Value::String(text) => text.trim().is_empty(),
        other => other.is_null(),
    };
    Ok((!empty).then_some(value))
}

/// A prompt and an answer as one conversation.
struct Joined {
    conversation: Conversation,
    /// The index of the answer's first message, or of the message that the answer continues.
    own: usize,
    /// The conversation before the answer.
    before: Conversation,
}

/// Joins an answer to the prompt that it follows, continues or repeats, in the row's setting.
fn join(row: &Row, prompt: &[Message], answer: &[Message], key: &str) -> Result<Joined> {
    let Some((messages, own)) = joined(prompt, answer) else {
        let reason = "begins with a message that is neither the assistant's nor one of the prompt's, so it does not follow the prompt";
        return Err(row.error(format!("{key:?} {reason}")));
    };
    let count = messages.len();
    let conversation = with_setting(row, messages)?;
    match conversation.messages.last() {
        Some(last) if last.role == Role::Assistant => {}
        _ => return Err(row.error("the last message of a conversation must be the assistant's")),
    }
    let own = own + conversation.messages.len() - count;
    let before = match continues(prompt, answer) {
        true => with_setting(row, prompt.to_vec())?,
        false => conversation.with(&conversation.messages[..own]),
    };
    Ok(Joined { conversation, own, before })
}

/// True if the answer continues the prompt's last message, which is the model's own.
fn continues(prompt: &[Message], answer: &[Message]) -> bool {
    let own = |message: Option<&Message>| message.is_some_and(|message| message.role == Role::Assistant);
    own(prompt.last()) && own(answer.first())
}

/// Joins the messages of both. Also returns the index of the answer's first message. Returns `None` if the answer neither follows the
/// prompt nor repeats part of it.
fn joined(prompt: &[Message], answer: &[Message]) -> Option<(Vec<Message>, usize)> {
    let first = answer.first()?;
    let says = |a: &Message, b: &Message| a.role == b.role && a.text() == b.text();
    let same = |a: &[Message], b: &[Message]| a.len() == b.len() && a.iter().zip(b).all(|(a, b)| says(a, b));
    if continues(prompt, answer) {
        let (last, before) = prompt.split_last()?;
        let (begun, said) = (last.text(), first.text());
        let whole = if said.starts_with(&begun) { said } else { begun + &said };
        return Some(([before, &[first.clone().with_text(whole)], &answer[1..]].concat(), before.len()));
    }
    if first.role == Role::Assistant || prompt.is_empty() {
        return Some(([prompt, answer].concat(), prompt.len()));
    }
    // The answer repeats the prompt, perhaps after its own system message.
    let repeats_at = |start: &usize| answer.get(*start..start + prompt.len()).is_some_and(|part| same(part, prompt));
    if let Some(start) = (0..answer.len()).find(repeats_at) {
        return Some((answer.to_vec(), start + prompt.len()));
    }
    let most = prompt.len().min(answer.len());
    if let Some(repeated) = (1..=most).rev().find(|&count| same(&prompt[prompt.len() - count..], &answer[..count])) {
        return Some(([&prompt[..prompt.len() - repeated], answer].concat(), prompt.len()));
    }
    let goes_on = prompt.last().is_some_and(|last| last.role == Role::Assistant) && first.role == Role::User;
    goes_on.then(|| ([prompt, answer].concat(), prompt.len()))
}

/// Compares two answers to one prompt. The prompt is the given one, or else the common start of both conversations.
pub fn compare(row: &Row, reader: &mut Reader, prompt: Vec<Message>, answers: [Vec<Message>; 2]) -> Result<Pair> {
    let follows = |answer: &Vec<Message>| answer.first().is_some_and(|message| message.role == Role::Assistant);
    let given = !prompt.is_empty() && answers.iter().all(follows);
    if answers.iter().any(Vec::is_empty) {
        return Ok(Err(DropReason::EmptyCompletion));
    }
    let [chosen, rejected] = &answers;
    let [mut chosen, rejected] = [join(row, &prompt, chosen, "chosen")?, join(row, &prompt, rejected, "rejected")?];
    for joined in [&chosen, &rejected] {
        judge_conversation(row, reader.turner.chat(), &joined.conversation, &mut reader.remarks);
    }
    let wholes = [&chosen.conversation.messages, &rejected.conversation.messages];
    if !given {
        let shortest = wholes.map(Vec::len).into_iter().min().unwrap_or(1) - 1;
        chosen.own = wholes[0].iter().zip(wholes[1]).take(shortest).take_while(|(a, b)| a == b).count();
        chosen.before = chosen.conversation.with(&wholes[0][..chosen.own]);
    }
    let own = wholes.map(|messages| &messages[chosen.own..]);
    let by_the_model = |messages: &[Message]| {
        messages.first().is_some_and(|message| message.role == Role::Assistant) && messages.iter().all(|message| message.role != Role::User)
    };
    if !own.iter().all(|messages| by_the_model(messages)) {
        return Ok(Err(DropReason::PromptsDiffer));
    }
    if own.iter().any(|messages| messages.iter().any(|message| !message.learned)) {
        return Ok(Err(DropReason::NothingLearned));
    }
    if own.iter().any(|messages| messages.len() > 1) {
        reader.remarks.note("an answer has several messages, all of which count as the answer, those of tools too", row.line);
    }
    let turned = reader.turner.answers(&chosen.before, wholes.map(Vec::as_slice), chosen.own);
    let Answers { prompt, alone, completions: [chosen, rejected] } = turned.map_err(|error| in_row(row, error))?;
    Ok(Ok(PreferenceRow { line: row.line, prompt, alone, chosen, rejected, framed: reader.framed() }))
}

/// Returns a row's `prompt` as the text before the model's words, and whether a chat template wrote it.
pub fn prompt(row: &Row, reader: &mut Reader) -> Result<(String, bool)> {
    let conversation = with_setting(row, turns(row, "prompt", Role::User)?)?;
    judge_conversation(row, reader.turner.chat(), &conversation, &mut reader.remarks);
    let text = reader.turner.chat().prompt(&conversation).map_err(|error| in_row(row, error))?;
    Ok((text, reader.framed()))
}
