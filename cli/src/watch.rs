//! Warnings about a run that goes wrong while all its numbers are finite. Each sign is tested at every step and reported once. [`Health`]
//! watches pretraining and fine-tuning, [`Watch`] alignment.

use crate::number::fixed;
use losses::Loss;
use model::align::metrics::{CHOSEN_LOG_RATIO, KL, MARGIN, WEIGHTS_CHANGED, held_out};
use std::collections::VecDeque;

/// Number of steps over which a sign must hold, because single batches are noise.
const WINDOW: usize = 10;
/// Mean fall of the chosen completions over the window that counts as displacement, in nats.
const DISPLACED: f64 = 1.0;
/// KL(π‖π_ref) in nats a token above which the policy has left its reference. At 1 it gives the tokens it picks e times the probability,
/// on average.
const RUN_AWAY: f64 = 1.0;
/// Change of a loss, relative to 1 + |start|, below which it has not moved in f32.
const UNMOVED: f64 = 1e-6;
/// Fraction of the weights that a step must change to have an effect.
const CHANGED: f64 = 0.01;
/// AdamW's ε. A gradient below ε is divided by ε, not by its own size, and so the step shrinks with the gradient.
const EPSILON: f64 = 1e-8;

/// Advice for a run on which the SLPO sequence form has no effect.
const CURE: &str = "use --loss slpo-gkl, which divides by m, or slpo-token, which works on tokens";

/// The observations of an alignment so far.
pub struct Watch {
    loss: Loss,
    /// Warm-up steps. A loss that does not move during them is no sign.
    warmup: u64,
    /// The number of trained parameters.
    parameters: usize,
    start: Option<f64>,
    moved: bool,
    recent: Vec<(f64, f64)>,
    said: Vec<&'static str>,
}

impl Watch {
    /// Starts without observations.
    pub fn new(loss: Loss, warmup: u64, parameters: usize) -> Self {
        Self { loss, warmup, parameters, start: None, moved: false, recent: Vec::new(), said: Vec::new() }
    }

    /// Observes the values that a step or an evaluation logged, and the largest ln m of the last step's pairs. Returns the new warnings.
    /// Each sign is reported once in a run.
    pub fn see(&mut self, step: u64, values: &[(&str, f64)], log_mass: f64) -> Vec<String> {
        let value = |name: &str| values.iter().find(|(other, _)| *other == name).map(|(_, value)| *value);
        let mut found = Vec::new();
        if let (Some(chosen), Some(margin)) = (value(CHOSEN_LOG_RATIO), value(MARGIN)) {
            self.recent.push((chosen, chosen - margin));
            self.recent.drain(..self.recent.len().saturating_sub(WINDOW));
            found.extend(self.displacement());
        }
        if let Some(loss) = value("loss") {
            found.extend(self.stuck(step, loss));
        }
        let largest = value(KL).into_iter().chain(value(held_out::KL)).reduce(f64::max);
        found.extend(largest.filter(|&kl| kl > RUN_AWAY).map(run_away));
        if let (Some(changed), Some(norm)) = (value(WEIGHTS_CHANGED), value("gradient_norm")) {
            found.extend(self.no_effect(changed, norm / (self.parameters as f64).sqrt(), log_mass));
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
                 ln π/π_ref {} and {}), so probability goes to neither; a larger --beta, a smaller --learning-rate or \
                 slpo-gkl, which holds the pair's mass, keep the chosen ones up",
                fixed(chosen, 2),
                fixed(rejected, 2)
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
                 f32; {}",
                match self.loss {
                    Loss::Slpo => format!("likely cause: the gradient of this loss vanishes here; {CURE}"),
                    _ => "likely causes: a --learning-rate that is too small, or a loss whose gradient vanishes here".to_owned(),
                }
            );
            ("stuck", text)
        })
    }

    /// Warns before the first step of the SLPO sequence form, given the largest ln m of the first pairs.
    pub fn see_mass(&mut self, log_mass: f64) -> Option<String> {
        if log_mass >= EPSILON.ln() {
            return None;
        }
        self.said.push("no effect");
        Some(format!(
            "slpo will do next to nothing here: it weights a pair and its gradient by the pair's mass m = π_w + π_l, at most e^{log_mass:.1} = \
             {:.1e} in the first batch, and AdamW divides by no less than its ε of {EPSILON:.0e}; {CURE}",
            log_mass.exp()
        ))
    }

    fn no_effect(&self, changed: f64, gradient_rms: f64, log_mass: f64) -> Option<(&'static str, String)> {
        if changed >= CHANGED && gradient_rms >= EPSILON * 1e-3 {
            return None;
        }
        let why = match self.loss {
            Loss::Slpo => format!(
                "the SLPO sequence form weights a pair by its mass m = π_w + π_l, here at most e^{log_mass:.1} = {:.1e}, and so its gradient; \
                 {CURE}",
                log_mass.exp()
            ),
            _ => "raise --learning-rate".to_owned(),
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

/// Number of recent gradient norms for the comparison with a new one, and the fewest that allow a comparison.
const NORMS: usize = 16;
const ENOUGH_NORMS: usize = 8;
/// A norm above this many times the median of the recent norms is a jump.
const JUMP: f64 = 6.0;
/// The step from which a random model must beat guessing. Before it, the model must only not get worse than its start.
const JUDGED_FROM: u64 = 100;

/// The held-out loss of a model that guesses uniformly.
pub struct Guess {
    nats: f64,
    among: String,
    /// True if the model starts with random weights.
    begins_there: bool,
}

impl Guess {
    /// Guesses uniformly among the distinct tokens of a text: for a model that starts with random weights.
    pub fn among_tokens_of(text: &[u32]) -> Self {
        let mut is_used = vec![false; text.iter().max().map_or(0, |&largest| largest as usize + 1)];
        text.iter().for_each(|&token| is_used[token as usize] = true);
        let tokens = is_used.into_iter().filter(|&is_used| is_used).count();
        Self { nats: (tokens as f64).ln(), among: format!("the {tokens} tokens of the text"), begins_there: true }
    }

    /// Guesses uniformly among the whole vocabulary: for a model that was trained before.
    pub fn among_all(vocabulary: usize) -> Self {
        Self { nats: (vocabulary as f64).ln(), among: format!("the model's {vocabulary} tokens"), begins_there: false }
    }
}

/// The observations of a run on text or completions so far.
pub struct Health {
    guess: Guess,
    /// The first held-out loss.
    start: Option<f64>,
    norms: VecDeque<f64>,
    said: Vec<&'static str>,
}

impl Health {
    /// Starts without observations.
    pub fn new(guess: Guess) -> Self {
        Self { guess, start: None, norms: VecDeque::new(), said: Vec::new() }
    }

    /// Observes the values that a step or an evaluation logged. Returns the new warnings. Each sign is reported once in a run.
    pub fn see(&mut self, step: u64, values: &[(&str, f64)]) -> Vec<String> {
        let value = |name: &str| values.iter().find(|(other, _)| *other == name).map(|(_, value)| *value).filter(|value| value.is_finite());
        let jump = value("gradient_norm").and_then(|norm| self.jump(norm));
        let worse = value("held_out_loss").and_then(|loss| self.worse_than_guessing(step, loss));
        let new: Vec<_> = jump.into_iter().chain(worse).filter(|(sign, _)| !self.said.contains(sign)).collect();
        self.said.extend(new.iter().map(|(sign, _)| sign));
        new.into_iter().map(|(_, text)| text).collect()
    }

    fn jump(&mut self, norm: f64) -> Option<(&'static str, String)> {
        let mut sorted: Vec<f64> = self.norms.iter().copied().collect();
        sorted.sort_by(f64::total_cmp);
        self.norms.push_back(norm);
        if self.norms.len() > NORMS {
            self.norms.pop_front();
        }
        let median = *sorted.get(sorted.len() / 2)?;
        (sorted.len() >= ENOUGH_NORMS && norm > JUMP * median).then(|| {
            let text = format!(
                "the norm of the gradient jumped to {norm:.3}, {:.0} times the median of the last {} steps, {median:.3}: the steps are too \
                 long here; a smaller --learning-rate or a longer --warmup keeps the run on its way",
                norm / median,
                sorted.len()
            );
            ("jump", text)
        })
    }

    fn worse_than_guessing(&mut self, step: u64, loss: f64) -> Option<(&'static str, String)> {
        let start = *self.start.get_or_insert(loss);
        let Guess { nats, among, begins_there } = &self.guess;
        // A model with random weights is worse than guessing until it has learned something.
        let too_early = *begins_there && step < JUDGED_FROM && loss <= start;
        (loss > *nats && !too_early).then(|| {
            let causes = match (begins_there, step) {
                (true, _) => "likely causes: a --learning-rate that is too large, or a run that is too short",
                (false, 0) => "likely cause: the model, or its tokenizer, does not fit the data",
                (false, _) => "likely cause: a --learning-rate that is too large",
            };
            let text = format!("the held-out loss is {loss:.2}, above {nats:.2}, that of guessing among {among}; {causes}");
            ("guessing", text)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn norms(health: &mut Health, norms: &[f64]) -> Vec<String> {
        (1..).zip(norms).flat_map(|(step, &norm)| health.see(step, &[("gradient_norm", norm)])).collect()
    }

    #[test]
    fn a_norm_that_jumps_is_said_once_and_a_falling_one_is_not() {
        let health = || Health::new(Guess::among_all(10));
        let falling: Vec<f64> = (0..60).map(|step| 20.0 * 0.9f64.powi(step)).collect();
        assert_eq!(norms(&mut health(), &falling), Vec::<String>::new());
        let jumps = [&[1.0; 9][..], &[29.5, f64::NAN, 40.0]].concat();
        let said = norms(&mut health(), &jumps);
        assert!(said.len() == 1 && said[0].contains("jumped to 29.500, 30 times the median of the last 9 steps, 1.000"), "{said:?}");
        assert!(norms(&mut health(), &[1.0, 1.0, 100.0]).is_empty(), "too few to compare with");
    }

    #[test]
    fn worse_than_guessing_is_said_where_it_can_be_judged() {
        let text: Vec<u32> = (0..65).chain(0..65).collect();
        let says = |guess: Guess, seen: &[(u64, f64)]| {
            let mut health = Health::new(guess);
            seen.iter().map(|&(step, loss)| health.see(step, &[("held_out_loss", loss)]).len()).collect::<Vec<_>>()
        };
        let from_random = || Guess::among_tokens_of(&text);
        assert_eq!(says(from_random(), &[(0, 6.2), (50, 4.2), (100, 4.1), (300, 2.0)]), [0, 0, 0, 0]);
        assert_eq!(says(from_random(), &[(0, 6.2), (50, 5.0), (100, 4.2), (200, 4.2)]), [0, 0, 1, 0], "it had time, and is told once");
        assert_eq!(says(from_random(), &[(0, 6.2), (20, 9.6)]), [0, 1], "it is worse than it was");
        assert_eq!(says(Guess::among_all(65), &[(0, 4.2), (50, 4.3)]), [1, 0]);
    }
}
