//! Conversations as text.

use super::jsonl::{Row, kind};
use crate::chat_template::JinjaTemplate;
use crate::error::{Error, Result};
use crate::tokenizer::Tokenizer;
use serde_json::Value;
use std::path::PathBuf;

/// Who speaks.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Role {
    /// Instructions before the conversation.
    System,
    /// The person; also called "human".
    User,
    /// The model; also called "gpt".
    Assistant,
    /// Somebody else, such as "tool". Chat templates decide what becomes of such a message; transcripts have no place for it.
    Other(String),
}

impl Role {
    /// The role's name as chat templates know it.
    pub fn name(&self) -> &str {
        match self {
            Self::System => "system",
            Self::User => "user",
            Self::Assistant => "assistant",
            Self::Other(name) => name,
        }
    }
}

/// One turn of a conversation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Who speaks.
    pub role: Role,
    /// What is said.
    pub content: String,
}

/// How conversations become text: the model's own chat template, or the transcript form for models that have none.
#[derive(Debug, Clone, Default)]
pub enum ChatTemplate {
    /// The template of the model's folder.
    Jinja(JinjaTemplate),
    /// `"\n\nHuman: …\n\nAssistant: …"`, a system message bare at the start: Anthropic's HH data (Bai et al. 2022). A prompt ends
    /// with `"\n\nAssistant:"` and its completion begins with a space, which most tokenizers join to the first word.
    #[default]
    Transcript,
}

impl ChatTemplate {
    /// The template that came with `tokenizer`, or else the transcript form.
    ///
    /// # Errors
    /// [`Error::ChatTemplate`] where the template cannot be compiled.
    pub fn of(tokenizer: &Tokenizer) -> Result<Self> {
        Ok(tokenizer.chat_template()?.map_or(Self::Transcript, Self::Jinja))
    }

    /// The conversation so far, up to where the model's next turn begins.
    ///
    /// # Errors
    /// [`Error::ChatTemplate`] where the template refuses the conversation, or a transcript has no place for a role.
    pub fn prompt(&self, messages: &[Message]) -> Result<String> {
        match self {
            Self::Jinja(template) => template.render(messages, true),
            Self::Transcript => Ok(messages.iter().map(transcript_turn).collect::<Result<String>>()? + ASSISTANT),
        }
    }

    /// The prompt before a turn, and the turn in `N` versions.
    ///
    /// A template is run on the whole conversation with each answer. The prompt is what those texts and the conversation
    /// before the turn share from the start (so a template that writes earlier turns otherwise once an answer follows moves
    /// text into the completion, as TRL has it); a completion ends with the EOS token, and what the template writes after it,
    /// which nobody will generate, is left out. An empty answer is an empty completion, whatever the template writes around it.
    ///
    /// # Errors
    /// As [`ChatTemplate::prompt`].
    pub fn turn<const N: usize>(&self, before: &[Message], answers: [&str; N]) -> Result<(String, [String; N])> {
        let mut prompt = self.prompt(before)?;
        let Self::Jinja(template) = self else {
            return Ok((prompt, answers.map(|answer| if answer.trim().is_empty() { String::new() } else { format!(" {answer}") })));
        };
        let mut wholes = [const { String::new() }; N];
        for (whole, answer) in wholes.iter_mut().zip(answers) {
            if answer.trim().is_empty() {
                continue;
            }
            let last = Message { role: Role::Assistant, content: answer.to_owned() };
            *whole = template.render(&[before, &[last]].concat(), false)?;
            prompt.truncate(common_start(&prompt, whole));
        }
        let completions = wholes.map(|whole| match whole.get(prompt.len()..) {
            Some(completion) => up_to_eos(completion, template.eos_token()).to_owned(),
            None => String::new(),
        });
        Ok((prompt, completions))
    }
}

const ASSISTANT: &str = "\n\nAssistant:";

fn transcript_turn(message: &Message) -> Result<String> {
    match &message.role {
        Role::System => Ok(message.content.clone()),
        Role::User => Ok(format!("\n\nHuman: {}", message.content)),
        Role::Assistant => Ok(format!("{ASSISTANT} {}", message.content)),
        Role::Other(name) => {
            let reason = format!("a message by {name:?}: for a model without a chat template a role is system, user or assistant");
            Err(Error::ChatTemplate { path: PathBuf::from("transcript"), reason })
        }
    }
}

/// Bytes of the longest common start that ends between characters.
pub(super) fn common_start(text: &str, other: &str) -> usize {
    let same = text.chars().zip(other.chars()).take_while(|(a, b)| a == b);
    same.map(|(character, _)| character.len_utf8()).sum()
}

/// The text without the white space after an EOS token at its end.
fn up_to_eos<'a>(text: &'a str, eos: Option<&str>) -> &'a str {
    let trimmed = text.trim_end();
    if eos.is_some_and(|eos| trimmed.ends_with(eos.trim_end())) { trimmed } else { text }
}

/// Reads a list of `{"role", "content"}` (or ShareGPT's `{"from", "value"}`), or one such object.
pub(super) fn messages(row: &Row, key: &str, value: &Value) -> Result<Vec<Message>> {
    match value {
        Value::Array(list) => list.iter().map(|turn| message(row, key, turn)).collect(),
        one => Ok(vec![message(row, key, one)?]),
    }
}

fn message(row: &Row, key: &str, turn: &Value) -> Result<Message> {
    let field = |name: &str, alias: &str| turn.get(name).or_else(|| turn.get(alias));
    let bad = || row.error(format!("{key:?} must hold messages with strings \"role\" and \"content\", not {}", kind(turn)));
    let role = match field("role", "from").and_then(Value::as_str).ok_or_else(bad)? {
        "system" => Role::System,
        "user" | "human" => Role::User,
        "assistant" | "gpt" => Role::Assistant,
        "" => return Err(row.error(format!("{key:?} has a message by nobody: its role is empty"))),
        other => Role::Other(other.to_owned()),
    };
    let content = field("content", "value").and_then(content_text).ok_or_else(bad)?;
    Ok(Message { role, content })
}

/// A text, or parts `[{"type": "text", "text": …}]` that are all texts.
fn content_text(content: &Value) -> Option<String> {
    match content {
        Value::String(text) => Some(text.clone()),
        Value::Array(parts) => parts.iter().map(|part| part.get("text")?.as_str()).collect(),
        _ => None,
    }
}

/// Splits a conversation into what came before the last turn, which must be the model's, and what it said.
pub(super) fn last_answer(row: &Row, mut messages: Vec<Message>) -> Result<(Vec<Message>, String)> {
    match messages.pop() {
        Some(Message { role: Role::Assistant, content }) => Ok((messages, content)),
        _ => Err(row.error("the last message of a conversation must be the assistant's")),
    }
}
