//! `slpo generate`: text from a model, as it comes.

use super::load::{Loaded, encode_with_bos};
use crate::arguments::{Generate, Shared};
use crate::failure::Failure;
use crate::output::Output;
use model::generate::{Limits, Sampling, generate};
use model::tokenizer::{StreamDecoder, Tokenizer};
use serde::Serialize;

#[derive(Serialize)]
struct Generated {
    tokens: Vec<u32>,
    text: String,
}

/// Writes text after a prompt.
///
/// # Errors
/// Those of the model's files, of the prompt and of standard output.
pub fn run(arguments: &Generate, shared: &Shared) -> Result<(), Failure> {
    let loaded = Loaded::open_with(&arguments.model, arguments.adapter.as_deref())?;
    let prompt = prompt(arguments, &loaded.tokenizer)?;
    let sampling = Sampling { temperature: arguments.temperature, top_k: arguments.top_k, top_p: arguments.top_p };
    let ends = ends(arguments, &loaded);
    let limits = Limits { max_tokens: arguments.max_tokens, stop: &ends };
    let output = Output::new(shared.json);
    let mut text = TextSoFar::new(loaded.tokenizer.stream(&prompt)?, arguments.stop.as_deref());
    let mut failure = None;
    let random = engine::Generator::new(shared.seed);
    let tokens = generate(&loaded.decoder, &[prompt], &sampling, limits, &random, |_, token| {
        if ends.contains(&token) {
            return false;
        }
        let new = text.push(token).map_err(Failure::from).and_then(|new| output.stream(&new).map(|()| text.stopped));
        new.map_or_else(
            |error| {
                failure = Some(error);
                false
            },
            |stopped| !stopped,
        )
    })?;
    if let Some(failure) = failure {
        return Err(failure);
    }
    let (rest, text) = text.finish();
    let newline = if text.ends_with('\n') { "" } else { "\n" };
    let generated = Generated { tokens: tokens.into_iter().flatten().collect(), text };
    output.result(&generated, |to| write!(to, "{rest}{newline}"))
}

fn prompt(arguments: &Generate, tokenizer: &Tokenizer) -> Result<Vec<u32>, Failure> {
    let tokens = match &arguments.prompt_tokens {
        Some(tokens) if tokens.0.is_empty() => tokenizer.bos().into_iter().collect(),
        Some(tokens) => tokens.0.clone(),
        None => encode_with_bos(tokenizer, arguments.prompt.as_deref().unwrap_or_default())?,
    };
    if tokens.is_empty() {
        let reason = "the prompt has no tokens, and the model's tokenizer has no BOS token to begin with: give some text or tokens";
        return Err(Failure::Usage(reason.to_owned()));
    }
    Ok(tokens)
}

/// The tokens that end a text: those of the configuration and of the tokenizer.
fn ends(arguments: &Generate, loaded: &Loaded) -> Vec<u32> {
    if arguments.ignore_eos {
        return Vec::new();
    }
    loaded.config().eos.iter().copied().chain(loaded.tokenizer.eos()).collect()
}

/// The new text so far, which ends before the stop text. What may be the beginning of the stop text is held back.
struct TextSoFar<'a> {
    stream: StreamDecoder<'a>,
    stop: Option<&'a str>,
    text: String,
    /// Bytes of `text` that were given out.
    given: usize,
    /// Whether the stop text has come.
    stopped: bool,
}

impl<'a> TextSoFar<'a> {
    fn new(stream: StreamDecoder<'a>, stop: Option<&'a str>) -> Self {
        Self { stream, stop: stop.filter(|stop| !stop.is_empty()), text: String::new(), given: 0, stopped: false }
    }

    /// Adds a token; the text that can be shown because of it.
    fn push(&mut self, token: u32) -> model::Result<String> {
        let new = self.stream.push(token)?;
        Ok(self.add(&new))
    }

    fn add(&mut self, new: &str) -> String {
        self.text.push_str(new);
        let end = match self.stop {
            None => self.text.len(),
            Some(stop) => match self.text[self.given..].find(stop) {
                Some(at) => {
                    self.text.truncate(self.given + at);
                    self.stopped = true;
                    self.text.len()
                }
                None => self.text.len() - held_back(&self.text[self.given..], stop),
            },
        };
        let shown = self.text[self.given..end].to_owned();
        self.given = end;
        shown
    }

    /// What has not been shown, and the whole text.
    fn finish(mut self) -> (String, String) {
        if !self.stopped {
            let rest = std::mem::take(&mut self.text);
            self.text = rest + &self.stream.clone().finish();
            if let Some(at) = self.stop.and_then(|stop| self.text[self.given..].find(stop)) {
                self.text.truncate(self.given + at);
            }
        }
        (self.text[self.given..].to_owned(), self.text)
    }
}

/// Bytes at the end of `text` with which `stop` begins.
fn held_back(text: &str, stop: &str) -> usize {
    stop.char_indices().map(|(at, _)| at).filter(|&at| at > 0 && text.ends_with(&stop[..at])).max().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(stop: &str, parts: &[&str]) -> (Vec<String>, String, String) {
        let tokenizer = Tokenizer::bytes();
        let mut text = TextSoFar::new(tokenizer.stream(&[]).unwrap(), Some(stop));
        let shown = parts.iter().map(|part| text.add(part)).collect();
        let (rest, whole) = text.finish();
        (shown, rest, whole)
    }

    #[test]
    fn what_may_begin_the_stop_text_is_held_back_until_it_is_known() {
        let (parts, rest, whole) = shown("END", &["a E", "N", "x", "END b"]);
        assert_eq!(parts, ["a ", "", "ENx", ""]);
        assert_eq!((rest.as_str(), whole.as_str()), ("", "a ENx"));
    }

    #[test]
    fn what_was_held_back_is_shown_at_the_end() {
        let (parts, rest, whole) = shown("END", &["tail EN"]);
        assert_eq!((parts[0].as_str(), rest.as_str(), whole.as_str()), ("tail ", "EN", "tail EN"));
    }
}
