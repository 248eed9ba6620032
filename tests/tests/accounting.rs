//! Accounting, in f64 on real tokenised pairs: a step's gradient and its metrics are those of its rows, however they are padded, packed,
//! ordered or split, and what is not to be predicted has no say in them.

mod shared;

use engine::backend::Indices;
use engine::{Cpu, Device, Tensor};
use losses::{Hyperparameters, Loss, PairInputs, pairwise};
use model::batch::Batch;
use model::boundary::{Limits, Sequence};
use model::config::Config;
use model::data::{ChatTemplate, PreferencePair, PreferenceSet};
use model::decoder::{Decoder, ForwardOptions, Packed};
use model::evaluate;
use model::optimizer::{Rule, Schedule};
use model::preference::{PairBatch, Scored};
use model::tokenizer::Tokenizer;
use model::train::Trainer;
use proptest::prelude::*;
use serde_json::{Value, json};
use shared::shared;
use std::sync::OnceLock;

type Backend = Cpu<f64>;

/// Sums of some thousand terms in another order differ by this much of their size: some thousand roundings of 1.1e-16, with a margin.
const REORDERED: f64 = 1e-11;

fn decoder(seed: u64) -> Decoder<Backend> {
    let config = Config { vocab_size: 258, layers: 2, ..Config::preset("nano").unwrap() };
    Decoder::random(&Backend::new(), &config, seed).unwrap()
}

/// Rows as (prompt, chosen, rejected): real ones, or made ones where the shared data is not here.
fn rows() -> Vec<[String; 3]> {
    let Some(path) = shared("data/polite-preferences/dev.jsonl") else {
        let row = |i: usize| [format!("{i} is"), " a number.".repeat(1 + i % 3), format!(" no number {}", "!".repeat(i))];
        return (0..10).map(row).collect();
    };
    let lines = std::fs::read_to_string(path).unwrap();
    let rows = lines.lines().take(10).map(|line| serde_json::from_str::<Value>(line).unwrap());
    rows.map(|row| ["instruction", "chosen", "rejected"].map(|key| row[key].as_str().unwrap().to_owned())).collect()
}

/// The rows as pairs of byte tokens, at most 64 of them.
fn pairs() -> &'static [PreferencePair] {
    static PAIRS: OnceLock<Vec<PreferencePair>> = OnceLock::new();
    PAIRS.get_or_init(|| {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pairs.jsonl");
        let line = |[prompt, chosen, rejected]: &[String; 3]| {
            json!({ "prompt": prompt, "chosen": chosen, "rejected": rejected }).to_string() + "\n"
        };
        std::fs::write(&path, rows().iter().map(line).collect::<String>()).unwrap();
        PreferenceSet::load(&path, &Tokenizer::bytes(), &ChatTemplate::default(), &Limits::new(64)).unwrap().pairs
    })
}

/// The sum of a micro-batch's losses with their number.
type Total<'a> = &'a dyn Fn(&Decoder<Backend>, &[PreferencePair]) -> (Tensor<Backend>, f64);

fn preferences(loss: Loss, reference: &Decoder<Backend>) -> impl Fn(&Decoder<Backend>, &[PreferencePair]) -> (Tensor<Backend>, f64) {
    move |decoder, pairs| {
        let batch = PairBatch::new(pairs);
        let policy = Scored::policy(&batch, decoder, &ForwardOptions::default());
        let ((chosen, rejected), (reference_chosen, reference_rejected)) =
            (policy.sequence_log_probs(), Scored::reference(&batch, reference).sequence_log_probs());
        let inputs = PairInputs::new(&chosen, &rejected, &reference_chosen, &reference_rejected).unwrap();
        (pairwise(loss, &Hyperparameters::default(), &inputs).unwrap().sum_all(), pairs.len() as f64)
    }
}

fn completions(decoder: &Decoder<Backend>, pairs: &[PreferencePair]) -> (Tensor<Backend>, f64) {
    let batch = Batch::of_sequences(pairs.iter().map(|pair| &pair.chosen));
    (batch.token_log_probs(decoder, &ForwardOptions::default()).sum_all().neg(), batch.target_count() as f64)
}

/// The loss that the trainer reports for these micro-batches, and the weights after a step of plain gradient descent with η = 1: the step
/// is the gradient.
fn step(policy: &Decoder<Backend>, micro_batches: &[&[PreferencePair]], total: Total) -> (f64, Vec<f64>) {
    let schedule = Schedule { learning_rate: 1.0, warmup: 0, steps: 1, final_fraction: 1.0 };
    let mut trainer = Trainer::new(policy.clone(), Rule::Sgd { momentum: 0.0 }, schedule, f64::INFINITY);
    let outcome = trainer.step(micro_batches.len(), |decoder, index| Ok(total(decoder, micro_batches[index]))).unwrap();
    let values = |decoder: &Decoder<Backend>| decoder.parameters().into_iter().flat_map(|p| p.tensor.to_f64()).collect::<Vec<_>>();
    let gradient = values(policy).iter().zip(values(&trainer.decoder)).map(|(before, after)| before - after).collect();
    (outcome.loss, gradient)
}

#[track_caller]
fn close(what: &str, ours: &[f64], theirs: &[f64]) {
    assert_eq!(ours.len(), theirs.len());
    let size = theirs.iter().map(|x| x.abs()).fold(1.0, f64::max);
    let apart = ours.iter().zip(theirs).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
    assert!(apart <= REORDERED * size, "{what}: {apart:e} apart at a size of {size}");
}

/// A choice of rows in any order, and where it is cut into micro-batches.
fn batches() -> impl Strategy<Value = (Vec<usize>, Vec<usize>, Vec<bool>)> {
    prop::collection::vec(0..10usize, 1..6).prop_flat_map(|rows| {
        let length = rows.len();
        (Just(rows.clone()), Just(rows).prop_shuffle(), prop::collection::vec(any::<bool>(), length))
    })
}

fn cut<'a>(rows: &'a [PreferencePair], cuts: &[bool]) -> Vec<&'a [PreferencePair]> {
    let mut parts = Vec::new();
    let mut start = 0;
    for end in 1..=rows.len() {
        if end == rows.len() || cuts[end] {
            parts.push(&rows[start..end]);
            start = end;
        }
    }
    parts
}

fn chosen(rows: &[usize]) -> Vec<PreferencePair> {
    rows.iter().map(|&row| pairs()[row % pairs().len()].clone()).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 6, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_batch_has_the_gradient_of_its_rows_split_anywhere_in_any_order((rows, shuffled, cuts) in batches()) {
        let (policy, reference) = (decoder(1), decoder(2));
        let (dpo, gkl) = (preferences(Loss::Dpo, &reference), preferences(Loss::SlpoGkl, &reference));
        let totals: [(&str, Total); 3] = [("completions", &completions), ("dpo", &dpo), ("slpo-gkl", &gkl)];
        let (rows, shuffled) = (chosen(&rows), chosen(&shuffled));
        for (name, total) in totals {
            let (loss, gradient) = step(&policy, &[&rows], total);
            let (other_loss, other) = step(&policy, &cut(&shuffled, &cuts), total);
            close(name, &other, &gradient);
            close(name, &[other_loss], &[loss]);
        }
    }
}

#[test]
fn metrics_do_not_change_with_the_split() {
    let (policy, reference) = (decoder(1), decoder(2));
    let score = |batch: usize| {
        let score = evaluate::pairs(&policy, Some(&reference), pairs(), batch, &evaluate::to_the_end).unwrap();
        [score.accuracy, score.accuracy_unreferenced, score.chosen_log_prob, score.rejected_log_prob, score.margin, score.kl.unwrap()]
    };
    let sequences: Vec<Sequence> = pairs().iter().map(|pair| pair.chosen.clone()).collect();
    let nats = |batch: usize| evaluate::completions(&policy, &sequences, batch, &evaluate::to_the_end).unwrap().nats_per_token();
    for batch in [1, 2, 3, 7] {
        close("pairs", &score(batch), &score(10));
        close("completions", &[nats(batch)], &[nats(10)]);
    }
}

/// The chosen sequences padded at their end to one length, as other trainers lay them out; only completion tokens are targets.
fn padded(padding: impl Fn(usize) -> u32) -> Batch {
    let sequences: Vec<&Sequence> = pairs().iter().map(|pair| &pair.chosen).collect();
    let length = sequences.iter().map(|s| s.tokens.len()).max().unwrap();
    let inputs: Vec<Vec<u32>> =
        sequences.iter().map(|s| s.tokens.iter().copied().chain((s.tokens.len()..).map(&padding)).take(length).collect()).collect();
    let (mut rows, mut targets, mut groups) = (Vec::new(), Vec::new(), Vec::new());
    for (group, sequence) in sequences.iter().enumerate() {
        for position in sequence.completion_start..sequence.tokens.len() {
            rows.push((group * length + position - 1) as u32);
            targets.push(sequence.tokens[position]);
            groups.push(group as u32);
        }
    }
    let inputs = Packed::new(inputs.iter().map(Vec::as_slice));
    Batch { inputs, rows: rows.into(), targets: targets.into(), groups: groups.into(), sequences: sequences.len() }
}

fn loss_and_gradient(batch: &Batch, decoder: &Decoder<Backend>) -> (Vec<f64>, Vec<f64>) {
    let log_probs = batch.token_log_probs(decoder, &ForwardOptions::default());
    let values = log_probs.to_f64();
    let gradients = log_probs.sum_all().backward();
    (values, decoder.parameters().into_iter().flat_map(|p| gradients.of(&p.tensor).to_f64()).collect())
}

#[test]
fn padded_rows_have_the_loss_and_gradient_of_packed_ones_and_padding_has_no_say() {
    let policy = decoder(1);
    let packed = Batch::of_sequences(pairs().iter().map(|pair| &pair.chosen));
    let zeros = loss_and_gradient(&padded(|_| 0), &policy);
    let (log_probs, gradient) = loss_and_gradient(&packed, &policy);
    close("log-probabilities", &zeros.0, &log_probs);
    close("gradient", &zeros.1, &gradient);
    let others = loss_and_gradient(&padded(|position| (7 * position % 251) as u32), &policy);
    assert!(others == zeros, "other padding, other bits");
}

#[test]
fn other_rows_of_a_packed_batch_have_no_say_in_a_rows_bits() {
    let policy = decoder(1);
    let first = &pairs()[0].chosen;
    let count = first.completion().len();
    let log_probs = |other: &Sequence| {
        let batch = Batch::of_sequences([first, other]);
        batch.token_log_probs(&policy, &ForwardOptions::default()).to_f64()[..count].to_vec()
    };
    let mut changed = pairs()[1].rejected.clone();
    let before = log_probs(&changed);
    changed.tokens.iter_mut().for_each(|token| *token = (*token + 1) % 250);
    assert!(log_probs(&changed) == before);
}

/// Token log-probabilities written out: log-softmax at every position, a label for every position, and a mask that is 1 on completions.
fn masked(decoder: &Decoder<Backend>, sequence: &Sequence, label_of_prompt: u32) -> (f64, Vec<f64>) {
    let inputs = &sequence.tokens[..sequence.tokens.len() - 1];
    let labels: Vec<u32> =
        (1..sequence.tokens.len()).map(|i| if i < sequence.completion_start { label_of_prompt } else { sequence.tokens[i] }).collect();
    let mask: Vec<f64> = (1..sequence.tokens.len()).map(|i| f64::from(u8::from(i >= sequence.completion_start))).collect();
    let count = labels.len();
    let labels: Indices = labels.into();
    let log_probs = decoder.hidden(&Packed::new([inputs]), &ForwardOptions::default()).linear_log_prob(decoder.head_weight(), &labels);
    let total = log_probs.mul(&Tensor::constant(decoder.backend(), &mask, &[count])).sum_all();
    let value = total.item();
    let gradients = total.backward();
    (value, decoder.parameters().into_iter().flat_map(|p| gradients.of(&p.tensor).to_f64()).collect())
}

#[test]
fn prompt_tokens_are_context_and_never_targets() {
    let policy = decoder(1);
    for pair in &pairs()[..3] {
        let sequence = &pair.chosen;
        let (log_probs, gradient) = loss_and_gradient(&Batch::of_sequences([sequence]), &policy);
        let oracle = masked(&policy, sequence, 3);
        close("log-probability", &[log_probs.iter().sum()], &[oracle.0]);
        close("gradient", &gradient, &oracle.1);
        assert!(masked(&policy, sequence, 200) == oracle, "a label under the mask changed something");
    }
}

#[test]
fn the_reference_is_run_without_dropout_and_without_gradient() {
    let policy = decoder(1);
    let batch = PairBatch::new(pairs());
    let plain = Scored::policy(&batch, &policy, &ForwardOptions::default());
    let reference = Scored::reference(&batch, &policy);
    assert!(!reference.token_log_probs().is_differentiable() && plain.token_log_probs().is_differentiable());
    assert!(reference.token_log_probs().to_f64() == plain.token_log_probs().to_f64());
    let dropped = ForwardOptions { dropout: Some((0.3, engine::Generator::new(1))), checkpoint: false };
    assert!(Scored::policy(&batch, &policy, &dropped).token_log_probs().to_f64() != plain.token_log_probs().to_f64());
}

#[test]
fn a_rows_log_probabilities_in_f32_do_not_depend_on_what_it_is_packed_with() {
    let single = decoder(1).to_backend(&Device::default());
    let (together, apart) = (PairBatch::new(pairs()), pairs().iter().map(|pair| PairBatch::new([pair])).collect::<Vec<_>>());
    let (chosen, rejected) = Scored::reference(&together, &single).sequence_log_probs();
    for (index, batch) in apart.iter().enumerate() {
        let (c, r) = Scored::reference(batch, &single).sequence_log_probs();
        assert_eq!((c.to_f64()[0], r.to_f64()[0]), (chosen.to_f64()[index], rejected.to_f64()[index]), "pair {index}");
    }
}

/// Pairs of random tokens that begin alike for 0 to 9 tokens, completions and all: one may be the whole beginning of the other.
fn pairs_that_begin_alike() -> impl Strategy<Value = Vec<PreferencePair>> {
    let tokens = |most: usize| prop::collection::vec(0..258u32, 0..most);
    let pair = (tokens(10), 1..4usize, tokens(8), tokens(8)).prop_map(|(alike, start, chosen, rejected)| {
        let sequence = |rest: Vec<u32>| Sequence::new([&[7; 4], &alike[..], &rest, &[3]].concat(), start);
        PreferencePair { line: 1, chosen: sequence(chosen), rejected: sequence(rejected) }
    });
    prop::collection::vec(pair, 1..4)
}

/// Checks that what both begin with is computed once and changes neither log-probabilities nor gradient.
fn shares_only_the_work<B: engine::Backend>(decoder: &Decoder<B>, pairs: &[PreferencePair]) {
    let together = PairBatch::new(pairs);
    let apart = Batch::of_sequences(pairs.iter().map(|pair| &pair.chosen).chain(pairs.iter().map(|pair| &pair.rejected)));
    assert!(together.token_count() < apart.inputs.tokens().len(), "nothing was shared");
    let options = ForwardOptions::default();
    let ours = Scored::policy(&together, decoder, &options).token_log_probs().clone();
    let theirs = apart.token_log_probs(decoder, &options);
    close("log-probabilities", &ours.to_f64(), &theirs.to_f64());
    let weights: Vec<f64> = (0..ours.len()).map(|i| 1.0 - 0.3 * i as f64).collect();
    let gradient = |log_probs: Tensor<B>| {
        let weights = Tensor::constant(decoder.backend(), &weights, &[weights.len()]);
        let gradients = log_probs.mul(&weights).sum_all().backward();
        decoder.parameters().into_iter().flat_map(|p| gradients.get(&p.tensor).unwrap().to_f64()).collect::<Vec<_>>()
    };
    close("gradient", &gradient(ours), &gradient(theirs));
}

proptest! {
    #![proptest_config(slpo_tests::everyday(12))]

    #[test]
    fn what_a_pair_begins_with_is_computed_once_and_changes_nothing(pairs in pairs_that_begin_alike(), window in prop::option::of(1..6usize)) {
        let config = Config { vocab_size: 258, layers: 2, kv_heads: 2, sliding_window: window, ..Config::preset("nano").unwrap() };
        shares_only_the_work(&Decoder::random(&Backend::new(), &config, 5).unwrap(), &pairs);
    }
}

#[test]
fn a_shared_beginning_may_be_checkpointed_and_have_learned_positions() {
    let config = Config { vocab_size: 258, layers: 2, position: model::config::PositionKind::Learned, ..Config::preset("nano").unwrap() };
    let decoder = Decoder::random(&Backend::new(), &config, 5).unwrap();
    shares_only_the_work(&decoder, pairs());
    let batch = PairBatch::new(pairs());
    let log_probs = |checkpoint| Scored::policy(&batch, &decoder, &ForwardOptions { checkpoint, dropout: None }).token_log_probs().clone();
    let gradient = |log_probs: Tensor<Backend>| {
        let gradients = log_probs.sum_all().backward();
        decoder.parameters().into_iter().flat_map(|p| gradients.get(&p.tensor).unwrap().to_f64()).collect::<Vec<_>>()
    };
    assert_eq!(gradient(log_probs(true)), gradient(log_probs(false)));
}
