//! Running text for language modelling: documents, tokens, windows.

use super::columns::{self, Remarks};
use super::formats;
use super::jsonl::Row;
use super::source::Source;
use crate::error::{Error, Result};
use crate::tokenizer::Tokenizer;
use rayon::prelude::*;
use std::path::{Path, PathBuf};

/// The separator of documents in a text file.
pub const SEPARATOR: &str = "<|endoftext|>";

/// Bytes of documents that are tokenized together, on all threads, before they join the stream. A library's tokens take some 100 times
/// the memory of those in the stream.
const AT_ONCE: usize = 4 << 20;

/// A text as two streams of tokens, one for training and one for evaluation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TextData {
    path: PathBuf,
    train: Vec<u32>,
    held_out: Vec<u32>,
    /// The number of documents in the file. 1 if it has no separator.
    pub documents: usize,
    /// Bytes of the documents.
    pub bytes: usize,
    /// A sentence for each thing in the file's rows that is not used. Empty for running text.
    pub remarks: Vec<String>,
}

impl TextData {
    /// Reads running text, or rows with a `text` (JSON lines, a JSON list, Parquet). The content tells the form, or else the name.
    ///
    /// Documents are the parts between [`SEPARATOR`]s, or one row each. A byte-order mark is not part of them, and every line end is a line
    /// feed. Each document starts with BOS and ends with EOS, if the tokenizer has them. A single document has no EOS, because the end of a
    /// file without separators is not the end of a document.
    ///
    /// The last `held_out` of the characters, 0 ≤ `held_out` < 1, are kept apart. With several documents, whole documents are kept apart,
    /// so that none is in both parts.
    ///
    /// # Errors
    /// [`Error::Io`]. [`Error::BadRow`] if the file is not UTF-8 or not JSON. [`Error::NoData`] if it has no text. [`Error::Tokenizer`].
    pub fn load(path: &Path, tokenizer: &Tokenizer, held_out: f64) -> Result<Self> {
        let source = Source::read(path)?;
        let Documents { documents, remarks } = Documents::of(path, &source)?;
        let (train, held_out_documents) = split(&documents, held_out);
        let ends = documents.len() > 1;
        Ok(Self {
            path: path.to_owned(),
            documents: documents.len(),
            bytes: documents.iter().map(|text| text.len()).sum(),
            remarks,
            train: stream(tokenizer, &train, ends)?,
            held_out: stream(tokenizer, &held_out_documents, ends)?,
        })
    }

    /// Returns the tokens to train on.
    pub fn train(&self) -> &[u32] {
        &self.train
    }

    /// Returns the tokens that are kept apart.
    pub fn held_out(&self) -> &[u32] {
        &self.held_out
    }

    /// Returns a training window of `length` + 1 tokens: inputs `[..length]`, targets `[1..]`. Its start is number `draw` · n / 2⁶⁴ of the
    /// n possible starts. So the same `draw` gives the same window, and uniform draws give uniform windows.
    ///
    /// # Errors
    /// [`Error::NoData`] if the training part is shorter than the window.
    pub fn window(&self, draw: u64, length: usize) -> Result<&[u32]> {
        let Some(starts) = self.train.len().checked_sub(length) else {
            return Err(self.too_short(length));
        };
        if starts == 0 {
            return Err(self.too_short(length));
        }
        let start = ((u128::from(draw) * starts as u128) >> 64) as usize;
        Ok(&self.train[start..=start + length])
    }

    /// Cuts the part kept apart into windows of up to `length` + 1 tokens. Each begins with the last token of the window before, so every
    /// token but the first is a target once. There are no windows if that part has fewer than two tokens.
    pub fn held_out_windows(&self, length: usize) -> impl Iterator<Item = &[u32]> {
        windows(&self.held_out, length)
    }

    fn too_short(&self, length: usize) -> Error {
        Error::NoData {
            path: self.path.clone(),
            reason: format!("a training window needs {} tokens, the training part has {}", length + 1, self.train.len()),
        }
    }
}

/// Cuts `tokens` into windows of up to `length` + 1 tokens. Each begins with the last token of the window before.
pub fn windows(tokens: &[u32], length: usize) -> impl Iterator<Item = &[u32]> {
    let length = length.max(1);
    let starts = (0..tokens.len().saturating_sub(1)).step_by(length);
    starts.map(move |start| &tokens[start..tokens.len().min(start + length + 1)])
}

/// The documents of a file.
struct Documents<'a> {
    documents: Vec<&'a str>,
    remarks: Vec<String>,
}

impl<'a> Documents<'a> {
    fn of(path: &Path, source: &'a Source) -> Result<Self> {
        let mut remarks = Remarks::default();
        let documents: Vec<&str> = match source {
            Source::Rows(rows) => rows.iter().filter_map(|row| of_row(row, &mut remarks).transpose()).collect::<Result<_>>()?,
            Source::Text(text) => text.split(SEPARATOR).map(|document| trimmed(text, document)).collect(),
        };
        let documents: Vec<_> = documents.into_iter().filter(|text| !text.trim().is_empty()).collect();
        if documents.is_empty() {
            return Err(Error::NoData { path: path.to_owned(), reason: "the file has no text".to_owned() });
        }
        Ok(Self { documents, remarks: remarks.sentences() })
    }
}

/// Returns the text of a row, or `None` if the text is null.
fn of_row<'a>(row: &'a Row, remarks: &mut Remarks) -> Result<Option<&'a str>> {
    if row.keys.get("text").is_some_and(serde_json::Value::is_null) {
        remarks.note("a row without a text is left out", row.line);
        return Ok(None);
    }
    if !row.has("text") {
        return Err(formats::unknown(row, "\"text\""));
    }
    let text = row.text("text")?;
    columns::judge(row, &["text"], &[text], remarks)?;
    Ok(Some(text))
}

/// Removes the line breaks around a separator, which are not part of a document. A text without separators stays unchanged.
fn trimmed<'a>(whole: &str, document: &'a str) -> &'a str {
    if document.len() == whole.len() {
        return document;
    }
    document.trim_matches('\n').trim_start_matches('\u{feff}')
}

/// Splits the documents into those to train on and those to keep apart.
fn split<'a>(documents: &[&'a str], held_out: f64) -> (Vec<&'a str>, Vec<&'a str>) {
    let characters = |text: &str| text.chars().count();
    let total: usize = documents.iter().map(|text| characters(text)).sum();
    let for_training = (total as f64 * (1.0 - held_out.clamp(0.0, 1.0))) as usize;
    if let [only] = documents {
        let end = only.char_indices().nth(for_training).map_or(only.len(), |(at, _)| at);
        let (train, rest) = only.split_at(end);
        let part = |text| if str::is_empty(text) { vec![] } else { vec![text] };
        return (part(train), part(rest));
    }
    let mut seen = 0;
    let (mut train, mut apart) = (Vec::new(), Vec::new());
    for &text in documents {
        seen += characters(text);
        let part = if seen <= for_training || held_out <= 0.0 { &mut train } else { &mut apart };
        part.push(text);
    }
    (train, apart)
}

/// Tokenizes documents and joins them, each with BOS, and with EOS if it `ends`.
fn stream(tokenizer: &Tokenizer, documents: &[&str], ends: bool) -> Result<Vec<u32>> {
    if let [only] = documents {
        // Its tokens are the stream, and a long one is not copied.
        let mut tokens = tokenizer.encode(only)?;
        tokenizer.bos().into_iter().for_each(|bos| tokens.insert(0, bos));
        tokens.extend(tokenizer.eos().filter(|_| ends));
        return Ok(tokens);
    }
    let bytes_of = |documents: &[&str]| documents.iter().map(|document| document.len()).sum::<usize>();
    let all = bytes_of(documents);
    let (mut tokens, mut done, mut left) = (Vec::new(), 0, documents);
    while !left.is_empty() {
        let before = left.iter().scan(0, |bytes, document| Some(std::mem::replace(bytes, *bytes + document.len())));
        let (documents, later) = left.split_at(before.take_while(|&before| before < AT_ONCE).count());
        let encoded: Vec<_> = documents.par_iter().map(|document| tokenizer.encode(document)).collect();
        let encoded: Vec<Vec<u32>> = encoded.into_iter().collect::<Result<_>>()?;
        left = later;
        done += bytes_of(documents);
        let new = encoded.iter().map(|tokens| tokens.len() + 2).sum::<usize>();
        if tokens.capacity() < tokens.len() + new {
            // Room for the rest at the rate so far, and a tenth more: growing in steps would copy the stream each time.
            let rest = (tokens.len() + new) as f64 / done.max(1) as f64 * (all - done) as f64;
            tokens.reserve_exact(new + (1.1 * rest) as usize);
        }
        for document in encoded {
            tokens.extend(tokenizer.bos());
            tokens.extend(document);
            tokens.extend(tokenizer.eos().filter(|_| ends));
        }
    }
    Ok(tokens)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_data::shared;

    fn load(text: &str, held_out: f64) -> TextData {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("text.txt");
        std::fs::write(&path, text).unwrap();
        TextData::load(&path, &Tokenizer::bytes(), held_out).unwrap()
    }

    #[test]
    fn documents_are_framed_and_never_in_both_parts() {
        let data = load("ab<|endoftext|>\ncd\n<|endoftext|>\nef<|endoftext|>\n", 0.34);
        assert_eq!(data.documents, 3);
        assert_eq!(data.train(), [256, 97, 98, 257]);
        assert_eq!(data.held_out(), [256, 99, 100, 257, 256, 101, 102, 257]);
    }

    #[test]
    fn one_document_is_cut_between_characters() {
        let data = load("abcdéfghij", 0.5);
        assert_eq!(data.train().len(), 1 + 6);
        assert_eq!(data.held_out(), [256, 102, 103, 104, 105, 106]);
        assert!(load("abc", 0.0).held_out().is_empty());
    }

    #[test]
    fn windows_follow_the_draw_and_reach_both_ends() {
        let data = load("abcdef", 0.0);
        assert_eq!(data.window(0, 3).unwrap(), [256, 97, 98, 99]);
        assert_eq!(data.window(u64::MAX, 3).unwrap(), [99, 100, 101, 102]);
        assert_eq!(data.window(1 << 63, 3).unwrap(), data.window(1 << 63, 3).unwrap());
        let message = data.window(0, 7).unwrap_err().to_string();
        assert!(message.contains("needs 8 tokens, the training part has 7"), "{message}");
        assert_eq!(data.window(9, 6).unwrap().len(), 7);
    }

    #[test]
    fn held_out_windows_have_every_target_once() {
        let tokens: Vec<u32> = (0..8).collect();
        let targets: Vec<u32> = windows(&tokens, 3).flat_map(|window| &window[1..]).copied().collect();
        assert_eq!(targets, tokens[1..]);
        assert_eq!(windows(&tokens[..1], 3).count(), 0);
    }

    #[test]
    fn shakespeare_is_split_as_nano_gpt_splits_it() {
        let Some(folder) = shared("data/gpt2-tokenizer") else { return };
        let Some(path) = shared("data/tinyshakespeare/input.txt") else { return };
        let tokenizer = Tokenizer::from_folder(&folder).unwrap();
        let data = TextData::load(&path, &tokenizer, 0.1).unwrap();
        assert_eq!((data.train().len(), data.held_out().len()), (301_966, 36_059));
    }

    #[test]
    fn a_file_without_text_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("empty.txt");
        let load = || TextData::load(&path, &Tokenizer::bytes(), 0.1).unwrap_err().to_string();
        assert!(load().contains("empty.txt"));
        std::fs::write(&path, " \n").unwrap();
        assert!(load().contains("the file has no text"));
        std::fs::write(&path, b"ok\n\xff").unwrap();
        assert!(load().contains("empty.txt:2: not UTF-8"));
    }
}
