//! Runs in the small language, which is too large to enumerate under a decoder: rewards and divergences are means over draws.

use super::arms::Arm;
use super::learned_language::{config, draw, learn, log_probs, pairs, rewards};
use super::path::{Moment, moments};
use super::run::{Setup, StudyRun};
use super::statistics::{differences, mean_and_error};
use crate::align::ReferenceCache;
use crate::align::unpaired::rows_of_pairs;
use crate::boundary::Sequence;
use crate::data::{LabelledSequence, PreferencePair};
use crate::decoder::Decoder;
use crate::error::Result;
use crate::language::Language;
use engine::{Backend, Generator};

/// Steps and sentences a step with which the reference learns the language.
const LEARNING: (u64, usize) = (1200, 64);
/// Pairs to learn from, and those of a step.
const PAIRS: (usize, usize) = (2048, 16);
/// The moments at which a run is measured.
const MOMENTS: usize = 12;
/// Pairs whose log-probabilities are followed.
const FOLLOWED: usize = 256;
/// Pairs that the reference scores at once.
const AT_ONCE: usize = 64;

/// The divergences κ at which runs are compared, in nats.
pub const DIVERGENCES: [f64; 5] = super::prepared::DIVERGENCES;

/// Completions drawn from a policy at each moment of a run that is reported: with five seeds, 20,000 for each point.
pub const REPORTED_DRAWS: usize = 4000;
/// Completions drawn at each moment of a run that chooses settings.
pub const TUNING_DRAWS: usize = 1000;

/// The values of a [`Moment`], in order:
///
/// 1. the mean reward of draws from π, less that of as many draws from the reference with the same random numbers
/// 2. KL(ref‖π) over draws from the reference, in nats
/// 3. the mean over pairs of ln π/ref of the chosen completion, in nats
/// 4. that of the rejected completion
/// 5. the share of pairs whose chosen completion is less likely than under the reference
/// 6. the standard errors of 1, of KL(π‖ref) and of 2
pub const NAMES: [&str; 8] = ["reward", "reverse_kl", "chosen", "rejected", "fallen", "reward_error", "kl_error", "reverse_kl_error"];

/// Streams of random numbers, one for each purpose.
mod stream {
    pub const SENTENCES: u64 = 21;
    pub const PAIRS: u64 = 22;
    pub const DRAWS: u64 = 23;
}

/// The language with a reference that has learned it, and pairs of its completions.
pub struct InLanguage<B: Backend> {
    language: Language,
    reference: Decoder<B>,
    /// Draws from the reference, each with its reward and ln ref.
    drawn: Vec<Sequence>,
    rewards: Vec<f64>,
    log_probs: Vec<f64>,
    pairs: Vec<PreferencePair>,
    /// The chosen and the rejected completions of some pairs, each with ln ref.
    followed: [(Vec<Sequence>, Vec<f64>); 2],
    rows: Vec<LabelledSequence>,
    cache: ReferenceCache,
    seed: u64,
}

impl<B: Backend> InLanguage<B> {
    /// Trains the reference of a seed on `backend`, draws from it and makes the pairs.
    ///
    /// # Errors
    /// [`Error::NotFinite`](crate::Error::NotFinite) if the reference's training is not.
    pub fn new(backend: &B, seed: u64) -> Result<Self> {
        Self::with_learning(backend, seed, LEARNING)
    }

    /// As [`InLanguage::new`], with a reference that learns in so many steps of so many sentences.
    fn with_learning(backend: &B, seed: u64, learning: (u64, usize)) -> Result<Self> {
        let language = Language::new();
        let stream = |purpose: u64| Generator::new(seed).stream(purpose);
        let random = Decoder::random(backend, &config(&language), seed)?;
        let reference = learn(&language, random, learning, &mut stream(stream::SENTENCES), |_, _, _| ())?;
        let drawn = draw(&language, &reference, stream(stream::DRAWS), REPORTED_DRAWS)?;
        let pairs = pairs(&language, &reference, stream(stream::PAIRS), PAIRS.0)?;
        let of_reference = |of: fn(&PreferencePair) -> &Sequence| {
            let sequences: Vec<Sequence> = pairs[..FOLLOWED].iter().map(|pair| of(pair).clone()).collect();
            let log_probs = log_probs(&reference, &sequences);
            (sequences, log_probs)
        };
        let followed = [of_reference(|pair| &pair.chosen), of_reference(|pair| &pair.rejected)];
        let mut cache = ReferenceCache::in_memory();
        cache.fill(pairs.iter(), &reference, AT_ONCE, None, &|| Ok(false))?;
        let (rewards, log_probs, rows) = (rewards(&language, &drawn), log_probs(&reference, &drawn), rows_of_pairs(&pairs));
        Ok(Self { language, reference, drawn, rewards, log_probs, pairs, followed, rows, cache, seed })
    }

    /// Trains a copy of the reference with one arm and measures it by `draws` draws at some moments.
    ///
    /// # Errors
    /// [`Error::BadConfig`](crate::Error::BadConfig) for a strength that the loss cannot have.
    pub fn run(&self, arm: &Arm, learning_rate: f64, strength: Option<f64>, steps: u64, draws: usize) -> Result<StudyRun> {
        let Self { reference, pairs, rows, seed, cache, .. } = self;
        let learned: Vec<usize> = (0..pairs.len()).collect();
        let setup = Setup {
            reference,
            pairs,
            rows,
            learned: &learned,
            batch: PAIRS.1,
            moments: &moments(steps, MOMENTS),
            seed: *seed,
            farthest: DIVERGENCES[DIVERGENCES.len() - 1],
            cache: Some(cache),
        };
        let (_, run) = setup.run(arm, learning_rate, strength, |step, decoder| self.moment(step, decoder, draws))?;
        Ok(run)
    }

    fn moment(&self, step: u64, decoder: &Decoder<B>, draws: usize) -> Result<Moment> {
        let draws = draws.min(self.drawn.len());
        let drawn = draw(&self.language, decoder, Generator::new(self.seed).stream(stream::DRAWS), draws)?;
        let above = differences(&rewards(&self.language, &drawn), &self.rewards);
        let of_policy = differences(&log_probs(decoder, &drawn), &log_probs(&self.reference, &drawn));
        let of_reference = differences(&self.log_probs, &log_probs(decoder, &self.drawn[..draws]));
        let [(reward, reward_error), (divergence, error), (reverse, reverse_error)] =
            [above, of_policy, of_reference].map(|values| mean_and_error(&values));
        let [chosen, rejected] = self.followed.each_ref().map(|(sequences, before)| differences(&log_probs(decoder, sequences), before));
        let fallen = chosen.iter().filter(|rise| **rise < 0.0).count() as f64 / chosen.len() as f64;
        let [chosen, rejected] = [chosen, rejected].map(|values| mean_and_error(&values).0);
        Ok(Moment { step, divergence, values: vec![reward, reverse, chosen, rejected, fallen, reward_error, error, reverse_error] })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use engine::Cpu;

    #[test]
    fn a_policy_begins_at_its_reference_and_earns_more_as_it_moves_away() {
        // A reference that knows less of the language is as good a start, and takes a tenth of the time.
        let world = InLanguage::with_learning(&Cpu::<f32>::new(), 1, (LEARNING.0 / 10, LEARNING.1)).unwrap();
        let run = world.run(&Arm::named("dpo").unwrap(), 1e-3, Some(0.5), 30, 500).unwrap();
        let (first, last) = (&run.path[0], run.path.last().unwrap());
        assert_eq!((first.divergence, &first.values[..5]), (0.0, [0.0; 5].as_slice()));
        let [reward, reverse, chosen, rejected, _, reward_error, error, _] = last.values[..] else { panic!("{last:?}") };
        assert!(last.divergence > 5.0 * error && reward > 3.0 * reward_error && reverse > 0.0 && chosen > rejected, "{last:?}");
        // Below the most that the language itself allows, to within the error of the draws.
        let best = world.language.most_reward_at(last.divergence) - world.language.expected_reward();
        assert!(reward < best + 4.0 * reward_error, "{reward} above {best}");
    }
}
