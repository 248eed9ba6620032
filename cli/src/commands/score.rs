//! `slpo score`: computes the log-probability of each token of a text, and the logits after the text.

use super::load::{Loaded, encode_with_bos};
use crate::arguments::{Score, Shared};
use crate::failure::Failure;
use crate::output::{Number, Output, numbers};
use model::evaluate::{SequenceScore, TextScore, sequence};
use model::tokenizer::Tokenizer;
use serde::Serialize;
use std::io::{self, Write};

#[derive(Serialize)]
struct Scored<'a> {
    tokens: &'a [u32],
    logprobs: Vec<Number>,
    logits: Vec<Number>,
}

/// Scores a text or tokens.
///
/// # Errors
/// The errors of the model's files, of the tokens and of standard output.
pub fn run(arguments: &Score, shared: &Shared) -> Result<(), Failure> {
    let loaded = Loaded::open_with(&arguments.model, arguments.adapter.as_deref())?;
    let tokens = match &arguments.tokens {
        Some(tokens) => tokens.0.clone(),
        None => encode_with_bos(&loaded.tokenizer, arguments.text.as_deref().unwrap_or_default())?,
    };
    if tokens.is_empty() {
        return Err(Failure::Usage("there are no tokens to score: give some text or tokens".to_owned()));
    }
    let score = sequence(&loaded.decoder, &tokens)?;
    let scored = Scored { tokens: &tokens, logprobs: numbers(&score.log_probs), logits: numbers(&score.logits) };
    Output::new(shared.json).result(&scored, |to| table(to, &loaded.tokenizer, &tokens, &score))
}

fn table(to: &mut dyn Write, tokenizer: &Tokenizer, tokens: &[u32], score: &SequenceScore) -> io::Result<()> {
    writeln!(to, "{:>8}  {:>10}  text", "token", "log-prob")?;
    for (i, &token) in tokens.iter().enumerate() {
        let log_prob = i.checked_sub(1).map_or("-".to_owned(), |i| format!("{:.4}", score.log_probs[i]));
        let text = tokenizer.decode_after(&tokens[..i], &[token]).unwrap_or_default();
        writeln!(to, "{token:>8}  {log_prob:>10}  {text:?}")?;
    }
    if score.log_probs.is_empty() {
        return Ok(());
    }
    let total: f64 = score.log_probs.iter().sum();
    let text = TextScore { nats: -total, tokens: score.log_probs.len() };
    writeln!(to, "total {total:.4} nats, perplexity {:.3}", text.perplexity())
}
