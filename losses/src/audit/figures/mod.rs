//! Figures of the audit as plain data: series and surfaces, computed by the engine on instances drawn from the seed.
//!
//! | module | figures |
//! |---|---|
//! | [`figure`] | (the type of a figure) |
//! | `starts` | gradients at the start: Eq 6 against DPO, Eq 7 against the shift, SLPO against its limit |
//! | `temperature` | Key Observation 3 and Appendix B |
//! | `descent` | the effects of gradient descent: Eq 6's loser, the mass inside y_o, the listing's collision and its broadcast weight |
//! | `lengths` | the listing against Eq 6 as completions grow |
//! | `landscape` | loss surfaces, and the spectra of their Hessians |
//! | `paper` | the paper's own Figures 1 and 2 |

mod descent;
pub mod figure;
mod landscape;
mod lengths;
mod paper;
mod starts;
mod temperature;

pub use figure::{Curve, Curves, Drawing, Figure, Surface};

use engine::Generator;

/// A function that computes one figure, or a few of one kind, from a random stream of its own.
type Computation = fn(&mut Generator) -> Vec<Figure>;

/// Computes every figure, on instances drawn from `seed`: the same seed gives the same numbers.
pub fn figures(seed: u64) -> Vec<Figure> {
    let groups: [Computation; 6] =
        [starts::figures, temperature::figures, descent::figures, lengths::figures, landscape::figures, paper::figures];
    let generator = Generator::new(seed);
    // The claims' streams are numbered from 0. The figures' streams begin beyond them.
    let all = groups.iter().enumerate();
    all.flat_map(|(number, compute)| compute(&mut generator.stream(1000 + number as u64))).collect()
}
