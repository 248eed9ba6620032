//! Tests of a step on labelled rows: its start, z, its micro-batches, and what it remembers.

use super::*;
use crate::align::Reference;
use crate::config::Config;
use crate::evaluate;
use crate::optimizer::{Rule, Schedule};
use engine::Cpu;
use losses::{Hyperparameters, Loss, Objective};

type World = Cpu<f64>;

const LOSSES: [Loss; 3] = [Loss::Kto, Loss::ApoZeroUnpaired, Loss::BcoUnpaired];

fn decoder(seed: u64) -> Decoder<World> {
    let config = Config { vocab_size: 16, layers: 1, ..Config::preset("nano").unwrap() };
    Decoder::random(&World::new(), &config, seed).unwrap()
}

/// Rows whose prompts and completions have different lengths.
fn data() -> Vec<LabelledSequence> {
    let row = |line: usize, prompt: &[u32], completion: &[u32], is_desirable| {
        let sequence = Sequence::new([prompt, completion].concat(), prompt.len());
        LabelledSequence { line, sequence, is_desirable }
    };
    vec![
        row(1, &[1, 2], &[3, 4, 0], true),
        row(2, &[5], &[6, 0], false),
        row(3, &[1, 7, 8], &[9, 10, 11, 0], true),
        row(4, &[2, 2], &[12, 0], true),
        row(5, &[13, 1], &[14, 15, 0], false),
    ]
}

fn alignment(loss: Loss, reference: Decoder<World>, at_once: usize) -> Alignment<World> {
    let objective = Objective::new(loss, Hyperparameters::default()).unwrap();
    Alignment { objective, reference: Reference::live(reference), at_once }
}

fn trainer(decoder: Decoder<World>) -> Trainer<World> {
    let schedule = Schedule { learning_rate: 1e-2, warmup: 0, steps: 3, final_fraction: 1.0 };
    Trainer::new(decoder, Rule::adamw(0.0), schedule, 1.0)
}

fn weights(trainer: &Trainer<World>) -> Vec<f64> {
    trainer.decoder.parameters().into_iter().flat_map(|parameter| parameter.tensor.to_f64()).collect()
}

/// ln π/π_ref of the tokens from `start` on, token by token.
fn log_ratio(policy: &Decoder<World>, reference: &Decoder<World>, tokens: &[u32], start: usize) -> f64 {
    let of = |decoder| evaluate::sequence(decoder, tokens).unwrap().log_probs[start - 1..].iter().sum::<f64>();
    of(policy) - of(reference)
}

#[test]
fn every_loss_starts_where_theory_says_and_a_reference_of_its_own_is_seen() {
    let (data, policy) = (data(), decoder(1));
    let rows: Vec<&LabelledSequence> = data.iter().collect();
    for loss in LOSSES {
        let start = alignment(loss, policy.clone(), 2).start_on_rows(&policy, &rows).unwrap();
        assert!(start.agrees(), "{loss}: {start:?}");
        let other = alignment(loss, decoder(2), 2).start_on_rows(&policy, &rows).unwrap();
        assert!(!other.agrees(), "{loss}: {other:?}");
    }
}

#[test]
fn z_is_the_mean_log_ratio_of_each_prompt_with_the_next_completion() {
    let data = data();
    let rows: Vec<&LabelledSequence> = data.iter().collect();
    // The third row is the longest, and a mismatched completion is no longer.
    let mismatched: [(&[u32], usize); 5] =
        [(&[1, 2, 6, 0], 2), (&[5, 9, 10, 11, 0], 1), (&[1, 7, 8, 12, 0], 3), (&[2, 2, 14, 15, 0], 2), (&[13, 1, 3, 4, 0], 2)];
    let seeds = [(1, 2), (2, 1)];
    let mut means = Vec::new();
    for (policy, reference) in seeds.map(|(policy, reference)| (decoder(policy), decoder(reference))) {
        let mean = mismatched.iter().map(|(tokens, start)| log_ratio(&policy, &reference, tokens, *start)).sum::<f64>() / 5.0;
        let z = alignment(Loss::Kto, reference, 2).mismatched_divergence(&trainer(policy), &rows).unwrap().unwrap();
        assert!((z - mean.max(0.0)).abs() < 1e-12, "{z} for {mean}");
        means.push(mean);
    }
    assert!(means[0] == -means[1] && means[0] != 0.0, "one of them is brought up to 0: {means:?}");
    let apo = alignment(Loss::ApoZeroUnpaired, decoder(2), 2);
    assert_eq!(apo.mismatched_divergence(&trainer(decoder(1)), &rows).unwrap(), None);
}

#[test]
fn a_mismatched_completion_is_cut_at_the_longest_row() {
    let row = |tokens: &[u32], start| LabelledSequence { line: 1, sequence: Sequence::new(tokens.to_vec(), start), is_desirable: true };
    let (long_prompt, long_completion) = (row(&[1, 2, 3, 4, 5], 4), row(&[6, 7, 8, 9, 10, 0], 1));
    let joined = mismatched(&[&long_prompt, &long_completion]);
    assert_eq!(joined, [Sequence::new(vec![1, 2, 3, 4, 7, 8], 4), Sequence::new(vec![6, 5], 1)]);
}

#[test]
fn a_step_does_not_depend_on_its_micro_batches() {
    let data = data();
    let rows: Vec<&LabelledSequence> = data.iter().collect();
    for loss in LOSSES {
        let run = |at_once: usize| {
            let (alignment, mut trainer) = (alignment(loss, decoder(2), at_once), trainer(decoder(1)));
            let steps: Vec<AlignedRows> =
                (0..2).map(|_| alignment.step_on_rows(&mut trainer, &rows, &ForwardOptions::default()).unwrap()).collect();
            (steps, weights(&trainer), trainer.running)
        };
        let (whole, whole_weights, running) = run(5);
        for at_once in 1..5 {
            let (steps, weights, parts_running) = run(at_once);
            for (step, whole) in steps.iter().zip(&whole) {
                assert!((step.outcome.loss - whole.outcome.loss).abs() < 1e-12, "{loss}, {at_once} at once");
                let (own, of_whole) = (step.rows.as_ref().unwrap().named(), whole.rows.as_ref().unwrap().named());
                for ((name, value), (_, of_whole)) in own.into_iter().zip(of_whole) {
                    assert!((value - of_whole).abs() < 1e-10, "{loss}, {at_once} at once: {name} is {value} for {of_whole}");
                }
            }
            assert!((running.log_ratio - parts_running.log_ratio).abs() < 1e-10);
            assert!(weights.iter().zip(&whole_weights).all(|(x, y)| (x - y).abs() < 1e-9), "{loss}, {at_once} at once");
        }
    }
}

#[test]
fn metrics_are_those_of_an_evaluation() {
    let data = data();
    let rows: Vec<&LabelledSequence> = data.iter().collect();
    let (policy, reference) = (decoder(1), decoder(2));
    let score = evaluate::unpaired::rows(&policy, &reference, &data, 2, &evaluate::to_the_end).unwrap();
    let step = alignment(Loss::BcoUnpaired, reference.clone(), 3);
    let step = step.step_on_rows(&mut trainer(policy.clone()), &rows, &ForwardOptions::default()).unwrap().rows.unwrap();
    assert_eq!((score.rows, score.accuracy), (5, step.accuracy));
    let ratios: Vec<f64> =
        data.iter().map(|row| log_ratio(&policy, &reference, &row.sequence.tokens, row.sequence.completion_start)).collect();
    let mean = |which: &[usize]| which.iter().map(|&row| ratios[row]).sum::<f64>() / which.len() as f64;
    for (of_step, of_score, expected) in [
        (step.desirable_log_ratio, score.desirable_log_ratio, mean(&[0, 2, 3])),
        (step.undesirable_log_ratio, score.undesirable_log_ratio, mean(&[1, 4])),
    ] {
        assert!((of_step.unwrap() - expected).abs() < 1e-12 && (of_score.unwrap() - expected).abs() < 1e-12);
    }
    let right = data.iter().zip(&ratios).filter(|(row, ratio)| row.is_desirable == (**ratio > 0.0)).count();
    assert_eq!(score.accuracy, right as f64 / 5.0);
    assert!(score.kl > 0.0);
}

#[test]
fn bco_subtracts_the_mean_of_the_rewards_so_far() {
    let data = data();
    let rows: Vec<&LabelledSequence> = data.iter().collect();
    let (running, mut trainer) = (alignment(Loss::BcoUnpaired, decoder(2), 2), trainer(decoder(1)));
    let options = ForwardOptions::default();
    let first = running.step_on_rows(&mut trainer, &rows, &options).unwrap().rows.unwrap();
    let mean = (3.0 * first.desirable_log_ratio.unwrap() + 2.0 * first.undesirable_log_ratio.unwrap()) / 5.0;
    assert!((trainer.running.log_ratio - mean).abs() < 1e-12 && trainer.running.steps == 1);
    let hyper = Hyperparameters { delta: Some(0.1 * mean), ..Hyperparameters::default() };
    let fixed = Alignment { objective: Objective::new(Loss::BcoUnpaired, hyper).unwrap(), ..alignment(Loss::BcoUnpaired, decoder(2), 2) };
    let (sum, count) = fixed.total_of_rows(&trainer.decoder, &rows, 0.0, &options).unwrap();
    let second = running.step_on_rows(&mut trainer, &rows, &options).unwrap();
    assert!((second.outcome.loss - sum.item() / count).abs() < 1e-12);
}

#[test]
fn what_a_step_cannot_be_is_refused() {
    let data = data();
    let options = ForwardOptions::default();
    let step = |loss, reference| {
        let alignment = Alignment { reference, ..alignment(loss, decoder(2), 2) };
        alignment.step_on_rows(&mut trainer(decoder(1)), &[&data[0]], &options)
    };
    let message = step(Loss::Kto, Reference::live(decoder(2))).unwrap_err().to_string();
    assert!(message.contains("kto joins each row's prompt to the next row's completion, so a step needs at least 2 rows"), "{message}");
    let one = step(Loss::ApoZeroUnpaired, Reference::live(decoder(2))).unwrap();
    assert_eq!(one.rows.unwrap().undesirable_log_ratio, None, "there is no such row");
    let message = step(Loss::Dpo, Reference::live(decoder(2))).unwrap_err().to_string();
    assert!(message.contains("dpo is not a function of labelled rows"), "{message}");
    let message = step(Loss::BcoUnpaired, Reference::none()).unwrap_err().to_string();
    assert!(message.contains("bco-unpaired needs a reference"), "{message}");
    let pair = PreferencePair { line: 3, chosen: data[0].sequence.clone(), rejected: data[1].sequence.clone() };
    let pairs = alignment(Loss::Kto, decoder(2), 2).start(&decoder(1), &[&pair]).unwrap_err().to_string();
    assert!(pairs.contains("kto is not a function of the sequence log-probabilities of pairs"), "{pairs}");
    let rows = rows_of_pairs([&pair]);
    assert_eq!(rows.iter().map(|row| (row.line, row.is_desirable)).collect::<Vec<_>>(), [(3, true), (3, false)]);
}
