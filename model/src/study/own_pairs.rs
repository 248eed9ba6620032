//! A person's own pairs and model: which pairs are learned, which are kept apart, and what is measured on those.
//!
//! Pairs of one prompt stay together. Their prompts fall in three parts:
//!
//! 1. The test is the same for all runs. No run learns it, and no setting is chosen on it.
//! 2. Each seed draws a second part of the same size from the rest. Runs that choose settings are measured on it.
//! 3. The remaining pairs are learned.

use super::arms::Arm;
use super::path::{Moment, moments};
use super::run::{Setup, StudyRun};
use crate::align::ReferenceCache;
use crate::align::unpaired::rows_of_pairs;
use crate::data::{LabelledSequence, PreferencePair};
use crate::decoder::Decoder;
use crate::error::{Error, Result};
use crate::evaluate::{self, HeldOut, PairScore, to_the_end};
use engine::{Backend, Generator};
use std::collections::BTreeMap;

/// The moments at which a run is measured: a measurement takes about as long as two steps or more.
const MOMENTS: usize = 12;
/// Pairs that are measured at once.
const AT_ONCE: usize = 16;
/// The pairs kept apart for the test, unless a number is given: this share, and at most this many.
const TESTED: (f64, usize) = (0.2, 200);

/// The values of a [`Moment`], in order:
///
/// 1. the share of held-out pairs with ln π(y_w) > ln π(y_l), less that of the reference, in percentage points
/// 2. the share of held-out pairs whose log-ratio grows more for the chosen completion, in percent
/// 3. the mean over held-out pairs of ln π/ref of the chosen completion, in nats
/// 4. that of the rejected completion
/// 5. nats a token on other text, less those of the reference
/// 6. as 1, on the pairs of a second test
///
/// The last two are NaN where they are not measured: without such text or pairs, and in runs that choose settings.
pub const NAMES: [&str; 6] = ["preferred", "margins_above_0", "chosen", "rejected", "forgetting", "preferred_second"];

/// Streams of random numbers, one for each purpose.
mod stream {
    pub const TEST: u64 = 31;
    pub const APART: u64 = 32;
}

/// The settings that all runs share.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Settings {
    /// Pairs of a step.
    pub batch: usize,
    /// Pairs of the test, at least; `None` for a fifth of all, at most 200.
    pub tested: Option<usize>,
    /// The seed that draws the test.
    pub seed: u64,
    /// The divergence at which a run ends early, in nats a token.
    pub farthest: f64,
}

/// What else the reported runs are measured on; nothing of it is learned.
#[derive(Clone, Debug, Default)]
pub struct Other {
    /// Windows of text that has nothing to do with the pairs.
    pub text: Vec<Vec<u32>>,
    /// Pairs of a second test.
    pub second: Vec<PreferencePair>,
}

/// Pairs with the model that learns from them.
pub struct OwnPairs<B: Backend> {
    reference: Decoder<B>,
    pairs: Vec<PreferencePair>,
    rows: Vec<LabelledSequence>,
    test: Vec<usize>,
    /// The other pairs, by prompt.
    rest: Vec<Vec<usize>>,
    other: Other,
    settings: Settings,
    cache: ReferenceCache,
}

/// What a run is measured on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Measured {
    /// The part that the seed keeps apart: for the choice of settings.
    Apart,
    /// The test.
    Test,
}

impl<B: Backend> OwnPairs<B> {
    /// Splits the pairs and runs the reference on them.
    ///
    /// # Errors
    /// [`Error::BadConfig`] if there are too few pairs or prompts for three parts; [`Error::TokenOutOfRange`].
    pub fn new(reference: Decoder<B>, pairs: Vec<PreferencePair>, other: Other, settings: Settings) -> Result<Self> {
        let tested = settings.tested.unwrap_or_else(|| ((pairs.len() as f64 * TESTED.0).ceil() as usize).clamp(1, TESTED.1));
        let mut by_prompt: BTreeMap<&[u32], Vec<usize>> = BTreeMap::new();
        for (place, pair) in pairs.iter().enumerate() {
            by_prompt.entry(pair.chosen.prompt()).or_default().push(place);
        }
        let prompts = by_prompt.len();
        let (test, rest) = take(by_prompt.into_values().collect(), tested, &mut Generator::new(settings.seed).stream(stream::TEST));
        let apart = take(rest.clone(), test.len(), &mut Generator::new(0)).1;
        if apart.is_empty() {
            return Err(Error::bad_config(format!(
                "{} pairs of {prompts} prompts cannot be split by prompt into a test, as many pairs for the choice of settings and others \
                 to learn, with {tested} in the test: give more pairs or a smaller test",
                pairs.len()
            )));
        }
        let rows = rows_of_pairs(&pairs);
        let mut cache = ReferenceCache::in_memory();
        cache.fill(pairs.iter(), &reference, AT_ONCE, None, &|| Ok(false))?;
        Ok(Self { reference, pairs, rows, test, rest, other, settings, cache })
    }

    /// Returns the numbers of pairs: learned in the first run, and in the test.
    pub fn counts(&self) -> [usize; 2] {
        [self.split(0).1.len(), self.test.len()]
    }

    /// The pairs that a seed keeps apart, and those that are learned.
    fn split(&self, seed: u64) -> (Vec<usize>, Vec<usize>) {
        let (apart, learned) = take(self.rest.clone(), self.test.len(), &mut Generator::new(seed).stream(stream::APART));
        (apart, learned.concat())
    }

    /// Trains a copy of the reference with one arm and measures it at some moments.
    ///
    /// # Errors
    /// [`Error::BadConfig`] for a strength that the loss cannot have, or for sequences that are longer than the model's positions.
    pub fn run(&self, arm: &Arm, learning_rate: f64, strength: Option<f64>, steps: u64, seed: u64, on: Measured) -> Result<StudyRun> {
        let (apart, learned) = self.split(seed);
        let measured = match on {
            Measured::Apart => &apart,
            Measured::Test => &self.test,
        };
        let held_out: Vec<PreferencePair> = measured.iter().map(|&place| self.pairs[place].clone()).collect();
        let Self { reference, pairs, rows, settings: Settings { batch, farthest, .. }, cache, .. } = self;
        let (learned, moments) = (&learned, &moments(steps, MOMENTS));
        let (batch, farthest, cache) = (*batch, *farthest, Some(cache));
        let setup = Setup { reference, pairs, rows, learned, batch, moments, seed, farthest, cache };
        let held_out = HeldOut::new(reference, &held_out, AT_ONCE)?;
        let mut start: Option<(PairScore, [f64; 2])> = None;
        let (_, run) = setup.run(arm, learning_rate, strength, |step, decoder| {
            let score = held_out.score(decoder)?;
            let others = if on == Measured::Test { self.on_others(decoder)? } else { [f64::NAN; 2] };
            let (before, [cost, preferred]) = start.get_or_insert((score, others));
            let values = vec![
                100.0 * (score.accuracy_unreferenced - before.accuracy_unreferenced),
                100.0 * score.accuracy,
                score.chosen_log_prob - before.chosen_log_prob,
                score.rejected_log_prob - before.rejected_log_prob,
                others[0] - *cost,
                100.0 * (others[1] - *preferred),
            ];
            // A decoder beside its own copy differs by nothing, so the first moment's divergence is 0.
            Ok(Moment { step, divergence: score.kl.unwrap_or(f64::NAN), values })
        })?;
        Ok(run)
    }

    /// Nats a token on the other text, and the share of pairs of the second test that are preferred; NaN for what there is none of.
    fn on_others(&self, decoder: &Decoder<B>) -> Result<[f64; 2]> {
        let Other { text, second } = &self.other;
        let cost = evaluate::text(decoder, text.iter().map(Vec::as_slice), &to_the_end)?.nats_per_token();
        let score = evaluate::pairs(decoder, None, second, AT_ONCE, &to_the_end)?;
        Ok([cost, score.accuracy_unreferenced])
    }
}

/// Takes prompts until they have `count` pairs. Returns their pairs, and the other prompts.
fn take(mut prompts: Vec<Vec<usize>>, count: usize, generator: &mut Generator) -> (Vec<usize>, Vec<Vec<usize>>) {
    let order = generator.permutation(prompts.len());
    let mut taken = Vec::new();
    for place in order {
        if taken.len() < count {
            taken.append(&mut prompts[place]);
        }
    }
    prompts.retain(|pairs| !pairs.is_empty());
    (taken, prompts)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::boundary::Sequence;
    use crate::config::preset::Preset;
    use engine::Cpu;
    use std::collections::BTreeSet;

    /// Pairs of prompts of one token, several of each, whose chosen completions begin with a small token.
    fn pairs(prompts: usize, of_each: usize) -> Vec<PreferencePair> {
        let sequence = |prompt: usize, first: usize, second: usize| Sequence::new(vec![256, prompt as u32, first as u32, second as u32], 2);
        let pair = |i: usize| {
            let (prompt, place) = (i / of_each, i % of_each);
            PreferencePair { line: i + 1, chosen: sequence(prompt, place % 7, 50), rejected: sequence(prompt, 100 + place % 5, 60) }
        };
        (0..prompts * of_each).map(pair).collect()
    }

    fn own(prompts: usize, of_each: usize, tested: Option<usize>) -> Result<OwnPairs<Cpu<f32>>> {
        let reference = Decoder::random(&Cpu::<f32>::new(), &Preset::named("nano").unwrap().config(), 1).unwrap();
        let other = Other { text: vec![vec![256, 1, 2, 3, 4, 5]], second: pairs(3, 1) };
        OwnPairs::new(reference, pairs(prompts, of_each), other, Settings { batch: 4, tested, seed: 0, farthest: 3.0 })
    }

    #[test]
    fn no_prompt_of_the_test_is_learned_and_each_seed_keeps_others_apart() {
        let own = own(10, 3, None).unwrap();
        let prompts = |places: &[usize]| places.iter().map(|place| place / 3).collect::<BTreeSet<_>>();
        assert_eq!((own.test.len(), own.counts()), (6, [18, 6]));
        let mut all = BTreeSet::new();
        for seed in 0..8 {
            let (apart, learned) = own.split(seed);
            assert!(prompts(&own.test).is_disjoint(&prompts(&apart)) && prompts(&own.test).is_disjoint(&prompts(&learned)));
            assert!(prompts(&apart).is_disjoint(&prompts(&learned)));
            assert_eq!(apart.len() + learned.len() + own.test.len(), 30);
            all.insert(apart);
        }
        assert!(all.len() > 3, "{all:?}");
    }

    #[test]
    fn pairs_that_cannot_be_split_are_refused() {
        for (prompts, of_each, tested) in [(1, 40, None), (2, 3, None), (10, 1, Some(5))] {
            let refused = own(prompts, of_each, tested).map(drop).unwrap_err().to_string();
            assert!(refused.contains("cannot be split by prompt"), "{refused}");
        }
    }

    #[test]
    fn dpo_learns_to_prefer_what_generalises_and_moves_away_from_the_reference() {
        let own = own(12, 2, None).unwrap();
        let arm = Arm::named("dpo").unwrap();
        let run = own.run(&arm, 3e-3, Some(0.1), 20, 5, Measured::Test).unwrap();
        let (first, last) = (&run.path[0], run.path.last().unwrap());
        assert!(first.divergence.abs() < 1e-12 && first.values.iter().all(|value| *value == 0.0), "{first:?}");
        assert!(last.divergence > 0.01 && last.values[1] > 80.0 && last.values[2] > last.values[3], "{last:?}");
        assert_eq!((last.step, last.values.len()), (20, NAMES.len()));
        let again = own.run(&arm, 3e-3, Some(0.1), 20, 5, Measured::Test).unwrap();
        assert_eq!(again.path, run.path);
        let apart = own.run(&arm, 3e-3, Some(0.1), 20, 5, Measured::Apart).unwrap();
        assert_ne!(apart.path, run.path);
        assert!(run.path.iter().all(|moment| moment.values.iter().all(|value| value.is_finite())));
        assert!(apart.path.iter().all(|moment| moment.values[4..].iter().all(|value| value.is_nan())), "settings are not chosen by these");
    }

    #[test]
    fn a_run_ends_where_it_passes_the_last_divergence_and_is_the_same_until_then() {
        let arm = Arm::named("dpo").unwrap();
        let whole = own(12, 2, None).unwrap();
        let cut = OwnPairs { settings: Settings { farthest: 0.01, ..whole.settings }, ..own(12, 2, None).unwrap() };
        let [whole, cut] = [whole, cut].map(|own| own.run(&arm, 3e-3, Some(0.1), 20, 5, Measured::Test).unwrap().path);
        assert!(cut.len() < whole.len() && cut[..] == whole[..cut.len()], "{cut:?}");
        assert!(cut.last().unwrap().divergence >= 0.01 && cut[cut.len() - 2].divergence < 0.01);
    }

    #[test]
    fn known_log_probabilities_of_the_reference_change_nothing() {
        let own = own(12, 2, None).unwrap();
        let live = |own: &OwnPairs<Cpu<f32>>, name: &str| {
            let arm = Arm::named(name).unwrap();
            own.run(&arm, 1e-3, arm.strength_at(0), 4, 1, Measured::Test).unwrap().path
        };
        let uncached = OwnPairs { cache: ReferenceCache::in_memory(), ..self::own(12, 2, None).unwrap() };
        for name in ["dpo", "ipo", "kto", "slpo", "slpo-gkl", "slpo-token", "slpo-exact"] {
            assert_eq!(live(&own, name), live(&uncached, name), "{name}");
        }
    }

    #[test]
    fn losses_without_a_reference_and_of_rows_are_compared_too() {
        let own = own(12, 2, None).unwrap();
        for name in ["sft", "simpo", "kto", "slpo-gkl", "aot"] {
            let arm = Arm::named(name).unwrap();
            let run = own.run(&arm, 1e-3, arm.strength_at(0), 3, 1, Measured::Test).unwrap();
            assert!(run.path.last().unwrap().divergence > 0.0, "{name}");
        }
    }
}
