//! One run of an arm: a copy of the reference is trained and measured at some moments.

use super::arms::Arm;
use super::path::Moment;
use crate::align::{Alignment, Reference, ReferenceCache};
use crate::data::{LabelledSequence, PreferencePair};
use crate::decoder::{Decoder, ForwardOptions};
use crate::error::{Error, Result};
use crate::optimizer::{Rule, Schedule};
use crate::order::Order;
use crate::train::Trainer;
use engine::Backend;
use losses::Need;

/// Largest norm of a gradient.
pub const CLIP: f64 = 1.0;

/// What the runs of all arms have in common.
pub struct Setup<'a, B: Backend> {
    /// The decoder from which every run starts.
    pub reference: &'a Decoder<B>,
    /// The pairs.
    pub pairs: &'a [PreferencePair],
    /// The same pairs as labelled rows, two of each, the chosen completion first.
    pub rows: &'a [LabelledSequence],
    /// The places of the pairs that are learned.
    pub learned: &'a [usize],
    /// Pairs of a step.
    pub batch: usize,
    /// The steps after which the policy is measured. The first is 0, the last is the number of steps.
    pub moments: &'a [u64],
    /// The seed of the order.
    pub seed: u64,
    /// The divergence at which a run ends early, in nats: nothing beyond it is compared.
    pub farthest: f64,
    /// The reference's log-probabilities of the pairs, if they are known.
    pub cache: Option<&'a ReferenceCache>,
}

/// What one run gave.
#[derive(Clone, Debug)]
pub struct StudyRun {
    /// The policy at some moments; the last one is before a step that was not finite, if there was one.
    pub path: Vec<Moment>,
    /// The step whose loss or gradient was not finite, at which the run ended.
    pub broken_at: Option<u64>,
    /// What else is known of the run, by the kind of study.
    pub facts: Vec<Option<f64>>,
}

impl<B: Backend> Setup<'_, B> {
    /// Trains a copy of the reference with one arm at a constant learning rate. Returns it with the run, which has no facts yet.
    ///
    /// # Errors
    /// [`Error::BadConfig`] for a strength that the loss cannot have; the errors of `measure`.
    pub fn run(
        &self,
        arm: &Arm,
        learning_rate: f64,
        strength: Option<f64>,
        mut measure: impl FnMut(u64, &Decoder<B>) -> Result<Moment>,
    ) -> Result<(Decoder<B>, StudyRun)> {
        let objective = arm.objective(strength).map_err(|error| Error::bad_config(error.to_string()))?;
        let has_reference = objective.needs(Need::Reference);
        let mut reference = if has_reference { Reference::live(self.reference.clone()) } else { Reference::none() };
        if let Some(cache) = self.cache.filter(|_| objective.takes_cached_reference()) {
            reference.set_cache(cache.clone());
        }
        let steps = self.moments.last().copied().unwrap_or(0);
        let schedule = Schedule::constant(learning_rate, steps);
        let mut trainer = Trainer::new(self.reference.clone(), Rule::adamw(0.0), schedule, CLIP);
        let batch = self.batch.min(self.learned.len());
        let alignment = Alignment { objective, reference, at_once: 2 * batch };
        let mut order = Order::new(self.seed, self.learned.len(), batch);
        let mut run = StudyRun { path: Vec::new(), broken_at: None, facts: Vec::new() };
        let mut made = 0;
        for &wanted in self.moments {
            for step in made + 1..=wanted {
                match self.step(&alignment, &mut trainer, &order.rows_of(step)) {
                    Err(Error::NotFinite { step, .. }) => {
                        run.broken_at = Some(step);
                        return Ok((trainer.decoder, run));
                    }
                    made => made?,
                }
            }
            made = wanted;
            let moment = measure(wanted, &trainer.decoder)?;
            let is_far = moment.divergence >= self.farthest;
            run.path.push(moment);
            if is_far {
                break;
            }
        }
        Ok((trainer.decoder, run))
    }

    fn step(&self, alignment: &Alignment<B>, trainer: &mut Trainer<B>, places: &[usize]) -> Result<()> {
        let options = ForwardOptions::default();
        let learned = places.iter().map(|&place| self.learned[place]);
        if alignment.objective.is_unpaired() {
            let rows: Vec<&LabelledSequence> = learned.flat_map(|pair| &self.rows[2 * pair..2 * pair + 2]).collect();
            return alignment.step_on_rows(trainer, &rows, &options).map(drop);
        }
        let pairs: Vec<&PreferencePair> = learned.map(|pair| &self.pairs[pair]).collect();
        alignment.step(trainer, &pairs, &options).map(drop)
    }
}
