//! A world of the study made ready: the reference that has learned it, the pairs, and a run of one arm in it.

use super::arms::Arm;
use super::cells::{Cell, PROMPTS};
use super::comparisons::{Comparison, compare};
use super::measure::Policy;
use super::path::{Moment, moments};
use super::run::{CLIP, Setup, StudyRun};
use super::strings::Strings;
use super::tree;
use super::world::{World, draw};
use crate::align::unpaired::rows_of_pairs;
use crate::align::{Ches, ches};
use crate::batch::Batch;
use crate::boundary::Sequence;
use crate::config::preset::Preset;
use crate::config::{Config, PositionKind};
use crate::data::{LabelledSequence, PreferencePair};
use crate::decoder::{Decoder, ForwardOptions};
use crate::error::Result;
use crate::optimizer::{Rule, Schedule};
use crate::train::Trainer;
use engine::{Backend, Generator};

/// Width and heads of the decoder, and the width of its feed-forward part.
const WIDTH: usize = 16;
const HEADS: usize = 2;
const INNER: usize = 32;
/// Steps, completions a step and peak learning rate with which the reference learns the world.
const LEARNING: (u64, usize, f64) = (600, 64, 1e-2);
/// Pairs of a step.
const BATCH: usize = 16;
/// The moments of a run of usual length.
const MOMENTS: usize = 40;

/// The divergences κ at which runs are compared, in nats.
pub const DIVERGENCES: [f64; 5] = [0.1, 0.25, 0.5, 1.0, 2.0];

/// The values of a [`Moment`], in order:
///
/// 1. E_π\[r\] less that of the reference
/// 2. KL(ref‖π), in nats
/// 3. the mean over pairs of ln π/ref of the chosen completion, in nats
/// 4. that of the rejected completion
/// 5. the share of pairs whose chosen completion is less likely than under the reference
/// 6. the mean over pairs of the mass of all other completions, less that under the reference
/// 7. the mean over pairs of KL(ref‖π) among the other completions, in nats
pub const NAMES: [&str; 7] = ["reward", "reverse_kl", "chosen", "rejected", "fallen", "others", "drift"];

/// The facts of a [`StudyRun`], in order:
///
/// 1. the area under the curve of CHES as a predictor of the pairs whose chosen completion has fallen at the end. 1/2 is chance; `None` if
///    all have or none has
/// 2. what slpo-exact can gain in the world, to first order: see [`Prepared::exact_gain`]
pub const FACTS: [&str; 2] = ["ches_auc", "exact_gain"];

/// Streams of random numbers, one for each purpose.
mod stream {
    pub const DRAWS: u64 = 11;
    pub const PAIRS: u64 = 12;
}

/// Returns the configuration of the decoder of a world.
///
/// # Panics
/// Never: the preset exists.
pub fn config(strings: Strings) -> Config {
    let nano = Preset::named("nano").expect("nano is a preset").config();
    let head_dim = WIDTH / HEADS;
    Config {
        vocab_size: strings.letters + 1,
        hidden_size: WIDTH,
        intermediate_size: INNER,
        layers: 2,
        heads: HEADS,
        kv_heads: HEADS,
        head_dim,
        max_positions: 16,
        position: PositionKind::Rope { theta: 1e4, rotary_dim: head_dim, scaling: None },
        bos: Some(strings.end()),
        eos: vec![strings.end()],
        ..nano
    }
}

/// A world with what its runs have in common.
pub struct Prepared<B: Backend> {
    /// The world.
    pub world: World,
    /// The decoder that has learned the world, from which every run starts.
    pub reference: Decoder<B>,
    /// The reference's distribution.
    pub start: Policy,
    /// The pairs.
    pub comparisons: Vec<Comparison>,
    /// The CHES score of each pair under the reference.
    pub ches: Vec<Ches>,
    pairs: Vec<PreferencePair>,
    rows: Vec<LabelledSequence>,
    seed: u64,
}

impl<B: Backend> Prepared<B> {
    /// Draws the world of a seed, trains its reference on `backend` and draws the pairs.
    ///
    /// # Errors
    /// [`Error::NotFinite`](crate::Error::NotFinite) if the reference's training is not.
    pub fn new(backend: &B, cell: &Cell, seed: u64) -> Result<Self> {
        let world = World::new(cell.strings, PROMPTS, seed);
        let reference = learned(backend, &world, seed)?;
        let start = Policy::new(tree::log_probs(&reference, &world));
        let comparisons = compare(&world, &start.log_probs, cell.making, &Generator::new(seed).stream(stream::PAIRS));
        let pairs: Vec<PreferencePair> = comparisons.iter().enumerate().map(|(i, pair)| pair.tokens(&world, i + 1)).collect();
        let ches = ches(&reference, &pairs.iter().collect::<Vec<_>>(), pairs.len());
        let rows = rows_of_pairs(&pairs);
        Ok(Self { world, reference, start, comparisons, ches, pairs, rows, seed })
    }

    /// Trains a copy of the reference with one arm and measures it at some moments.
    ///
    /// # Errors
    /// [`Error::BadConfig`](crate::Error::BadConfig) for a strength that the loss cannot have.
    pub fn run(&self, arm: &Arm, learning_rate: f64, strength: Option<f64>, steps: u64) -> Result<StudyRun> {
        let Self { reference, pairs, rows, seed, .. } = self;
        let learned: Vec<usize> = (0..pairs.len()).collect();
        let (learned, moments) = (&learned, &moments(steps, MOMENTS));
        let setup = Setup { reference, pairs, rows, learned, batch: BATCH, moments, seed: *seed, farthest: f64::INFINITY, cache: None };
        let measure = |step: u64, decoder: &Decoder<B>| Ok(self.moment(step, &self.policy(decoder)));
        let (trained, run) = setup.run(arm, learning_rate, strength, measure)?;
        Ok(StudyRun { facts: vec![self.ches_auc(&trained), Some(self.exact_gain())], ..run })
    }

    fn policy(&self, decoder: &Decoder<B>) -> Policy {
        Policy::new(tree::log_probs(decoder, &self.world))
    }

    fn moment(&self, step: u64, policy: &Policy) -> Moment {
        let (start, rewards) = (&self.start, &self.world.rewards);
        let by_prompt = start.divergences(policy);
        let mut sums = [0.0; 5];
        for &Comparison { prompt, chosen, rejected } in &self.comparisons {
            let rise = |completion: usize| policy.log_probs[prompt][completion] - start.log_probs[prompt][completion];
            let (of_w, of_l) = (rise(chosen), rise(rejected));
            let [before, after] = [start, policy].map(|of| 1.0 - of.prob(prompt, chosen) - of.prob(prompt, rejected));
            // KL(ref‖π) less the terms of the pair, among the others alone.
            let of_others = by_prompt[prompt] + start.prob(prompt, chosen) * of_w + start.prob(prompt, rejected) * of_l;
            let drift = of_others / before + (after / before).ln();
            let fallen = f64::from(u8::from(of_w < 0.0));
            [of_w, of_l, fallen, after - before, drift].into_iter().zip(&mut sums).for_each(|(x, sum)| *sum += x);
        }
        let [chosen, rejected, fallen, others, drift] = sums.map(|sum| sum / self.comparisons.len() as f64);
        let reward = policy.expected_reward(rewards) - start.expected_reward(rewards);
        let reverse = by_prompt.iter().sum::<f64>() / by_prompt.len() as f64;
        Moment { step, divergence: policy.divergence(start), values: vec![reward, reverse, chosen, rejected, fallen, others, drift] }
    }

    fn ches_auc(&self, policy: &Decoder<B>) -> Option<f64> {
        let policy = self.policy(policy);
        let has_fallen = |pair: &Comparison| policy.log_probs[pair.prompt][pair.chosen] < self.start.log_probs[pair.prompt][pair.chosen];
        let scores = |fallen: bool| {
            let chosen = self.comparisons.iter().zip(&self.ches).filter(move |(pair, _)| has_fallen(pair) == fallen);
            chosen.map(|(_, ches)| ches.normalised).collect::<Vec<f64>>()
        };
        area_under_curve(&scores(true), &scores(false))
    }

    /// What slpo-exact can gain, to first order: the mean over prompts of Σ ref(y_l)(r_w − r_l) over the prompt's pairs.
    pub fn exact_gain(&self) -> f64 {
        let of_pair = |pair: &Comparison| {
            let rewards = &self.world.rewards[pair.prompt];
            self.start.prob(pair.prompt, pair.rejected) * (rewards[pair.chosen] - rewards[pair.rejected])
        };
        self.comparisons.iter().map(of_pair).sum::<f64>() / self.world.prompts.len() as f64
    }
}

/// The chance that a score of the first list is above one of the second, ties counting half. `None` if a list is empty.
fn area_under_curve(above: &[f64], below: &[f64]) -> Option<f64> {
    let wins = |a: f64, b: f64| if a > b { 1.0 } else { f64::from(u8::from(a == b)) / 2.0 };
    let sum: f64 = above.iter().flat_map(|&a| below.iter().map(move |&b| wins(a, b))).sum();
    let pairs = above.len() * below.len();
    (pairs > 0).then(|| sum / pairs as f64)
}

/// Trains a random decoder on completions drawn from the world, each used once.
fn learned<B: Backend>(backend: &B, world: &World, seed: u64) -> Result<Decoder<B>> {
    let (steps, batch, learning_rate) = LEARNING;
    let schedule = Schedule { learning_rate, warmup: 20, steps, final_fraction: 0.01 };
    let mut trainer = Trainer::new(Decoder::random(backend, &config(world.strings), seed)?, Rule::adamw(0.0), schedule, CLIP);
    let mut generator = Generator::new(seed).stream(stream::DRAWS);
    for _ in 0..steps {
        let sequence = |i: usize, uniform: f64| {
            let prompt = i % world.prompts.len();
            let context = world.context(prompt);
            let completion = world.strings.tokens(draw(&world.log_probs[prompt], uniform));
            Sequence::new([context.as_slice(), &completion].concat(), context.len())
        };
        let sequences: Vec<Sequence> = (0..batch).map(|i| sequence(i, generator.uniform())).collect();
        let batch = Batch::of_sequences(&sequences);
        trainer.step(1, |decoder, _| {
            let loss = batch.token_log_probs(decoder, &ForwardOptions::default()).sum_all().neg();
            Ok((loss, sequences.len() as f64))
        })?;
    }
    Ok(trainer.decoder)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::study::arms::ARMS;
    use crate::study::cells::CELLS;
    use crate::study::measure::best_reward;
    use engine::Cpu;

    fn small() -> Prepared<Cpu<f32>> {
        let cell = Cell { strings: Strings { letters: 3, longest: 3 }, ..CELLS[0] };
        Prepared::new(&Cpu::<f32>::new(), &cell, 3).unwrap()
    }

    #[test]
    fn the_reference_has_learned_the_world() {
        let prepared = small();
        let uniform = |log_probs: &Vec<f64>| vec![-(log_probs.len() as f64).ln(); log_probs.len()];
        let flat = Policy::new(prepared.world.log_probs.iter().map(uniform).collect());
        let world = Policy::new(prepared.world.log_probs.clone());
        let [kl, of_flat] = [&prepared.start, &flat].map(|other| world.divergence(other));
        assert!(kl < 0.1 && of_flat > 5.0 * kl, "{kl} nats from the world, and a uniform distribution is {of_flat}");
    }

    #[test]
    fn every_arm_runs_and_no_policy_lies_above_the_best() {
        let prepared = small();
        for arm in ARMS {
            let run = prepared.run(&arm, 1e-2, arm.strength_at(1), 30).unwrap();
            assert_eq!(run.path[0].divergence, 0.0, "{}", arm.name);
            for moment in &run.path {
                let (start, rewards) = (&prepared.start, &prepared.world.rewards);
                let best = best_reward(start, rewards, moment.divergence) - start.expected_reward(rewards);
                assert!(moment.values[0] <= best + 1e-9, "{}: {moment:?} above {best}", arm.name);
            }
        }
    }

    #[test]
    fn drift_and_mass_of_the_others_are_those_of_sums_over_them() {
        let prepared = small();
        let run = prepared.run(&ARMS[0], 1e-2, Some(0.5), 20).unwrap();
        let trained = run.path.last().unwrap();
        assert!(trained.divergence > 0.01);
        // The same from a policy written out: the world's own distribution.
        let policy = Policy::new(prepared.world.log_probs.clone());
        let moment = prepared.moment(0, &policy);
        let (mut mass, mut drift) = (0.0, 0.0);
        for pair in &prepared.comparisons {
            let others: Vec<usize> = (0..prepared.world.strings.count()).filter(|y| ![pair.chosen, pair.rejected].contains(y)).collect();
            let of = |of: &Policy| others.iter().map(|&y| of.prob(pair.prompt, y)).collect::<Vec<f64>>();
            let (p, q) = (of(&prepared.start), of(&policy));
            let (p_mass, q_mass) = (p.iter().sum::<f64>(), q.iter().sum::<f64>());
            mass += q_mass - p_mass;
            drift += p.iter().zip(&q).map(|(p, q)| p / p_mass * (p / p_mass / (q / q_mass)).ln()).sum::<f64>();
        }
        let pairs = prepared.comparisons.len() as f64;
        let place = |name: &str| moment.values[NAMES.iter().position(|other| *other == name).unwrap()];
        assert!((place("others") - mass / pairs).abs() < 1e-12 && (place("drift") - drift / pairs).abs() < 1e-10);
    }

    #[test]
    fn a_run_has_the_same_bits_again() {
        let (one, two) = (small(), small());
        let path = |prepared: &Prepared<Cpu<f32>>| prepared.run(&ARMS[0], 3e-3, Some(0.1), 25).unwrap().path;
        assert_eq!(path(&one), path(&two));
    }

    #[test]
    fn the_area_under_the_curve_is_the_share_of_wins() {
        assert_eq!(area_under_curve(&[3.0, 1.0], &[2.0, 1.0]), Some(0.625));
        assert_eq!(area_under_curve(&[], &[1.0]), None);
    }
}
