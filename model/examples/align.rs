//! Alignment from Rust: a decoder that has learned a language learns to prefer kind deeds, by DPO.
//!
//! It prints:
//! ```text
//! step  1: loss 0.69, chosen +0.0, rejected +0.0 nats
//! step 21: loss 0.…
//! step 41: loss 0.…
//! before: mean reward …
//! after: mean reward …
//! ```

use model::language::Language;
use model::prelude::*;
use model::study::learned_language::{config, draw, learn, pairs, rewards};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    // The policy starts as a copy of the reference: a decoder that writes the language as it is.
    let language = Language::new();
    let random = Decoder::random(&Cpu::<f32>::new(), &config(&language), 1)?;
    let reference = learn(&language, random, (200, 32), &mut Generator::new(1), |_, _, _| ())?;
    // Pairs of its own completions. The one with the higher reward is the chosen one.
    let data = pairs(&language, &reference, Generator::new(2), 512)?;

    let objective = Objective::new(Loss::Dpo, Hyperparameters { beta: 0.3, ..Hyperparameters::default() })?;
    let alignment = Alignment { objective, reference: Reference::live(reference.clone()), at_once: 32 };
    let schedule = Schedule { warmup: 10, ..Schedule::constant(5e-4, 60) };
    let mut trainer = Trainer::new(reference.clone(), Rule::adamw(0.0), schedule, 1.0);
    let mut order = Order::new(0, data.len(), 32);
    for step in 1..=60 {
        let batch: Vec<&PreferencePair> = order.rows_of(step).into_iter().map(|row| &data[row]).collect();
        let made = alignment.step(&mut trainer, &batch, &ForwardOptions::default())?;
        if step % 20 == 1 {
            let pairs = made.pairs.expect("a step on finite numbers is not skipped");
            println!(
                "step {step:>2}: loss {:.2}, chosen {:+.1}, rejected {:+.1} nats",
                made.outcome.loss,
                pairs.chosen_log_ratio,
                pairs.chosen_log_ratio - pairs.margin
            );
        }
    }
    for (name, decoder) in [("before", &reference), ("after", &trainer.decoder)] {
        let drawn = draw(&language, decoder, Generator::new(3), 1000)?;
        let mean = rewards(&language, &drawn).iter().sum::<f64>() / 1000.0;
        println!("{name}: mean reward {mean:+.1}, for example: {}", language.decode(&drawn[4].tokens[1..]));
    }
    Ok(())
}
