//! Exact numbers of policies over enumerated completions: expected reward, divergences, and the most reward that a divergence allows.
//!
//! All are means over the prompts, which are equally likely. Distributions are log-probabilities by prompt and completion.

/// The halvings in the search for a temperature: past these, f64 cannot tell the ends apart.
const HALVINGS: usize = 200;

/// Log-probabilities by prompt and completion.
pub type Distribution = Vec<Vec<f64>>;

/// A distribution over the completions of every prompt.
#[derive(Clone, Debug, PartialEq)]
pub struct Policy {
    /// ln p(y|x).
    pub log_probs: Distribution,
    /// p(y|x).
    probs: Distribution,
}

impl Policy {
    /// Makes a policy of log-probabilities.
    pub fn new(log_probs: Distribution) -> Self {
        let probs = log_probs.iter().map(|of_prompt| of_prompt.iter().map(|log_prob| log_prob.exp()).collect()).collect();
        Self { log_probs, probs }
    }

    /// Returns p(y|x).
    pub fn prob(&self, prompt: usize, completion: usize) -> f64 {
        self.probs[prompt][completion]
    }

    /// E\[r\].
    pub fn expected_reward(&self, rewards: &[Vec<f64>]) -> f64 {
        let of_prompt = |(probs, rewards): (&Vec<f64>, &Vec<f64>)| probs.iter().zip(rewards).map(|(p, r)| p * r).sum::<f64>();
        mean(self.probs.iter().zip(rewards).map(of_prompt))
    }

    /// KL(self‖q) = Σ p ln(p/q) of each prompt, in nats.
    pub fn divergences(&self, q: &Self) -> Vec<f64> {
        let term = |((p, log_p), log_q): ((&f64, &f64), &f64)| if *p > 0.0 { p * (log_p - log_q) } else { 0.0 };
        let of_prompt = |prompt: usize| {
            let own = self.probs[prompt].iter().zip(&self.log_probs[prompt]);
            own.zip(&q.log_probs[prompt]).map(term).sum::<f64>()
        };
        (0..self.probs.len()).map(of_prompt).collect()
    }

    /// KL(self‖q), in nats.
    pub fn divergence(&self, q: &Self) -> f64 {
        mean(self.divergences(q).into_iter())
    }
}

fn mean(values: impl ExactSizeIterator<Item = f64>) -> f64 {
    let count = values.len() as f64;
    values.sum::<f64>() / count
}

/// π_τ ∝ ref·e^{r/τ}: of all policies with its divergence from the reference, the one with the most reward.
pub fn tempered(reference: &Policy, rewards: &[Vec<f64>], inverse_temperature: f64) -> Policy {
    let of_prompt = |(log_probs, rewards): (&Vec<f64>, &Vec<f64>)| {
        let tilted: Vec<f64> = log_probs.iter().zip(rewards).map(|(log_prob, reward)| log_prob + inverse_temperature * reward).collect();
        let largest = tilted.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let sum = largest + tilted.iter().map(|x| (x - largest).exp()).sum::<f64>().ln();
        tilted.into_iter().map(|x| x - sum).collect()
    };
    Policy::new(reference.log_probs.iter().zip(rewards).map(of_prompt).collect())
}

/// R*(κ): the most expected reward that a policy can have whose KL(π‖ref) is at most `allowed` nats. Found by the 1/τ at which π_τ has
/// that divergence, which grows with it.
pub fn best_reward(reference: &Policy, rewards: &[Vec<f64>], allowed: f64) -> f64 {
    let of = |inverse: f64| tempered(reference, rewards, inverse);
    let (mut low, mut high) = (0.0, 1.0);
    while high < 1e6 && of(high).divergence(reference) < allowed {
        (low, high) = (high, 2.0 * high);
    }
    for _ in 0..HALVINGS {
        let middle = 0.5 * (low + high);
        if middle <= low || middle >= high {
            break;
        }
        if of(middle).divergence(reference) < allowed { low = middle } else { high = middle }
    }
    of(high).expected_reward(rewards)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::study::strings::Strings;
    use crate::study::world::{World, draw};
    use engine::Generator;

    fn of_world(world: &World) -> Policy {
        Policy::new(world.log_probs.clone())
    }

    fn random(world: &World, seed: u64) -> Policy {
        let mut generator = Generator::new(seed);
        let logits: Vec<Vec<f64>> =
            world.rewards.iter().map(|rewards| rewards.iter().map(|_| 2.0 * generator.normal()).collect()).collect();
        tempered(&of_world(world), &logits, 1.0)
    }

    #[test]
    fn exact_numbers_are_those_of_many_draws() {
        let world = World::new(Strings { letters: 3, longest: 3 }, 3, 1);
        let policy = random(&world, 2);
        let mut generator = Generator::new(9);
        let draws = 200_000;
        let mut sums = [0.0; 4];
        for i in 0..draws {
            let prompt = i % 3;
            let y = draw(&policy.log_probs[prompt], generator.uniform());
            let (reward, ratio) = (world.rewards[prompt][y], policy.log_probs[prompt][y] - world.log_probs[prompt][y]);
            [reward, reward * reward, ratio, ratio * ratio]
                .into_iter()
                .zip(&mut sums)
                .for_each(|(x, sum)| *sum += x / f64::from(draws as u32));
        }
        let error = |mean: f64, square: f64| ((square - mean * mean) / f64::from(draws as u32)).sqrt();
        // Four standard errors: one draw in 16,000 lies farther off.
        let (reward, kl) = (policy.expected_reward(&world.rewards), policy.divergence(&of_world(&world)));
        assert!((reward - sums[0]).abs() < 4.0 * error(sums[0], sums[1]), "{reward} and {}", sums[0]);
        assert!((kl - sums[2]).abs() < 4.0 * error(sums[2], sums[3]), "{kl} and {}", sums[2]);
    }

    #[test]
    fn no_policy_has_more_reward_than_the_best_at_its_divergence() {
        let world = World::new(Strings { letters: 3, longest: 3 }, 2, 4);
        let reference = &of_world(&world);
        for seed in 0..40 {
            // From policies that ignore the reward to those that are the best themselves.
            let share = seed as f64 / 39.0;
            let noise = random(&world, seed);
            let mixed: Distribution = noise
                .log_probs
                .iter()
                .zip(&world.rewards)
                .map(|(noise, rewards)| {
                    noise.iter().zip(rewards).map(|(noise, reward)| (1.0 - share) * noise + share * 2.0 * reward).collect()
                })
                .collect();
            let policy = tempered(reference, &mixed, 0.5);
            let (reward, kl) = (policy.expected_reward(&world.rewards), policy.divergence(reference));
            let best = best_reward(reference, &world.rewards, kl);
            assert!(reward <= best + 1e-12, "{reward} above {best} at {kl} nats");
        }
        let best = tempered(reference, &world.rewards, 0.7);
        let (reward, kl) = (best.expected_reward(&world.rewards), best.divergence(reference));
        assert!((best_reward(reference, &world.rewards, kl) - reward).abs() < 1e-10);
        assert!(best_reward(reference, &world.rewards, 0.0).abs() < 1e-6);
    }

    #[test]
    fn divergence_is_zero_of_a_policy_from_itself_and_positive_otherwise() {
        let world = World::new(Strings { letters: 3, longest: 2 }, 2, 4);
        let policy = random(&world, 1);
        assert_eq!(policy.divergence(&policy), 0.0);
        assert!(policy.divergence(&of_world(&world)) > 0.0 && of_world(&world).divergence(&policy) > 0.0);
    }
}
