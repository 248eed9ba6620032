//! A world drawn from a seed: prompts of two letters, for each a distribution over completions and a reward of every completion.
//!
//! - The distribution goes from letter to letter: the logits of the next token are normal numbers that belong to the prompt and the last
//!   letter. The end token's logit grows with the length.
//! - The reward of a completion is a sum of normal numbers, one for each pair of neighbouring tokens. For each prompt it is shifted and
//!   scaled, so that over the distribution its mean is 0 and its deviation 1.

use super::strings::Strings;
use engine::Generator;

/// The deviation of the logits of the next letter.
const LOGIT_DEVIATION: f64 = 1.2;
/// The end token's logit before the first letter, and its growth with each letter.
const END_LOGIT: (f64, f64) = (-1.5, 0.5);

/// Streams of random numbers, one for each purpose.
mod stream {
    pub const PROMPTS: u64 = 1;
    pub const LOGITS: u64 = 2;
    pub const REWARDS: u64 = 3;
}

/// A world whose distribution and reward are known.
#[derive(Clone, Debug)]
pub struct World {
    /// The completions.
    pub strings: Strings,
    /// The letters of each prompt.
    pub prompts: Vec<[u32; 2]>,
    /// ln q(y|x), by prompt and completion.
    pub log_probs: Vec<Vec<f64>>,
    /// r(x, y), by prompt and completion.
    pub rewards: Vec<Vec<f64>>,
}

impl World {
    /// Draws a world with this number of different prompts.
    ///
    /// # Panics
    /// If there are more prompts than pairs of letters.
    pub fn new(strings: Strings, prompts: usize, seed: u64) -> Self {
        let letters = strings.letters;
        assert!(prompts <= letters * letters, "world: {letters} letters have fewer than {prompts} pairs");
        let generator = Generator::new(seed);
        let order = generator.stream(stream::PROMPTS).permutation(letters * letters);
        let pairs = order[..prompts].iter().map(|&pair| [(pair / letters) as u32, (pair % letters) as u32]).collect::<Vec<_>>();
        let of_prompt = |prompt: usize| {
            let table = |purpose: u64, deviation: f64| {
                let mut generator = generator.stream(purpose).stream(prompt as u64);
                (0..(letters + 1) * (letters + 1)).map(|_| deviation * generator.normal()).collect::<Vec<f64>>()
            };
            let log_probs = distribution(strings, &table(stream::LOGITS, LOGIT_DEVIATION));
            let rewards = standardised(&rewards(strings, &table(stream::REWARDS, 1.0)), &log_probs);
            (log_probs, rewards)
        };
        let (log_probs, rewards) = (0..prompts).map(of_prompt).unzip();
        Self { strings, prompts: pairs, log_probs, rewards }
    }

    /// Returns what a decoder sees of a prompt: the end token, and the prompt's letters.
    pub fn context(&self, prompt: usize) -> Vec<u32> {
        let [first, second] = self.prompts[prompt];
        vec![self.strings.end(), first, second]
    }
}

/// Draws a completion: the first whose probabilities, added up, exceed `uniform` in [0, 1).
pub fn draw(log_probs: &[f64], uniform: f64) -> usize {
    let mut sum = 0.0;
    let found = log_probs.iter().position(|log_prob| {
        sum += log_prob.exp();
        sum > uniform
    });
    found.unwrap_or(log_probs.len() - 1)
}

/// The row of a table that belongs to the last letter of a string; the last row belongs to the empty string.
fn row(strings: Strings, depth: usize, string: usize) -> usize {
    if depth == 0 { strings.letters } else { string % strings.letters }
}

/// ln q of all completions from the logits [V + 1, V + 1] of the next token, by the last letter.
fn distribution(strings: Strings, logits: &[f64]) -> Vec<f64> {
    let width = strings.letters + 1;
    strings.log_probs(|depth, string| {
        let row = row(strings, depth, string) * width;
        let mut logits = logits[row..row + width].to_vec();
        logits[strings.letters] = END_LOGIT.0 + END_LOGIT.1 * depth as f64;
        let largest = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let sum = largest + logits.iter().map(|logit| (logit - largest).exp()).sum::<f64>().ln();
        logits.into_iter().map(|logit| logit - sum).collect()
    })
}

/// The sum of the table's numbers over the pairs of neighbouring tokens of each completion.
fn rewards(strings: Strings, table: &[f64]) -> Vec<f64> {
    let width = strings.letters + 1;
    strings.log_probs(|depth, string| {
        let row = row(strings, depth, string) * width;
        table[row..row + width].to_vec()
    })
}

fn standardised(rewards: &[f64], log_probs: &[f64]) -> Vec<f64> {
    let mean_of = |f: &dyn Fn(f64) -> f64| log_probs.iter().zip(rewards).map(|(log_prob, &reward)| log_prob.exp() * f(reward)).sum::<f64>();
    let mean = mean_of(&|reward| reward);
    let deviation = mean_of(&|reward| (reward - mean).powi(2)).sqrt();
    rewards.iter().map(|reward| (reward - mean) / deviation).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_world_is_a_distribution_and_a_reward_of_mean_0_and_deviation_1() {
        let world = World::new(Strings { letters: 4, longest: 3 }, 5, 7);
        for (log_probs, rewards) in world.log_probs.iter().zip(&world.rewards) {
            let mean_of = |f: &dyn Fn(f64) -> f64| log_probs.iter().zip(rewards).map(|(p, &r)| p.exp() * f(r)).sum::<f64>();
            assert!((mean_of(&|_| 1.0) - 1.0).abs() < 1e-13);
            assert!(mean_of(&|r| r).abs() < 1e-13 && (mean_of(&|r| r * r) - 1.0).abs() < 1e-13);
        }
        let mut prompts = world.prompts.clone();
        prompts.sort_unstable();
        prompts.dedup();
        assert_eq!(prompts.len(), 5);
        assert_ne!(world.rewards, World::new(world.strings, 5, 8).rewards);
    }

    #[test]
    fn draws_have_the_probabilities() {
        let log_probs = [0.2_f64, 0.5, 0.3].map(f64::ln);
        let count = |wanted| (0..1000).filter(|i| draw(&log_probs, (f64::from(*i) + 0.5) / 1000.0) == wanted).count();
        assert_eq!([0, 1, 2].map(count), [200, 500, 300]);
        assert_eq!(draw(&log_probs, 1.0), 2);
    }
}
