//! The boundary between a prompt and its completion, in tokens.
//!
//! Prompt and completion are tokenised together, as the model would meet them in running text. The result is compared with the tokens of
//! the prompt alone: tokens up to the first difference are context, the others are completion. So a token that spans the boundary ("Once
//! upon a ti" + "me") belongs to the completion, and the model must predict it whole. All completions of one prompt begin at the same
//! place, the earliest that any of them needs.

use crate::error::Result;
use crate::tokenizer::Tokenizer;
use serde::Serialize;
use std::fmt;
use std::ops::Range;

/// One prompt with one completion.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sequence {
    /// The prompt and the completion, with BOS and EOS where they belong.
    pub tokens: Vec<u32>,
    /// The index of the completion's first token, below the number of tokens. It is at least 1, because the first token of a sequence has
    /// nothing to be predicted from.
    pub completion_start: usize,
    /// Tokens after `completion_start` that are context only, ascending: the words of others between the model's turns.
    pub context: Vec<Range<usize>>,
}

impl Sequence {
    /// Makes a sequence whose tokens from `completion_start` on are all to be predicted.
    pub fn new(tokens: Vec<u32>, completion_start: usize) -> Self {
        Self { tokens, completion_start, context: Vec::new() }
    }

    /// Returns the context: `tokens[..completion_start]`.
    pub fn prompt(&self) -> &[u32] {
        &self.tokens[..self.completion_start]
    }

    /// Returns the tokens after the prompt: `tokens[completion_start..]`, at least one token.
    pub fn completion(&self) -> &[u32] {
        &self.tokens[self.completion_start..]
    }

    /// True if the token at `position` is to be predicted.
    pub fn is_learned(&self, position: usize) -> bool {
        position >= self.completion_start && !self.context.iter().any(|range| range.contains(&position))
    }
}

/// The part that is cut from a sequence that is too long.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Truncation {
    /// The start of the prompt (BOS stays) and the ends of the completions. The prompt keeps its last tokens: half of the limit, if it has
    /// that many, or more if the completions leave room. The completions have the rest.
    #[default]
    Both,
    /// The start of the prompt first (BOS stays), then the ends of the completions. Every completion can keep a token.
    PromptStart,
    /// The ends of the completions only. The prompt stays whole, and a row whose prompt leaves no room is dropped.
    End,
    /// Nothing. Rows that are too long are dropped.
    Drop,
}

impl fmt::Display for Truncation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Both => "both: the start of the prompt and the ends of the completions",
            Self::PromptStart => "prompt-start: the start of the prompt, then the ends of the completions",
            Self::End => "end: the ends of the completions",
            Self::Drop => "drop: nothing is cut",
        })
    }
}

/// The limits for making sequences of rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// The most tokens of a sequence, BOS and EOS included; at least 2.
    pub max_tokens: usize,
    /// The part that is cut from longer sequences.
    pub truncation: Truncation,
    /// True if EOS is added to completions that lack it, in texts that no chat template wrote.
    pub add_eos: bool,
}

impl Limits {
    /// Makes limits of `max_tokens` tokens, with EOS at the end.
    pub fn new(max_tokens: usize) -> Self {
        Self { max_tokens, truncation: Truncation::default(), add_eos: true }
    }
}

/// One prompt with `N` completions as text.
#[derive(Debug, Clone, Copy)]
pub struct Text<'a, const N: usize> {
    /// The text that is answered. It may be empty.
    pub prompt: &'a str,
    /// The form of the prompt when no completion follows, if it differs from `prompt`. The tokens of the completions are then compared
    /// with its tokens.
    pub alone: Option<&'a str>,
    /// The completions.
    pub completions: [&'a str; N],
    /// Bytes of each completion that are context only, ascending.
    pub context: &'a [Range<usize>],
    /// Pairs of an index into `context` and a text. The text is everything up to the turn after that part, as it is written when the turn
    /// does not follow.
    pub openings: &'a [(usize, String)],
    /// True if a chat template wrote the text: neither BOS nor EOS is added.
    pub framed: bool,
}

impl<'a, const N: usize> Text<'a, N> {
    /// Makes plain texts. BOS and EOS are added if the tokenizer has them.
    pub fn plain(prompt: &'a str, completions: [&'a str; N]) -> Self {
        Self { prompt, alone: None, completions, context: &[], openings: &[], framed: false }
    }
}

/// The reason why a row gives no sequence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Unusable {
    /// The completion has no tokens.
    EmptyCompletion,
    /// The only token is the first one, which has nothing before it.
    NothingToPredict,
    /// The prompt alone has as many tokens as a sequence may have.
    PromptFillsLimit,
    /// The row is too long, and nothing may be cut.
    TooLong,
}

/// The sequences of one row, with a report on them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tokenized<const N: usize> {
    /// One sequence for each completion, in order. All have the same prompt.
    pub sequences: [Sequence; N],
    /// The number of sequences in which a token spans the boundary.
    pub merged: usize,
    /// True if anything was cut.
    pub truncated: bool,
}

/// Tokenises one prompt with `N` completions (two for a preference pair). All completions begin at the same token. If the prompt is cut, it
/// loses the same number of tokens in all sequences.
///
/// # Errors
/// [`crate::Error::Tokenizer`]. The inner `Err` is the reason why the row cannot be used.
pub fn tokenize<const N: usize>(tokenizer: &Tokenizer, text: &Text<'_, N>, limits: &Limits) -> Result<Result<Tokenized<N>, Unusable>> {
    Ok(tokenize_whole(tokenizer, text, limits.add_eos)?.and_then(|whole| whole.fit(tokenizer, limits)))
}

/// Like [`tokenize`], without a limit on the length.
///
/// # Errors
/// As [`tokenize`].
pub fn tokenize_whole<const N: usize>(tokenizer: &Tokenizer, text: &Text<'_, N>, add_eos: bool) -> Result<Result<Tokenized<N>, Unusable>> {
    // The byte tokenizer's BOS and EOS have no text, so no template can write them.
    let added = !text.framed || tokenizer.is_bytes();
    let bos = tokenizer.bos().filter(|_| added);
    let eos = tokenizer.eos().filter(|_| added && add_eos);
    let prompt = with_bos(bos, tokenizer.encode(text.alone.unwrap_or(text.prompt))?);
    let mut sequences = Vec::with_capacity(N);
    let (mut merged, mut start) = (0, prompt.len());
    for completion in text.completions {
        if completion.is_empty() {
            return Ok(Err(Unusable::EmptyCompletion));
        }
        let joined = [text.prompt, completion].concat();
        let (plain, context) = match text.context {
            [] => (tokenizer.encode(&joined)?, Vec::new()),
            context => with_context(tokenizer, &joined, text.prompt.len(), context)?,
        };
        let count = plain.len();
        let mut tokens = with_bos(bos, plain);
        let mut context = shifted(context, tokens.len() - count);
        // A part without its own token gives no range. Then ranges and parts do not match one to one, and the openings are not used.
        let openings = if context.len() == text.context.len() { text.openings } else { &[] };
        for (part, opening) in openings {
            let alone = with_bos(bos, tokenizer.encode(opening)?);
            let same = tokens.iter().zip(&alone).take_while(|(a, b)| a == b).count();
            context.get_mut(*part).into_iter().for_each(|range| range.end = range.end.min(same.max(range.start)));
        }
        let same = tokens.iter().zip(&prompt).take_while(|(a, b)| a == b).count();
        tokens.extend(eos.filter(|eos| tokens.last() != Some(eos) || tokens.len() == same));
        merged += usize::from(same < prompt.len());
        start = start.min(same);
        sequences.push(Sequence { tokens, completion_start: 0, context });
    }
    if let Some(reason) = begin_at(&mut sequences, start.max(1)) {
        return Ok(Err(reason));
    }
    // There are N completions, so there are N sequences.
    let sequences = sequences.try_into().map_err(|_| Unusable::EmptyCompletion);
    Ok(sequences.map(|sequences| Tokenized { sequences, merged, truncated: false }))
}

impl<const N: usize> Tokenized<N> {
    /// Cuts the sequences to the limits. All lose the same tokens of the prompt.
    ///
    /// # Errors
    /// The reason why the row cannot be used.
    pub fn fit(mut self, tokenizer: &Tokenizer, limits: &Limits) -> Result<Self, Unusable> {
        let kept = tokenizer.bos().or_else(|| tokenizer.named_bos());
        self.truncated |= fit(&mut self.sequences, kept, limits)?;
        Ok(self)
    }
}

/// Tokenises plain text as a sequence that is all completion: every token but the first is to be predicted.
///
/// # Errors
/// [`crate::Error::Tokenizer`]. The inner `Err` is the reason why the row cannot be used.
pub fn tokenize_text(tokenizer: &Tokenizer, text: &str, limits: &Limits) -> Result<Result<Tokenized<1>, Unusable>> {
    tokenize(tokenizer, &Text::plain("", [text]), limits)
}

/// Sets the start of the completions. Returns the reason to drop the row if a completion has no token to predict from there on.
fn begin_at(sequences: &mut [Sequence], start: usize) -> Option<Unusable> {
    for sequence in sequences {
        if sequence.tokens.len() < 2 {
            return Some(Unusable::NothingToPredict);
        }
        if sequence.tokens.len() <= start {
            return Some(Unusable::EmptyCompletion);
        }
        sequence.completion_start = start;
    }
    None
}

/// Tokenises a text. Also returns the tokens within the parts `context` of the completion, which begins at byte `from`.
fn with_context(tokenizer: &Tokenizer, text: &str, from: usize, context: &[Range<usize>]) -> Result<(Vec<u32>, Vec<Range<usize>>)> {
    let (tokens, places) = tokenizer.encode_with_places(text)?;
    let within = |place: &Range<usize>| {
        context.iter().any(|part| from + part.start <= place.start && place.end <= from + part.end && place.start < from + part.end)
    };
    let mut ranges: Vec<Range<usize>> = Vec::new();
    for position in (0..places.len()).filter(|&position| within(&places[position])) {
        match ranges.last_mut() {
            Some(last) if last.end == position => last.end += 1,
            _ => ranges.push(position..position + 1),
        }
    }
    Ok((tokens, ranges))
}

fn shifted(ranges: Vec<Range<usize>>, by: usize) -> Vec<Range<usize>> {
    ranges.into_iter().map(|range| range.start + by..range.end + by).collect()
}

/// Puts BOS before the tokens unless they begin with it.
fn with_bos(bos: Option<u32>, mut tokens: Vec<u32>) -> Vec<u32> {
    if let Some(bos) = bos
        && tokens.first() != Some(&bos)
    {
        tokens.insert(0, bos);
    }
    tokens
}

/// Cuts sequences that are too long. Returns true if anything was cut.
fn fit(sequences: &mut [Sequence], bos: Option<u32>, limits: &Limits) -> Result<bool, Unusable> {
    let most = limits.max_tokens;
    let longest = sequences.iter().map(|s| s.tokens.len()).max().unwrap_or(0);
    if longest <= most {
        return Ok(false);
    }
    let prompt = sequences.iter().map(|s| s.completion_start).min().unwrap_or(1);
    let completion = longest - prompt;
    // One token of context stays: BOS, or else the last token of the prompt.
    let kept = match limits.truncation {
        Truncation::Drop => return Err(Unusable::TooLong),
        Truncation::End => prompt,
        Truncation::PromptStart => prompt.min(most.saturating_sub(completion).max(1)),
        Truncation::Both => prompt.min(most.saturating_sub(completion).max(most / 2).max(1)),
    };
    if kept >= most {
        return Err(Unusable::PromptFillsLimit);
    }
    for sequence in sequences {
        let from = usize::from(bos.is_some() && sequence.tokens.first() == bos.as_ref());
        cut(sequence, from..from + prompt - kept, most);
    }
    Ok(true)
}

/// Removes the tokens of `range` from a prompt, then all tokens after the first `most`.
fn cut(sequence: &mut Sequence, range: Range<usize>, most: usize) {
    let gone = range.len();
    sequence.tokens.drain(range);
    sequence.tokens.truncate(most);
    sequence.completion_start -= gone;
    let end = sequence.tokens.len();
    let moved = sequence.context.iter().map(|range| range.start - gone..(range.end - gone).min(end));
    sequence.context = moved.filter(|range| range.start < range.end).collect();
}

#[cfg(test)]
mod tests;
