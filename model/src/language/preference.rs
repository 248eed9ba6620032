//! Preference pairs: two completions of a prompt, labelled by their rewards.

use super::{Language, Token};

/// Largest number of draws in [`Language::sample_pair`]. If all fail, the random source counts as stuck.
const MAX_DRAWS: usize = 10_000;

/// The rule for the winner of a comparison of two completions.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Labelling {
    /// The one with the higher reward; equal rewards have no winner.
    HigherReward,
    /// Bradley–Terry: the first wins with probability σ((r₁ − r₂)/τ).
    BradleyTerry {
        /// τ > 0 in units of reward; towards 0 it becomes [`Labelling::HigherReward`], with ties broken by a fair coin.
        temperature: f64,
    },
}

impl Labelling {
    /// True if the completion with reward `first` wins over the one with reward `second`; `None` if there is no winner. Uses one
    /// random number for Bradley–Terry and none otherwise.
    pub fn first_wins(self, first: f64, second: f64, random: &mut impl FnMut() -> f64) -> Option<bool> {
        match self {
            Self::HigherReward => (first != second).then_some(first > second),
            Self::BradleyTerry { temperature } => Some(random() < win_probability(first, second, temperature)),
        }
    }
}

/// σ((first − second)/temperature).
fn win_probability(first: f64, second: f64, temperature: f64) -> f64 {
    1.0 / (1.0 + ((second - first) / temperature).exp())
}

/// A prompt with a preferred and a dispreferred completion, which differ.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PreferencePair {
    /// The prompt's tokens.
    pub prompt: Vec<Token>,
    /// The winner y_w, its end token included.
    pub chosen: Vec<Token>,
    /// The loser y_l, its end token included.
    pub rejected: Vec<Token>,
}

impl Language {
    /// Draws two completions of `prompt` and labels them. Equal completions, and ties without a winner, are drawn again.
    ///
    /// # Panics
    /// Where `prompt` is not a prompt of the language, or the random source always gives the same completion.
    #[track_caller]
    pub fn sample_pair(&self, prompt: &[Token], labelling: Labelling, random: &mut impl FnMut() -> f64) -> PreferencePair {
        for _ in 0..MAX_DRAWS {
            let first = self.sample_completion(prompt, random);
            let second = self.sample_completion(prompt, random);
            if first == second {
                continue;
            }
            let rewards = (self.reward(prompt, &first), self.reward(prompt, &second));
            let (chosen, rejected) = match labelling.first_wins(rewards.0, rewards.1, random) {
                Some(true) => (first, second),
                Some(false) => (second, first),
                None => continue,
            };
            return PreferencePair { prompt: prompt.to_vec(), chosen, rejected };
        }
        panic!("no two different completions in {MAX_DRAWS} draws: the random source does not look uniform")
    }
}
