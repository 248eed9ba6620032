//! Where a prompt ends and its completion begins, in tokens.
//!
//! Prompt and completion are tokenised together, as the model would meet them in running text, and compared with the tokens
//! of the prompt alone. Up to the first difference they are context; from there on they are completion. So where a token
//! spans the boundary ("Once upon a ti" + "me"), it belongs to the completion, and the model is asked for it whole.

use crate::error::Result;
use crate::tokenizer::Tokenizer;

/// One prompt with one completion.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sequence {
    /// BOS where the tokenizer has one, the prompt, the completion, EOS where it has one.
    pub tokens: Vec<u32>,
    /// The index of the completion's first token: at least 1, for the first token of a sequence has nothing to be predicted
    /// from, and below the number of tokens.
    pub completion_start: usize,
}

impl Sequence {
    /// The context: `tokens[..completion_start]`.
    pub fn prompt(&self) -> &[u32] {
        &self.tokens[..self.completion_start]
    }

    /// What is to be predicted: `tokens[completion_start..]`, at least one token.
    pub fn completion(&self) -> &[u32] {
        &self.tokens[self.completion_start..]
    }
}

/// What is cut where a sequence is longer than it may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Truncation {
    /// The oldest part of the prompt first (BOS stays), then the completion's end: the turn that is answered stays whole for as long as
    /// it can, and every completion can keep a token.
    #[default]
    PromptStart,
    /// The end only: the prompt is never touched, and a prompt that leaves no room drops the row.
    End,
}

/// How rows become sequences.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// The most tokens of a sequence, BOS and EOS included; at least 2.
    pub max_tokens: usize,
    /// What is cut of longer ones.
    pub truncation: Truncation,
    /// Whether EOS ends a completion that does not end with it already.
    pub add_eos: bool,
}

impl Limits {
    /// At most `max_tokens` tokens, EOS at the end.
    pub fn new(max_tokens: usize) -> Self {
        Self { max_tokens, truncation: Truncation::default(), add_eos: true }
    }
}

/// Why no sequence can be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Unusable {
    /// The completion has no tokens.
    EmptyCompletion,
    /// The only token is the first, which nothing comes before.
    NothingToPredict,
    /// The prompt alone has as many tokens as a sequence may have.
    PromptFillsLimit,
}

/// Sequences of one row with what happened on the way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tokenized<const N: usize> {
    /// One for each completion, in order.
    pub sequences: [Sequence; N],
    /// For how many of them a token spans the boundary.
    pub merged: usize,
    /// Whether anything was cut.
    pub truncated: bool,
}

/// Tokenises one prompt with `N` completions (two for a preference pair). Where the prompt is cut, it is cut by the same
/// number of tokens for all of them.
///
/// # Errors
/// [`crate::Error::Tokenizer`]; the inner `Err` where the row cannot be used.
pub fn tokenize<const N: usize>(
    tokenizer: &Tokenizer,
    prompt: &str,
    completions: [&str; N],
    limits: &Limits,
) -> Result<Result<Tokenized<N>, Unusable>> {
    let prompt_tokens = with_bos(tokenizer, tokenizer.encode(prompt)?);
    let mut sequences = Vec::with_capacity(N);
    let mut merged = 0;
    for completion in completions {
        let joined = tokenizer.encode(&[prompt, completion].concat())?;
        if completion.is_empty() {
            return Ok(Err(Unusable::EmptyCompletion));
        }
        let (sequence, spans) = join(tokenizer, &prompt_tokens, joined, limits);
        if sequence.tokens.len() < 2 {
            return Ok(Err(Unusable::NothingToPredict));
        }
        merged += usize::from(spans);
        sequences.push(sequence);
    }
    Ok(fit(&mut sequences, tokenizer.bos().is_some(), limits).and_then(|truncated| {
        // There are N completions, so there are N sequences.
        let sequences = sequences.try_into().map_err(|_| Unusable::EmptyCompletion)?;
        Ok(Tokenized { sequences, merged, truncated })
    }))
}

/// A sequence that is all completion: plain text, every token of it but the first to be predicted.
///
/// # Errors
/// [`crate::Error::Tokenizer`]; the inner `Err` where the row cannot be used.
pub fn tokenize_text(tokenizer: &Tokenizer, text: &str, limits: &Limits) -> Result<Result<Tokenized<1>, Unusable>> {
    tokenize(tokenizer, "", [text], limits)
}

/// The sequence, and whether a token spans the boundary.
fn join(tokenizer: &Tokenizer, prompt: &[u32], joined: Vec<u32>, limits: &Limits) -> (Sequence, bool) {
    let mut tokens = with_bos(tokenizer, joined);
    let same = tokens.iter().zip(prompt).take_while(|(a, b)| a == b).count();
    if let Some(eos) = tokenizer.eos()
        && limits.add_eos
        && (tokens.last() != Some(&eos) || tokens.len() == same)
    {
        tokens.push(eos);
    }
    let sequence = Sequence { completion_start: same.max(1), tokens };
    (sequence, same < prompt.len())
}

/// Puts BOS before the tokens unless the text began with it.
fn with_bos(tokenizer: &Tokenizer, mut tokens: Vec<u32>) -> Vec<u32> {
    if let Some(bos) = tokenizer.bos()
        && tokens.first() != Some(&bos)
    {
        tokens.insert(0, bos);
    }
    tokens
}

/// Cuts what is too long; whether anything was.
fn fit(sequences: &mut [Sequence], has_bos: bool, limits: &Limits) -> Result<bool, Unusable> {
    let longest = sequences.iter().map(|s| s.tokens.len()).max().unwrap_or(0);
    if longest <= limits.max_tokens {
        return Ok(false);
    }
    if limits.truncation == Truncation::PromptStart {
        // One token of context stays: BOS, or else the prompt's last.
        let shortest_prompt = sequences.iter().map(|s| s.completion_start).min().unwrap_or(1);
        let cut = (longest - limits.max_tokens).min(shortest_prompt - 1);
        let from = usize::from(has_bos);
        for sequence in &mut *sequences {
            sequence.tokens.drain(from..from + cut);
            sequence.completion_start -= cut;
        }
    }
    for sequence in sequences {
        if sequence.completion_start >= limits.max_tokens {
            return Err(Unusable::PromptFillsLimit);
        }
        sequence.tokens.truncate(limits.max_tokens);
    }
    Ok(true)
}

#[cfg(test)]
mod tests;
