//! Generation: one token after another from a decoder, with a key-value cache.

use crate::decoder::{Decoder, Packed, packed_checks};
use crate::error::{Error, Result};
use engine::{Backend, Generator, SamplingRule, Tensor, no_grad, penalise_repetition};

/// A rule for choosing the next token.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sampling {
    /// Logits are divided by this; 0 takes the most likely token.
    pub temperature: f64,
    /// Keeps only the k most likely tokens; 0 keeps all.
    pub top_k: usize,
    /// Keeps only the most likely tokens that together reach this probability, in (0, 1]; 1 keeps all.
    pub top_p: f64,
    /// Keeps only tokens with at least this fraction of the most likely token's probability, in [0, 1]; 0 keeps all.
    pub min_p: f64,
    /// Applied before the others: logits of tokens of the prompt and of the text so far are divided by this (multiplied where negative). 1
    /// leaves them unchanged.
    pub repetition_penalty: f64,
}

impl Sampling {
    /// Always the most likely token.
    pub const GREEDY: Self = Self { temperature: 0.0, ..Self::PLAIN };
    /// The decoder's own distribution.
    pub const PLAIN: Self = Self { temperature: 1.0, top_k: 0, top_p: 1.0, min_p: 0.0, repetition_penalty: 1.0 };

    /// Checks the ranges.
    ///
    /// # Errors
    /// [`Error::BadConfig`] naming the setting.
    pub fn validate(&self) -> Result<()> {
        if !(self.temperature >= 0.0 && self.temperature.is_finite()) {
            return Err(Error::bad_config(format!("temperature {} must be at least 0", self.temperature)));
        }
        if !(self.top_p > 0.0 && self.top_p <= 1.0) {
            return Err(Error::bad_config(format!("top-p {} must be above 0 and at most 1", self.top_p)));
        }
        if !(0.0..=1.0).contains(&self.min_p) {
            return Err(Error::bad_config(format!("min-p {} must be from 0 to 1", self.min_p)));
        }
        if !(self.repetition_penalty > 0.0 && self.repetition_penalty.is_finite()) {
            return Err(Error::bad_config(format!("repetition penalty {} must be above 0", self.repetition_penalty)));
        }
        Ok(())
    }

    /// Chooses the next token from a row of logits; ties go to the lower token.
    pub fn choose(&self, logits: &[f64], generator: &mut Generator) -> u32 {
        self.rule().choose(logits, self.uniform(generator))
    }

    /// Returns the engine's rule for choosing, which is applied after the repetition penalty.
    pub(crate) fn rule(&self) -> SamplingRule {
        SamplingRule { temperature: self.temperature, top_k: self.top_k, top_p: self.top_p, min_p: self.min_p }
    }

    /// Chooses the next token of each sequence from logits [R, V] and a uniform number each. `seen` holds the tokens of each sequence so
    /// far, prompt included. The device chooses, unless a repetition penalty needs `seen`: then the host chooses.
    pub(crate) fn next_tokens<B: Backend>(&self, logits: &Tensor<B>, uniforms: &[f64], seen: &[[&[u32]; 2]]) -> Vec<u32> {
        if self.repetition_penalty == 1.0 {
            return logits.backend().sample_rows(logits.array(), &self.rule(), uniforms);
        }
        let mut numbers = logits.to_f64();
        let rows = numbers.chunks_exact_mut(logits.shape()[1]).zip(seen).zip(uniforms);
        rows.map(|((row, seen), &uniform)| {
            penalise_repetition(row, seen.iter().copied().flatten().copied(), self.repetition_penalty);
            self.rule().choose(row, uniform)
        })
        .collect()
    }

    /// Draws the uniform number that chooses a token. At temperature 0 none is drawn and the result is 0.
    pub(crate) fn uniform(&self, generator: &mut Generator) -> f64 {
        if self.temperature == 0.0 { 0.0 } else { generator.uniform() }
    }
}

/// Conditions that end a sequence.
#[derive(Clone, Copy, Debug)]
pub struct StopConditions<'a> {
    /// Largest number of new tokens.
    pub max_tokens: usize,
    /// Tokens that end a sequence; they are part of the result.
    pub stop: &'a [u32],
}

/// Continues several prompts at once and returns the new tokens of each. Sequence i draws from its own stream of the generator, so its
/// tokens do not depend on the others. `seen` receives every new token with the index of its sequence, and stops that sequence by
/// returning false.
///
/// # Errors
/// [`Error::BadConfig`] for an empty prompt, bad settings or more tokens than learned positions; [`Error::TokenOutOfRange`].
pub fn generate<B: Backend>(
    decoder: &Decoder<B>,
    prompts: &[Vec<u32>],
    sampling: &Sampling,
    limits: StopConditions<'_>,
    generator: &Generator,
    mut seen: impl FnMut(usize, u32) -> bool,
) -> Result<Vec<Vec<u32>>> {
    sampling.validate()?;
    check_prompts(decoder, prompts, limits.max_tokens)?;
    let mut generators: Vec<Generator> = (0..prompts.len()).map(|i| generator.stream(i as u64)).collect();
    let mut outputs = vec![Vec::new(); prompts.len()];
    let mut cache = decoder.cache(prompts.len());
    let mut active: Vec<usize> = (0..prompts.len()).collect();
    let mut next: Vec<Vec<u32>> = prompts.to_vec();
    for _ in 0..limits.max_tokens {
        if active.is_empty() {
            break;
        }
        let logits = decoder.backend().keep_awake(|| no_grad(|| last_logits(decoder, &next, &mut cache)));
        let uniforms: Vec<f64> = active.iter().map(|&sequence| sampling.uniform(&mut generators[sequence])).collect();
        let so_far: Vec<[&[u32]; 2]> =
            active.iter().map(|&sequence| [prompts[sequence].as_slice(), outputs[sequence].as_slice()]).collect();
        let tokens = sampling.next_tokens(&logits, &uniforms, &so_far);
        let mut kept = Vec::new();
        for (row, (&sequence, token)) in active.iter().zip(tokens).enumerate() {
            outputs[sequence].push(token);
            if seen(sequence, token) && !limits.stop.contains(&token) {
                kept.push(row);
            }
        }
        next = kept.iter().map(|&row| outputs[active[row]].last().copied().into_iter().collect()).collect();
        cache.select(&kept);
        active = kept.into_iter().map(|row| active[row]).collect();
    }
    Ok(outputs)
}

fn check_prompts<B: Backend>(decoder: &Decoder<B>, prompts: &[Vec<u32>], max_tokens: usize) -> Result<()> {
    for prompt in prompts {
        if prompt.is_empty() {
            return Err(Error::bad_config("a prompt has no tokens: give a text, or a model whose tokenizer has a BOS token"));
        }
        packed_checks::check_tokens(prompt, decoder.config())?;
        packed_checks::check_length(prompt.len() + max_tokens.saturating_sub(1), decoder.config())?;
    }
    Ok(())
}

/// Computes the logits after the last new token of each sequence, one row each.
fn last_logits<B: Backend>(decoder: &Decoder<B>, new: &[Vec<u32>], cache: &mut crate::decoder::Cache<B>) -> Tensor<B> {
    let batch = Packed::new(new.iter().map(Vec::as_slice));
    let hidden = decoder.hidden_cached(&batch, cache);
    let last = (0..new.len()).map(|s| batch.segments().queries(s).end as u32 - 1).collect();
    hidden.embedding(&last).linear(decoder.head_weight(), None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn top_k_and_top_p_keep_the_most_likely() {
        let logits = [0.0, 3.0, 1.0, 2.0];
        let tokens = |sampling: Sampling| sampling.rule().candidates(&logits).into_iter().map(|c| c.0).collect::<Vec<_>>();
        assert_eq!(tokens(Sampling { top_k: 2, ..Sampling::PLAIN }), [1, 3]);
        // p = .644, .237, .087, .032
        assert_eq!(tokens(Sampling { top_p: 0.6, ..Sampling::PLAIN }), [1]);
        assert_eq!(tokens(Sampling { top_p: 0.7, ..Sampling::PLAIN }), [1, 3]);
        assert_eq!(tokens(Sampling { top_p: 1e-9, ..Sampling::PLAIN }), [1], "one is always left");
    }

    #[test]
    fn samples_have_the_frequencies_of_the_softmax() {
        let logits = [0.0, 1.0, -1.0];
        let total: f64 = logits.iter().map(|z: &f64| z.exp()).sum();
        let mut generator = Generator::new(5);
        let (n, mut counts) = (20_000, [0usize; 3]);
        (0..n).for_each(|_| counts[Sampling::PLAIN.choose(&logits, &mut generator) as usize] += 1);
        for (count, z) in counts.into_iter().zip(logits) {
            let p = z.exp() / total;
            let deviation = (n as f64 * p * (1.0 - p)).sqrt();
            assert!((count as f64 - n as f64 * p).abs() < 5.0 * deviation, "{count} of {n} for p = {p}");
        }
    }

    /// Cases with logits, tokens so far, and the probabilities that transformers 5.24 computes. Its own processors
    /// (`transformers.generation.logits_process`) were applied in the order of its `generate`: repetition penalty, temperature, top-k,
    /// top-p and min-p. The logits are random, in f32.
    const PROCESSORS: &str = include_str!("generate/processors.json");

    #[test]
    fn probabilities_are_those_of_transformers_processors() {
        let cases: Vec<serde_json::Value> = serde_json::from_str(PROCESSORS).unwrap();
        for case in &cases {
            let number = |key: &str| case[key].as_f64().unwrap();
            let numbers = |key: &str| case[key].as_array().unwrap().iter().map(|x| x.as_f64().unwrap()).collect::<Vec<f64>>();
            let sampling = Sampling {
                temperature: number("temperature"),
                top_k: number("top_k") as usize,
                top_p: number("top_p"),
                min_p: number("min_p"),
                repetition_penalty: number("repetition_penalty"),
            };
            let mut logits = numbers("logits");
            penalise_repetition(&mut logits, numbers("seen").into_iter().map(|token| token as u32), sampling.repetition_penalty);
            let candidates = sampling.rule().candidates(&logits);
            let total: f64 = candidates.iter().map(|c| c.1).sum();
            let mut found = vec![0.0; logits.len()];
            candidates.iter().for_each(|&(token, weight)| found[token as usize] = weight / total);
            for (token, (found, wanted)) in found.iter().zip(numbers("probabilities")).enumerate() {
                // transformers divides in f32.
                assert!((found - wanted).abs() < 1e-6, "{sampling:?}: token {token} has {found}, not {wanted}");
            }
        }
        assert_eq!(cases.len(), 8);
    }

    #[test]
    fn a_large_penalty_never_lets_a_token_come_twice_and_counts_the_prompt() {
        let config = crate::config::Config { vocab_size: 64, layers: 1, ..crate::config::Config::preset("nano").unwrap() };
        let decoder = Decoder::random(&engine::Device::default(), &config, 3).unwrap();
        // The penalty brings each positive logit of a seen token to about 0, and each negative one far below. Any other positive logit
        // wins.
        let sampling = Sampling { repetition_penalty: 1e6, ..Sampling::GREEDY };
        let (prompts, limits) = ([vec![1, 2, 3], vec![9]], StopConditions { max_tokens: 8, stop: &[] });
        let run = |prompts: &[Vec<u32>]| generate(&decoder, prompts, &sampling, limits, &Generator::new(0), |_, _| true).unwrap();
        let both = run(&prompts);
        for (prompt, new) in prompts.iter().zip(&both) {
            let all: std::collections::BTreeSet<u32> = prompt.iter().chain(new).copied().collect();
            assert_eq!(all.len(), prompt.len() + new.len(), "{prompt:?} {new:?}");
        }
        assert_eq!(run(&prompts[1..])[0], both[1], "a sequence looks at its own tokens alone");
        let mut session = crate::session::Session::new(&decoder);
        let answer = session.generate(&prompts[0], &sampling, limits, &mut Generator::new(0), |_| true).unwrap();
        assert_eq!(answer, both[0]);
    }
}
