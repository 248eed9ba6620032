//! The rows of `runs.csv`: one for each run, with all its settings and outcomes. Decisions of the study read the numbers as they are
//! written, so a study that goes on decides as one that was never stopped.

use super::design::{Design, Key};
use model::study::grid::Trial;
use model::study::path::{Moment, Reached, at};
use model::study::run::StudyRun;

/// A run with its outcomes.
#[derive(Clone, Debug, PartialEq)]
pub struct Record {
    /// What it was.
    pub key: Key,
    /// The policy where it first reached each divergence of the design.
    pub reached: Vec<Reached>,
    /// The most of the outcome that each divergence allows; empty if it is not known.
    pub best: Vec<f64>,
    /// The policy at the end.
    pub end: Moment,
    /// The step that was not finite, where the run ended early.
    pub broken_at: Option<u64>,
    /// The facts of the run, in the order of the design.
    pub facts: Vec<Option<f64>>,
    /// The time that the run took.
    pub seconds: f64,
}

impl Record {
    /// Makes the record of a run, and returns it with the run's moments. `best` is that of its world.
    pub fn new(key: Key, run: StudyRun, best: Vec<f64>, seconds: f64, design: &Design) -> (Self, Vec<Moment>) {
        let end = run.path.last().cloned().expect("a run is measured before its first step");
        let reached = design.divergences.iter().map(|&divergence| at(&run.path, divergence)).collect();
        (Self { key, reached, best, end, broken_at: run.broken_at, facts: run.facts, seconds }, run.path)
    }

    /// Returns the first line of the file.
    pub fn header(design: &Design) -> String {
        let keys = ["study", "tier", "cell", "arm", "rate_place", "strength_place", "learning_rate", "strength", "seed", "steps"];
        let best = design.has_best.then_some("best");
        let of_divergence = |divergence: &f64| {
            let names = ["reached"].into_iter().chain(best).chain(design.values.iter().copied());
            names.map(|name| format!("{name}@{divergence}")).collect::<Vec<_>>()
        };
        let mut all: Vec<String> = keys.map(str::to_owned).to_vec();
        all.extend(design.divergences.iter().flat_map(of_divergence));
        all.extend(["end_step", "end_kl"].map(str::to_owned));
        all.extend(design.values.iter().map(|name| format!("end_{name}")));
        all.push("broken_at".to_owned());
        all.extend(design.facts.iter().map(|&name| name.to_owned()));
        all.extend(["seconds", "version"].map(str::to_owned));
        all.join(",")
    }

    /// Writes the record as a line of a study, without a line break.
    pub fn to_line(&self, design: &Design) -> String {
        let Key { cell, arm, trial, seed, steps } = self.key;
        let optional = |value: Option<f64>| value.map_or_else(String::new, number);
        let mut fields = vec![design.name.to_owned(), design.tier.to_string(), cell.to_owned(), design.arms[arm].name.to_owned()];
        fields.extend([trial.rate.to_string(), trial.strength.to_string()]);
        fields.extend([number(design.learning_rate(arm, trial)), optional(design.strength(arm, trial))]);
        fields.extend([seed.to_string(), steps.to_string()]);
        for (place, reached) in self.reached.iter().enumerate() {
            fields.push(u8::from(reached.is_reached).to_string());
            fields.extend(self.best.get(place).copied().map(number));
            fields.extend(reached.values.iter().copied().map(number));
        }
        fields.extend([self.end.step.to_string(), number(self.end.divergence)]);
        fields.extend(self.end.values.iter().copied().map(number));
        fields.push(self.broken_at.map_or_else(String::new, |step| step.to_string()));
        fields.extend(self.facts.iter().copied().map(optional));
        fields.extend([format!("{:.2}", self.seconds), env!("CARGO_PKG_VERSION").to_owned()]);
        fields.join(",")
    }

    /// Reads a line of a study. `None` if it is no whole line of this format.
    pub fn parse(line: &str, design: &Design) -> Option<Self> {
        let fields: Vec<&str> = line.split(',').collect();
        if fields.len() != Self::header(design).split(',').count() {
            return None;
        }
        let mut fields = fields.into_iter();
        let mut next = || fields.next();
        let (study, tier) = (next()?, next()?);
        if study != design.name || tier != design.tier.to_string() {
            return None;
        }
        let (cell, arm) = (next()?, next()?);
        let cell = design.cells.iter().find(|known| **known == cell)?;
        let arm = design.arms.iter().position(|known| known.name == arm)?;
        let trial = Trial { rate: next()?.parse().ok()?, strength: next()?.parse().ok()? };
        // The learning rate and the strength follow from the places.
        let _ = (next()?, next()?);
        let key = Key { cell, arm, trial, seed: next()?.parse().ok()?, steps: next()?.parse().ok()? };
        let mut number = || measured(next()?);
        let (mut reached, mut best) = (Vec::new(), Vec::new());
        for _ in &design.divergences {
            let is_reached = number()? == 1.0;
            if design.has_best {
                best.push(number()?);
            }
            reached.push(Reached { is_reached, values: values(&mut number, design)? });
        }
        let end = Moment { step: number()? as u64, divergence: number()?, values: values(&mut number, design)? };
        let mut optional = || next().map(|text| text.parse::<f64>().ok());
        let broken_at = optional()?.map(|step| step as u64);
        let facts = design.facts.iter().map(|_| optional()).collect::<Option<_>>()?;
        let seconds = optional()??;
        Some(Self { key, reached, best, end, broken_at, facts, seconds })
    }

    /// Returns the fact of a name, or `None` if the run does not have it.
    pub fn fact(&self, name: &str, design: &Design) -> Option<f64> {
        let place = design.facts.iter().position(|known| *known == name)?;
        self.facts.get(place).copied().flatten()
    }
}

fn values(number: &mut impl FnMut() -> Option<f64>, design: &Design) -> Option<Vec<f64>> {
    design.values.iter().map(|_| number()).collect()
}

/// Five digits: more than a study of ten seeds can tell apart.
fn number(value: f64) -> String {
    rounded(value, 4)
}

/// Rounds a number to `digits` digits after the first, and writes it in as few characters as it takes. NaN was not measured: nothing is
/// written.
pub fn rounded(value: f64, digits: usize) -> String {
    if value.is_nan() {
        return String::new();
    }
    let rounded: f64 = format!("{value:.digits$e}").parse().expect("a number that was just written");
    let (plain, scientific) = (rounded.to_string(), format!("{rounded:e}"));
    if plain.len() <= scientific.len() { plain } else { scientific }
}

/// Reads a number, NaN where nothing is written.
pub fn measured(text: &str) -> Option<f64> {
    if text.is_empty() { Some(f64::NAN) } else { text.parse().ok() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_gives_back_what_was_written() {
        for design in [Design::full(), Design { has_best: false, facts: &[], tier: 3, ..Design::quick() }] {
            let moment = |step, divergence| Moment { step, divergence, values: vec![1.0, 0.5, -0.25, -2.0, 0.75, 0.125, 3.0] };
            let facts = design.facts.iter().enumerate().map(|(i, _)| (i > 0).then_some(0.0625)).collect();
            let run = StudyRun { path: vec![moment(0, 0.0), moment(9, 0.3)], broken_at: Some(10), facts };
            let key = Key { arm: 3, seed: 101, ..design.key(0, Trial { rate: -1, strength: 2 }, 0) };
            let best = if design.has_best { vec![0.5; design.divergences.len()] } else { Vec::new() };
            let (record, _) = Record::new(key, run, best, 1.25, &design);
            let line = record.to_line(&design);
            assert_eq!(line.split(',').count(), Record::header(&design).split(',').count());
            assert_eq!(Record::parse(&line, &design), Some(record));
            for torn in 0..line.len() - 6 {
                assert_eq!(Record::parse(&line[..torn], &design), None, "{torn}");
            }
        }
    }
}
