//! Where a model's folder keeps its chat template.

use crate::error::{Error, Result};
use crate::tokenizer::SETTINGS_FILE;
use serde_json::{Map, Value};
use std::path::{Path, PathBuf};

/// The template's own file; what it holds goes before what `tokenizer_config.json` holds.
pub const FILE: &str = "chat_template.jinja";

/// A template's text and the file that it came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Source {
    /// The template.
    pub text: String,
    /// The file, for messages.
    pub path: PathBuf,
}

impl Source {
    /// The template of a folder whose `tokenizer_config.json` holds `settings`: [`FILE`], else `chat_template`, which is a
    /// text or a list of named ones, of which the one called "default" counts (the only one, where there is one).
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::ChatTemplate`] where `chat_template` is of another form.
    pub fn read(folder: &Path, settings: Option<&Map<String, Value>>) -> Result<Option<Self>> {
        let path = folder.join(FILE);
        if path.exists() {
            let text = crate::files::read_text(&path, crate::files::TEMPLATE)?;
            return Ok(Some(Self { text, path }));
        }
        let path = folder.join(SETTINGS_FILE);
        match settings.and_then(|settings| settings.get("chat_template")) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) => Ok(Some(Self { text: text.clone(), path })),
            Some(Value::Array(list)) => match named(list) {
                Some(text) => Ok(Some(Self { text: text.to_owned(), path })),
                None => {
                    let reason = "\"chat_template\" is a list of templates, and none is called \"default\"".to_owned();
                    Err(Error::ChatTemplate { path, reason })
                }
            },
            Some(_) => {
                let reason = "\"chat_template\" must be a text or a list of named texts".to_owned();
                Err(Error::ChatTemplate { path, reason })
            }
        }
    }
}

/// The template called "default", or the only one.
fn named(list: &[Value]) -> Option<&str> {
    let default = list.iter().find(|entry| entry.get("name").and_then(Value::as_str) == Some("default"));
    let only = list.first().filter(|_| list.len() == 1);
    default.or(only)?.get("template")?.as_str()
}
