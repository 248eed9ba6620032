//! The files of a model's folder that hold its chat templates.

use crate::error::{Error, Result};
use crate::files::{entries, is_there};
use serde_json::{Map, Value};
use std::path::{Path, PathBuf};

/// The file of the template called "default". Templates in files replace those in `tokenizer_config.json`.
pub const FILE: &str = "chat_template.jinja";
/// The folder of the other named templates, one file each.
pub const FOLDER: &str = "additional_chat_templates";

/// The name of a template that has no name of its own.
pub(super) const DEFAULT: &str = "default";
/// The name of the template for conversations with tools.
const WITH_TOOLS: &str = "tool_use";

/// One template of a model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NamedText {
    /// [`DEFAULT`], "tool_use", "rag" or another.
    pub name: String,
    /// The template.
    pub text: String,
    /// The file that it was read from.
    pub path: PathBuf,
}

impl NamedText {
    /// Returns the file for the template in `folder`.
    ///
    /// # Errors
    /// [`Error::ChatTemplate`] if its name cannot be a file's name.
    pub fn file(&self, folder: &Path) -> Result<PathBuf> {
        if self.name == DEFAULT {
            return Ok(folder.join(FILE));
        }
        let is_plain = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | '.' | ' ');
        if self.name.is_empty() || self.name.starts_with('.') || !self.name.chars().all(is_plain) {
            let reason = format!("a template called {:?} cannot be kept in a file of that name", self.name);
            return Err(Error::ChatTemplate { path: self.path.clone(), reason });
        }
        Ok(folder.join(FOLDER).join(format!("{}.jinja", self.name)))
    }
}

/// The chat templates of a model. There is at least one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Source {
    /// The templates, in the order of their files or of their list.
    pub templates: Vec<NamedText>,
    /// True if they were read from `tokenizer_config.json`.
    pub in_settings: bool,
}

impl Source {
    /// Makes a source of one template without a name.
    pub fn single(text: String, path: &Path) -> Self {
        Self { templates: vec![NamedText { name: DEFAULT.to_owned(), text, path: path.to_owned() }], in_settings: false }
    }

    /// Reads the templates of a folder: [`FILE`] and the files of [`FOLDER`]. Without them, reads `chat_template` in `settings`, the path
    /// and the contents of `tokenizer_config.json`. `chat_template` is a text, a list of `{"name", "template"}`, or an object of texts by
    /// name.
    ///
    /// # Errors
    /// [`Error::Io`]. [`Error::ChatTemplate`] if `chat_template` has another form.
    pub fn read(folder: &Path, settings: Option<(&Path, &Map<String, Value>)>) -> Result<Option<Self>> {
        let templates = in_files(folder)?;
        if !templates.is_empty() {
            return Ok(Some(Self { templates, in_settings: false }));
        }
        let Some((path, settings)) = settings else { return Ok(None) };
        let Some(value) = settings.get("chat_template").filter(|value| !value.is_null()) else { return Ok(None) };
        let bad = || Error::ChatTemplate {
            path: path.to_owned(),
            reason: "\"chat_template\" must be a text or a list of named texts, [{\"name\": \"default\", \"template\": \"…\"}]".to_owned(),
        };
        let texts = in_settings(value).ok_or_else(bad)?;
        let named = |(name, text)| NamedText { name, text, path: path.to_owned() };
        Ok(Some(Self { templates: texts.into_iter().map(named).collect(), in_settings: true }))
    }

    /// Returns the index in [`Source::templates`] of a conversation's template, chosen as in transformers. A conversation with tools uses
    /// "tool_use" if there is one. All others use "default".
    pub fn chosen(&self, has_tools: bool) -> Option<usize> {
        let place = |name: &str| self.templates.iter().position(|template| template.name == name);
        let for_tools = if has_tools { place(WITH_TOOLS) } else { None };
        for_tools.or_else(|| place(DEFAULT))
    }
}

/// Reads the templates that have their own files.
fn in_files(folder: &Path) -> Result<Vec<NamedText>> {
    let mut paths = Vec::new();
    let default = folder.join(FILE);
    if is_there(&default)? {
        paths.push((DEFAULT.to_owned(), default));
    }
    paths.extend(entries(&folder.join(FOLDER))?.into_iter().filter_map(|path| {
        let name = path.file_name()?.to_str()?.strip_suffix(".jinja")?.to_owned();
        Some((name, path))
    }));
    let read = |(name, path): (String, PathBuf)| {
        let text = crate::files::read_text(&path, crate::files::TEMPLATE)?;
        Ok(NamedText { name, text, path })
    };
    paths.into_iter().map(read).collect()
}

/// Returns the names and texts of `chat_template` in the settings, or `None` if it has another form.
fn in_settings(value: &Value) -> Option<Vec<(String, String)>> {
    let text = |value: &Value| value.as_str().map(str::to_owned);
    match value {
        Value::String(text) => Some(vec![(DEFAULT.to_owned(), text.clone())]),
        Value::Array(list) if !list.is_empty() => {
            list.iter().map(|entry| Some((text(entry.get("name")?)?, text(entry.get("template")?)?))).collect()
        }
        Value::Object(map) if !map.is_empty() => map.iter().map(|(name, entry)| Some((name.clone(), text(entry)?))).collect(),
        _ => None,
    }
}
