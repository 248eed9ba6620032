//! Cross-entropy of logits with a whole distribution as target, and the divergence that is left when the target's entropy is taken off.
//!
//! forward  H(q, p) = Σ_v q_v (logsumexp z − z_v);  KL(q‖p) = Σ_v q_v (ln q_v − (z_v − logsumexp z)) = H(q, p) − H(q)
//! vjp      z̄_v = ȳ·(p_v Σq − q_v) for both     (saves z, ln q and logsumexp z)
//!
//! Cross-entropy's minimum is the target's entropy, not 0 (claim P1 of the audit); the divergence's is 0. The target comes as logarithms,
//! −∞ for what shall not happen; 0·ln 0 counts as 0.
#![doc = include_str!("soft_cross_entropy.md")]
#![cfg_attr(doc, doc = include_str!("../../docs/katex.html"))]

use crate::error::LossError;
use crate::numeric::times_log_of;
use crate::rows::{logsumexp_parts, map_rows, sum_of};
use engine::explain::Example;
use engine::functions::FiniteOrZero;
use engine::gradcheck::{Draw, Input, Sample};
use engine::tape::Operation;
use engine::{Backend, Scalar, Tensor, function};

struct SoftCrossEntropy<B: Backend> {
    logits: B::Array,
    log_target: B::Array,
    /// The two parts of logsumexp z, and Σq, of each row.
    totals: Vec<(B::Scalar, B::Scalar, B::Scalar)>,
}

impl<B: Backend> Operation<B> for SoftCrossEntropy<B> {
    fn name(&self) -> &'static str {
        "soft_cross_entropy"
    }
    fn vjp(&self, backend: &B, y_bar: B::Array, _: &[bool]) -> Vec<Option<B::Array>> {
        let shape = backend.shape(&self.logits).to_vec();
        let (y_bar, log_q) = (backend.to_vec(&y_bar), backend.to_vec(&self.log_target));
        let mut z = backend.to_vec(&self.logits);
        map_rows(
            &mut z,
            shape[1],
            #[inline(always)]
            |n, z| {
                let (m, rest, mass) = self.totals[n];
                let (y_bar, log_q) = (y_bar[n], &log_q[n * shape[1]..]);
                z.iter_mut().zip(log_q).for_each(|(z, &log_q)| *z = y_bar * ((*z - m - rest).exp() * mass - log_q.exp()));
            },
        );
        vec![Some(backend.from_vec(z, &shape))]
    }
}

/// Σ_v q_v (own(ln q_v) + logsumexp z − z_v) of each row as one op, whose rows the host reads.
fn fused<B: Backend>(logits: &Tensor<B>, log_target: &Tensor<B>, own: fn(B::Scalar) -> B::Scalar) -> Result<Tensor<B>, LossError> {
    check(logits, log_target)?;
    let (backend, width) = (logits.backend(), logits.shape()[1]);
    let log_q = log_target.to_vec();
    let mut z = logits.to_vec();
    let rows = map_rows(
        &mut z,
        width,
        #[inline(always)]
        |n, z| {
            let (m, rest) = logsumexp_parts(z);
            let log_q = &log_q[n * width..][..width];
            for (z, &log_q) in z.iter_mut().zip(log_q) {
                let q = log_q.exp();
                *z = if q == B::Scalar::zero() { q } else { q * (own(log_q) - (*z - m - rest)) };
            }
            (sum_of(z, |term| term), (m, rest, sum_of(log_q, Scalar::exp)))
        },
    );
    let (losses, totals): (Vec<_>, Vec<_>) = rows.into_iter().unzip();
    let value = backend.from_vec(losses, &[totals.len()]);
    Ok(Tensor::record(backend, value, &[logits], || SoftCrossEntropy::<B> {
        logits: logits.array().clone(),
        log_target: log_target.array().clone(),
        totals,
    }))
}

fn check<B: Backend>(logits: &Tensor<B>, log_target: &Tensor<B>) -> Result<(), LossError> {
    let (found, expected) = (logits.shape().to_vec(), log_target.shape().to_vec());
    if found.len() != 2 || found[1] == 0 || found != expected {
        return Err(LossError::Shape { what: "logits", found, expected });
    }
    Ok(())
}

/// H(q, p) of each row of logits [N, V] with targets ln q [N, V], a constant: `[N]`, in nats. A CPU makes one pass over each row; a GPU
/// runs the composition of ops, because reading the logits back would stall its queue.
///
/// # Errors
/// If the shapes differ or are not [N, V] with V ≥ 1.
pub fn soft_cross_entropy<B: Backend>(logits: &Tensor<B>, log_target: &Tensor<B>) -> Result<Tensor<B>, LossError> {
    if logits.backend().is_queued() {
        return soft_cross_entropy_composed(logits, log_target);
    }
    fused(logits, log_target, |_| B::Scalar::zero())
}

/// KL(q‖p) of each row of logits [N, V] from targets ln q [N, V], a constant: `[N]`, in nats, 0 where p = q. Computed as
/// [`soft_cross_entropy`] is.
///
/// # Errors
/// As [`soft_cross_entropy`].
pub fn kl_divergence<B: Backend>(logits: &Tensor<B>, log_target: &Tensor<B>) -> Result<Tensor<B>, LossError> {
    if logits.backend().is_queued() {
        return kl_divergence_composed(logits, log_target);
    }
    fused(logits, log_target, |log_q| log_q)
}

/// [`soft_cross_entropy`] as a composition of ops.
///
/// # Errors
/// As [`soft_cross_entropy`].
pub fn soft_cross_entropy_composed<B: Backend>(logits: &Tensor<B>, log_target: &Tensor<B>) -> Result<Tensor<B>, LossError> {
    check(logits, log_target)?;
    Ok(times_log_of(&log_target.detach().exp(), &logits.log_softmax()).sum(1).neg())
}

/// [`kl_divergence`] as a composition of ops.
///
/// # Errors
/// As [`soft_cross_entropy`].
pub fn kl_divergence_composed<B: Backend>(logits: &Tensor<B>, log_target: &Tensor<B>) -> Result<Tensor<B>, LossError> {
    check(logits, log_target)?;
    let log_q = log_target.detach();
    // Terms of ln q − ln p, not H(q, p) − H(q), which would cancel where p is near q.
    Ok(times_log_of(&log_q.exp(), &log_q.map(FiniteOrZero).sub(&logits.log_softmax())).sum(1))
}

/// Targets that are log-softmax of other logits.
pub(crate) fn sample(draw: &mut Draw) -> Sample {
    let [n, v] = [draw.extent(), draw.extent() + 1];
    let target = draw.logits(&[n, v]).data;
    let twin = target.clone();
    let shapes = "logits and target are drawn in one shape";
    Sample::new(
        function!(|x; target: Vec<f64>, shapes: &'static str| {
            let log_target = Tensor::constant(x[0].backend(), target, x[0].shape()).log_softmax();
            soft_cross_entropy(&x[0], &log_target).expect(shapes)
        }),
        [draw.logits(&[n, v])],
    )
    .with_twin(function!(|x; twin: Vec<f64>, shapes: &'static str| {
        let log_target = Tensor::constant(x[0].backend(), twin, x[0].shape()).log_softmax();
        soft_cross_entropy_composed(&x[0], &log_target).expect(shapes)
    }))
    .with_inner_magnitude(1.0)
}

/// ln q of one row.
fn log_target<B: Backend>(backend: &B) -> Tensor<B> {
    Tensor::constant(backend, &[0.7, 0.2, 0.1], &[1, 3]).ln()
}

pub(crate) fn example() -> Example {
    let shapes = "the logits have the target's shape";
    let sample = Sample::new(
        function!(|x; shapes: &'static str| {
            soft_cross_entropy(&x[0], &log_target(x[0].backend())).expect(shapes)
        }),
        [Input::new(vec![1.0, 2.0, 0.5], &[1, 3])],
    )
    .with_twin(function!(|x; shapes: &'static str| {
        soft_cross_entropy_composed(&x[0], &log_target(x[0].backend())).expect(shapes)
    }))
    .with_inner_magnitude(1.0);
    Example::new("soft_cross_entropy(z, ln q)", &["z"], sample).given("q = [0.7, 0.2, 0.1]")
}
