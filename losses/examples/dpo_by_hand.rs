//! DPO from four numbers.
//!
//! The policy is the model that is trained. The reference is a copy of it that is not. For one prompt, each gives the two answers a
//! log-probability. That is all that DPO reads: how far the policy has moved towards the chosen answer, and how far towards the rejected
//! one.
//!
//! It prints:
//! ```text
//! log-ratios: chosen a = +1.0, rejected r = -0.5 nats: the policy likes the chosen answer better than the reference does
//! margin: x = β(a − r) = 0.150, so the model gives the label a chance of σ(x) = 0.537
//! by hand:    loss −ln σ(x) = 0.620957, ∂/∂l_w = −β·σ(−x) = -0.046257, ∂/∂l_l = 0.046257
//! this crate: loss           = 0.620957, ∂/∂l_w             = -0.046257, ∂/∂l_l = 0.046257
//! with both answers 5 nats less likely, the loss is 0.620957: the same
//! ```

use engine::{Cpu, Tensor};
use losses::{Hyperparameters, Loss, LossError, PairInputs, pairwise};

fn main() -> Result<(), LossError> {
    // ln π(y|x) of the chosen and of the rejected answer, under the policy and under the reference.
    let (l_w, l_l, ln_pi_w, ln_pi_l) = (-11.0, -13.5, -12.0, -13.0);
    let beta = 0.1;

    let (a, r) = (l_w - ln_pi_w, l_l - ln_pi_l);
    println!(
        "log-ratios: chosen a = {a:+.1}, rejected r = {r:+.1} nats: the policy likes the chosen answer better than the reference does"
    );
    let x = beta * (a - r);
    let sigma = |x: f64| 1.0 / (1.0 + (-x).exp());
    println!("margin: x = β(a − r) = {x:.3}, so the model gives the label a chance of σ(x) = {:.3}", sigma(x));
    let (loss, slope) = (-sigma(x).ln(), beta * sigma(-x));
    println!("by hand:    loss −ln σ(x) = {loss:.6}, ∂/∂l_w = −β·σ(−x) = {:.6}, ∂/∂l_l = {slope:.6}", -slope);

    let cpu = Cpu::<f64>::new();
    let number = |value: f64| Tensor::parameter(&cpu, &[value], &[1]);
    let (chosen, rejected) = (number(l_w), number(l_l));
    let inputs = PairInputs::new(&chosen, &rejected, &number(ln_pi_w).detach(), &number(ln_pi_l).detach())?;
    let of_crate = pairwise(Loss::Dpo, &Hyperparameters { beta, ..Hyperparameters::default() }, &inputs)?.mean_all();
    let gradients = of_crate.backward();
    let slopes = [&chosen, &rejected].map(|x| gradients.of(x).item());
    println!("this crate: loss           = {:.6}, ∂/∂l_w             = {:.6}, ∂/∂l_l = {:.6}", of_crate.item(), slopes[0], slopes[1]);
    assert!((of_crate.item() - loss).abs() < 1e-14 && (slopes[0] + slope).abs() < 1e-14 && (slopes[1] - slope).abs() < 1e-14);

    // Notice that only a − r counts: the chosen answer may fall, as long as the rejected one falls further.
    let both_lower = -sigma(beta * ((a - 5.0) - (r - 5.0))).ln();
    println!("with both answers 5 nats less likely, the loss is {both_lower:.6}: the same");
    Ok(())
}
