//! Bounds on what a `tokenizer.json` may make of a text, checked before the library runs it.
//!
//! A `tokenizer.json` is a program by a stranger: it replaces, inserts and repeats, and nine replacements of one letter by ten make 10⁹ of
//! it. The library has no limits of its own, so its description is read first:
//!
//! - Each step can lengthen a text by a factor that its description fixes. Decoders together may have [`MOST`].
//! - Normalizers may have more, because the factors of real ones are far from what they do (one character in a thousand has a long
//!   replacement). A text for which the product of the factors is too much goes through them one at a time and in small parts, and what
//!   comes of it is measured.
//! - The counted repetitions of a regular expression multiply its program: [`REPETITIONS`].
//! - Names that stand for what is not in the vocabulary are written once for each such character: [`NAME`].

use crate::error::{Error, Result};
use crate::foreign::contained;
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;
use std::collections::HashMap;
use tokenizers::{NormalizedString, Normalizer, NormalizerWrapper};

/// How many times longer than a text what is made of it may be.
const MOST: usize = 128;
/// Bytes that may come of any text.
const ALLOWANCE: usize = 1 << 20;
/// Bytes of a text that a normalizer gets at least.
const SMALLEST_PART: usize = 16;
/// Tokens that a post-processor may make of each, with what it adds.
const MOST_PROCESSED: usize = 4096;
/// The product of the counted repetitions of a regular expression: `(a{10}){5}` has 50.
const REPETITIONS: usize = 1024;
/// The longest regular expression, in bytes.
const PATTERN: usize = 16 << 10;
/// Bytes of the unknown token's name, and of what is put before or after pieces of words.
const NAME: usize = 256;
/// Bytes of a vocabulary's longest entry.
const ENTRY: usize = 64 << 10;
/// The largest part of the ids that may stand for nothing, and how many may in any vocabulary.
const HOLES: usize = 16;
const FREE_HOLES: usize = 1 << 16;
/// Characters of a word that WordPiece tries to cut, which takes the square of their number.
const WORD: u64 = 10_000;

/// The parts of a `tokenizer.json` that can make much of little.
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

/// A normalizer.
#[derive(Clone, Debug)]
struct Step {
    name: String,
    factor: usize,
    /// Whether what it makes of a part of a text does not depend on the rest, so that it can be measured.
    is_local: bool,
    normalizer: NormalizerWrapper,
}

/// What a tokenizer may make of a text.
#[derive(Clone, Debug)]
pub(super) struct Bounds {
    steps: Vec<Step>,
    /// The factor of all pre-tokenizers.
    pre_tokenizers: usize,
    /// The factor of everything before the model.
    all: usize,
}

impl Bounds {
    /// Reads the description of a tokenizer.
    ///
    /// # Errors
    /// [`Error::Tokenizer`] where it is none, or makes too much of any text.
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
        // The library normalizes them as it reads them.
        let added: String = parts.added_tokens.into_iter().flatten().map(|token| token.content).collect();
        bounds.check(&added)?;
        Ok(bounds)
    }

    /// Checks what comes of a text before the model cuts it.
    ///
    /// # Errors
    /// [`Error::Tokenizer`] with the step that makes too much of it.
    pub fn check(&self, text: &str) -> Result<()> {
        let most = text.len().saturating_mul(MOST).max(ALLOWANCE);
        if text.len().saturating_mul(self.all) <= most {
            return Ok(());
        }
        let refused = |what: &str, bytes: usize| {
            Err(Error::tokenizer(format!("{what} can make {bytes} bytes of a text of {}, and {most} are allowed", text.len())))
        };
        // `bound` holds for the text cut in whatever way, as the library cuts it at added tokens; `now` is the text in one piece.
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
    /// What the step makes of a text; of its start, where that is more than `most` bytes already. A step that is local gets one small part
    /// after the other, so that no part can become large. None where the library gives up.
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

/// The steps of a part, those of sequences in their order.
fn flattened(part: &Value) -> Vec<&Value> {
    let steps = ["normalizers", "pretokenizers", "decoders", "processors"].iter().find_map(|key| part.get(key)?.as_array());
    match steps {
        Some(steps) => steps.iter().flat_map(flattened).collect(),
        None if part.is_null() => Vec::new(),
        None => vec![part],
    }
}

/// The type of a step; old files leave it out.
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

/// How many times longer a text can be after a step. Those of Unicode are the longest of its tables, in bytes.
fn factor(step: &Value, kind: Kind) -> usize {
    let length = |key: &str| step.get(key).and_then(Value::as_str).map_or(0, str::len);
    match (name(step), kind) {
        ("Replace", _) => {
            let content = length("content");
            match step.get("pattern").and_then(|pattern| pattern.get("String")?.as_str()).map_or(0, str::len) {
                // A regular expression may match nothing, and so everywhere.
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

/// Checks the length of a charsmap's trie, which the library allocates before it looks.
fn check_trie(charsmap: &str) -> std::result::Result<(), String> {
    let bytes = from_base64(charsmap);
    match bytes.split_first_chunk::<4>() {
        Some((length, rest)) if u32::from_le_bytes(*length) as usize > rest.len() => {
            Err(format!("its precompiled_charsmap says that its trie has {} bytes, and has {}", u32::from_le_bytes(*length), rest.len()))
        }
        _ => Ok(()),
    }
}

/// The longest text that a charsmap of SentencePiece writes for a character: its base64 holds the length of a trie (4 bytes), that trie,
/// and the texts, each with a zero at its end.
fn longest_replacement(charsmap: &str) -> usize {
    let bytes = from_base64(charsmap);
    let Some((length, rest)) = bytes.split_first_chunk::<4>() else { return 0 };
    let texts = rest.get(u32::from_le_bytes(*length) as usize..).unwrap_or_default();
    texts.split(|byte| *byte == 0).map(<[u8]>::len).max().unwrap_or(0)
}

/// The bytes of a base64 text, up to the first character that is none of its alphabet.
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

/// Tokens that a post-processor makes of one, with those that it adds.
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

/// The product of the counted repetitions of a regular expression, `{3}`, `{2,}` or `{1,3}`, which nesting cannot exceed.
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

/// The first characters of a text, for a message.
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

/// Checks that the right side of every merge begins with the prefix that the library cuts off without a look.
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

/// The largest id of a vocabulary, which the model's tables must have a row for.
///
/// # Errors
/// [`Error::Tokenizer`] where there is none, most ids stand for nothing, or an id has a name that is far longer than another of its names.
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
