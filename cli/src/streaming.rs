//! Text from a model, token by token, that ends before a stop text.

use model::tokenizer::stream::StreamDecoder;

/// The text so far. If its end could begin a stop text, this end is held back until the next tokens decide.
pub struct TextSoFar<'a> {
    stream: StreamDecoder<'a>,
    stops: Vec<&'a str>,
    text: String,
    /// Bytes of `text` that were returned before.
    given: usize,
    stopped: bool,
}

impl<'a> TextSoFar<'a> {
    /// Starts an empty text that will end before the first of `stops`. Empty stops are ignored.
    pub fn new(stream: StreamDecoder<'a>, stops: &'a [String]) -> Self {
        let stops = stops.iter().map(String::as_str).filter(|stop| !stop.is_empty()).collect();
        Self { stream, stops, text: String::new(), given: 0, stopped: false }
    }

    /// True if a stop text was found.
    pub fn stopped(&self) -> bool {
        self.stopped
    }

    /// Adds a token and returns the text that can now be shown.
    ///
    /// # Errors
    /// The errors of the tokenizer.
    pub fn push(&mut self, token: u32) -> model::Result<String> {
        let new = self.stream.push(token)?;
        Ok(self.add(&new))
    }

    fn add(&mut self, new: &str) -> String {
        self.text.push_str(new);
        if let Some(at) = self.stop_at() {
            self.text.truncate(at);
            self.stopped = true;
        }
        let held = if self.stopped { 0 } else { held_back(&self.text[self.given..], &self.stops) };
        let end = self.text.len() - held;
        let shown = self.text[self.given..end].to_owned();
        self.given = end;
        shown
    }

    /// Returns the byte offset of the first stop text.
    fn stop_at(&self) -> Option<usize> {
        let rest = &self.text[self.given..];
        self.stops.iter().filter_map(|stop| rest.find(stop)).min().map(|at| self.given + at)
    }

    /// Ends the text. Returns the part that was not returned before, and the whole text.
    pub fn finish(mut self) -> (String, String) {
        if !self.stopped {
            self.text.push_str(&self.stream.clone().finish());
            if let Some(at) = self.stop_at() {
                self.text.truncate(at);
            }
        }
        (self.text[self.given..].to_owned(), self.text)
    }
}

/// Returns the length in bytes of the longest end of `text` that begins a stop text.
fn held_back(text: &str, stops: &[&str]) -> usize {
    let starts = stops.iter().flat_map(|stop| stop.char_indices().map(|(at, _)| &stop[..at]));
    starts.filter(|start| text.ends_with(start)).map(str::len).max().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::tokenizer::Tokenizer;

    fn shown(stops: &[&str], parts: &[&str]) -> (Vec<String>, String, String) {
        let (tokenizer, stops) = (Tokenizer::bytes(), stops.iter().map(|&stop| stop.to_owned()).collect::<Vec<_>>());
        let mut text = TextSoFar::new(tokenizer.stream(&[]).unwrap(), &stops);
        let shown = parts.iter().map(|part| text.add(part)).collect();
        let (rest, whole) = text.finish();
        (shown, rest, whole)
    }

    #[test]
    fn what_may_begin_the_stop_text_is_held_back_until_it_is_known() {
        let (parts, rest, whole) = shown(&["END"], &["a E", "N", "x", "END b"]);
        assert_eq!(parts, ["a ", "", "ENx", ""]);
        assert_eq!((rest.as_str(), whole.as_str()), ("", "a ENx"));
    }

    #[test]
    fn a_stop_text_over_several_tokens_is_never_shown() {
        let (parts, rest, whole) = shown(&["\n\nHuman:", "###"], &["yes\n", "\nHu", "man", ": no"]);
        assert_eq!(parts, ["yes", "", "", ""]);
        assert_eq!((rest.as_str(), whole.as_str()), ("", "yes"));
    }

    #[test]
    fn the_first_of_several_stop_texts_counts() {
        let (_, _, whole) = shown(&["dog", "cat", ""], &["a cat and a dog"]);
        assert_eq!(whole, "a ");
    }

    #[test]
    fn what_was_held_back_is_shown_at_the_end() {
        let (parts, rest, whole) = shown(&["END"], &["tail EN"]);
        assert_eq!((parts[0].as_str(), rest.as_str(), whole.as_str()), ("tail ", "EN", "tail EN"));
    }
}
