//! A decoder that has learned the small language: its training, completions drawn from it, and pairs of them with their labels.

use crate::batch::Batch;
use crate::boundary::Sequence;
use crate::config::Config;
use crate::config::preset::Preset;
use crate::data::PreferencePair;
use crate::decoder::{Decoder, ForwardOptions};
use crate::error::Result;
use crate::generate::{Sampling, StopConditions, generate};
use crate::language::preference::Labelling;
use crate::language::{Language, Token};
use crate::optimizer::{Rule, Schedule};
use crate::train::{StepOutcome, Trainer};
use engine::{Backend, Generator, no_grad};

/// The length at which completions are cut. The longest completion of the language has 8 tokens.
pub const MAX_TOKENS: usize = 12;
/// Sequences that go through a decoder in one batch.
const CHUNK: usize = 512;
/// Prompts that are drawn at once for pairs.
const PROMPTS: usize = 256;

/// Returns the configuration of the decoder.
///
/// # Panics
/// Never: the preset exists.
pub fn config(language: &Language) -> Config {
    let nano = Preset::named("nano").expect("nano is a preset").config();
    let end = language.end();
    Config { vocab_size: language.words().len(), max_positions: 32, eos: vec![end], bos: Some(end), layers: 2, ..nano }
}

/// Returns a sentence as the decoder sees it, with the end token before it.
pub fn sequence(language: &Language, prompt: &[Token], completion: &[Token]) -> Sequence {
    let tokens = [&[language.end()], prompt, completion].concat();
    Sequence::new(tokens, 1 + prompt.len())
}

/// Trains a decoder on `batch` sentences a step, each drawn from the language and used once. `each` is told of every step, with its tokens.
///
/// # Errors
/// [`Error::NotFinite`](crate::Error::NotFinite) if a step is not.
pub fn learn<B: Backend>(
    language: &Language,
    decoder: Decoder<B>,
    (steps, batch): (u64, usize),
    generator: &mut Generator,
    mut each: impl FnMut(u64, &StepOutcome, usize),
) -> Result<Decoder<B>> {
    let schedule = Schedule { learning_rate: 3e-3, warmup: 50.min(steps / 10), steps, final_fraction: 0.02 };
    let mut trainer = Trainer::new(decoder, Rule::adamw(0.01), schedule, 1.0);
    for step in 1..=steps {
        let mut uniform = || generator.uniform();
        let sentences: Vec<Sequence> = (0..batch).map(|_| sequence(language, &[], &language.sample_sentence(&mut uniform))).collect();
        let packed = Batch::of_sequences(&sentences);
        let outcome = trainer.step(1, |decoder, _| {
            let loss = packed.token_log_probs(decoder, &ForwardOptions::default()).sum_all().neg();
            Ok((loss, sentences.len() as f64))
        })?;
        each(step, &outcome, packed.inputs.tokens().len());
    }
    Ok(trainer.decoder)
}

/// Samples completions from a decoder, one for each prompt.
///
/// # Errors
/// Those of [`generate`].
pub fn complete<B: Backend>(
    language: &Language,
    decoder: &Decoder<B>,
    prompts: &[Vec<Token>],
    generator: &Generator,
) -> Result<Vec<Vec<Token>>> {
    let end = [language.end()];
    let started: Vec<Vec<Token>> = prompts.iter().map(|prompt| [&end, prompt.as_slice()].concat()).collect();
    let limits = StopConditions { max_tokens: MAX_TOKENS, stop: &end };
    generate(decoder, &started, &Sampling::PLAIN, limits, generator, |_, _| true)
}

/// Draws `count` prompts from the language, and completions of them from a decoder.
///
/// # Errors
/// Those of [`generate`].
pub fn draw<B: Backend>(language: &Language, decoder: &Decoder<B>, generator: Generator, count: usize) -> Result<Vec<Sequence>> {
    let mut uniform = generator.stream(2);
    let prompts: Vec<Vec<Token>> = (0..count).map(|_| language.sample_prompt(&mut || uniform.uniform())).collect();
    let mut sequences = Vec::new();
    for (number, chunk) in prompts.chunks(CHUNK).enumerate() {
        let completions = complete(language, decoder, chunk, &generator.stream(3 + number as u64))?;
        sequences.extend(chunk.iter().zip(completions).map(|(prompt, completion)| sequence(language, prompt, &completion)));
    }
    Ok(sequences)
}

/// Computes the rewards of drawn completions.
pub fn rewards(language: &Language, drawn: &[Sequence]) -> Vec<f64> {
    drawn.iter().map(|sequence| language.reward(&sequence.prompt()[1..], sequence.completion())).collect()
}

/// Computes ln π of the completion of each sequence, in nats.
pub fn log_probs<B: Backend>(decoder: &Decoder<B>, sequences: &[Sequence]) -> Vec<f64> {
    let of_chunk =
        |chunk: &[Sequence]| no_grad(|| Batch::of_sequences(chunk).sequence_log_probs(decoder, &ForwardOptions::default())).to_f64();
    sequences.chunks(CHUNK).flat_map(of_chunk).collect()
}

/// Draws pairs of a decoder's own completions. The one with the higher reward is the chosen one; ties, equal completions and unfinished
/// ones are drawn again.
///
/// # Errors
/// Those of [`generate`].
pub fn pairs<B: Backend>(
    language: &Language,
    decoder: &Decoder<B>,
    mut generator: Generator,
    wanted: usize,
) -> Result<Vec<PreferencePair>> {
    let mut pairs = Vec::new();
    while pairs.len() < wanted {
        let prompts: Vec<Vec<Token>> =
            (0..PROMPTS).map(|_| language.sample_prompt(&mut || generator.uniform())).flat_map(|prompt| [prompt.clone(), prompt]).collect();
        let completions = complete(language, decoder, &prompts, &generator.stream(generator.position))?;
        generator.position += 1;
        for (prompts, completions) in prompts.chunks(2).zip(completions.chunks(2)) {
            pairs.extend(label(language, &prompts[0], &completions[0], &completions[1]).map(|(w, l)| PreferencePair {
                line: 0,
                chosen: sequence(language, &prompts[0], w),
                rejected: sequence(language, &prompts[0], l),
            }));
        }
    }
    pairs.truncate(wanted);
    Ok(pairs)
}

/// Returns (winner, loser) if both completions are finished and their rewards differ.
fn label<'a>(language: &Language, prompt: &[Token], first: &'a [Token], second: &'a [Token]) -> Option<(&'a [Token], &'a [Token])> {
    let finished = [first, second].iter().all(|completion| completion.last() == Some(&language.end()));
    let reward = |completion: &[Token]| language.reward(prompt, completion);
    let first_wins = Labelling::HigherReward.first_wins(reward(first), reward(second), &mut || 0.0)?;
    finished.then_some(if first_wins { (first, second) } else { (second, first) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use engine::Cpu;

    #[test]
    fn a_decoder_learns_the_language_and_its_pairs_are_labelled_by_reward() {
        let language = Language::new();
        let random = Decoder::random(&Cpu::<f32>::new(), &config(&language), 1).unwrap();
        let mut generator = Generator::new(1).stream(1);
        let mut losses = Vec::new();
        let decoder = learn(&language, random, (60, 32), &mut generator, |_, outcome, _| losses.push(outcome.loss)).unwrap();
        assert!(losses[59] < 0.6 * losses[0] && losses[59] > 0.9 * language.entropy(), "{losses:?}");
        let pairs = pairs(&language, &decoder, Generator::new(2), 40).unwrap();
        assert_eq!(pairs.len(), 40);
        for pair in &pairs {
            let [w, l] = [&pair.chosen, &pair.rejected].map(|of| language.reward(&of.prompt()[1..], of.completion()));
            assert!(w > l && pair.chosen.prompt() == pair.rejected.prompt());
        }
        let drawn = draw(&language, &decoder, Generator::new(3), 700).unwrap();
        assert_eq!((drawn.len(), rewards(&language, &drawn).len()), (700, 700));
        // Most are sentences after so little training, and the log-probabilities are those of the words.
        let log_probs = log_probs(&decoder, &drawn[..2]);
        let one = crate::evaluate::sequence(&decoder, &drawn[1].tokens).unwrap().log_probs;
        let sum: f64 = one[drawn[1].prompt().len() - 1..].iter().sum();
        assert!((log_probs[1] - sum).abs() < 1e-4, "{} and {sum}", log_probs[1]);
    }
}
