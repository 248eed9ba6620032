//! A checkpoint of which one file is anything: the first byte says which, and whether the manifest agrees with it all the same.

use engine::Cpu;
use model::batch::Batch;
use model::checkpoint::{self, RunState};
use model::config::Config;
use model::decoder::{Decoder, ForwardOptions};
use model::optimizer::{Rule, Schedule};
use model::train::Trainer;
use std::cell::RefCell;
use std::path::PathBuf;

const FILES: [&str; 4] = ["manifest.json", "state.json", "weights.safetensors", "optimizer.safetensors"];

/// A run's folder with one whole checkpoint, and a trainer to restore.
struct Run {
    folder: tempfile::TempDir,
    whole: Vec<Vec<u8>>,
    trainer: Trainer<Cpu<f32>>,
}

impl Run {
    fn new() -> Self {
        let nano = Config::preset("nano").expect("a preset");
        let small = Config { vocab_size: 8, hidden_size: 16, intermediate_size: 8, layers: 1, heads: 1, kv_heads: 1, ..nano };
        let schedule = Schedule { learning_rate: 1e-3, warmup: 0, steps: 9, final_fraction: 0.1 };
        let decoder = Decoder::random(&Cpu::new(), &small, 3).expect("a valid configuration");
        let mut trainer = Trainer::new(decoder, Rule::default(), schedule, 1.0);
        let batch = Batch::of_windows([&[1, 2, 3][..]]);
        let loss = |decoder: &Decoder<_>, _| Ok((batch.token_log_probs(decoder, &ForwardOptions::default()).sum_all().neg(), 2.0));
        trainer.step(1, loss).expect("a finite step");
        let folder = tempfile::tempdir().expect("a temporary folder");
        checkpoint::save(folder.path(), &trainer, &RunState::default(), 1).expect("a writable folder");
        let mut run = Self { folder, whole: Vec::new(), trainer };
        run.whole = FILES.iter().map(|name| std::fs::read(run.path(name)).expect("a whole checkpoint")).collect();
        run
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join("checkpoints/step-1").join(name)
    }

    fn write(&self, name: &str, bytes: &[u8]) {
        std::fs::write(self.path(name), bytes).expect("a writable folder");
    }

    /// Rewrites the manifest so that it agrees with what the files hold now.
    fn agree(&self) {
        let entry = |name: &&str| {
            let bytes = std::fs::read(self.path(name)).expect("a file");
            format!("\"{name}\": {{\"bytes\": {}, \"crc32c\": {}}}", bytes.len(), crc32c::crc32c(&bytes))
        };
        let files = FILES[1..].iter().map(entry).collect::<Vec<_>>().join(", ");
        self.write(FILES[0], format!("{{\"version\": 1, \"files\": {{{files}}}}}").as_bytes());
    }
}

thread_local! {
    static RUN: RefCell<Option<Run>> = const { RefCell::new(None) };
}

/// Restores a checkpoint with `data` in place of one of its files.
pub fn fuzz(data: &[u8]) {
    let Some((&choice, bytes)) = data.split_first() else { return };
    RUN.with_borrow_mut(|run| {
        let run = run.get_or_insert_with(Run::new);
        FILES.iter().zip(&run.whole).for_each(|(name, bytes)| run.write(name, bytes));
        let name = FILES[usize::from(choice) % 4];
        run.write(name, bytes);
        if choice & 4 != 0 && name != FILES[0] {
            run.agree();
        }
        if let Err(error) = checkpoint::restore(run.folder.path(), &mut run.trainer, &RunState::default()) {
            assert!(error.to_string().contains("checkpoints"), "{error}");
        }
    });
}

/// Each file as it was written, with and without a manifest that is made to agree.
pub fn seeds() -> Vec<Vec<u8>> {
    let run = Run::new();
    let seed = |choice: u8| [&[choice], run.whole[usize::from(choice) % 4].as_slice()].concat();
    (0..8).map(seed).collect()
}
