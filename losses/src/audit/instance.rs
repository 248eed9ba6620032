//! The parts of instances: random numbers and distributions, and functions with their gradients and curvature by the engine.

use crate::hyperparameters::Hyperparameters;
use crate::loss::{Loss, pairwise};
use crate::pairwise::pair::PairInputs;
use engine::{Backend, Cpu, Dual, Generator, Tensor};

/// The backend for values and gradients.
pub type World = Cpu<f64>;
/// The backend for Hessian-vector products: the reverse pass on dual numbers.
pub type DualWorld = Cpu<Dual<f64>>;

/// Draws a number uniform in [low, high).
pub fn uniform(generator: &mut Generator, low: f64, high: f64) -> f64 {
    low + (high - low) * generator.uniform()
}

/// Draws n normal numbers with this standard deviation.
pub fn normals(generator: &mut Generator, n: usize, deviation: f64) -> Vec<f64> {
    (0..n).map(|_| deviation * generator.normal()).collect()
}

/// Draws a distribution over n outcomes, none of them improbable, and returns its logarithm.
pub fn log_distribution(generator: &mut Generator, n: usize) -> Vec<f64> {
    let logits = normals(generator, n, 0.7);
    constant(&logits).log_softmax().to_f64()
}

/// Draws the reference's (ln π_w, ln π_l), both probabilities from 0.1 to 0.3.
pub fn sizeable_pair(generator: &mut Generator) -> (f64, f64) {
    (uniform(generator, 0.1, 0.3).ln(), uniform(generator, 0.1, 0.3).ln())
}

/// Makes a constant vector.
pub fn constant(data: &[f64]) -> Tensor<World> {
    Tensor::constant(&World::new(), data, &[data.len()])
}

/// Makes a constant [1] on the backend of `x`.
pub fn number<B: Backend>(x: &Tensor<B>, value: f64) -> Tensor<B> {
    Tensor::constant(x.backend(), &[value], &[1])
}

/// Returns element i of a vector, as [1].
pub fn at<B: Backend>(x: &Tensor<B>, i: usize) -> Tensor<B> {
    x.slice(0, i, i + 1)
}

/// Computes f(x) and ∇f(x), by the tape.
pub fn differentiate(x: &[f64], f: impl Fn(&Tensor<World>) -> Tensor<World>) -> (f64, Vec<f64>) {
    let x = Tensor::parameter(&World::new(), x, &[x.len()]);
    let y = f(&x).sum_all();
    let value = y.item();
    (value, y.backward().of(&x).to_f64())
}

/// f(x).
pub fn evaluate(x: &[f64], f: impl Fn(&Tensor<World>) -> Tensor<World>) -> f64 {
    f(&constant(x)).sum_all().item()
}

/// H·u, H the Hessian of f at x: the reverse pass on duals with tangent u.
pub fn hessian_vector(x: &[f64], u: &[f64], f: impl Fn(&Tensor<DualWorld>) -> Tensor<DualWorld>) -> Vec<f64> {
    let duals = x.iter().zip(u).map(|(&real, &tangent)| Dual::new(real, tangent)).collect();
    let x = Tensor::from_vec(&DualWorld::new(), duals, &[x.len()]).to_parameter();
    let gradients = f(&x).sum_all().backward();
    gradients.of(&x).to_vec().into_iter().map(|g| g.tangent).collect()
}

/// Returns the point that gradient descent reaches from x after `steps` steps of this length.
pub fn descend(x: &[f64], step: f64, steps: usize, f: impl Fn(&Tensor<World>) -> Tensor<World>) -> Vec<f64> {
    let mut x = x.to_vec();
    for _ in 0..steps {
        let (_, gradient) = differentiate(&x, &f);
        x.iter_mut().zip(gradient).for_each(|(x, g)| *x -= step * g);
    }
    x
}

/// Computes a pairwise loss of one pair: l_w and l_l as [1], and the reference's (ln π_w, ln π_l).
pub fn pair_loss<B: Backend>(loss: Loss, hyper: &Hyperparameters, policy: (&Tensor<B>, &Tensor<B>), reference: (f64, f64)) -> Tensor<B> {
    let (w, l) = (number(policy.0, reference.0), number(policy.0, reference.1));
    let inputs = PairInputs::new(policy.0, policy.1, &w, &l);
    inputs.and_then(|inputs| pairwise(loss, hyper, &inputs)).expect("one pair and hyper-parameters in range")
}

/// Computes the loss in the coordinates x = (l_w, l_l).
pub fn loss_of_log_probs<B: Backend>(loss: Loss, hyper: &Hyperparameters, x: &Tensor<B>, reference: (f64, f64)) -> Tensor<B> {
    pair_loss(loss, hyper, (&at(x, 0), &at(x, 1)), reference)
}

/// Computes the loss in the logits z of a distribution over whole sequences, of which the first wins and the second loses.
pub fn loss_of_logits<B: Backend>(loss: Loss, hyper: &Hyperparameters, z: &Tensor<B>, reference: (f64, f64)) -> Tensor<B> {
    loss_of_log_probs(loss, hyper, &z.log_softmax(), reference)
}

/// Returns hyper-parameters with this α of Eq 7.
pub fn eq7(alpha: f64) -> Hyperparameters {
    Hyperparameters { alpha, ..Hyperparameters::default() }
}

/// σ(x).
pub fn sigmoid(x: f64) -> f64 {
    engine::Scalar::sigmoid(x)
}
