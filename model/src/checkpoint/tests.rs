//! Tests of checkpoints: saved values come back bit for bit, and damage is found.

use super::*;
use crate::batch::Batch;
use crate::config::Config;
use crate::decoder::ForwardOptions;
use crate::optimizer::{Rule, Schedule};
use engine::{Cpu, Device};

fn trainer<B: Backend>(backend: &B) -> Trainer<B> {
    let config = Config { vocab_size: 16, layers: 1, ..Config::preset("nano").unwrap() };
    let decoder = Decoder::random(backend, &config, 3).unwrap();
    let schedule = Schedule { learning_rate: 1e-2, warmup: 2, steps: 10, final_fraction: 0.1 };
    Trainer::new(decoder, Rule::default(), schedule, 1.0)
}

fn steps<B: Backend>(trainer: &mut Trainer<B>, count: usize) {
    for _ in 0..count {
        let batch = Batch::of_windows([&[1, 2, 3, trainer.steps() as u32][..]]);
        let loss = |decoder: &Decoder<B>, _| Ok((batch.token_log_probs(decoder, &ForwardOptions::default()).sum_all().neg(), 3.0));
        trainer.step(1, loss).unwrap();
    }
}

/// Weights and moments, bit for bit.
fn bits<B: Backend>(trainer: &Trainer<B>) -> Vec<u64> {
    let weights = trainer.decoder.parameters().into_iter().map(|p| p.tensor.to_f64());
    let moments = trainer.optimizer.state(trainer.decoder.backend()).into_iter().map(|(_, tensor)| tensor.to_f64());
    weights.chain(moments).flatten().map(f64::to_bits).collect()
}

fn goes_on_to_the_same_bits<B: Backend>(backend: &B) {
    let folder = tempfile::tempdir().unwrap();
    let run = RunState { seed: 5, ..RunState::default() };
    let mut whole = trainer(backend);
    steps(&mut whole, 3);
    save(folder.path(), &whole, &run, 2).unwrap();
    steps(&mut whole, 3);
    let mut resumed = trainer(backend);
    let restored = restore(folder.path(), &mut resumed, &run).unwrap();
    assert_eq!(restored, Restored { step: 3, damaged: vec![], changed: vec![] });
    steps(&mut resumed, 3);
    assert_eq!(bits(&resumed), bits(&whole));
}

#[test]
fn a_restored_trainer_goes_on_to_the_same_bits_in_f32_and_in_f64() {
    goes_on_to_the_same_bits(&Device::default());
    goes_on_to_the_same_bits(&Cpu::<f64>::new());
}

#[test]
fn a_checkpoint_of_another_precision_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let mut double = trainer(&Cpu::<f64>::new());
    steps(&mut double, 1);
    save(folder.path(), &double, &RunState::default(), 1).unwrap();
    let message = restore(folder.path(), &mut trainer(&Device::default()), &RunState::default()).unwrap_err().to_string();
    assert!(message.contains("step 1 in f64, not of step 1 in f32"), "{message}");
}

#[test]
fn the_newest_are_kept_and_a_damaged_one_gives_way_to_the_one_before() {
    let folder = tempfile::tempdir().unwrap();
    let run = RunState::default();
    let mut all_steps = trainer(&Device::default());
    for _ in 0..4 {
        steps(&mut all_steps, 1);
        save(folder.path(), &all_steps, &run, 3).unwrap();
    }
    let found: Vec<u64> = all(folder.path()).unwrap().into_iter().map(|(step, _)| step).collect();
    assert_eq!(found, [2, 3, 4]);
    let file = |step: u64, name: &str| folder.path().join(format!("checkpoints/step-{step}/{name}"));
    let mut bytes = fs::read(file(4, WEIGHTS)).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(file(4, WEIGHTS), &bytes).unwrap();
    fs::write(file(3, MOMENTS), b"").unwrap();
    let mut resumed = trainer(&Device::default());
    let restored = restore(folder.path(), &mut resumed, &run).unwrap();
    assert_eq!(restored.step, 2);
    assert!(restored.damaged[0].contains("step-4/weights.safetensors: its checksum is not"), "{:?}", restored.damaged);
    assert!(restored.damaged[1].contains("step-3/optimizer.safetensors: it has 0 bytes"), "{:?}", restored.damaged);
    fs::remove_file(file(2, STATE)).unwrap();
    let before = bits(&resumed);
    let message = restore(folder.path(), &mut resumed, &run).unwrap_err().to_string();
    assert!(message.contains("no checkpoint can be used; the newest: ") && message.contains("step-4"), "{message}");
    assert_eq!(bits(&resumed), before, "a failed restore leaves the trainer as it was");
    steps(&mut resumed, 1);
    save(folder.path(), &resumed, &run, 3).unwrap();
    assert_eq!(all(folder.path()).unwrap().last().unwrap().0, 3, "the damaged later one is gone");
}

#[test]
fn what_is_no_longer_set_as_it_was_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let mut first = trainer(&Device::default());
    steps(&mut first, 1);
    save(folder.path(), &first, &RunState::default(), 1).unwrap();
    let mut other = trainer(&Device::default());
    other.clip = 2.0;
    let checkpoint = &all(folder.path()).unwrap()[0].1;
    let mut state = read_state(&checkpoint.join(STATE)).unwrap();
    assert_eq!(state.rounding, "f32");
    state.rounding = "bf16".to_owned();
    fs::write(checkpoint.join(STATE), serde_json::to_vec(&state).unwrap()).unwrap();
    manifest::write(checkpoint, &FILES).unwrap();
    let restored = restore(folder.path(), &mut other, &RunState { seed: 9, ..RunState::default() }).unwrap();
    let said: Vec<(String, bool)> = restored.changed.iter().map(|found| (found.to_string(), found.on_result)).collect();
    let expected = [("the seed: 0 → 9", true), ("the precision: bf16 → f32", true), ("the clipping norm: 1 → 2", false)];
    assert_eq!(said, expected.map(|(words, on_result)| (words.to_owned(), on_result)));
}

#[test]
fn a_checkpoint_of_an_older_version_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let old = folder.path().join("checkpoints/step-7");
    fs::create_dir_all(&old).unwrap();
    fs::write(old.join("model.safetensors"), b"").unwrap();
    fs::write(old.join(STATE), b"{\"step\":7}").unwrap();
    let message = restore(folder.path(), &mut trainer(&Device::default()), &RunState::default()).unwrap_err().to_string();
    assert!(message.contains("step-7: a checkpoint of slpo before its checkpoints had a manifest"), "{message}");
}
