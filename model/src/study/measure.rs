//! Exact numbers of policies over enumerated completions: expected reward, divergences, and the most reward that a divergence allows.
//!
//! All are means over the prompts, which are equally likely. Distributions are log-probabilities by prompt and completion.

/// The halvings in the search for a temperature: past these, f64 cannot tell the ends apart.
const HALVINGS: usize = 200;

/// Log-probabilities by prompt and completion.
pub type Distribution = Vec<Vec<f64>>;

/// The mean over prompts of Σ_y e^{log p(y)} f(y).
fn expectation(of: &[Vec<f64>], f: impl Fn(usize, usize) -> f64) -> f64 {
    let of_prompt = |(prompt, log_probs): (usize, &Vec<f64>)| {
        let term = |(completion, log_prob): (usize, &f64)| {
            if *log_prob == f64::NEG_INFINITY { 0.0 } else { log_prob.exp() * f(prompt, completion) }
        };
        log_probs.iter().enumerate().map(term).sum::<f64>()
    };
    of.iter().enumerate().map(of_prompt).sum::<f64>() / of.len() as f64
}

/// E_π\[r\].
pub fn expected_reward(policy: &[Vec<f64>], rewards: &[Vec<f64>]) -> f64 {
    expectation(policy, |prompt, completion| rewards[prompt][completion])
}

/// KL(p‖q) = Σ p ln(p/q), in nats.
pub fn divergence(p: &[Vec<f64>], q: &[Vec<f64>]) -> f64 {
    expectation(p, |prompt, completion| p[prompt][completion] - q[prompt][completion])
}

/// π_τ ∝ ref·e^{r/τ}: of all policies with its divergence from the reference, the one with the most reward.
pub fn tempered(reference: &[Vec<f64>], rewards: &[Vec<f64>], inverse_temperature: f64) -> Distribution {
    let of_prompt = |(log_probs, rewards): (&Vec<f64>, &Vec<f64>)| {
        let tilted: Vec<f64> = log_probs.iter().zip(rewards).map(|(log_prob, reward)| log_prob + inverse_temperature * reward).collect();
        let largest = tilted.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let sum = largest + tilted.iter().map(|x| (x - largest).exp()).sum::<f64>().ln();
        tilted.into_iter().map(|x| x - sum).collect()
    };
    reference.iter().zip(rewards).map(of_prompt).collect()
}

/// R*(κ): the most expected reward that a policy can have whose KL(π‖ref) is at most `divergence` nats. Found by the 1/τ at which π_τ has
/// that divergence, which grows with it.
pub fn best_reward(reference: &[Vec<f64>], rewards: &[Vec<f64>], allowed: f64) -> f64 {
    let of = |inverse: f64| tempered(reference, rewards, inverse);
    let (mut low, mut high) = (0.0, 1.0);
    while high < 1e6 && divergence(&of(high), reference) < allowed {
        (low, high) = (high, 2.0 * high);
    }
    for _ in 0..HALVINGS {
        let middle = 0.5 * (low + high);
        if middle <= low || middle >= high {
            break;
        }
        if divergence(&of(middle), reference) < allowed { low = middle } else { high = middle }
    }
    expected_reward(&of(high), rewards)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::study::strings::Strings;
    use crate::study::world::{World, draw};
    use engine::Generator;

    fn random(world: &World, seed: u64) -> Distribution {
        let mut generator = Generator::new(seed);
        let logits: Vec<Vec<f64>> =
            world.rewards.iter().map(|rewards| rewards.iter().map(|_| 2.0 * generator.normal()).collect()).collect();
        tempered(&world.log_probs, &logits, 1.0)
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
            let y = draw(&policy[prompt], generator.uniform());
            let (reward, ratio) = (world.rewards[prompt][y], policy[prompt][y] - world.log_probs[prompt][y]);
            [reward, reward * reward, ratio, ratio * ratio]
                .into_iter()
                .zip(&mut sums)
                .for_each(|(x, sum)| *sum += x / f64::from(draws as u32));
        }
        let error = |mean: f64, square: f64| ((square - mean * mean) / f64::from(draws as u32)).sqrt();
        // Four standard errors: one draw in 16,000 lies farther off.
        let (reward, kl) = (expected_reward(&policy, &world.rewards), divergence(&policy, &world.log_probs));
        assert!((reward - sums[0]).abs() < 4.0 * error(sums[0], sums[1]), "{reward} and {}", sums[0]);
        assert!((kl - sums[2]).abs() < 4.0 * error(sums[2], sums[3]), "{kl} and {}", sums[2]);
    }

    #[test]
    fn no_policy_has_more_reward_than_the_best_at_its_divergence() {
        let world = World::new(Strings { letters: 3, longest: 3 }, 2, 4);
        let reference = &world.log_probs;
        for seed in 0..40 {
            // From policies that ignore the reward to those that are the best themselves.
            let share = seed as f64 / 39.0;
            let noise = random(&world, seed);
            let mixed: Distribution = noise
                .iter()
                .zip(&world.rewards)
                .map(|(noise, rewards)| {
                    noise.iter().zip(rewards).map(|(noise, reward)| (1.0 - share) * noise + share * 2.0 * reward).collect()
                })
                .collect();
            let policy = tempered(reference, &mixed, 0.5);
            let (reward, kl) = (expected_reward(&policy, &world.rewards), divergence(&policy, reference));
            let best = best_reward(reference, &world.rewards, kl);
            assert!(reward <= best + 1e-12, "{reward} above {best} at {kl} nats");
        }
        let best = tempered(reference, &world.rewards, 0.7);
        let (reward, kl) = (expected_reward(&best, &world.rewards), divergence(&best, reference));
        assert!((best_reward(reference, &world.rewards, kl) - reward).abs() < 1e-10);
        assert!(best_reward(reference, &world.rewards, 0.0).abs() < 1e-6);
    }

    #[test]
    fn divergence_is_zero_of_a_policy_from_itself_and_positive_otherwise() {
        let world = World::new(Strings { letters: 3, longest: 2 }, 2, 4);
        let policy = random(&world, 1);
        assert_eq!(divergence(&policy, &policy), 0.0);
        assert!(divergence(&policy, &world.log_probs) > 0.0 && divergence(&world.log_probs, &policy) > 0.0);
    }
}
