//! What goes wrong in alignment without a number leaving the finite ones: each sign is looked for at every step and said once.

use crate::training::Values;
use losses::Loss;

/// Steps over which a sign must hold: single batches are noise.
const WINDOW: usize = 10;
/// Nats by which the chosen completions must have fallen, on average over the window.
const DISPLACED: f64 = 1.0;
/// KL(π‖π_ref) in nats a token above which the policy is no longer near its reference: at 1 it gives the tokens it picks e times the
/// probability, on average.
const RUN_AWAY: f64 = 1.0;
/// A loss that moves less than this, relative to 1 + |start|, has not moved in f32.
const UNMOVED: f64 = 1e-6;
/// The fraction of the weights that a step must change to count as one.
const CHANGED: f64 = 0.01;
/// AdamW's ε: a gradient below it is divided by ε, not by its own size, so the step shrinks with it.
const EPSILON: f64 = 1e-8;

/// What is known of a run so far.
pub struct Watch {
    loss: Loss,
    /// Steps whose learning rate still rises; a loss that does not move in them is no sign.
    warmup: u64,
    start: Option<f64>,
    moved: bool,
    recent: Vec<(f64, f64)>,
    said: Vec<&'static str>,
}

impl Watch {
    /// Nothing seen yet.
    pub fn new(loss: Loss, warmup: u64) -> Self {
        Self { loss, warmup, start: None, moved: false, recent: Vec::new(), said: Vec::new() }
    }

    /// Takes in what a step or an evaluation logged; what is to be said about it, each thing once in a run.
    pub fn see(&mut self, step: u64, values: &Values) -> Vec<String> {
        let value = |name: &str| values.iter().find(|(other, _)| *other == name).map(|(_, value)| *value);
        let mut found = Vec::new();
        if let (Some(chosen), Some(margin)) = (value("chosen_log_ratio"), value("margin")) {
            self.recent.push((chosen, chosen - margin));
            self.recent.drain(..self.recent.len().saturating_sub(WINDOW));
            found.extend(self.displacement());
        }
        if let Some(loss) = value("loss") {
            found.extend(self.stuck(step, loss));
        }
        let largest = value("kl").into_iter().chain(value("held_out_kl")).reduce(f64::max);
        found.extend(largest.filter(|&kl| kl > RUN_AWAY).map(run_away));
        if let (Some(changed), Some(norm)) = (value("weights_changed"), value("gradient_rms")) {
            found.extend(self.no_effect(changed, norm, value("log_mass")));
        }
        let new = found.into_iter().filter(|(sign, _)| !self.said.contains(sign)).collect::<Vec<_>>();
        self.said.extend(new.iter().map(|(sign, _)| sign));
        new.into_iter().map(|(_, text)| text).collect()
    }

    fn displacement(&self) -> Option<(&'static str, String)> {
        if self.recent.len() < WINDOW {
            return None;
        }
        let mean = |part: fn(&(f64, f64)) -> f64| self.recent.iter().map(part).sum::<f64>() / WINDOW as f64;
        let (chosen, rejected) = (mean(|r| r.0), mean(|r| r.1));
        (chosen < -DISPLACED && rejected < -DISPLACED).then(|| {
            let text = format!(
                "likelihood displacement: over the last {WINDOW} steps the chosen completions fell together with the rejected ones (mean \
                 ln π/π_ref {chosen:.2} and {rejected:.2}), so probability goes to neither; a larger --beta, a smaller --learning-rate or \
                 slpo-gkl, which holds the pair's mass, keep the chosen ones up"
            );
            ("displacement", text)
        })
    }

    fn stuck(&mut self, step: u64, loss: f64) -> Option<(&'static str, String)> {
        let start = *self.start.get_or_insert(loss);
        self.moved |= (loss - start).abs() > UNMOVED * (1.0 + start.abs());
        (!self.moved && step >= self.warmup + WINDOW as u64).then(|| {
            let text = format!(
                "the loss has stayed at its start value, {start:.6}, for {step} steps: the weights do not move, or not enough to be seen in \
                 f32; likely causes: a --learning-rate that is too small, or a loss whose gradient vanishes here"
            );
            ("stuck", text)
        })
    }

    fn no_effect(&self, changed: f64, gradient_rms: f64, log_mass: Option<f64>) -> Option<(&'static str, String)> {
        if changed >= CHANGED && gradient_rms >= EPSILON * 1e-3 {
            return None;
        }
        let why = match log_mass.filter(|_| self.loss == Loss::Slpo) {
            Some(log_mass) => format!(
                "the SLPO sequence form weights a pair by its mass m = π_w + π_l, here at most e^{log_mass:.1} = {:.1e}, and so its gradient; \
                 slpo-gkl divides by m, slpo-token works on tokens",
                log_mass.exp()
            ),
            None => "raise --learning-rate".to_owned(),
        };
        let text = format!(
            "the learning rate does next to nothing in f32: the step changed {:.2} % of the weights; the gradient's root mean square is \
             {gradient_rms:.1e}, against AdamW's ε of {EPSILON:.0e}: {why}",
            100.0 * changed
        );
        Some(("no effect", text))
    }
}

fn run_away(kl: f64) -> (&'static str, String) {
    let text = format!(
        "KL running away: KL(π‖π_ref) is {kl:.2} nats a token, above {RUN_AWAY}: the policy has left its reference; a larger --beta, a smaller \
         --learning-rate or fewer steps keep it near"
    );
    ("kl", text)
}
