//! Chat templates: the Jinja program of a model's folder that turns a conversation into the text its model was trained on.
//!
//! Rendered as transformers' `apply_chat_template` renders it: the same whitespace rules (`trim_blocks`, `lstrip_blocks`), the
//! same functions (`raise_exception`, `strftime_now`, `tojson`), Python's string methods, and the special tokens by name. A
//! template is somebody else's program, so it runs with bounded work and can reach nothing but the conversation.

mod environment;
mod python;
mod source;

pub(crate) use source::Source;
pub use source::{FILE, FOLDER};

use crate::data::Message;
use crate::error::{Error, Result};
use minijinja::Environment;
use minijinja::value::Serde;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The one template of an environment.
const NAME: &str = "chat_template";

/// What a template is run on.
#[derive(Debug, Clone, Copy, Default)]
pub struct TemplateInput<'a> {
    /// The conversation: each message an object with `role` and what else it has.
    pub messages: &'a [Value],
    /// The tools that the model may call, as JSON schemas.
    pub tools: Option<&'a Value>,
    /// The texts that the model may refer to.
    pub documents: Option<&'a Value>,
    /// Further variables of the template, such as `enable_thinking`.
    pub arguments: Option<&'a Map<String, Value>>,
}

/// The text of a conversation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rendered {
    /// The text.
    pub text: String,
    /// The bytes of the text that the template marks as the model's own words (`{% generation %}`), in their order.
    pub generated: Vec<Range<usize>>,
}

/// A chat template that is ready to run.
#[derive(Clone)]
pub struct JinjaTemplate {
    source: Arc<Source>,
    environments: Arc<Vec<Environment<'static>>>,
    special_tokens: BTreeMap<String, String>,
    path: PathBuf,
}

impl JinjaTemplate {
    /// Compiles `text`, which came from the file at `path`. `special_tokens` are the texts of `bos_token`, `eos_token` and
    /// others that the template may write.
    ///
    /// # Errors
    /// [`Error::ChatTemplate`] with the line of the template that is no Jinja.
    pub fn new(text: &str, special_tokens: BTreeMap<String, String>, path: &Path) -> Result<Self> {
        Self::from_source(Source::single(text.to_owned(), path), special_tokens)
    }

    /// Compiles the templates of a model's folder.
    ///
    /// # Errors
    /// As [`JinjaTemplate::new`].
    pub(crate) fn from_source(source: Source, special_tokens: BTreeMap<String, String>) -> Result<Self> {
        let path = source.templates.first().map(|template| template.path.clone()).unwrap_or_default();
        let mut environments = Vec::new();
        for template in &source.templates {
            let mut environment = environment::new().map_err(|error| refused(&template.path, &error))?;
            let text = environment::with_plain_generation_blocks(&template.text);
            environment.add_template_owned(NAME, text).map_err(|error| refused(&template.path, &error))?;
            environments.push(environment);
        }
        Ok(Self { source: Arc::new(source), environments: Arc::new(environments), special_tokens, path })
    }

    /// The text of a conversation; with `add_generation_prompt`, up to where the model's next turn begins. Where the model has
    /// several templates, tools choose the one called "tool_use".
    ///
    /// # Errors
    /// [`Error::ChatTemplate`] where the template refuses the conversation (`raise_exception`) or cannot be run.
    pub fn render_input(&self, input: &TemplateInput<'_>, add_generation_prompt: bool) -> Result<Rendered> {
        let place = self.source.chosen(input.tools.is_some()).unwrap_or_default();
        let path = &self.source.templates[place].path;
        let mut context: Map<String, Value> = self.special_tokens.iter().map(|(name, text)| (name.clone(), json!(text))).collect();
        context.extend(input.arguments.cloned().unwrap_or_default());
        let given = [
            ("messages", json!(input.messages)),
            ("add_generation_prompt", json!(add_generation_prompt)),
            ("tools", input.tools.cloned().unwrap_or_default()),
            ("documents", input.documents.cloned().unwrap_or_default()),
        ];
        context.extend(given.map(|(name, value)| (name.to_owned(), value)));
        let template = self.environments[place].get_template(NAME).map_err(|error| refused(path, &error))?;
        let text = template.render(Serde(context)).map_err(|error| refused(path, &error))?;
        Ok(Rendered { text, generated: Vec::new() })
    }

    /// True if the template marks the model's own words (`{% generation %}`).
    pub fn marks_generation(&self) -> bool {
        self.source.templates.iter().all(|template| template.text.contains("endgeneration"))
    }

    /// True if one of the templates has `word` in its text, with nothing that could be part of a name on either side.
    pub fn names(&self, word: &str) -> bool {
        let in_name = |character: char| character.is_alphanumeric() || character == '_';
        self.source.templates.iter().any(|template| {
            let text = &template.text;
            text.match_indices(word).any(|(at, _)| {
                let (before, after) = (text[..at].chars().next_back(), text[at + word.len()..].chars().next());
                !before.is_some_and(in_name) && !after.is_some_and(in_name)
            })
        })
    }

    /// The file that holds the first template.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// As [`JinjaTemplate::render_input`] for messages of a role and a text.
    ///
    /// # Errors
    /// As [`JinjaTemplate::render_input`].
    pub fn render(&self, messages: &[Message], add_generation_prompt: bool) -> Result<String> {
        let turns: Vec<Value> = messages.iter().map(|message| message.to_json(true)).collect();
        self.render_json(&turns, add_generation_prompt)
    }

    /// As [`JinjaTemplate::render_input`] for messages alone.
    ///
    /// # Errors
    /// As [`JinjaTemplate::render_input`].
    pub fn render_json(&self, messages: &[Value], add_generation_prompt: bool) -> Result<String> {
        let input = TemplateInput { messages, ..TemplateInput::default() };
        Ok(self.render_input(&input, add_generation_prompt)?.text)
    }

    /// The text of the token that ends a turn and a text, where the model names one.
    pub fn eos_token(&self) -> Option<&str> {
        self.special_tokens.get("eos_token").map(String::as_str).filter(|text| !text.is_empty())
    }
}

impl fmt::Debug for JinjaTemplate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JinjaTemplate").field("path", &self.path).field("special_tokens", &self.special_tokens).finish_non_exhaustive()
    }
}

/// What the template engine said, in one line; of `raise_exception`, the template's own words.
fn refused(path: &Path, error: &minijinja::Error) -> Error {
    let words = error.detail().map_or_else(|| error.kind().to_string(), str::to_owned);
    let reason = match (environment::is_raised(error), error.line()) {
        (true, _) => format!("the chat template refuses the conversation: {words}"),
        (false, Some(line)) => format!("the chat template cannot be run: {words} (line {line} of the template)"),
        (false, None) => format!("the chat template cannot be run: {words}"),
    };
    Error::ChatTemplate { path: path.to_owned(), reason }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::Role;

    fn render(text: &str) -> Result<String> {
        let messages = [Message::new(Role::User, "hi")];
        let special = BTreeMap::from([("bos_token".to_owned(), "<s>".to_owned())]);
        JinjaTemplate::new(text, special, Path::new("m/tokenizer_config.json"))?.render(&messages, true)
    }

    #[test]
    fn a_template_sees_the_conversation_and_the_special_tokens() {
        let text = "{{ bos_token }}{% for m in messages %}[{{ m.role }}]{{ m['content'].upper() }}{% endfor %}{{ eos_token }}";
        assert_eq!(render(text).unwrap(), "<s>[user]HI", "a token that is not named is empty");
    }

    #[test]
    fn the_template_s_own_words_say_why_it_refuses() {
        let message = render("{{ raise_exception('roles must alternate') }}").unwrap_err().to_string();
        assert_eq!(message, "m/tokenizer_config.json: the chat template refuses the conversation: roles must alternate");
    }

    #[test]
    fn what_is_no_template_is_named_with_its_line() {
        let message = render("a\n{% for %}").unwrap_err().to_string();
        assert!(message.contains("line 2 of the template"), "{message}");
    }

    #[test]
    fn a_template_that_never_ends_is_stopped() {
        let loops = "{% for i in range(9000) %}{% for j in range(9000) %}{{ i * j }}{% endfor %}{% endfor %}";
        let message = render(loops).unwrap_err().to_string();
        assert!(message.contains("cannot be run") && message.contains("fuel"), "{message}");
    }

    #[test]
    fn the_date_is_today_s_and_a_bad_format_an_error() {
        let year = render("{{ strftime_now('%Y') }}").unwrap();
        assert!(year.len() == 4 && year.starts_with("20"), "{year}");
        assert!(render("{{ strftime_now('%Q!') }}").unwrap_err().to_string().contains("strftime_now"));
    }
}
