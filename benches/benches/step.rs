//! One optimiser step of the small presets: forward, backward, clipping to 1.0, AdamW.
//!
//! `cargo bench -p slpo-benches --bench step`

#![allow(missing_docs)]

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use engine::Cpu;
use model::config::preset::Preset;
use model::decoder::{Decoder, ForwardOptions};
use model::optimizer::{Rule, Schedule};
use model::train::Trainer;
use slpo_benches::random_batch;

fn step(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("step");
    group.sample_size(10);
    for name in ["nano", "micro"] {
        let preset = Preset::named(name).expect("a preset");
        let decoder = Decoder::random(&Cpu::<f32>::new(), &preset.config(), 0).expect("a valid preset");
        let schedule = Schedule { learning_rate: 1e-4, warmup: 0, steps: 1_000_000, final_fraction: 1.0 };
        let mut trainer = Trainer::new(decoder, Rule::default(), schedule, 1.0);
        let batch = random_batch(preset, 1);
        group.throughput(Throughput::Elements(batch.target_count() as u64));
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                let loss = |decoder: &Decoder<_>, _| {
                    let sum = batch.token_log_probs(decoder, &ForwardOptions::default()).sum_all().neg();
                    Ok((sum, batch.target_count() as f64))
                };
                trainer.step(1, loss).expect("a finite step")
            })
        });
    }
    group.finish();
}

criterion_group!(benches, step);
criterion_main!(benches);
