//! Tests of a step of alignment: its start, its cache, its metrics and its micro-batches.

use super::*;
use crate::boundary::Sequence;
use crate::config::Config;
use crate::data::PreferencePair;
use crate::decoder::{Decoder, ForwardOptions};
use crate::evaluate;
use crate::optimizer::{Rule, Schedule};
use crate::train::Trainer;
use engine::Device;
use losses::{Hyperparameters, Loss, Objective};

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
