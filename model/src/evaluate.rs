//! How well a decoder predicts: text, completions, preference pairs and labelled rows.
//!
//! Every function runs without recording and processes a bounded number of tokens at once. Sums are in f64 over the whole set, with one
//! division at the end. So the split into batches changes only the rounding of the forward pass.

pub mod unpaired;

use crate::batch::Batch;
use crate::boundary::Sequence;
use crate::data::PreferencePair;
use crate::decoder::packed_checks::{check_length, check_tokens};
use crate::decoder::{Decoder, ForwardOptions, Packed};
use crate::error::{Error, Result};
use engine::{Backend, Tensor, no_grad};

/// Number of input tokens of running text in one pass.
const TEXT_TOKENS: usize = 4096;

/// Largest number of logits in memory for a divergence.
const LOGITS: usize = 1 << 22;

/// A callback between batches and between the passes of each batch. An error ends the evaluation with that error; [`to_the_end`] never
/// does.
pub type Check<'a> = &'a dyn Fn() -> Result<()>;

/// Never ends the evaluation: the [`Check`] for an evaluation that runs to the end.
///
/// # Errors
/// None.
pub fn to_the_end() -> Result<()> {
    Ok(())
}

/// The cost of predicting some tokens.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct TextScore {
    /// −Σ ln p over the tokens, in nats.
    pub nats: f64,
    /// Tokens that were predicted.
    pub tokens: usize,
}

impl TextScore {
    /// Returns the nats per token; NaN if there are no tokens.
    pub fn nats_per_token(&self) -> f64 {
        self.nats / self.tokens as f64
    }

    /// Returns e to the power of the nats per token: at least 1, and infinite beyond the range of f64.
    pub fn perplexity(&self) -> f64 {
        self.nats_per_token().exp()
    }

    /// Returns the bits for each of the `bytes` bytes that the tokens stand for.
    pub fn bits_per_byte(&self, bytes: usize) -> f64 {
        self.nats / std::f64::consts::LN_2 / bytes as f64
    }

    fn add(&mut self, log_probs: &[f64]) {
        self.nats -= log_probs.iter().sum::<f64>();
        self.tokens += log_probs.len();
    }
}

/// Scores running text in windows. Every token but the first of a window is predicted from those before it in the window.
///
/// # Errors
/// [`Error::TokenOutOfRange`]; [`Error::BadConfig`] where a window is longer than the learned positions; the error of `go_on`.
pub fn text<'a, B: Backend>(decoder: &Decoder<B>, windows: impl IntoIterator<Item = &'a [u32]>, go_on: Check<'_>) -> Result<TextScore> {
    let mut score = TextScore::default();
    let mut waiting: Vec<&[u32]> = Vec::new();
    let mut count = 0;
    for window in windows {
        check(decoder, window)?;
        if count + window.len() > TEXT_TOKENS {
            go_on()?;
            score.add(&log_probs(decoder, &Batch::of_windows(waiting.drain(..))));
            count = 0;
        }
        count += window.len();
        waiting.push(window);
    }
    go_on()?;
    score.add(&log_probs(decoder, &Batch::of_windows(waiting)));
    Ok(score)
}

/// Scores the completions of sequences, `batch` sequences at once. Each token is predicted from its prompt and the completion so far.
///
/// # Errors
/// As [`text`].
pub fn completions<B: Backend>(decoder: &Decoder<B>, sequences: &[Sequence], batch: usize, go_on: Check<'_>) -> Result<TextScore> {
    let mut score = TextScore::default();
    for part in sequences.chunks(batch.max(1)) {
        go_on()?;
        part.iter().try_for_each(|sequence| check(decoder, &sequence.tokens))?;
        score.add(&log_probs(decoder, &Batch::of_sequences(part)));
    }
    Ok(score)
}

/// The log-probabilities and last logits of one sequence.
#[derive(Clone, Debug, PartialEq)]
pub struct SequenceScore {
    /// ln p of `tokens[1..]`, each given those before it, in nats.
    pub log_probs: Vec<f64>,
    /// The logits after the last token, one for each token of the vocabulary.
    pub logits: Vec<f64>,
}

/// Computes the log-probabilities and last logits of one sequence.
///
/// # Errors
/// As [`text`], and [`Error::BadConfig`] where there are no tokens.
pub fn sequence<B: Backend>(decoder: &Decoder<B>, tokens: &[u32]) -> Result<SequenceScore> {
    let Some(last) = tokens.len().checked_sub(1) else {
        return Err(Error::bad_config("there are no tokens to score"));
    };
    check(decoder, tokens)?;
    Ok(no_grad(|| {
        let hidden = decoder.hidden(&Packed::new([tokens]), &ForwardOptions::default());
        let before = hidden.slice(0, 0, last);
        let log_probs = if last == 0 { Vec::new() } else { before.linear_log_prob(decoder.head_weight(), &tokens[1..].into()).to_f64() };
        let logits = hidden.slice(0, last, last + 1).linear(decoder.head_weight(), None).to_f64();
        SequenceScore { log_probs, logits }
    }))
}

/// Means over preference pairs, with y_w the chosen and y_l the rejected completion.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct PairScore {
    /// Pairs that were scored.
    pub pairs: usize,
    /// The fraction of pairs with a positive margin; a tie counts as wrong.
    pub accuracy: f64,
    /// The fraction of pairs with ln π(y_w) > ln π(y_l), without the reference.
    pub accuracy_unreferenced: f64,
    /// Mean ln π(y_w|x), in nats.
    pub chosen_log_prob: f64,
    /// Mean ln π(y_l|x), in nats.
    pub rejected_log_prob: f64,
    /// Mean margin a − r with a = ln π(y_w|x)/π_ref(y_w|x) and r = ln π(y_l|x)/π_ref(y_l|x) (DPO's implicit reward, not multiplied by β);
    /// π_ref is left out where there is no reference.
    pub margin: f64,
    /// KL(π‖π_ref) of the next token in nats, exact over the vocabulary: the mean over all tokens of all completions. `None` without a
    /// reference.
    pub kl: Option<f64>,
}

/// Scores preference pairs; `batch` pairs are run at once.
///
/// # Errors
/// As [`text`]; [`Error::BadConfig`] where the two decoders have different vocabularies.
pub fn pairs<B: Backend>(
    decoder: &Decoder<B>,
    reference: Option<&Decoder<B>>,
    pairs: &[PreferencePair],
    batch: usize,
    go_on: Check<'_>,
) -> Result<PairScore> {
    if let Some(reference) = reference {
        check_vocabularies(decoder, reference)?;
    }
    let mut sums = PairSums::default();
    for part in pairs.chunks(batch.max(1)) {
        go_on()?;
        for model in [Some(decoder), reference].into_iter().flatten() {
            sequences_of(part).try_for_each(|sequence| check(model, &sequence.tokens))?;
        }
        let batch = Batch::of_sequences(sequences_of(part));
        no_grad(|| {
            let states = reference.map(|reference| (batch.hidden(reference, &ForwardOptions::default()), reference.head_weight()));
            sums.add(decoder, states.as_ref().map(|(states, head)| (states, *head)), &batch, go_on)
        })?;
    }
    Ok(sums.means(pairs.len(), reference.is_some()))
}

fn sequences_of(pairs: &[PreferencePair]) -> impl Iterator<Item = &Sequence> {
    pairs.iter().flat_map(|pair| [&pair.chosen, &pair.rejected])
}

/// Pairs that are scored again and again beside the same reference: it runs on them once.
pub struct HeldOut<'a, B: Backend> {
    reference: &'a Decoder<B>,
    /// The batches, each with the reference's hidden states before the vocabulary's projection.
    batches: Vec<(Batch, Tensor<B>)>,
    pairs: usize,
}

impl<'a, B: Backend> HeldOut<'a, B> {
    /// Runs the reference on the pairs, `batch` pairs at once.
    ///
    /// # Errors
    /// As [`text`].
    pub fn new(reference: &'a Decoder<B>, pairs: &[PreferencePair], batch: usize) -> Result<Self> {
        sequences_of(pairs).try_for_each(|sequence| check(reference, &sequence.tokens))?;
        let of_part = |part| {
            let batch = Batch::of_sequences(sequences_of(part));
            let states = no_grad(|| batch.hidden(reference, &ForwardOptions::default()));
            (batch, states)
        };
        Ok(Self { reference, batches: pairs.chunks(batch.max(1)).map(of_part).collect(), pairs: pairs.len() })
    }

    /// Scores the pairs as [`pairs`] does.
    ///
    /// # Errors
    /// [`Error::BadConfig`] where the two decoders have different vocabularies.
    pub fn score(&self, decoder: &Decoder<B>) -> Result<PairScore> {
        check_vocabularies(decoder, self.reference)?;
        let mut sums = PairSums::default();
        for (batch, states) in &self.batches {
            no_grad(|| sums.add(decoder, Some((states, self.reference.head_weight())), batch, &to_the_end))?;
        }
        Ok(sums.means(self.pairs, true))
    }
}

/// Sums over pairs (and, for the divergence, over tokens).
#[derive(Default)]
struct PairSums {
    right: usize,
    right_unreferenced: usize,
    chosen: f64,
    rejected: f64,
    margin: f64,
    divergence: f64,
    tokens: usize,
}

impl PairSums {
    /// Adds a batch in which sequences 2i and 2i + 1 are the chosen and the rejected one of pair i. `reference` are the reference's hidden
    /// states and the weight of its vocabulary's projection.
    fn add<B: Backend>(
        &mut self,
        decoder: &Decoder<B>,
        reference: Option<(&Tensor<B>, &Tensor<B>)>,
        batch: &Batch,
        go_on: Check<'_>,
    ) -> Result<()> {
        let sums = |hidden: &Tensor<B>, head: &Tensor<B>| {
            let mut sums = vec![0.0; batch.sequences];
            let log_probs = hidden.linear_log_prob(head, &batch.targets).to_f64();
            log_probs.iter().zip(batch.groups.iter()).for_each(|(log_prob, &group)| sums[group as usize] += log_prob);
            sums
        };
        let states = batch.hidden(decoder, &ForwardOptions::default());
        let policy = sums(&states, decoder.head_weight());
        let referenced = match reference {
            None => vec![0.0; batch.sequences],
            Some((reference_states, reference_head)) => {
                go_on()?;
                let heads = [[&states, decoder.head_weight()], [reference_states, reference_head]];
                self.divergence += divergence(heads, go_on)?;
                self.tokens += batch.target_count();
                sums(reference_states, reference_head)
            }
        };
        for (policy, reference) in policy.chunks_exact(2).zip(referenced.chunks_exact(2)) {
            let margin = (policy[0] - reference[0]) - (policy[1] - reference[1]);
            self.right += usize::from(margin > 0.0);
            self.right_unreferenced += usize::from(policy[0] > policy[1]);
            self.chosen += policy[0];
            self.rejected += policy[1];
            self.margin += margin;
        }
        Ok(())
    }

    fn means(&self, pairs: usize, referenced: bool) -> PairScore {
        let count = pairs as f64;
        PairScore {
            pairs,
            accuracy: self.right as f64 / count,
            accuracy_unreferenced: self.right_unreferenced as f64 / count,
            chosen_log_prob: self.chosen / count,
            rejected_log_prob: self.rejected / count,
            margin: self.margin / count,
            kl: referenced.then(|| self.divergence / self.tokens as f64),
        }
    }
}

/// Σ over rows of KL(softmax(h·wᵀ) ‖ softmax(g·uᵀ)) for [h, w] and [g, u], a chunk of rows at a time.
fn divergence<B: Backend>([[states, head], [reference_states, reference_head]]: [[&Tensor<B>; 2]; 2], go_on: Check<'_>) -> Result<f64> {
    let (rows, vocabulary) = (states.shape()[0], head.shape()[0]);
    let chunk = (LOGITS / vocabulary).max(1);
    let mut total = 0.0;
    for start in (0..rows).step_by(chunk) {
        go_on()?;
        let end = rows.min(start + chunk);
        let log_probs = |states: &Tensor<B>, head: &Tensor<B>| states.slice(0, start, end).linear(head, None).log_softmax().to_f64();
        let (p, q) = (log_probs(states, head), log_probs(reference_states, reference_head));
        total += p.iter().zip(&q).map(|(&p, &q)| divergence_term(p, q)).sum::<f64>();
    }
    Ok(total)
}

/// p·ln(p/q) − p + q from ln p and ln q. It is never negative. Its sum over a vocabulary is the divergence, because p and q both sum to 1.
/// Where p ≈ q it is p·(d + e^{−d} − 1) with d = ln p − ln q, which does not cancel.
fn divergence_term(ln_p: f64, ln_q: f64) -> f64 {
    let (p, difference) = (ln_p.exp(), ln_p - ln_q);
    if difference.abs() < 1.0 {
        return p * (difference + (-difference).exp_m1());
    }
    let cost = if p == 0.0 { 0.0 } else { p * difference };
    cost - p + ln_q.exp()
}

fn log_probs<B: Backend>(decoder: &Decoder<B>, batch: &Batch) -> Vec<f64> {
    match batch.target_count() {
        0 => Vec::new(),
        _ => no_grad(|| batch.token_log_probs(decoder, &ForwardOptions::default()).to_f64()),
    }
}

fn check<B: Backend>(decoder: &Decoder<B>, tokens: &[u32]) -> Result<()> {
    check_tokens(tokens, decoder.config())?;
    check_length(tokens.len().saturating_sub(1), decoder.config())
}

fn check_vocabularies<B: Backend>(decoder: &Decoder<B>, reference: &Decoder<B>) -> Result<()> {
    let [ours, theirs] = [decoder, reference].map(|decoder| decoder.config().vocab_size);
    if ours == theirs {
        return Ok(());
    }
    Err(Error::bad_config(format!("the model has {ours} tokens, the reference {theirs}: they do not share a tokenizer")))
}

#[cfg(test)]
mod tests;
