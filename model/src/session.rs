//! A conversation's tokens with their key-value cache. Each turn runs only the tokens that earlier turns did not run.

use crate::decoder::{Cache, Decoder, Packed, packed_checks};
use crate::error::{Error, Result};
use crate::generate::{Sampling, StopConditions};
use engine::{Backend, Generator, Tensor, no_grad};

/// One growing sequence.
pub struct Session<'a, B: Backend> {
    decoder: &'a Decoder<B>,
    cache: Cache<B>,
    /// The tokens whose keys and values are in the cache.
    tokens: Vec<u32>,
}

impl<'a, B: Backend> Session<'a, B> {
    /// Makes an empty session.
    pub fn new(decoder: &'a Decoder<B>) -> Self {
        Self { decoder, cache: decoder.cache(1), tokens: Vec::new() }
    }

    /// Returns the number of tokens in the cache.
    pub fn cached(&self) -> usize {
        self.tokens.len()
    }

    /// Counts the tokens of `prompt` that the cache holds already. The last one never counts, because its logits are needed.
    pub fn reused(&self, prompt: &[u32]) -> usize {
        let same = self.tokens.iter().zip(prompt).take_while(|(a, b)| a == b).count();
        same.min(prompt.len().saturating_sub(1))
    }

    /// Continues `prompt`, the whole conversation so far, and returns the new tokens. The part that the prompt shares with earlier tokens
    /// is taken from the cache, and the rest of the cache is dropped. `seen` receives each new token and ends the answer by returning
    /// false. The tokens are those of a session without a cache.
    ///
    /// # Errors
    /// [`Error::BadConfig`] for an empty prompt, bad settings or more tokens than learned positions; [`Error::TokenOutOfRange`].
    pub fn generate(
        &mut self,
        prompt: &[u32],
        sampling: &Sampling,
        limits: StopConditions<'_>,
        generator: &mut Generator,
        mut seen: impl FnMut(u32) -> bool,
    ) -> Result<Vec<u32>> {
        sampling.validate()?;
        if prompt.is_empty() {
            return Err(Error::bad_config("the prompt has no tokens"));
        }
        packed_checks::check_tokens(prompt, self.decoder.config())?;
        packed_checks::check_length(prompt.len() + limits.max_tokens.saturating_sub(1), self.decoder.config())?;
        let reused = self.reused(prompt);
        self.cache.truncate(0, reused);
        self.tokens.truncate(reused);
        let mut new = prompt[reused..].to_vec();
        let mut output = Vec::new();
        for _ in 0..limits.max_tokens {
            let logits = self.logits_after(&new);
            let uniform = sampling.uniform(generator);
            let token = sampling.next_tokens(&logits, &[uniform], &[[prompt, &output]])[0];
            output.push(token);
            if !seen(token) || limits.stop.contains(&token) {
                break;
            }
            new = vec![token];
        }
        Ok(output)
    }

    /// Adds tokens to the cache and returns the logits [1, V] after the last of them.
    fn logits_after(&mut self, new: &[u32]) -> Tensor<B> {
        let batch = Packed::new([new]);
        self.tokens.extend_from_slice(new);
        let logits = || {
            let hidden = self.decoder.hidden_cached(&batch, &mut self.cache);
            let last = vec![new.len() as u32 - 1].into();
            hidden.embedding(&last).linear(self.decoder.head_weight(), None)
        };
        self.decoder.backend().keep_awake(|| no_grad(logits))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use crate::generate::generate;
    use engine::Device;

    fn decoder() -> Decoder<Device> {
        let config = Config { vocab_size: 64, layers: 2, sliding_window: Some(5), ..Config::preset("nano").unwrap() };
        Decoder::random(&Device::default(), &config, 3).unwrap()
    }

    #[test]
    fn a_session_says_what_one_without_memory_would_say_and_runs_only_what_is_new() {
        let decoder = decoder();
        let mut session = Session::new(&decoder);
        let limits = StopConditions { max_tokens: 8, stop: &[] };
        let mut conversation = vec![1, 2, 3];
        for turn in 0..3 {
            let afresh = generate(&decoder, &[conversation.clone()], &Sampling::GREEDY, limits, &Generator::new(0), |_, _| true).unwrap();
            if turn > 0 {
                // The answer's last token was never run, and two tokens are new.
                assert_eq!(session.reused(&conversation), conversation.len() - 3);
            }
            let answer = session.generate(&conversation, &Sampling::GREEDY, limits, &mut Generator::new(0), |_| true).unwrap();
            assert_eq!(answer, afresh[0], "turn {turn}");
            conversation.extend(answer);
            conversation.extend([9, 10]);
        }
        let changed = [1, 2, 40, 41];
        assert_eq!(session.reused(&changed), 2);
        let afresh = generate(&decoder, &[changed.to_vec()], &Sampling::GREEDY, limits, &Generator::new(0), |_, _| true).unwrap();
        assert_eq!(session.generate(&changed, &Sampling::GREEDY, limits, &mut Generator::new(0), |_| true).unwrap(), afresh[0]);
        assert_eq!(session.cached(), changed.len() + 7);
    }

    #[test]
    fn the_same_prompt_again_still_has_logits() {
        let decoder = decoder();
        let mut session = Session::new(&decoder);
        let limits = StopConditions { max_tokens: 3, stop: &[] };
        let mut ask = || session.generate(&[5, 6], &Sampling::GREEDY, limits, &mut Generator::new(0), |_| true).unwrap();
        assert_eq!(ask(), ask());
        assert!(session.generate(&[], &Sampling::GREEDY, limits, &mut Generator::new(0), |_| true).is_err());
        assert!(session.generate(&[64], &Sampling::GREEDY, limits, &mut Generator::new(0), |_| true).is_err());
    }
}
