//! The decoding of tokens as they arrive, a whole character at a time.
//!
//! A character may be spread over several tokens, and some decoders change a token's text by the tokens before it. So each step decodes the
//! tokens of the last output together with all tokens since then. It returns only the new text.

use super::Tokenizer;
use crate::error::Result;

impl Tokenizer {
    /// Returns the text that `tokens` add after `context`, with the space that decoding them alone would lose.
    ///
    /// # Errors
    /// [`Error::Tokenizer`](crate::Error::Tokenizer).
    pub fn decode_after(&self, context: &[u32], tokens: &[u32]) -> Result<String> {
        let mut stream = self.stream(context)?;
        let mut text = String::new();
        for &token in tokens {
            text.push_str(&stream.push(token)?);
        }
        text.push_str(&stream.finish());
        Ok(text)
    }

    /// Makes a decoder that returns the text of tokens as they arrive, after those of `context`.
    ///
    /// # Errors
    /// [`Error::Tokenizer`](crate::Error::Tokenizer).
    pub fn stream(&self, context: &[u32]) -> Result<StreamDecoder<'_>> {
        StreamDecoder::new(self, context)
    }
}

/// A decoder that returns the text of tokens as they arrive, never half a UTF-8 character.
#[derive(Debug, Clone)]
pub struct StreamDecoder<'a> {
    tokenizer: &'a Tokenizer,
    /// The tokens of the last output, then the tokens that have no output yet.
    window: Vec<u32>,
    /// The number of tokens in `window` that belong to the last output.
    shown: usize,
    /// The text of the tokens of the last output.
    shown_text: String,
    /// Text that ends in the middle of a character, after `shown_text`.
    pending: String,
}

impl<'a> StreamDecoder<'a> {
    fn new(tokenizer: &'a Tokenizer, context: &[u32]) -> Result<Self> {
        Ok(Self {
            tokenizer,
            window: context.to_vec(),
            shown: context.len(),
            shown_text: tokenizer.decode(context)?,
            pending: String::new(),
        })
    }

    /// Adds a token. Returns the text that it completes, which is often empty and may be several characters.
    ///
    /// # Errors
    /// [`crate::Error::Tokenizer`].
    pub fn push(&mut self, token: u32) -> Result<String> {
        self.window.push(token);
        let text = self.tokenizer.decode(&self.window)?;
        let new = text[common_prefix(&text, &self.shown_text)..].to_owned();
        if new.is_empty() || new.ends_with(char::REPLACEMENT_CHARACTER) {
            self.pending = new;
            return Ok(String::new());
        }
        self.window.drain(..self.shown);
        self.shown = self.window.len();
        self.shown_text = self.tokenizer.decode(&self.window)?;
        self.pending.clear();
        Ok(new)
    }

    /// Returns the text that is left at the end: the start of a character that was never completed, as U+FFFD.
    pub fn finish(self) -> String {
        self.pending
    }
}

/// Returns the length in bytes of the longest common start of both texts that ends between characters.
fn common_prefix(text: &str, other: &str) -> usize {
    let same = text.chars().zip(other.chars()).take_while(|(a, b)| a == b);
    same.map(|(c, _)| c.len_utf8()).sum()
}
