//! Conversations as text: by the model's own chat template, or as transcripts for models that have none.
//!
//! Read this after `message.rs`. `turns.rs` cuts these texts into learned parts and context.

use super::message::{Message, Role};
use crate::chat_template::{JinjaTemplate, Rendered, TemplateInput};
use crate::error::{Error, Result};
use crate::tokenizer::Tokenizer;
use serde_json::{Map, Value, json};
use std::path::PathBuf;

/// The way in which conversations become text.
#[derive(Debug, Clone, Default)]
pub enum ChatTemplate {
    /// The template of the model's folder.
    Jinja(JinjaTemplate),
    /// `"\n\nHuman: …\n\nAssistant: …"`, as in Anthropic's HH data (Bai et al. 2022). A system message stands at the start without a name.
    /// A prompt ends with `"\n\nAssistant:"`. Its completion begins with a space, which most tokenizers join to the first word.
    #[default]
    Transcript,
}

/// A conversation, with the other inputs of a chat template.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Conversation {
    /// The turns.
    pub messages: Vec<Message>,
    /// The tools that the model may call, as JSON schemas.
    pub tools: Option<Value>,
    /// The texts that the model may refer to.
    pub documents: Option<Value>,
    /// Other variables of the template (`chat_template_kwargs`).
    pub arguments: Option<Map<String, Value>>,
}

impl Conversation {
    /// Makes a conversation of these turns and nothing else.
    pub fn of(messages: Vec<Message>) -> Self {
        Self { messages, ..Self::default() }
    }

    /// Returns the same conversation with other turns.
    pub(super) fn with(&self, messages: &[Message]) -> Self {
        Self { messages: messages.to_vec(), ..self.clone() }
    }

    /// Returns the name of the first input that only a chat template can write, if there is one.
    fn needs_template(&self) -> Option<&'static str> {
        let has =
            [("tools", self.tools.is_some()), ("documents", self.documents.is_some()), ("chat_template_kwargs", self.arguments.is_some())];
        has.into_iter().find(|(_, given)| *given).map(|(name, _)| name)
    }
}

impl ChatTemplate {
    /// Takes the template that came with `tokenizer`, or else the transcript form.
    ///
    /// # Errors
    /// [`Error::ChatTemplate`] if the template cannot be compiled.
    pub fn of(tokenizer: &Tokenizer) -> Result<Self> {
        Ok(tokenizer.chat_template()?.map_or(Self::Transcript, Self::Jinja))
    }

    /// Writes the conversation up to the place where the model's next words begin. If the last message is the model's own, it is continued
    /// from its end. Otherwise a new turn is opened.
    ///
    /// # Errors
    /// [`Error::ChatTemplate`] if the template refuses the conversation, or a transcript cannot write a role or a key.
    pub fn prompt(&self, conversation: &Conversation) -> Result<String> {
        match conversation.messages.last() {
            Some(last) if last.role == Role::Assistant => self.continued(conversation, last),
            _ => self.opened(conversation),
        }
    }

    /// Writes the conversation and the opening of a new turn of the model.
    pub(super) fn opened(&self, conversation: &Conversation) -> Result<String> {
        match self {
            Self::Jinja(template) => Ok(render(template, conversation, true)?.text),
            Self::Transcript => Ok(transcript(conversation)? + ASSISTANT),
        }
    }

    /// Writes the whole conversation, with the spans of the model's words if the template marks them.
    pub(super) fn whole(&self, conversation: &Conversation) -> Result<Rendered> {
        match self {
            Self::Jinja(template) => render(template, conversation, false),
            Self::Transcript => Ok(Rendered { text: transcript(conversation)?, generated: Vec::new() }),
        }
    }

    /// Writes the text up to the end of the last message, as transformers' `continue_final_message` cuts it.
    fn continued(&self, conversation: &Conversation, last: &Message) -> Result<String> {
        let (mut text, said) = (self.whole(conversation)?.text, last.text());
        let Some(at) = text.rfind(said.trim()) else {
            return Err(self.error(
                "the last message is the assistant's, and the chat template does not write it as it is, so it cannot be continued",
            ));
        };
        // The prompt keeps the white space at the end of the message if the template keeps it.
        let end = if text[at..].starts_with(said.trim_start()) { at + said.trim_start().len() } else { at + said.trim().len() };
        text.truncate(end);
        Ok(text)
    }

    /// Returns the text that the template writes after the model's words to end a turn, such as `<|im_end|>`, without white space around
    /// it. Returns `None` if there is no such text, or the template refuses a plain conversation.
    pub fn end_of_turn(&self) -> Option<String> {
        const WORDS: &str = "W0rds";
        let Self::Jinja(template) = self else { return None };
        let turn = |role| Message::new(role, WORDS);
        let conversation = Conversation::of(vec![turn(Role::User), turn(Role::Assistant)]);
        let text = render(template, &conversation, false).ok()?.text;
        let end = text[text.rfind(WORDS)? + WORDS.len()..].trim();
        (!end.is_empty()).then(|| end.to_owned())
    }

    /// True if the template's text contains this word, or there is no template.
    pub(super) fn names(&self, word: &str) -> bool {
        match self {
            Self::Jinja(template) => template.names(word),
            Self::Transcript => true,
        }
    }

    fn error(&self, reason: &str) -> Error {
        let path = match self {
            Self::Jinja(template) => template.path().to_owned(),
            Self::Transcript => PathBuf::from("transcript"),
        };
        Error::ChatTemplate { path, reason: reason.to_owned() }
    }
}

/// Runs a template. A list of text parts stays a list if the template reads parts. Otherwise it becomes one text.
fn render(template: &JinjaTemplate, conversation: &Conversation, add_generation_prompt: bool) -> Result<Rendered> {
    if let Some(part) = conversation.messages.iter().find_map(Message::part_that_is_no_text) {
        let reason = format!("a message has a part of type {part:?}, and this program's models take texts only");
        return Err(Error::ChatTemplate { path: template.path().to_owned(), reason });
    }
    let as_parts = conversation.messages.iter().any(Message::has_parts) && reads_parts(template);
    let messages: Vec<Value> = conversation.messages.iter().map(|message| message.to_json(as_parts)).collect();
    let input = TemplateInput {
        messages: &messages,
        tools: conversation.tools.as_ref(),
        documents: conversation.documents.as_ref(),
        arguments: conversation.arguments.as_ref(),
    };
    template.render_input(&input, add_generation_prompt)
}

/// True if the template writes a message of two text parts as its texts, not in the notation of a list.
fn reads_parts(template: &JinjaTemplate) -> bool {
    let part = |text: &str| json!({"type": "text", "text": text});
    let messages = [json!({"role": "user", "content": [part("F1rst"), part("Sec0nd")]})];
    let input = TemplateInput { messages: &messages, ..TemplateInput::default() };
    let text = template.render_input(&input, false).map(|rendered| rendered.text).unwrap_or_default();
    text.contains("F1rst") && text.contains("Sec0nd") && !text.contains("'F1rst'")
}

const ASSISTANT: &str = "\n\nAssistant:";

/// Keys of a message that hold part of its content, and that a transcript cannot write.
const ONLY_BY_TEMPLATE: [&str; 5] = ["tool_calls", "function_call", "reasoning_content", "reasoning", "thinking"];

fn transcript(conversation: &Conversation) -> Result<String> {
    let no_place = |what: String| {
        let reason = format!("{what}: a model without a chat template has no place for that");
        Error::ChatTemplate { path: PathBuf::from("transcript"), reason }
    };
    if let Some(name) = conversation.needs_template() {
        return Err(no_place(format!("the row has {name:?}")));
    }
    let turn = |message: &Message| {
        if let Some(key) = message.further_keys().find(|key| ONLY_BY_TEMPLATE.contains(key)) {
            return Err(no_place(format!("a message by {:?} has {key:?}", message.role.name())));
        }
        if let Some(part) = message.part_that_is_no_text() {
            return Err(no_place(format!("a message has a part of type {part:?}")));
        }
        let text = message.text();
        match &message.role {
            Role::System => Ok(text),
            Role::User => Ok(format!("\n\nHuman: {text}")),
            Role::Assistant => Ok(format!("{ASSISTANT} {text}")),
            Role::Other(name) => Err(no_place(format!("a message by {name:?}"))),
        }
    };
    conversation.messages.iter().map(turn).collect()
}
