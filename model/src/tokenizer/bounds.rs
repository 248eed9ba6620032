//! Bounds on the text that a `tokenizer.json` may make, checked before the library runs it.
//!
//! A `tokenizer.json` is a stranger's program: it replaces, inserts and repeats. Nine replacements of one letter by ten make 10⁹ letters of
//! it. The library has no limits of its own, so the description is read first:
//!
//! - Each step can lengthen a text by a factor that its description fixes. The product for all decoders may be [`MOST`].
//! - Normalizers may have more, because real ones stay far below their factors: one character in a thousand has a long replacement. If the
//!   product of the factors is too large, a text goes through the steps one at a time, in small parts. The result is measured.
//! - The counted repetitions of a regular expression multiply the size of its program: [`REPETITIONS`].
//! - The name of the unknown token is written once for each character that is not in the vocabulary: [`NAME`].

use crate::error::{Error, Result};
use crate::foreign::contained;
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;
use std::collections::HashMap;
use tokenizers::{NormalizedString, Normalizer, NormalizerWrapper};

/// The largest factor by which a text may grow.
const MOST: usize = 128;
/// Bytes to which any text may grow, however short it is.
const ALLOWANCE: usize = 1 << 20;
/// The smallest part of a text that a normalizer gets, in bytes.
const SMALLEST_PART: usize = 16;
/// The most tokens that a post-processor may make of one token, with the tokens that it adds.
const MOST_PROCESSED: usize = 4096;
/// The largest product of the counted repetitions of a regular expression. `(a{10}){5}` has 50.
const REPETITIONS: usize = 1024;
/// The longest regular expression, in bytes.
const PATTERN: usize = 16 << 10;
/// The most bytes of the unknown token's name, and of the texts that are put before or after pieces of words.
const NAME: usize = 256;
/// The longest entry of a vocabulary, in bytes.
const ENTRY: usize = 64 << 10;
/// The largest id may be `HOLES * (tokens + FREE_HOLES)`. Ids without a token stand for nothing.
const HOLES: usize = 16;
const FREE_HOLES: usize = 1 << 16;
/// The longest word that WordPiece tries to cut, in characters. The time grows with the square of this number.
const WORD: u64 = 10_000;

/// The parts of a `tokenizer.json` that can make a long text of a short one.
#[derive(Deserialize)]
struct Parts<'a> {
    normalizer: Option<Value>,
    pre_tokenizer: Option<Value>,
    post_processor: Option<Value>,
    decoder: Option<Value>,
    added_tokens: Option<Vec<AddedToken>>,
    #[serde(borrow)]
    model: Option<ModelPart<'a>>,
}

#[derive(Deserialize)]
struct AddedToken {
    #[serde(default)]
    content: String,
}

#[derive(Deserialize)]
struct ModelPart<'a> {
    unk_token: Option<String>,
    continuing_subword_prefix: Option<String>,
    end_of_word_suffix: Option<String>,
    max_input_chars_per_word: Option<u64>,
    #[serde(borrow)]
    merges: Option<&'a RawValue>,
}

/// One step of the normalizer.
#[derive(Clone, Debug)]
struct Step {
    name: String,
    factor: usize,
    /// True if the output for a part of a text does not depend on the rest. Then it can be measured part by part.
    is_local: bool,
    normalizer: NormalizerWrapper,
}

/// The bounds on the text that a tokenizer makes.
#[derive(Clone, Debug)]
pub(super) struct Bounds {
    steps: Vec<Step>,
    /// The product of the factors of all pre-tokenizers.
    pre_tokenizers: usize,
    /// The product of all factors before the model.
    all: usize,
}

impl Bounds {
    /// Reads the bounds from the description of a tokenizer.
    ///
    /// # Errors
    /// [`Error::Tokenizer`] if the description is not valid, or a part of it makes too much of any text.
    pub fn of(json: &str) -> Result<Self> {
        let parts: Parts = serde_json::from_str(json).map_err(|error| Error::tokenizer(format!("not a usable tokenizer.json: {error}")))?;
        [&parts.normalizer, &parts.pre_tokenizer, &parts.decoder].into_iter().flatten().try_for_each(check_patterns)?;
        parts.model.as_ref().map_or(Ok(()), check_model)?;
        let product =
            |part: &Option<Value>, kind| part.iter().flat_map(flattened).map(|step| factor(step, kind)).fold(1, usize::saturating_mul);
        let decoders = product(&parts.decoder, Kind::Decoder);
        if decoders > MOST {
            return Err(too_much("its decoder", decoders, MOST));
        }
        let processed = parts.post_processor.as_ref().map_or(1, processed);
        if processed > MOST_PROCESSED {
            return Err(too_much("its post_processor", processed, MOST_PROCESSED));
        }
        let steps = parts.normalizer.iter().flat_map(flattened).map(Step::read).collect::<Result<Vec<_>>>()?;
        let pre_tokenizers = product(&parts.pre_tokenizer, Kind::PreTokenizer);
        let all = steps.iter().fold(pre_tokenizers, |all, step| all.saturating_mul(step.factor));
        let bounds = Self { steps, pre_tokenizers, all };
        // The library normalizes the added tokens as it reads them.
        let added: String = parts.added_tokens.into_iter().flatten().map(|token| token.content).collect();
        bounds.check(&added)?;
        Ok(bounds)
    }

    /// Checks how long a text can become before the model cuts it.
    ///
    /// # Errors
    /// [`Error::Tokenizer`] that names the step that makes too much of the text.
    pub fn check(&self, text: &str) -> Result<()> {
        let most = text.len().saturating_mul(MOST).max(ALLOWANCE);
        if text.len().saturating_mul(self.all) <= most {
            return Ok(());
        }
        let refused = |what: &str, bytes: usize| {
            Err(Error::tokenizer(format!("{what} can make {bytes} bytes of a text of {}, and {most} are allowed", text.len())))
        };
        // `bound` holds however the text is cut, as the library cuts it at added tokens. `now` is the text in one piece.
        let (mut bound, mut now) = (text.len(), text.to_owned());
        for (number, step) in (1..).zip(&self.steps) {
            let what = format!("step {number} of its normalizer ({})", step.name);
            let next = bound.saturating_mul(step.factor);
            if !step.is_local && next > most {
                return refused(&what, next);
            }
            let made = step.make(&now, most).ok_or_else(|| Error::tokenizer(format!("{what} cannot normalize")))?;
            bound = if step.is_local { bound.saturating_mul(made.len()).div_ceil(now.len().max(1)) } else { next };
            if bound > most {
                return refused(&what, bound);
            }
            now = made;
        }
        let next = bound.saturating_mul(self.pre_tokenizers);
        if next > most { refused("its pre_tokenizer", next) } else { Ok(()) }
    }
}

impl Step {
    fn read(step: &Value) -> Result<Self> {
        let refused = |error: &dyn std::fmt::Display| Error::tokenizer(format!("not a usable tokenizer.json: its normalizer: {error}"));
        if let Some(charsmap) = step.get("precompiled_charsmap").and_then(Value::as_str) {
            check_trie(charsmap).map_err(|reason| refused(&reason))?;
        }
        let read = contained(|| serde_json::from_value(step.clone()));
        let normalizer = read.ok_or_else(|| refused(&"its reader gave up on it"))?.map_err(|error| refused(&error))?;
        let is_regex = step.get("pattern").is_some_and(|pattern| pattern.get("String").is_none());
        let name = name(step);
        let is_local = name != "Prepend" && !is_regex;
        Ok(Self { name: name.to_owned(), factor: factor(step, Kind::Normalizer), is_local, normalizer })
    }
}

impl Step {
    /// Applies the step to a text. Stops as soon as the result has more than `most` bytes. A local step gets one small part after another,
    /// so that no part can become large. Returns `None` if the library fails.
    fn make(&self, text: &str, most: usize) -> Option<String> {
        let part = if self.is_local { (ALLOWANCE / self.factor).max(SMALLEST_PART) } else { text.len() };
        let (mut made, mut rest) = (String::new(), text);
        while !rest.is_empty() && made.len() <= most {
            let (now, after) = rest.split_at(rest.ceil_char_boundary(part.min(rest.len())));
            let mut normalized = NormalizedString::from(now);
            contained(|| self.normalizer.normalize(&mut normalized))?.ok()?;
            made.push_str(normalized.get());
            rest = after;
        }
        Some(made)
    }
}

fn too_much(what: &str, factor: usize, most: usize) -> Error {
    Error::tokenizer(format!("{what} can make a text {factor} times as long, and {most} times are allowed"))
}

/// Lists the steps of a part. A sequence is replaced by its members, in order.
fn flattened(part: &Value) -> Vec<&Value> {
    let steps = ["normalizers", "pretokenizers", "decoders", "processors"].iter().find_map(|key| part.get(key)?.as_array());
    match steps {
        Some(steps) => steps.iter().flat_map(flattened).collect(),
        None if part.is_null() => Vec::new(),
        None => vec![part],
    }
}

/// Returns the type of a step. Old files leave the type out, so a key of the step identifies it.
fn name(step: &Value) -> &str {
    let known = || {
        let by_key =
            [("prepend", "Prepend"), ("precompiled_charsmap", "Precompiled"), ("content", "Replace"), ("clean_text", "BertNormalizer")];
        by_key.into_iter().find(|(key, _)| step.get(key).is_some()).map(|(_, name)| name)
    };
    step.get("type").and_then(Value::as_str).or_else(known).unwrap_or("a step without a type")
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Normalizer,
    PreTokenizer,
    Decoder,
}

/// Returns how many times longer a text can be after a step. For Unicode's forms, it is the longest case in Unicode's tables, in bytes.
fn factor(step: &Value, kind: Kind) -> usize {
    let length = |key: &str| step.get(key).and_then(Value::as_str).map_or(0, str::len);
    match (name(step), kind) {
        ("Replace", _) => {
            let content = length("content");
            match step.get("pattern").and_then(|pattern| pattern.get("String")?.as_str()).map_or(0, str::len) {
                // A regular expression may match the empty text, and so everywhere.
                0 => content.saturating_add(1),
                pattern => content.div_ceil(pattern).max(1),
            }
        }
        ("Prepend", _) => length("prepend").saturating_add(1),
        ("Precompiled", _) => longest_replacement(step.get("precompiled_charsmap").and_then(Value::as_str).unwrap_or_default()) + 1,
        ("NFKC" | "NFKD", _) => 12,
        ("NFC" | "NFD" | "Lowercase", _) => 4,
        ("Bert" | "BertNormalizer", _) => 12,
        // Every space is replaced, and each part of the text begins with a replacement.
        ("Metaspace", Kind::PreTokenizer) => 2 * length("replacement").max(1),
        ("ByteLevel", Kind::PreTokenizer | Kind::Normalizer) => 4,
        ("ByteLevel" | "BPEDecoder" | "WordPiece" | "CTC", Kind::Decoder) => 3,
        _ => 1,
    }
}

/// Checks the length of a charsmap's trie, because the library allocates that many bytes without a check.
fn check_trie(charsmap: &str) -> std::result::Result<(), String> {
    let bytes = from_base64(charsmap);
    match bytes.split_first_chunk::<4>() {
        Some((length, rest)) if u32::from_le_bytes(*length) as usize > rest.len() => {
            Err(format!("its precompiled_charsmap says that its trie has {} bytes, and has {}", u32::from_le_bytes(*length), rest.len()))
        }
        _ => Ok(()),
    }
}

/// Returns the length of the longest text that a SentencePiece charsmap writes for a character. Its base64 holds the length of a trie (4
/// bytes), the trie, and the texts, each with a zero at its end.
fn longest_replacement(charsmap: &str) -> usize {
    let bytes = from_base64(charsmap);
    let Some((length, rest)) = bytes.split_first_chunk::<4>() else { return 0 };
    let texts = rest.get(u32::from_le_bytes(*length) as usize..).unwrap_or_default();
    texts.split(|byte| *byte == 0).map(<[u8]>::len).max().unwrap_or(0)
}

/// Decodes base64 up to the first character that is not in its alphabet.
fn from_base64(text: &str) -> Vec<u8> {
    let digit = |byte: u8| match byte {
        b'A'..=b'Z' => Some(byte - b'A'),
        b'a'..=b'z' => Some(byte - b'a' + 26),
        b'0'..=b'9' => Some(byte - b'0' + 52),
        b'+' => Some(62),
        b'/' => Some(63),
        _ => None,
    };
    let digits: Vec<u8> = text.bytes().map_while(digit).collect();
    let group = |group: &[u8]| {
        let bits = group.iter().fold(0_u32, |bits, digit| bits << 6 | u32::from(*digit)) << (6 * (4 - group.len()));
        let bytes = bits.to_be_bytes();
        bytes[1..group.len().max(1)].to_vec()
    };
    digits.chunks(4).flat_map(group).collect()
}

/// Returns how many tokens a post-processor makes of one, with those that it adds.
fn processed(part: &Value) -> usize {
    let of_template = |step: &Value| {
        let ids = |name: &Value| step.get("special_tokens")?.get(name.as_str()?)?.get("ids")?.as_array().map(Vec::len);
        let piece = |piece: &Value| piece.get("SpecialToken").map_or(1, |token| token.get("id").and_then(ids).unwrap_or(1));
        step.get("single").and_then(Value::as_array).map_or(4, |pieces| pieces.iter().map(piece).fold(0, usize::saturating_add).max(1))
    };
    flattened(part).into_iter().map(of_template).fold(1, usize::saturating_mul)
}

/// Checks every regular expression of a part.
fn check_patterns(part: &Value) -> Result<()> {
    for step in flattened(part) {
        let Some(pattern) = step.get("pattern").and_then(|pattern| pattern.get("Regex")?.as_str()) else { continue };
        if pattern.len() > PATTERN {
            return Err(Error::tokenizer(format!("a regular expression of {} bytes, and {PATTERN} are allowed", pattern.len())));
        }
        let repetitions = repetitions(pattern);
        if repetitions > REPETITIONS {
            let reason =
                format!("a regular expression repeats a part {repetitions} times, and {REPETITIONS} times are allowed: {}", start(pattern));
            return Err(Error::tokenizer(reason));
        }
    }
    Ok(())
}

/// Returns the product of the counted repetitions of a regular expression: `{3}`, `{2,}` or `{1,3}`. Nesting them cannot repeat more.
fn repetitions(pattern: &str) -> usize {
    let (mut product, mut rest) = (1_usize, pattern);
    while let Some(place) = rest.find(['\\', '{']) {
        let (found, after) = rest[place..].split_at(1);
        rest = after;
        if found == "\\" {
            let mut characters = rest.chars();
            let escaped = characters.next();
            rest = characters.as_str();
            // The braces of \u{2581} and \p{L} hold a name.
            let named = escaped.is_some_and(|escaped| "uxpPkgNo".contains(escaped)).then(|| rest.strip_prefix('{')?.split_once('}'));
            if let Some((name, after)) = named.flatten()
                && name.chars().all(|c| c.is_alphanumeric() || "_ -^=:&".contains(c))
            {
                rest = after;
            }
            continue;
        }
        let count = rest.split_once('}').map_or("", |(count, _)| count);
        if !count.bytes().all(|byte| byte.is_ascii_digit() || byte == b',' || byte == b' ') {
            continue;
        }
        let counts = count.split(',').filter_map(|count| count.trim().parse::<usize>().ok());
        product = product.saturating_mul(counts.max().unwrap_or(1).max(1));
    }
    product
}

/// Returns the first characters of a text, for a message.
fn start(text: &str) -> String {
    let mut shown: String = text.chars().take(60).collect();
    if shown.len() < text.len() {
        shown.push('…');
    }
    format!("{shown:?}")
}

fn check_model(model: &ModelPart) -> Result<()> {
    let named = [
        ("unk_token", &model.unk_token),
        ("continuing_subword_prefix", &model.continuing_subword_prefix),
        ("end_of_word_suffix", &model.end_of_word_suffix),
    ];
    for (key, value) in named {
        if let Some(value) = value.as_ref().filter(|value| value.len() > NAME) {
            return Err(Error::tokenizer(format!("its {key} has {} bytes, and {NAME} are allowed", value.len())));
        }
    }
    if let Some(characters) = model.max_input_chars_per_word.filter(|characters| *characters > WORD) {
        return Err(Error::tokenizer(format!("its max_input_chars_per_word is {characters}, and {WORD} are allowed")));
    }
    match (model.continuing_subword_prefix.as_deref().unwrap_or_default(), model.merges) {
        ("", _) | (_, None) => Ok(()),
        (prefix, Some(merges)) => check_merges(prefix, merges),
    }
}

/// Checks that the right side of every merge begins with the prefix. The library cuts the prefix off without a check.
fn check_merges(prefix: &str, merges: &RawValue) -> Result<()> {
    let merges: Vec<Value> = serde_json::from_str(merges.get()).unwrap_or_default();
    let right = |merge: &Value| match merge {
        Value::Array(pair) => pair.get(1)?.as_str().map(str::to_owned),
        merge => merge.as_str()?.split_once(' ').map(|(_, right)| right.to_owned()),
    };
    match merges.iter().filter_map(right).find(|right| !right.starts_with(prefix)) {
        Some(right) => {
            let reason =
                format!("a merge with {} on its right, which does not begin with the continuing_subword_prefix {prefix:?}", start(&right));
            Err(Error::tokenizer(reason))
        }
        None => Ok(()),
    }
}

/// Returns the largest id of a vocabulary. The model's tables must have a row for it.
///
/// # Errors
/// [`Error::Tokenizer`] in these cases:
///
/// - The vocabulary is empty.
/// - Most ids stand for nothing.
/// - A token is longer than [`ENTRY`].
/// - An id has two names, one of them far longer than the other.
pub(super) fn largest_id(vocabulary: &HashMap<String, u32>) -> Result<u32> {
    let mut ids: Vec<(u32, usize)> = vocabulary.iter().map(|(entry, id)| (*id, entry.len())).collect();
    ids.sort_unstable();
    let Some(&(largest, _)) = ids.last() else {
        return Err(Error::tokenizer("its vocabulary is empty"));
    };
    if largest as usize / HOLES > ids.len() + FREE_HOLES {
        return Err(Error::tokenizer(format!("its largest id is {largest}, and it has {} tokens: most ids stand for nothing", ids.len())));
    }
    if let Some((id, length)) = ids.iter().find(|(_, length)| *length > ENTRY) {
        return Err(Error::tokenizer(format!("its token {id} has {length} bytes, and {ENTRY} are allowed")));
    }
    let twins = ids.windows(2).find(|pair| pair[0].0 == pair[1].0 && pair[1].1 > NAME.max(pair[0].1));
    match twins {
        Some(pair) => Err(Error::tokenizer(format!("its id {} stands for two tokens, one of {} bytes", pair[0].0, pair[1].1))),
        None => Ok(largest),
    }
}

#[cfg(test)]
mod tests;
