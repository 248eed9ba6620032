//! The completions of an enumerable world: strings of letters up to a length, each ended by the end token unless it has the full length.
//!
//! With V letters and at most L tokens there are V⁰ + V¹ + … + V^{L−1} completions that end early, and V^L that do not. They are numbered
//! in this order. A string of d letters has a number below V^d: its letters as the digits of a number to the base V.

/// The shape of the tree of completions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Strings {
    /// V: the letters are the tokens 0 to V − 1, and the end token is V.
    pub letters: usize,
    /// L ≥ 1: the most tokens of a completion.
    pub longest: usize,
}

impl Strings {
    /// Returns the end token.
    pub fn end(self) -> u32 {
        self.letters as u32
    }

    /// Returns the number of strings of `depth` letters.
    pub fn of_length(self, depth: usize) -> usize {
        self.letters.pow(depth as u32)
    }

    /// Returns the number of the first completion that ends after `depth` letters; with the full length, of the first that has it.
    pub fn first(self, depth: usize) -> usize {
        (0..depth).map(|shorter| self.of_length(shorter)).sum()
    }

    /// Returns the number of completions.
    pub fn count(self) -> usize {
        self.first(self.longest) + self.of_length(self.longest)
    }

    /// Returns the letters of string number `string` of `depth` letters.
    pub fn letters_of(self, depth: usize, string: usize) -> Vec<u32> {
        (0..depth).rev().map(|place| (string / self.of_length(place) % self.letters) as u32).collect()
    }

    /// Returns the tokens of a completion, its end token included.
    ///
    /// # Panics
    /// If there is no such completion.
    #[track_caller]
    pub fn tokens(self, completion: usize) -> Vec<u32> {
        assert!(completion < self.count(), "strings: there are {} completions, and no number {completion}", self.count());
        let depth = (0..=self.longest).rev().find(|&depth| self.first(depth) <= completion).unwrap_or(0);
        let mut tokens = self.letters_of(depth, completion - self.first(depth));
        tokens.extend((depth < self.longest).then_some(self.end()));
        tokens
    }

    /// Computes the log-probability of every completion. `next(depth, string)` gives the log-probabilities of the V + 1 tokens after a
    /// string of fewer than L letters.
    pub fn log_probs(self, mut next: impl FnMut(usize, usize) -> Vec<f64>) -> Vec<f64> {
        let mut all = Vec::with_capacity(self.count());
        let mut so_far = vec![0.0];
        for depth in 0..self.longest {
            let mut longer = Vec::with_capacity(so_far.len() * self.letters);
            for (string, log_prob) in so_far.iter().enumerate() {
                let tokens = next(depth, string);
                all.push(log_prob + tokens[self.letters]);
                longer.extend(tokens[..self.letters].iter().map(|token| log_prob + token));
            }
            so_far = longer;
        }
        all.extend(so_far);
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_completion_has_one_number() {
        let strings = Strings { letters: 3, longest: 4 };
        assert_eq!(strings.count(), 1 + 3 + 9 + 27 + 81);
        let all: BTreeSet<Vec<u32>> = (0..strings.count()).map(|completion| strings.tokens(completion)).collect();
        assert_eq!(all.len(), strings.count());
        for tokens in all {
            let letters = tokens.iter().take_while(|&&token| token < 3).count();
            assert!(tokens.len() == 4 || (tokens.len() == letters + 1 && tokens[letters] == 3), "{tokens:?}");
        }
        assert_eq!((strings.tokens(0), strings.tokens(2), strings.tokens(strings.count() - 1)), (vec![3], vec![1, 3], vec![2, 2, 2, 2]));
    }

    #[test]
    fn probabilities_of_all_completions_are_products_along_the_tree_and_add_to_one() {
        let strings = Strings { letters: 2, longest: 3 };
        let next = |depth: usize, string: usize| -> Vec<f64> {
            let weights = [1.0 + depth as f64, 2.0 + string as f64, 0.5];
            weights.iter().map(|weight| (weight / weights.iter().sum::<f64>()).ln()).collect()
        };
        let log_probs = strings.log_probs(next);
        assert!((log_probs.iter().map(|log_prob| log_prob.exp()).sum::<f64>() - 1.0).abs() < 1e-15);
        for (completion, log_prob) in log_probs.iter().enumerate() {
            let (mut string, mut product) = (0, 0.0);
            for (depth, token) in strings.tokens(completion).into_iter().enumerate() {
                product += next(depth, string)[token as usize];
                string = 2 * string + token as usize;
            }
            assert!((log_prob - product).abs() < 1e-15, "{completion}");
        }
    }
}
