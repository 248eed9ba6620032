//! A small generated language whose distribution and reward are known exactly.
//!
//! The demo trains a decoder on sentences like `the small fox greets a kind bird .` and then aligns it to a reward. The outcome must be
//! judged without another estimate. So the language is a probabilistic regular grammar: a deterministic automaton whose arcs carry a word,
//! a probability p(a | s) and a reward r(s, a). All sentences end with the end token `.`.
//!
//! The automaton's graph has no cycles, so every quantity below is a finite sum. One backward pass over the states computes it. s′ is the
//! state that arc a leads to, and the end state has value 0:
//!
//! | quantity | recursion |
//! |---|---|
//! | entropy in nats | H(s) = Σₐ p(a∣s)·(−ln p(a∣s) + H(s′)) |
//! | expected reward | V(s) = Σₐ p(a∣s)·(r(s,a) + V(s′)) |
//! | log-partition | ln Z(s) = ln Σₐ exp(ln p(a∣s) + r(s,a)/β + ln Z(s′)) |
//! | optimum of E\[r\] − β·KL(π‖p) | π\*(a∣s) = p(a∣s)·exp(r(s,a)/β + ln Z(s′) − ln Z(s)) |
//! | divergence of two grammars | K(s) = Σₐ q(a∣s)·(ln q(a∣s) − ln p(a∣s) + K(s′)) |
//!
//! The optimum is again a grammar on the same arcs ([`Language::aligned`]). So its reward, entropy and divergence come from the same
//! recursions. E\*\[r\] − β·KL(π\*‖p) = β·ln Z holds to round-off.
//!
//! A sentence is a *prompt* (`the fox`, `a small bird`: its subject) followed by a *completion*, 3 to 8 tokens with the end token. The
//! reward prefers kind deeds and gentle manners. It ignores articles, conjunctions, which place is named and who the object is. So each
//! completion has twins with exactly the same reward, which show what a method does to all other completions. Aligning never changes the
//! distribution of the prompts.

mod automaton;
mod grammar;
pub mod preference;
#[cfg(test)]
mod tests;

pub use automaton::Token;
use automaton::{Automaton, State};

/// Added to the reward of a completion that is not a sentence of the language: an impossible word, a missing end token,
/// or anything after the end token. Large enough that every ungrammatical completion scores below every grammatical one.
pub const UNGRAMMATICAL_PENALTY: f64 = -6.0;

/// A word that the language does not have.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the small language has no word \"{word}\" (word {position} of the text, counting from 1)")]
pub struct UnknownWord {
    /// The word as it was written.
    pub word: String,
    /// Its place in the text, from 1.
    pub position: usize,
}

/// A prompt: the words up to and including the subject, and the probability that a sentence begins with them.
#[derive(Debug, Clone, PartialEq)]
pub struct Prompt {
    /// The prompt's tokens.
    pub tokens: Vec<Token>,
    /// ln P(prompt); over all prompts of a language the probabilities sum to 1.
    pub log_prob: f64,
}

/// One completion of a prompt, with its probability and its reward.
#[derive(Debug, Clone, PartialEq)]
pub struct Completion {
    /// The completion's tokens; the last one is the end token.
    pub tokens: Vec<Token>,
    /// ln P(completion | prompt).
    pub log_prob: f64,
    /// The reward r(prompt, completion).
    pub reward: f64,
}

/// The language: its words, its grammar and its reward. See the [module](self) for the mathematics.
///
/// Functions that take a `prompt` panic where it is not one of [`prompts`](Self::prompts). Random sources are closures that
/// return a number uniform in \[0, 1); one number is used for each token that is drawn.
#[derive(Debug, Clone)]
pub struct Language {
    automaton: Automaton,
}

impl Default for Language {
    fn default() -> Self {
        Self::new()
    }
}

impl Language {
    /// Makes the language of the demo: 24 words, 32 prompts, 3,846 completions of each.
    #[must_use]
    pub fn new() -> Self {
        let automaton = grammar::build();
        Self { automaton }
    }

    /// Returns the vocabulary; a token is an index into it.
    #[must_use]
    pub fn words(&self) -> &'static [&'static str] {
        grammar::WORDS
    }

    /// Returns the token `.`, which ends every sentence. In packed sentences it also marks where the next one begins, so a model may get it
    /// as the first token.
    #[must_use]
    pub fn end(&self) -> Token {
        grammar::END
    }

    /// Returns the tokens of `text`, whose words are separated by white space.
    ///
    /// # Errors
    /// [`UnknownWord`] for the first word that is not in [`words`](Self::words).
    pub fn encode(&self, text: &str) -> Result<Vec<Token>, UnknownWord> {
        text.split_whitespace()
            .enumerate()
            .map(|(index, word)| grammar::token(word).ok_or_else(|| UnknownWord { word: word.to_owned(), position: index + 1 }))
            .collect()
    }

    /// Returns the text of `tokens`, words joined by one space. A token outside the vocabulary is shown as `<number>`.
    #[must_use]
    pub fn decode(&self, tokens: &[Token]) -> String {
        let word = |&token: &Token| match grammar::WORDS.get(token as usize) {
            Some(word) => (*word).to_owned(),
            None => format!("<{token}>"),
        };
        tokens.iter().map(word).collect::<Vec<_>>().join(" ")
    }

    /// Lists every prompt of the language with its probability.
    #[must_use]
    pub fn prompts(&self) -> Vec<Prompt> {
        let start = self.automaton.start();
        let paths = self.automaton.paths(start, |state| self.automaton.is_subject(state));
        paths.into_iter().map(|path| Prompt { tokens: path.tokens, log_prob: path.log_prob }).collect()
    }

    /// Lists every completion of `prompt`, in a fixed order. The probabilities sum to 1.
    ///
    /// # Panics
    /// Where `prompt` is not a prompt of the language.
    #[must_use]
    #[track_caller]
    pub fn completions(&self, prompt: &[Token]) -> Vec<Completion> {
        let paths = self.automaton.paths(self.after(prompt), |state| state == self.automaton.end());
        paths.into_iter().map(|path| Completion { tokens: path.tokens, log_prob: path.log_prob, reward: path.reward }).collect()
    }

    /// Splits a sentence after its subject, into prompt and completion. `None` where it does not begin with a prompt.
    #[must_use]
    pub fn split<'a>(&self, sentence: &'a [Token]) -> Option<(&'a [Token], &'a [Token])> {
        let mut state = self.automaton.start();
        for (index, &token) in sentence.iter().enumerate() {
            state = self.automaton.arc(state, token)?.to;
            if self.automaton.is_subject(state) {
                return Some(sentence.split_at(index + 1));
            }
        }
        None
    }

    /// Draws a sentence, its end token included.
    pub fn sample_sentence(&self, random: &mut impl FnMut() -> f64) -> Vec<Token> {
        self.automaton.sample(self.automaton.start(), |state| state == self.automaton.end(), random)
    }

    /// Draws a prompt with its probability in the language.
    pub fn sample_prompt(&self, random: &mut impl FnMut() -> f64) -> Vec<Token> {
        self.automaton.sample(self.automaton.start(), |state| self.automaton.is_subject(state), random)
    }

    /// Draws a completion of `prompt`, its end token included.
    ///
    /// # Panics
    /// Where `prompt` is not a prompt of the language.
    #[track_caller]
    pub fn sample_completion(&self, prompt: &[Token], random: &mut impl FnMut() -> f64) -> Vec<Token> {
        self.automaton.sample(self.after(prompt), |state| state == self.automaton.end(), random)
    }

    /// Computes ln P(sentence), the end token included; −∞ for a string that is not a sentence.
    #[must_use]
    pub fn log_prob(&self, sentence: &[Token]) -> f64 {
        self.automaton.log_prob(self.automaton.start(), sentence)
    }

    /// Computes ln P(completion | prompt), the end token included; −∞ for a string that does not complete the prompt.
    ///
    /// # Panics
    /// Where `prompt` is not a prompt of the language.
    #[must_use]
    #[track_caller]
    pub fn log_prob_completion(&self, prompt: &[Token], completion: &[Token]) -> f64 {
        self.automaton.log_prob(self.after(prompt), completion)
    }

    /// Computes ln P(token | prefix) for every token of the vocabulary, `[24]`; `None` if no sentence continues after `prefix`.
    #[must_use]
    pub fn next_log_probs(&self, prefix: &[Token]) -> Option<Vec<f64>> {
        let state = self.automaton.follow(self.automaton.start(), prefix)?;
        if state == self.automaton.end() {
            return None;
        }
        let mut log_probs = vec![f64::NEG_INFINITY; self.words().len()];
        for arc in self.automaton.arcs(state) {
            log_probs[arc.token as usize] = arc.log_prob;
        }
        Some(log_probs)
    }

    /// Computes the reward of any token string as a completion of `prompt`: the sum of the arcs' rewards along the grammatical part. A
    /// string that is not a sentence up to exactly the end token also gets [`UNGRAMMATICAL_PENALTY`].
    ///
    /// # Panics
    /// Where `prompt` is not a prompt of the language.
    #[must_use]
    #[track_caller]
    pub fn reward(&self, prompt: &[Token], completion: &[Token]) -> f64 {
        let mut state = self.after(prompt);
        let mut reward = 0.0;
        for &token in completion {
            let Some(arc) = self.automaton.arc(state, token) else {
                return reward + UNGRAMMATICAL_PENALTY;
            };
            reward += arc.reward;
            state = arc.to;
        }
        if state == self.automaton.end() { reward } else { reward + UNGRAMMATICAL_PENALTY }
    }

    /// True if `completion` ends a sentence that begins with `prompt`.
    ///
    /// # Panics
    /// Where `prompt` is not a prompt of the language.
    #[must_use]
    #[track_caller]
    pub fn is_grammatical(&self, prompt: &[Token], completion: &[Token]) -> bool {
        self.automaton.follow(self.after(prompt), completion) == Some(self.automaton.end())
    }

    /// Returns the entropy of a whole sentence in nats: the least cross-entropy per sentence that a model can reach.
    #[must_use]
    pub fn entropy(&self) -> f64 {
        self.automaton.entropy()[self.automaton.start()]
    }

    /// Returns the expected number of tokens of a sentence, the end token included. [`entropy`](Self::entropy) divided by it is the least
    /// loss per token.
    #[must_use]
    pub fn expected_length(&self) -> f64 {
        self.automaton.expectation(|_| 1.0)[self.automaton.start()]
    }

    /// Returns the entropy of the completion of `prompt` in nats.
    ///
    /// # Panics
    /// Where `prompt` is not a prompt of the language.
    #[must_use]
    #[track_caller]
    pub fn completion_entropy(&self, prompt: &[Token]) -> f64 {
        self.automaton.entropy()[self.after(prompt)]
    }

    /// Computes E\[r\] over prompts and completions of the language.
    #[must_use]
    pub fn expected_reward(&self) -> f64 {
        self.automaton.expectation(|arc| arc.reward)[self.automaton.start()]
    }

    /// E\[r | prompt\].
    ///
    /// # Panics
    /// Where `prompt` is not a prompt of the language.
    #[must_use]
    #[track_caller]
    pub fn expected_reward_of(&self, prompt: &[Token]) -> f64 {
        self.automaton.expectation(|arc| arc.reward)[self.after(prompt)]
    }

    /// Returns the largest reward that a completion of `prompt` can have.
    ///
    /// # Panics
    /// Where `prompt` is not a prompt of the language.
    #[must_use]
    #[track_caller]
    pub fn best_reward(&self, prompt: &[Token]) -> f64 {
        self.automaton.best_reward()[self.after(prompt)]
    }

    /// ln Z(prompt) = ln Σ_y P(y | prompt)·e^{r(prompt, y)/β}. `beta` > 0.
    ///
    /// # Panics
    /// Where `prompt` is not a prompt of the language, or `beta` is not positive.
    #[must_use]
    #[track_caller]
    pub fn log_partition(&self, prompt: &[Token], beta: f64) -> f64 {
        self.automaton.log_partition(beta)[self.after(prompt)]
    }

    /// Returns the exact optimum of KL-regularised alignment, π\*(y | x) ∝ P(y | x)·e^{r(x, y)/β}. It maximises E\[r\] − β·KL(π‖P) for each
    /// prompt x (Rafailov et al. 2023, Eq. 4). It is a language on the same words, prompts and rewards.
    ///
    /// Train with DPO and coefficient β on pairs drawn from this language and labelled by
    /// [`Labelling::BradleyTerry`](crate::language::preference::Labelling::BradleyTerry) with temperature τ. Its population optimum is
    /// `aligned(β·τ)`.
    ///
    /// # Panics
    /// Where `beta` is not positive.
    #[must_use]
    #[track_caller]
    pub fn aligned(&self, beta: f64) -> Self {
        Self { automaton: self.automaton.tilted(beta) }
    }

    /// Returns the most expected reward of a policy whose KL from this language is at most `divergence` nats: that of the
    /// [`aligned`](Self::aligned) form with this divergence, for coefficients from e^−7 to e^7.
    #[must_use]
    pub fn most_reward_at(&self, divergence: f64) -> f64 {
        // The divergence falls with β, so halving an interval of ln β finds the one with this divergence.
        let (mut low, mut high) = (-7.0_f64, 7.0_f64);
        for _ in 0..50 {
            let middle = (low + high) / 2.0;
            if self.aligned(middle.exp()).kl_from(self) > divergence { low = middle } else { high = middle }
        }
        self.aligned(high.exp()).expected_reward()
    }

    /// Computes KL(self ‖ other) over whole sentences in nats. `other` is this language or an [`aligned`](Self::aligned) form of it. The
    /// prompts' distribution is the same in both, so the result is the mean over prompts of [`kl_from_given`](Self::kl_from_given).
    #[must_use]
    pub fn kl_from(&self, other: &Self) -> f64 {
        self.automaton.kl_from(&other.automaton)[self.automaton.start()]
    }

    /// Computes KL(self ‖ other) over the completions of `prompt` in nats.
    ///
    /// # Panics
    /// Where `prompt` is not a prompt of the language.
    #[must_use]
    #[track_caller]
    pub fn kl_from_given(&self, other: &Self, prompt: &[Token]) -> f64 {
        self.automaton.kl_from(&other.automaton)[self.after(prompt)]
    }

    /// Returns the state after a prompt.
    #[track_caller]
    fn after(&self, prompt: &[Token]) -> State {
        match self.automaton.follow(self.automaton.start(), prompt) {
            Some(state) if self.automaton.is_subject(state) => state,
            _ => panic!("\"{}\" is not a prompt of the small language", self.decode(prompt)),
        }
    }
}
