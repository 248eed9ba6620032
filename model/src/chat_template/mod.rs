//! Chat templates: the Jinja program in a model's folder that turns a conversation into the text its model was trained on.
//!
//! Templates are rendered as transformers' `apply_chat_template` renders them, by our own interpreter (`jinja/`). A template is a
//! stranger's program, so its work is bounded and it can read nothing but the conversation.

mod input;
mod jinja;
mod source;

pub use input::{Rendered, TemplateInput};
pub(crate) use source::Source;
pub use source::{FILE, FOLDER};

use crate::data::Message;
use crate::error::{Error, Result};
use jinja::{Fault, Program};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The most characters of a refusal. A template may put any text into its own refusals.
const LONGEST_WORDS: usize = 600;

/// A compiled chat template: the only one of a model, or one for conversations without tools and one for those with tools.
#[derive(Clone)]
pub struct JinjaTemplate {
    /// For conversations without tools.
    plain: Choice,
    /// For conversations with tools.
    with_tools: Choice,
    special_tokens: BTreeMap<String, String>,
}

/// The chosen template, or the reason why there is none.
#[derive(Clone)]
enum Choice {
    Template(Arc<Compiled>),
    Missing { path: PathBuf, names: String },
}

struct Compiled {
    program: Program,
    text: String,
    path: PathBuf,
}

impl JinjaTemplate {
    /// Compiles `text`, which came from the file at `path`. `special_tokens` are the texts of `bos_token`, `eos_token` and
    /// others that the template may write.
    ///
    /// # Errors
    /// [`Error::ChatTemplate`] with the line of the template that is not valid Jinja.
    pub fn new(text: &str, special_tokens: BTreeMap<String, String>, path: &Path) -> Result<Self> {
        Self::from_source(&Source::single(text.to_owned(), path), special_tokens)
    }

    /// Compiles the templates of a model's folder: those that conversations can choose.
    ///
    /// # Errors
    /// As [`JinjaTemplate::new`].
    pub(crate) fn from_source(source: &Source, special_tokens: BTreeMap<String, String>) -> Result<Self> {
        let compiled = |place: Option<usize>| -> Result<Choice> {
            let Some(template) = place.map(|place| &source.templates[place]) else {
                let path = source.templates.first().map(|template| template.path.clone()).unwrap_or_default();
                let names: Vec<&str> = source.templates.iter().map(|template| template.name.as_str()).collect();
                return Ok(Choice::Missing { path, names: names.join(", ") });
            };
            let program = Program::new(&template.text).map_err(|fault| refused(&template.path, &fault))?;
            Ok(Choice::Template(Arc::new(Compiled { program, text: template.text.clone(), path: template.path.clone() })))
        };
        let (plain, with_tools) = (source.chosen(false), source.chosen(true));
        let plain_choice = compiled(plain)?;
        let tools_choice = if with_tools == plain { plain_choice.clone() } else { compiled(with_tools)? };
        Ok(Self { plain: plain_choice, with_tools: tools_choice, special_tokens })
    }

    /// Renders a conversation. With `add_generation_prompt`, the text ends where the model's next turn begins. If the model has several
    /// templates, a conversation with tools uses the one called "tool_use".
    ///
    /// # Errors
    /// [`Error::ChatTemplate`] if the template refuses the conversation (`raise_exception`) or cannot be run.
    pub fn render_input(&self, input: &TemplateInput<'_>, add_generation_prompt: bool) -> Result<Rendered> {
        let choice = if input.tools.is_some() { &self.with_tools } else { &self.plain };
        let template = choice.template()?;
        let bad = |reason| Error::ChatTemplate { path: template.path.clone(), reason };
        let variables = input.variables(&self.special_tokens, add_generation_prompt).map_err(bad)?;
        let (text, generated) = template.program.run(&variables).map_err(|fault| refused(&template.path, &fault))?;
        Ok(Rendered { text, generated })
    }

    /// True if one of the templates contains `word` as a whole name.
    pub fn names(&self, word: &str) -> bool {
        let in_name = |character: char| character.is_alphanumeric() || character == '_';
        let templates = [&self.plain, &self.with_tools].into_iter().filter_map(|choice| choice.template().ok());
        templates.map(|template| template.text.as_str()).any(|text| {
            text.match_indices(word).any(|(at, _)| {
                let (before, after) = (text[..at].chars().next_back(), text[at + word.len()..].chars().next());
                !before.is_some_and(in_name) && !after.is_some_and(in_name)
            })
        })
    }

    /// Returns the file that holds the template for conversations without tools.
    pub fn path(&self) -> &Path {
        match &self.plain {
            Choice::Template(template) => &template.path,
            Choice::Missing { path, .. } => path,
        }
    }

    /// Like [`JinjaTemplate::render_input`], for messages of a role and a text.
    ///
    /// # Errors
    /// As [`JinjaTemplate::render_input`].
    pub fn render(&self, messages: &[Message], add_generation_prompt: bool) -> Result<String> {
        let turns: Vec<Value> = messages.iter().map(|message| message.to_json(true)).collect();
        self.render_json(&turns, add_generation_prompt)
    }

    /// Like [`JinjaTemplate::render_input`], for messages without other input.
    ///
    /// # Errors
    /// As [`JinjaTemplate::render_input`].
    pub fn render_json(&self, messages: &[Value], add_generation_prompt: bool) -> Result<String> {
        let input = TemplateInput { messages, ..TemplateInput::default() };
        Ok(self.render_input(&input, add_generation_prompt)?.text)
    }
}

impl Choice {
    fn template(&self) -> Result<&Compiled> {
        match self {
            Self::Template(template) => Ok(template),
            Self::Missing { path, names } => {
                let reason = format!("of the chat templates ({names}) none is called \"default\", and the conversation chooses no other");
                Err(Error::ChatTemplate { path: path.clone(), reason })
            }
        }
    }
}

impl fmt::Debug for JinjaTemplate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.plain.template().map(|template| &template.path).ok();
        f.debug_struct("JinjaTemplate").field("path", &path).field("special_tokens", &self.special_tokens).finish_non_exhaustive()
    }
}

/// Describes the error in one line. For `raise_exception`, the line holds the template's own words.
fn refused(path: &Path, fault: &Fault) -> Error {
    let words: String = fault.words().chars().map(|c| if c.is_control() { ' ' } else { c }).take(LONGEST_WORDS).collect();
    let reason = match (fault.is_raised(), fault.line()) {
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
        assert!(message.contains("cannot be run") && message.contains("steps"), "{message}");
    }

    #[test]
    fn the_date_is_today_s_and_a_bad_format_an_error() {
        let year = render("{{ strftime_now('%Y') }}").unwrap();
        assert!(year.len() == 4 && year.starts_with("20"), "{year}");
        assert!(render("{{ strftime_now('%Q!') }}").unwrap_err().to_string().contains("strftime_now"));
    }
}
