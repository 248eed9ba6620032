//! Alignment: trains a decoder, the policy, on preference pairs or labelled rows. A reference limits how far the policy moves.
//!
//! | module | what |
//! |---|---|
//! | [`objective`] | what each loss is given of a batch |
//! | `token_weights` | the parts of the sums, and the weights, of the losses that weight tokens |
//! | [`mod@reference`] | the frozen model that the policy is compared with, computed live or read from a cache |
//! | [`reference_cache`] | the reference's log-probabilities on disk |
//! | [`start`] | what the loss must be before the first step |
//! | [`step`] | one step: both models over the pairs, the loss, the optimiser |
//! | [`unpaired`] | one step on labelled rows: completions that are desirable or undesirable by themselves |
//! | [`metrics`] | what a step reports about its pairs |
//! | [`mod@ches`] | a warning before training: pairs whose chosen completion is likely to fall too |
//!
//! This is the step of `slpo align`, of the demo and of `slpo bench step`. A program of your own uses it like this:
//!
//! ```
//! use engine::Cpu;
//! use losses::{Hyperparameters, Loss, Objective};
//! use model::align::{Alignment, Reference};
//! use model::boundary::Sequence;
//! use model::config::Config;
//! use model::data::PreferencePair;
//! use model::decoder::{Decoder, ForwardOptions};
//! use model::optimizer::{Rule, Schedule};
//! use model::train::Trainer;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! // A small decoder with random weights. `ModelFolder::open` and `Decoder::from_tensors` give one from a folder.
//! let config = Config { vocab_size: 32, layers: 1, ..Config::preset("nano")? };
//! let decoder = Decoder::random(&Cpu::<f32>::new(), &config, 7)?;
//!
//! // After the prompt 1 2 the token 5 is preferred to 6, and after 3 4 the token 8 to 9; 0 ends a text.
//! // `PreferenceSet::load` reads pairs from a file.
//! let sequence = |prompt: [u32; 2], answer: u32| Sequence::new(vec![prompt[0], prompt[1], answer, 0], 2);
//! let pair = |line, prompt, better, worse| PreferencePair { line, chosen: sequence(prompt, better), rejected: sequence(prompt, worse) };
//! let data = [pair(1, [1, 2], 5, 6), pair(2, [3, 4], 8, 9)];
//! let pairs: Vec<&PreferencePair> = data.iter().collect();
//!
//! // DPO against the decoder as it starts; `Objective::new` refuses what the loss cannot have.
//! let objective = Objective::new(Loss::Dpo, Hyperparameters { beta: 0.1, ..Hyperparameters::default() })?;
//! let alignment = Alignment { objective, reference: Reference::live(decoder.clone()), at_once: 8 };
//! assert!(alignment.start(&decoder, &pairs)?.agrees());
//!
//! let schedule = Schedule { learning_rate: 1e-2, warmup: 0, steps: 3, final_fraction: 0.1 };
//! let mut trainer = Trainer::new(decoder, Rule::adamw(0.0), schedule, 1.0);
//! let mut margins = Vec::new();
//! for _ in 0..3 {
//!     let step = alignment.step(&mut trainer, &pairs, &ForwardOptions::default())?;
//!     let metrics = step.pairs.expect("no step was skipped");
//!     println!("step {}: loss {:.4}, margin {:.4} nats", step.outcome.step, step.outcome.loss, metrics.margin);
//!     margins.push(metrics.margin);
//! }
//! // Policy and reference are one model at first; then the chosen answers gain on the rejected ones.
//! assert!(margins[0] == 0.0 && margins[1] > 0.0 && margins[2] > margins[1]);
//! # Ok(())
//! # }
//! ```

pub mod ches;
pub mod metrics;
pub mod objective;
pub mod reference;
pub mod reference_cache;
pub mod start;
pub mod step;
mod token_weights;
pub mod unpaired;

pub use ches::{Ches, ches};
pub use metrics::PairMetrics;
pub use objective::total;
pub use reference::Reference;
pub use reference_cache::{Fill, ReferenceCache};
pub use start::Start;
pub use step::{AlignedStep, Alignment};
pub use unpaired::{AlignedRows, RowMetrics};

#[cfg(test)]
mod tests;
