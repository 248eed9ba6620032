//! Pairs of completions with their labels: who draws them, how the winner is chosen, and how many labels are wrong.

use super::world::{World, draw};
use crate::boundary::Sequence;
use crate::data::PreferencePair;
use crate::language::preference::Labelling;
use engine::Generator;

/// The most draws for one pair. If all are the same completion, the prompt gets fewer pairs.
const MOST_DRAWS: usize = 1000;

/// How pairs are made.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Making {
    /// True if the reference draws the completions, false if the world does.
    pub is_on_policy: bool,
    /// How the winner is chosen.
    pub labelling: Labelling,
    /// The probability that a label is turned round afterwards, in [0, 1].
    pub flipped: f64,
    /// Pairs of each prompt.
    pub of_prompt: usize,
}

/// Two completions of a prompt, by their numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Comparison {
    /// The prompt.
    pub prompt: usize,
    /// The completion that the label prefers.
    pub chosen: usize,
    /// The other one.
    pub rejected: usize,
}

impl Comparison {
    /// Returns the pair as tokens.
    pub fn tokens(self, world: &World, line: usize) -> PreferencePair {
        let context = world.context(self.prompt);
        let sequence = |completion: usize| Sequence::new([context.as_slice(), &world.strings.tokens(completion)].concat(), context.len());
        PreferencePair { line, chosen: sequence(self.chosen), rejected: sequence(self.rejected) }
    }
}

/// Draws the pairs of every prompt. The two completions of a pair differ.
pub fn compare(world: &World, reference: &[Vec<f64>], making: Making, generator: &Generator) -> Vec<Comparison> {
    let source = if making.is_on_policy { reference } else { &world.log_probs };
    let of_prompt = |prompt: usize| {
        let mut generator = generator.stream(prompt as u64);
        let pair = move |_| one(&source[prompt], &world.rewards[prompt], prompt, making, &mut generator);
        (0..making.of_prompt).filter_map(pair)
    };
    (0..world.prompts.len()).flat_map(of_prompt).collect()
}

fn one(log_probs: &[f64], rewards: &[f64], prompt: usize, making: Making, generator: &mut Generator) -> Option<Comparison> {
    for _ in 0..MOST_DRAWS {
        let (first, second) = (draw(log_probs, generator.uniform()), draw(log_probs, generator.uniform()));
        if first == second {
            continue;
        }
        let Some(first_wins) = making.labelling.first_wins(rewards[first], rewards[second], &mut || generator.uniform()) else { continue };
        let is_flipped = generator.uniform() < making.flipped;
        let (chosen, rejected) = if first_wins != is_flipped { (first, second) } else { (second, first) };
        return Some(Comparison { prompt, chosen, rejected });
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::study::strings::Strings;

    const ALL: Making = Making { is_on_policy: false, labelling: Labelling::HigherReward, flipped: 0.0, of_prompt: 400 };

    fn wrong(making: Making) -> f64 {
        let world = World::new(Strings { letters: 3, longest: 3 }, 4, 1);
        let pairs = compare(&world, &world.log_probs, making, &Generator::new(3));
        assert_eq!(pairs.len(), 4 * making.of_prompt);
        let is_wrong = |pair: &&Comparison| {
            assert_ne!(pair.chosen, pair.rejected);
            world.rewards[pair.prompt][pair.chosen] < world.rewards[pair.prompt][pair.rejected]
        };
        pairs.iter().filter(is_wrong).count() as f64 / pairs.len() as f64
    }

    #[test]
    fn labels_are_wrong_as_often_as_they_are_flipped() {
        assert_eq!(wrong(ALL), 0.0);
        // Four standard errors of 1600 labels.
        assert!((wrong(Making { flipped: 0.3, ..ALL }) - 0.3).abs() < 4.0 * (0.21_f64 / 1600.0).sqrt());
        assert_eq!(wrong(Making { flipped: 1.0, ..ALL }), 1.0);
        let undecided = wrong(Making { labelling: Labelling::BradleyTerry { temperature: 1e6 }, ..ALL });
        assert!((undecided - 0.5).abs() < 4.0 * (0.25_f64 / 1600.0).sqrt());
    }

    #[test]
    fn a_pair_as_tokens_has_its_prompt_and_its_completions() {
        let world = World::new(Strings { letters: 3, longest: 3 }, 4, 1);
        let pair = Comparison { prompt: 2, chosen: 0, rejected: 39 }.tokens(&world, 7);
        assert_eq!((pair.line, pair.chosen.prompt(), pair.chosen.completion()), (7, &world.context(2)[..], &[3][..]));
        assert_eq!(pair.rejected.completion(), [2, 2, 2]);
    }
}
