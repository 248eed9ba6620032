//! The chat template that came with a tokenizer.

use super::Tokenizer;
use super::file_parts::token_name;
use crate::atomic::{atomic_write, make_folder};
use crate::chat_template::{JinjaTemplate, Source};
use crate::error::Result;
use std::collections::BTreeMap;
use std::path::Path;

impl Tokenizer {
    /// Compiles the chat template of the tokenizer's folder, if it has one.
    ///
    /// # Errors
    /// [`crate::Error::ChatTemplate`] if the template cannot be compiled.
    pub fn chat_template(&self) -> Result<Option<JinjaTemplate>> {
        let compile = |source: &Source| JinjaTemplate::from_source(source, self.special_tokens());
        self.chat.as_ref().map(compile).transpose()
    }

    /// Returns the text of the chat template that is used unless another one is named.
    pub fn chat_template_text(&self) -> Option<&str> {
        let templates = &self.chat.as_ref()?.templates;
        templates.first().map(|template| template.text.as_str())
    }

    /// Replaces the chat template by the one in the file at `path`.
    ///
    /// # Errors
    /// [`crate::Error::Io`].
    pub fn with_chat_template(self, path: &Path) -> Result<Self> {
        let text = crate::files::read_text(path, crate::files::TEMPLATE)?;
        Ok(self.with_chat_template_text(text, path))
    }

    /// Replaces the chat template by a text from the file at `path`.
    pub(crate) fn with_chat_template_text(mut self, text: String, path: &Path) -> Self {
        self.chat = Some(Source::single(text, path));
        self
    }

    /// Returns the texts of the special tokens by the names that templates use: `bos_token`, `eos_token` and others in
    /// `tokenizer_config.json`. The byte tokenizer has none: its special tokens have no text, and are put around a text in any case.
    fn special_tokens(&self) -> BTreeMap<String, String> {
        if self.is_bytes() {
            return BTreeMap::new();
        }
        let own = [("bos_token", self.bos), ("eos_token", self.eos)];
        let own = own.into_iter().filter_map(|(key, id)| Some((key.to_owned(), self.name(id?)?)));
        let named = self.settings.iter().flatten().filter(|(key, _)| key.ends_with("_token"));
        let named = named.filter_map(|(key, value)| Some((key.clone(), token_name(value)?.to_owned())));
        own.chain(named).collect()
    }

    /// Writes the templates into their own files, unless `tokenizer_config.json` holds them.
    pub(super) fn save_chat_template(&self, folder: &Path) -> Result<()> {
        let Some(source) = &self.chat else { return Ok(()) };
        if source.in_settings && self.settings.as_ref().is_some_and(|settings| settings.contains_key("chat_template")) {
            return Ok(());
        }
        for template in &source.templates {
            let path = template.file(folder)?;
            make_folder(path.parent().unwrap_or(folder))?;
            atomic_write(&path, template.text.as_bytes())?;
        }
        Ok(())
    }
}
