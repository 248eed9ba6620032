//! Evaluation on cases whose figures are known or computed another way.

use super::*;
use crate::config::Config;
use engine::{Cpu, Generator};

fn decoder(seed: u64) -> Decoder<Cpu<f64>> {
    let config = Config { vocab_size: 40, layers: 2, ..Config::preset("nano").unwrap() };
    Decoder::random(&Cpu::new(), &config, seed).unwrap()
}

fn tokens(generator: &mut Generator, count: usize) -> Vec<u32> {
    (0..count).map(|_| (generator.uniform() * 40.0) as u32).collect()
}

fn some_pairs(count: usize) -> Vec<PreferencePair> {
    let mut generator = Generator::new(3);
    let mut sequence = |length: usize| Sequence::new(tokens(&mut generator, length), 2);
    (0..count).map(|line| PreferencePair { line, chosen: sequence(3 + line), rejected: sequence(9 - line) }).collect()
}

fn close(a: f64, b: f64) {
    assert!((a - b).abs() <= 1e-10 * (1.0 + b.abs()), "{a} against {b}");
}

#[test]
fn text_costs_the_same_however_it_is_cut_into_batches_and_as_much_as_its_logits_say() {
    let decoder = decoder(1);
    let stream = tokens(&mut Generator::new(2), 2 * TEXT_TOKENS + 100);
    let windows: Vec<&[u32]> = stream.chunks(61).collect();
    let whole = text(&decoder, windows.iter().copied(), &to_the_end).unwrap();
    assert_eq!(whole.tokens, stream.len() - windows.len());
    let mut parts = TextScore::default();
    for window in &windows {
        let score = sequence(&decoder, window).unwrap();
        parts.add(&score.log_probs);
    }
    close(whole.nats, parts.nats);
    let logits = decoder.logits(&Packed::new([windows[0]])).log_softmax().to_f64();
    let by_hand: f64 = (1..windows[0].len()).map(|t| logits[(t - 1) * 40 + windows[0][t] as usize]).sum();
    close(sequence(&decoder, windows[0]).unwrap().log_probs.iter().sum(), by_hand);
}

#[test]
fn pairs_are_means_over_the_set_and_do_not_depend_on_the_batch() {
    let (policy, reference, pairs_) = (decoder(1), decoder(2), some_pairs(5));
    let all = pairs(&policy, Some(&reference), &pairs_, 5, &to_the_end).unwrap();
    for batch in [1, 2, 3] {
        let split = pairs(&policy, Some(&reference), &pairs_, batch, &to_the_end).unwrap();
        close(split.margin, all.margin);
        close(split.kl.unwrap(), all.kl.unwrap());
        assert_eq!((split.accuracy, split.accuracy_unreferenced), (all.accuracy, all.accuracy_unreferenced));
    }
    let log_prob = |decoder: &_, s: &Sequence| -completions(decoder, std::slice::from_ref(s), 1, &to_the_end).unwrap().nats;
    let margins = pairs_.iter().map(|pair| {
        let ratio = |s| log_prob(&policy, s) - log_prob(&reference, s);
        ratio(&pair.chosen) - ratio(&pair.rejected)
    });
    let margins: Vec<f64> = margins.collect();
    close(all.margin, margins.iter().sum::<f64>() / 5.0);
    close(all.accuracy, margins.iter().filter(|&&m| m > 0.0).count() as f64 / 5.0);
    close(all.chosen_log_prob, pairs_.iter().map(|pair| log_prob(&policy, &pair.chosen)).sum::<f64>() / 5.0);
}

#[test]
fn pairs_that_are_held_out_score_the_same_again_and_again() {
    let (policy, reference, held_out) = (decoder(1), decoder(2), some_pairs(7));
    let expected = pairs(&policy, Some(&reference), &held_out, 3, &to_the_end).unwrap();
    let held = HeldOut::new(&reference, &held_out, 3).unwrap();
    assert_eq!([held.score(&policy).unwrap(), held.score(&policy).unwrap()], [expected; 2]);
    assert_eq!(held.score(&reference).unwrap().kl, Some(0.0));
}

#[test]
fn without_a_reference_the_margin_is_the_policys_own() {
    let score = pairs(&decoder(1), None, &some_pairs(4), 2, &to_the_end).unwrap();
    close(score.margin, score.chosen_log_prob - score.rejected_log_prob);
    assert_eq!(score.accuracy, score.accuracy_unreferenced);
    assert_eq!(score.kl, None);
}

#[test]
fn the_divergence_is_that_of_the_definition_and_zero_from_itself() {
    let (policy, reference, pairs_) = (decoder(1), decoder(2), some_pairs(3));
    assert_eq!(pairs(&policy, Some(&policy), &pairs_, 2, &to_the_end).unwrap().kl, Some(0.0));
    let (mut total, mut count) = (0.0, 0);
    for sequence in pairs_.iter().flat_map(|pair| [&pair.chosen, &pair.rejected]) {
        let log_probs = |decoder: &Decoder<_>| decoder.logits(&Packed::new([sequence.tokens.as_slice()])).log_softmax().to_f64();
        let (p, q) = (log_probs(&policy), log_probs(&reference));
        for t in sequence.completion_start..sequence.tokens.len() {
            total += (40 * (t - 1)..40 * t).map(|i| p[i].exp() * (p[i] - q[i])).sum::<f64>();
            count += 1;
        }
    }
    close(pairs(&policy, Some(&reference), &pairs_, 2, &to_the_end).unwrap().kl.unwrap(), total / f64::from(count));
}

#[test]
fn a_term_of_the_divergence_is_finite_and_not_negative_for_any_log_probs() {
    for ln_p in [0.0, -1e-9, -1.0, -700.0, -1e4] {
        for ln_q in [0.0, -1e-9, -1.0 - 1e-12, -700.0, -1e4] {
            let term = divergence_term(ln_p, ln_q);
            assert!(term.is_finite() && term >= 0.0, "{ln_p} {ln_q}: {term}");
        }
    }
}

#[test]
fn what_cannot_be_run_is_refused() {
    let decoder = decoder(1);
    let message = |tokens: &[u32]| sequence(&decoder, tokens).unwrap_err().to_string();
    assert!(message(&[3, 40]).contains("token 40 is out of range"));
    assert!(message(&[]).contains("no tokens"));
    let other = Decoder::random(&Cpu::new(), &Config { vocab_size: 41, ..decoder.config().clone() }, 1).unwrap();
    let error = pairs(&decoder, Some(&other), &some_pairs(1), 1, &to_the_end).unwrap_err().to_string();
    assert!(error.contains("the model has 40 tokens, the reference 41"), "{error}");
}

#[test]
fn an_evaluation_ends_where_it_is_told_to_and_not_later() {
    let (decoder, pairs_) = (decoder(1), some_pairs(5));
    let sequences: Vec<Sequence> = pairs_.iter().map(|pair| pair.chosen.clone()).collect();
    let stream = tokens(&mut Generator::new(2), 4 * TEXT_TOKENS);
    let run = |left: usize| {
        let left = std::cell::Cell::new(left);
        let go_on = move || {
            let more = left.get().checked_sub(1);
            left.set(more.unwrap_or(0));
            more.map(drop).ok_or(Error::Stopped)
        };
        [
            pairs(&decoder, None, &pairs_, 2, &go_on).map(drop),
            completions(&decoder, &sequences, 2, &go_on).map(drop),
            text(&decoder, stream.chunks(64), &go_on).map(drop),
        ]
    };
    assert!(run(3 + 3 + 4).iter().all(Result::is_ok));
    // Each case: the number of checks that succeed, and which evaluations must then end early. Some end at their last batch.
    for (left, ended) in [(0, [true; 3]), (2, [true; 3]), (3, [false, true, true]), (6, [false, false, true]), (9, [false, false, true])] {
        let outcomes = run(left);
        for (outcome, ended) in outcomes.iter().zip(ended) {
            assert_eq!(matches!(outcome, Err(Error::Stopped)), ended, "{left}: {outcome:?}");
        }
    }
}
