//! The rows of `runs.csv`: one for each run, with all its settings and outcomes. Decisions of the study read the numbers as they are
//! written, so a study that goes on decides as one that was never stopped.

use model::study::arms::{ARMS, Arm};
use model::study::cells::Cell;
use model::study::grid::{Trial, learning_rate};
use model::study::path::{DIVERGENCES, Moment, NAMES, Reached, at};
use model::study::prepared::Run;

/// What a run is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key {
    /// The name of the cell.
    pub cell: &'static str,
    /// The place of the arm in the table of arms.
    pub arm: usize,
    /// The place of its settings on the arm's lattice.
    pub trial: Trial,
    /// The seed of the world, the pairs and their order.
    pub seed: u64,
    /// Optimiser steps.
    pub steps: u64,
}

impl Key {
    /// Returns the arm.
    pub fn arm(&self) -> &'static Arm {
        &ARMS[self.arm]
    }

    /// Returns the learning rate.
    pub fn learning_rate(&self) -> f64 {
        learning_rate(self.arm(), self.trial)
    }

    /// Returns the strength, if the arm has one.
    pub fn strength(&self) -> Option<f64> {
        self.arm().strength_at(self.trial.strength)
    }
}

/// A run with its outcomes.
#[derive(Clone, Debug, PartialEq)]
pub struct Record {
    /// What it was.
    pub key: Key,
    /// The policy where it first reached each of [`DIVERGENCES`].
    pub reached: [Reached; DIVERGENCES.len()],
    /// The most reward over the reference that each of [`DIVERGENCES`] allows in this world.
    pub best: [f64; DIVERGENCES.len()],
    /// The policy at the end.
    pub end: Moment,
    /// The step that was not finite, where the run ended early.
    pub broken_at: Option<u64>,
    /// The area under the curve of CHES; see [`Run::ches_auc`].
    pub ches_auc: Option<f64>,
    /// What slpo-exact can gain in this world, to first order.
    pub exact_gain: f64,
    /// The time that the run took.
    pub seconds: f64,
}

impl Record {
    /// Makes the record of a run. `best` is that of its world.
    pub fn new(key: Key, run: &Run, best: [f64; DIVERGENCES.len()], exact_gain: f64, seconds: f64) -> Self {
        let end = *run.path.last().expect("a run is measured before its first step");
        let reached = DIVERGENCES.map(|divergence| at(&run.path, divergence));
        Self { key, reached, best, end, broken_at: run.broken_at, ches_auc: run.ches_auc, exact_gain, seconds }
    }

    /// Returns the first line of the file.
    pub fn header() -> String {
        let keys = ["study", "tier", "cell", "arm", "rate_place", "strength_place", "learning_rate", "strength", "seed", "steps"];
        let of_divergence = |divergence: f64| {
            let names = ["reached", "best"].into_iter().chain(NAMES);
            names.map(move |name| format!("{name}@{divergence}"))
        };
        let end = ["end_step", "end_kl"].map(str::to_owned).into_iter().chain(NAMES.map(|name| format!("end_{name}")));
        let rest = ["broken_at", "ches_auc", "exact_gain", "seconds", "version"].map(str::to_owned);
        let all = keys.map(str::to_owned).into_iter().chain(DIVERGENCES.into_iter().flat_map(of_divergence)).chain(end).chain(rest);
        all.collect::<Vec<_>>().join(",")
    }

    /// Writes the record as a line of a study, without a line break.
    pub fn to_line(&self, study: &str) -> String {
        let Key { cell, trial, seed, steps, .. } = self.key;
        let optional = |value: Option<f64>| value.map_or_else(String::new, number);
        let mut fields = vec![study.to_owned(), "1".to_owned(), cell.to_owned(), self.key.arm().name.to_owned()];
        fields.extend([trial.rate.to_string(), trial.strength.to_string()]);
        fields.extend([number(self.key.learning_rate()), optional(self.key.strength()), seed.to_string(), steps.to_string()]);
        for (reached, best) in self.reached.iter().zip(self.best) {
            fields.extend([u8::from(reached.is_reached).to_string(), number(best)]);
            fields.extend(reached.values.map(number));
        }
        fields.extend([self.end.step.to_string(), number(self.end.divergence)]);
        fields.extend(self.end.values.map(number));
        let broken = self.broken_at.map_or_else(String::new, |step| step.to_string());
        fields.extend([broken, optional(self.ches_auc), number(self.exact_gain), format!("{:.2}", self.seconds)]);
        fields.push(env!("CARGO_PKG_VERSION").to_owned());
        fields.join(",")
    }

    /// Reads a line: the study that it belongs to, and the record. `None` if it is no whole line of this format.
    pub fn parse(line: &str) -> Option<(String, Self)> {
        let fields: Vec<&str> = line.split(',').collect();
        if fields.len() != Self::header().split(',').count() {
            return None;
        }
        let mut fields = fields.into_iter();
        let mut next = || fields.next();
        let (study, tier) = (next()?.to_owned(), next()?);
        let (cell, arm) = (Cell::named(next()?)?.name, Arm::named(next()?)?);
        let trial = Trial { rate: next()?.parse().ok()?, strength: next()?.parse().ok()? };
        // The learning rate and the strength follow from the places.
        let _ = (next()?, next()?);
        let key = Key { cell, arm, trial, seed: next()?.parse().ok()?, steps: next()?.parse().ok()? };
        let mut number = || next()?.parse::<f64>().ok();
        let (mut reached, mut best) = (Vec::new(), Vec::new());
        for _ in DIVERGENCES {
            let is_reached = number()? == 1.0;
            best.push(number()?);
            reached.push(Reached { is_reached, values: values(&mut number)? });
        }
        let end = Moment { step: number()? as u64, divergence: number()?, values: values(&mut number)? };
        let mut optional = || next().map(|text| text.parse::<f64>().ok());
        let (broken_at, ches_auc) = (optional()?.map(|step| step as u64), optional()?);
        let (exact_gain, seconds) = (optional()??, optional()??);
        let record =
            Self { key, reached: reached.try_into().ok()?, best: best.try_into().ok()?, end, broken_at, ches_auc, exact_gain, seconds };
        (tier == "1").then_some((study, record))
    }
}

fn values(number: &mut impl FnMut() -> Option<f64>) -> Option<[f64; NAMES.len()]> {
    let mut values = [0.0; NAMES.len()];
    for value in &mut values {
        *value = number()?;
    }
    Some(values)
}

/// Five digits: more than a study of ten seeds can tell apart.
fn number(value: f64) -> String {
    format!("{value:.4e}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_gives_back_what_was_written() {
        let moment = |step, divergence| Moment { step, divergence, values: [1.0, 0.5, -0.25, -2.0, 0.75, 0.125, 3.0] };
        let run = Run { path: vec![moment(0, 0.0), moment(9, 0.3)], broken_at: Some(10), ches_auc: None };
        let key = Key { cell: "flipped .2", arm: 3, trial: Trial { rate: -1, strength: 2 }, seed: 101, steps: 240 };
        let record = Record::new(key, &run, [0.5; 5], 0.0625, 1.25);
        let line = record.to_line("full");
        assert_eq!(line.split(',').count(), Record::header().split(',').count());
        assert_eq!(Record::parse(&line), Some(("full".to_owned(), record)));
        for torn in 0..line.len() - 6 {
            assert_eq!(Record::parse(&line[..torn]), None, "{torn}");
        }
    }
}
