//! Checkpoints are files that anyone may have written: whatever their bytes, reading them ends with a checkpoint or with an error in words.

use engine::{Device, Generator};
use model::batch::Batch;
use model::checkpoint::{self, RunState};
use model::config::Config;
use model::decoder::{Decoder, ForwardOptions};
use model::optimizer::{Rule, Schedule};
use model::train::Trainer;
use std::path::Path;

fn trainer() -> Trainer<Device> {
    let config = Config { vocab_size: 16, layers: 1, ..Config::preset("nano").unwrap() };
    let schedule = Schedule { learning_rate: 1e-3, warmup: 0, steps: 9, final_fraction: 0.1 };
    Trainer::new(Decoder::random(&Device::default(), &config, 3).unwrap(), Rule::default(), schedule, 1.0)
}

/// A run's folder with one checkpoint.
fn written() -> (tempfile::TempDir, Trainer<Device>) {
    let (folder, mut trainer) = (tempfile::tempdir().unwrap(), trainer());
    let batch = Batch::of_windows([&[1, 2, 3][..]]);
    let loss = |decoder: &Decoder<Device>, _| Ok((batch.token_log_probs(decoder, &ForwardOptions::default()).sum_all().neg(), 2.0));
    trainer.step(1, loss).unwrap();
    checkpoint::save(folder.path(), &trainer, &RunState::default(), 2).unwrap();
    (folder, trainer)
}

/// The bytes with a few of them changed, cut off or put in.
fn mutated(bytes: &[u8], draw: &mut Generator) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    for _ in 0..1 + draw.below(4) {
        let at = draw.below(bytes.len() + 1);
        match draw.below(4) {
            0 => bytes.truncate(at),
            1 => bytes.insert(at, draw.bits() as u8),
            2 => bytes.splice(at..at, *b"18446744073709551615").for_each(drop),
            _ => bytes.get_mut(at).into_iter().for_each(|byte| *byte ^= 1 << draw.below(8)),
        }
    }
    bytes
}

fn weights(trainer: &Trainer<Device>) -> Vec<f64> {
    trainer.decoder.parameters().into_iter().flat_map(|p| p.tensor.to_f64()).collect()
}

/// Rewrites the manifest so that it agrees with what the files hold now: damage that no checksum shows.
fn agree(folder: &Path) {
    let entry = |name: &str| {
        let bytes = std::fs::read(folder.join(name)).unwrap();
        format!("\"{name}\": {{\"bytes\": {}, \"crc32c\": {}}}", bytes.len(), crc32c::crc32c(&bytes))
    };
    let files = ["weights.safetensors", "optimizer.safetensors", "state.json"].map(entry).join(", ");
    std::fs::write(folder.join("manifest.json"), format!("{{\"version\": 1, \"files\": {{{files}}}}}")).unwrap();
}

#[test]
fn arbitrary_bytes_in_any_file_of_a_checkpoint_give_an_error_in_words_or_a_checkpoint() {
    let (run, whole) = written();
    let folder = run.path().join("checkpoints/step-1");
    let mut draw = Generator::new(11);
    for name in ["manifest.json", "state.json", "weights.safetensors", "optimizer.safetensors"] {
        let original = std::fs::read(folder.join(name)).unwrap();
        let manifest = std::fs::read(folder.join("manifest.json")).unwrap();
        for case in 0..60 {
            let bytes = mutated(&original, &mut draw);
            let changed = bytes != original;
            std::fs::write(folder.join(name), bytes).unwrap();
            let with_checksum = case % 2 == 1 && name != "manifest.json";
            if with_checksum {
                agree(&folder);
            }
            let mut other = trainer();
            let restored = checkpoint::restore(run.path(), &mut other, &RunState::default());
            match restored {
                Err(error) => assert!(!error.to_string().contains('\n') && error.to_string().contains("checkpoints"), "{error}"),
                Ok(_) if name == "manifest.json" => assert!(weights(&other) == weights(&whole)),
                Ok(_) => assert!(with_checksum || !changed, "{name}, case {case}: damage was not noticed"),
            }
            std::fs::write(folder.join(name), &original).unwrap();
            std::fs::write(folder.join("manifest.json"), &manifest).unwrap();
        }
    }
    let mut other = trainer();
    checkpoint::restore(run.path(), &mut other, &RunState::default()).unwrap();
    assert!(weights(&other) == weights(&whole));
}
