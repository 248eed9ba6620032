//! Why the gradient of the paper's Eq 6 vanishes with the length of the answers, and what its limit is.
//!
//! Eq 6 is a cross-entropy of three masses: the chosen answer, the rejected one, and all others. Its weights are probabilities of whole
//! answers, m = π_w + π_l. An answer of n tokens with half a chance each has π = 2⁻ⁿ, so the gradient halves with every token.
//!
//! It prints:
//! ```text
//! the slope in the rejected answer's log-probability, at the start of training
//!  tokens                    Eq 6          π(y_l)  slpo-gkl, in the limit
//!       2                2.500e-1        2.500e-1                   0.500
//!       4                6.250e-2        6.250e-2                   0.500
//!       8                3.906e-3        3.906e-3                   0.500
//!      32               2.328e-10       2.328e-10                   0.500
//!     128               2.939e-39       2.939e-39                   0.500
//! Adam divides a slope's size out, down to its ε of 1e-8: from 27 tokens on, the steps of Eq 6 end
//! slpo-gkl divides by m first, and then takes m → 0: half of a pair's mass is on each side, at any length
//! ```

use engine::{Cpu, Tensor};
use losses::{Hyperparameters, Loss, LossError, PairInputs, pairwise};

/// ∂L/∂l_l of a policy that is still its reference, where both answers have n tokens with a chance of one half each.
fn slope<T>(loss: Loss, n: i32) -> Result<f64, LossError>
where
    T: engine::Element,
    Cpu<T>: engine::Backend,
{
    let cpu = Cpu::<T>::new();
    let l = [f64::from(n) * 0.5_f64.ln()];
    let [chosen, rejected] = [(); 2].map(|()| Tensor::parameter(&cpu, &l, &[1]));
    let inputs = PairInputs::new(&chosen, &rejected, &chosen.detach(), &rejected.detach())?;
    let value = pairwise(loss, &Hyperparameters { alpha: 1.0, ..Hyperparameters::default() }, &inputs)?;
    Ok(value.sum_all().backward().of(&rejected).item())
}

fn main() -> Result<(), LossError> {
    println!("the slope in the rejected answer's log-probability, at the start of training");
    println!("{:>7}  {:>22}  {:>14}  {:>22}", "tokens", "Eq 6", "π(y_l)", "slpo-gkl, in the limit");
    for n in [2, 4, 8, 32, 128] {
        let (eq6, limit) = (slope::<f64>(Loss::Slpo, n)?, slope::<f64>(Loss::SlpoGkl, n)?);
        println!("{n:>7}  {eq6:>22.3e}  {:>14.3e}  {limit:>22.3}", 0.5_f64.powi(n));
    }
    println!("Adam divides a slope's size out, down to its ε of 1e-8: from 27 tokens on, the steps of Eq 6 end");
    println!("slpo-gkl divides by m first, and then takes m → 0: half of a pair's mass is on each side, at any length");
    Ok(())
}
