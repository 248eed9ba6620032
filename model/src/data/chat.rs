//! Conversations as text.

use super::jsonl::{Row, kind};
use crate::error::Result;
use serde_json::Value;

/// Who speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Role {
    /// Instructions before the conversation.
    System,
    /// The person; also called "human".
    User,
    /// The model; also called "gpt".
    Assistant,
}

/// One turn of a conversation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Who speaks.
    pub role: Role,
    /// What is said.
    pub content: String,
}

/// How turns are written: each is its role's header, then its content after `lead`, then `end`.
///
/// The default is the transcript form of Anthropic's HH data (Bai et al. 2022): `"\n\nHuman: …"` and `"\n\nAssistant: …"`,
/// a system message bare at the start. A prompt ends with the assistant's header, `"\n\nAssistant:"`, and its completion begins
/// with the lead, a space, which most tokenizers join to the first word.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChatTemplate {
    /// Before a system message.
    pub system: String,
    /// Before the user's turn.
    pub user: String,
    /// Before the model's turn.
    pub assistant: String,
    /// Between a user's or model's header and the content; part of the completion.
    pub lead: String,
    /// After every turn; part of the completion.
    pub end: String,
}

impl Default for ChatTemplate {
    fn default() -> Self {
        let [system, user, assistant, lead, end] = ["", "\n\nHuman:", "\n\nAssistant:", " ", ""].map(str::to_owned);
        Self { system, user, assistant, lead, end }
    }
}

impl ChatTemplate {
    /// The conversation so far, up to where the model's next turn begins.
    pub fn prompt(&self, messages: &[Message]) -> String {
        let turns = messages.iter().map(|message| {
            let (header, lead) = match message.role {
                Role::System => (&self.system, ""),
                Role::User => (&self.user, self.lead.as_str()),
                Role::Assistant => (&self.assistant, self.lead.as_str()),
            };
            [header, lead, &message.content, &self.end].concat()
        });
        turns.chain([self.assistant.clone()]).collect()
    }

    /// The model's turn after its header.
    pub fn completion(&self, content: &str) -> String {
        [&self.lead, content, &self.end].concat()
    }
}

/// Reads a list of `{"role", "content"}` (or ShareGPT's `{"from", "value"}`), or one such object.
pub(super) fn messages(row: &Row, key: &str, value: &Value) -> Result<Vec<Message>> {
    match value {
        Value::Array(list) => list.iter().map(|turn| message(row, key, turn)).collect(),
        one => Ok(vec![message(row, key, one)?]),
    }
}

fn message(row: &Row, key: &str, turn: &Value) -> Result<Message> {
    let field = |name: &str, alias: &str| {
        let value = turn.get(name).or_else(|| turn.get(alias));
        let text = value.and_then(Value::as_str);
        text.ok_or_else(|| row.error(format!("{key:?} must hold messages with strings \"role\" and \"content\", not {}", kind(turn))))
    };
    let role = match field("role", "from")? {
        "system" => Role::System,
        "user" | "human" => Role::User,
        "assistant" | "gpt" => Role::Assistant,
        other => {
            let reason = format!("{key:?} has a message by {other:?}: a role is system, user or assistant");
            return Err(row.error(reason));
        }
    };
    let content = field("content", "value")?.to_owned();
    Ok(Message { role, content })
}

/// Splits a conversation into what came before the last turn, which must be the model's, and what it said.
pub(super) fn last_answer(row: &Row, mut messages: Vec<Message>) -> Result<(Vec<Message>, String)> {
    match messages.pop() {
        Some(Message { role: Role::Assistant, content }) => Ok((messages, content)),
        _ => Err(row.error("the last message of a conversation must be the assistant's")),
    }
}
