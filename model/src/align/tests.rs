//! Tests of a step of alignment: its start, its cache, its metrics and its micro-batches.

use super::*;
use crate::boundary::Sequence;
use crate::config::Config;
use crate::data::PreferencePair;
use crate::decoder::{Decoder, ForwardOptions, Packed};
use crate::evaluate;
use crate::optimizer::{Rule, Schedule};
use crate::train::Trainer;
use engine::{Cpu, Device};
use losses::{Hyperparameters, Loss, Objective, TailOf};

fn decoder(seed: u64) -> Decoder<Device> {
    let config = Config { vocab_size: 16, layers: 1, ..Config::preset("nano").unwrap() };
    Decoder::random(&Device::default(), &config, seed).unwrap()
}

/// Pairs whose completions have different lengths.
fn data() -> Vec<PreferencePair> {
    let sequence = |completion: &[u32]| Sequence::new([&[1, 2], completion].concat(), 2);
    let pair = |line, chosen: &[u32], rejected: &[u32]| PreferencePair { line, chosen: sequence(chosen), rejected: sequence(rejected) };
    vec![pair(1, &[3, 4, 0], &[5, 0]), pair(2, &[6, 0], &[7, 8, 9, 0]), pair(3, &[10, 11, 0], &[10, 12, 0])]
}

fn alignment(loss: Loss, reference: Decoder<Device>, at_once: usize) -> Alignment<Device> {
    let objective = Objective::new(loss, Hyperparameters::default()).unwrap();
    Alignment { objective, reference: Reference::live(reference), at_once }
}

fn trainer(decoder: Decoder<Device>) -> Trainer<Device> {
    let schedule = Schedule { learning_rate: 1e-2, warmup: 0, steps: 2, final_fraction: 1.0 };
    Trainer::new(decoder, Rule::adamw(0.0), schedule, 1.0)
}

#[test]
fn every_loss_starts_where_theory_says_and_a_reference_of_its_own_gives_dpo_away() {
    let (data, policy) = (data(), decoder(1));
    let pairs: Vec<&PreferencePair> = data.iter().collect();
    for loss in Loss::ALL.into_iter().filter(|loss| !loss.is_unpaired()) {
        let start = alignment(loss, policy.clone(), 2).start(&policy, &pairs).unwrap();
        assert!(start.agrees(), "{loss}: {start:?}");
    }
    let other = alignment(Loss::Dpo, decoder(2), 2).start(&policy, &pairs).unwrap();
    assert!(!other.agrees(), "{other:?}");
}

#[test]
fn a_cached_reference_gives_the_bits_of_a_live_one() {
    let (data, folder) = (data(), tempfile::tempdir().unwrap());
    let pairs: Vec<&PreferencePair> = data.iter().collect();
    let mut cached = alignment(Loss::Dpo, decoder(2), 2);
    let (mut cache, _) = ReferenceCache::open(&folder.path().join("cache.json"), cached.reference.decoder().unwrap()).unwrap();
    cache.fill(data.iter(), cached.reference.decoder().unwrap(), 2, None, &|| Ok(false)).unwrap();
    cached.reference.set_cache(cache);
    let step = |alignment: &Alignment<Device>| alignment.step(&mut trainer(decoder(1)), &pairs, &ForwardOptions::default()).unwrap();
    assert_eq!(step(&cached), step(&alignment(Loss::Dpo, decoder(2), 2)));
}

#[test]
fn metrics_are_those_of_an_evaluation_and_of_any_micro_batches() {
    let data = data();
    let pairs: Vec<&PreferencePair> = data.iter().collect();
    let (policy, reference) = (decoder(1), decoder(2));
    let score = evaluate::pairs(&policy, Some(&reference), &data, 8, &evaluate::to_the_end).unwrap();
    for at_once in 1..=3 {
        let step = alignment(Loss::Dpo, reference.clone(), at_once).step(&mut trainer(policy.clone()), &pairs, &ForwardOptions::default());
        let metrics = step.unwrap().pairs.unwrap();
        // Sums of f32 in another order.
        let is_near = |a: f64, b: f64| (a - b).abs() <= 1e-5 * (1.0 + b.abs());
        assert!(is_near(metrics.chosen_log_prob, score.chosen_log_prob) && is_near(metrics.margin, score.margin), "{metrics:?}, {score:?}");
        assert!(
            is_near(metrics.rejected_log_prob, score.rejected_log_prob) && metrics.accuracy == score.accuracy,
            "{metrics:?}, {score:?}"
        );
    }
}

#[test]
fn a_cache_that_is_stopped_says_what_is_missing_and_goes_on_from_there() {
    let (data, reference, folder) = (data(), decoder(2), tempfile::tempdir().unwrap());
    let path = folder.path().join("deep/cache.json");
    let asked = std::cell::Cell::new(0);
    let second = || {
        asked.set(asked.get() + 1);
        Ok(asked.get() == 2)
    };
    let (mut cache, _) = ReferenceCache::open(&path, &reference).unwrap();
    assert_eq!(cache.fill(data.iter(), &reference, 1, None, &second).unwrap(), Fill::Stopped { known: 1, missing: 2 });
    let (mut cache, remark) = ReferenceCache::open(&path, &reference).unwrap();
    assert!(remark.is_none() && cache.get(&data[0]).is_some() && cache.get(&data[1]).is_none());
    assert_eq!(cache.fill(data.iter(), &reference, 1, None, &|| Ok(false)).unwrap(), Fill::Whole);
    assert!(data.iter().all(|pair| cache.get(pair).is_some()));
}

/// ld-dpo in both forms, and wpo.
fn token_weighted() -> Vec<Objective> {
    let usual = Hyperparameters { tail_weight: 0.25, ..Hyperparameters::default() };
    let of_policy = Hyperparameters { tail_of: TailOf::Policy, ..usual };
    [(Loss::LdDpo, usual), (Loss::LdDpo, of_policy), (Loss::Wpo, usual)].map(|(loss, hyper)| Objective::new(loss, hyper).unwrap()).into()
}

#[test]
fn weighted_tokens_are_the_same_in_any_micro_batches_and_start_where_theory_says() {
    let data = data();
    let pairs: Vec<&PreferencePair> = data.iter().collect();
    for objective in token_weighted() {
        let of = |reference, at_once| Alignment { objective: objective.clone(), reference: Reference::live(reference), at_once };
        let start = of(decoder(1), 3).start(&decoder(1), &pairs).unwrap();
        assert!(start.agrees(), "{objective}: {start:?}");
        let step = |at_once: usize| {
            let mut trainer = trainer(decoder(1));
            let outcome = of(decoder(2), at_once).step(&mut trainer, &pairs, &ForwardOptions::default()).unwrap().outcome;
            (outcome.loss, outcome.gradient_norm)
        };
        let whole = step(3);
        for at_once in 1..3 {
            let parts = step(at_once);
            let is_near = |a: f64, b: f64| (a - b).abs() <= 1e-5 * (1.0 + b.abs());
            assert!(is_near(parts.0, whole.0) && is_near(parts.1, whole.1), "{objective}: {parts:?}, {whole:?}");
        }
    }
}

/// ln p of every token of the vocabulary at each position of a completion, in f64.
fn rows(decoder: &Decoder<Cpu<f64>>, sequence: &Sequence) -> Vec<Vec<f64>> {
    let tokens = &sequence.tokens[..sequence.tokens.len() - 1];
    let hidden = decoder.hidden(&Packed::new([tokens]), &ForwardOptions::default());
    let log_probs = hidden.linear(decoder.head_weight(), None).log_softmax().to_f64();
    log_probs.chunks(decoder.config().vocab_size).skip(sequence.completion_start - 1).map(Vec::from).collect()
}

#[test]
fn the_weights_of_pairs_are_those_of_the_logits_and_constants() {
    let data = data();
    let (policy, reference) = (decoder(1).to_backend(&Cpu::<f64>::new()), decoder(2).to_backend(&Cpu::<f64>::new()));
    let weight = |sequence: &Sequence| {
        let terms = rows(&policy, sequence).into_iter().zip(sequence.completion()).map(|(row, &token)| {
            let squares: f64 = row.iter().map(|log_prob| (2.0 * log_prob).exp()).sum();
            row[token as usize] - squares.ln()
        });
        (terms.sum::<f64>() / sequence.completion().len() as f64).exp()
    };
    for pair in &data {
        let of = |loss: Loss| {
            let objective = Objective::new(loss, Hyperparameters::default()).unwrap();
            let alignment = Alignment { objective, reference: Reference::live(reference.clone()), at_once: 1 };
            let (value, _) = alignment.total(&policy, &[pair], &ForwardOptions::default()).unwrap();
            let gradients = value.clone().backward();
            let gradient: Vec<f64> = policy.parameters().iter().flat_map(|parameter| gradients.of(&parameter.tensor).to_f64()).collect();
            (value.item(), gradient)
        };
        let (expected, (dpo, dpo_gradient), (wpo, wpo_gradient)) =
            (weight(&pair.chosen) * weight(&pair.rejected), of(Loss::Dpo), of(Loss::Wpo));
        assert!((wpo - expected * dpo).abs() < 1e-13 * wpo, "{wpo} for {expected} × {dpo}");
        let size = dpo_gradient.iter().fold(0.0, |size: f64, slope| size.max(slope.abs()));
        for (wpo, dpo) in wpo_gradient.iter().zip(&dpo_gradient) {
            assert!((wpo - expected * dpo).abs() < 1e-12 * size, "{wpo} for {expected} × {dpo}");
        }
    }
}

#[test]
fn tails_are_the_tokens_past_the_shorter_completion() {
    let data = data();
    let (policy, reference) = (decoder(1).to_backend(&Cpu::<f64>::new()), decoder(2).to_backend(&Cpu::<f64>::new()));
    let sum = |decoder: &Decoder<Cpu<f64>>, sequence: &Sequence, shorter: usize| {
        let weight = |place: usize| if place < shorter { 1.0 } else { 0.25 };
        let tokens = rows(decoder, sequence).into_iter().zip(sequence.completion()).enumerate();
        tokens.map(|(place, (row, &token))| weight(place) * row[token as usize]).sum::<f64>()
    };
    let objective = token_weighted().remove(0);
    let alignment = Alignment { objective, reference: Reference::live(reference.clone()), at_once: 3 };
    let (total, count) = alignment.total(&policy, &data.iter().collect::<Vec<_>>(), &ForwardOptions::default()).unwrap();
    let expected = data.iter().map(|pair| {
        let shorter = pair.chosen.completion().len().min(pair.rejected.completion().len());
        let ratio = |sequence: &Sequence| sum(&policy, sequence, shorter) - sum(&reference, sequence, shorter);
        (-0.1 * (ratio(&pair.chosen) - ratio(&pair.rejected))).exp().ln_1p()
    });
    let expected = expected.sum::<f64>();
    assert!(count == 3.0 && (total.item() - expected).abs() < 1e-12, "{} for {expected}", total.item());
}
