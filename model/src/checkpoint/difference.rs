//! Settings that differ from those of a checkpoint, field by field, in words.

use super::state::State;
use serde::Serialize;
use serde_json::Value;
use std::fmt;

/// A setting that differs from that of a checkpoint.
#[derive(Clone, Debug, PartialEq)]
pub struct Difference {
    /// Name of the setting, in words.
    pub what: String,
    /// Its value in the checkpoint.
    pub before: String,
    /// Its value now.
    pub now: String,
    /// Options of the command line that determine it, with `_` for `-`.
    pub settings: &'static [&'static str],
    /// True if the run would have differed from its first step on.
    pub on_result: bool,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} → {}", self.what, self.before, self.now)
    }
}

/// Options that determine the number of rows in a batch.
const ROWS: &[&str] = &["batch", "batch_rows", "accumulate"];

/// Lists every difference between the state of a checkpoint and the trainer's.
pub(super) fn all(before: &State, now: &State) -> Vec<Difference> {
    let mut found = Vec::new();
    let mut compare = |what: &str, before: String, now: String, settings: &'static [&'static str], on_result: bool| {
        if before != now {
            found.push(Difference { what: what.to_owned(), before, now, settings, on_result });
        }
    };
    let (old, new) = (&before.run, &now.run);
    compare("the seed", old.seed.to_string(), new.seed.to_string(), &["seed"], true);
    compare(
        "the training data (its fingerprint)",
        old.data.clone(),
        new.data.clone(),
        &["data", "tokenizer", "max_tokens", "held_out"],
        true,
    );
    compare("the rows of a step", old.rows_per_step.to_string(), new.rows_per_step.to_string(), ROWS, true);
    compare("the rows of a micro-batch", old.rows_at_once.to_string(), new.rows_at_once.to_string(), ROWS, true);
    compare("the precision", before.rounding.clone(), now.rounding.clone(), &["precision", "device"], true);
    compare("the number of processes", before.processes.to_string(), now.processes.to_string(), &[], false);
    compare("the clipping norm", before.clip.to_string(), now.clip.to_string(), &["clip"], false);
    for (name, old, new) in fields(&before.schedule, &now.schedule) {
        compare(&format!("the schedule's {name}"), old, new, &["steps", "epochs", "learning_rate", "warmup"], false);
    }
    for (name, old, new) in fields(&before.rule, &now.rule) {
        compare(&format!("the optimiser's {name}"), old, new, &["weight_decay"], true);
    }
    found
}

/// Lists (name in words, value in `a`, value in `b`) for every field that either has.
fn fields(a: &impl Serialize, b: &impl Serialize) -> Vec<(String, String, String)> {
    let table = |value: serde_json::Result<Value>| match value {
        Ok(Value::Object(table)) => table,
        _ => serde_json::Map::new(),
    };
    let (a, b) = (table(serde_json::to_value(a)), table(serde_json::to_value(b)));
    let names = a.keys().chain(b.keys().filter(|name| !a.contains_key(*name)));
    let shown = |value: Option<&Value>| value.map_or("none".to_owned(), |value| value.as_str().map_or(value.to_string(), str::to_owned));
    names.map(|name| (name.replace('_', " "), shown(a.get(name)), shown(b.get(name)))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::optimizer::{Rule, Schedule};

    #[test]
    fn every_field_of_a_schedule_and_of_a_rule_is_compared_and_named() {
        let schedule = Schedule { learning_rate: 2e-3, warmup: 5, steps: 5, final_fraction: 0.1 };
        let other = Schedule { steps: 2000, warmup: 50, ..schedule };
        let differs: Vec<_> = fields(&schedule, &other).into_iter().filter(|(_, a, b)| a != b).collect();
        let text = |a: &str, b: &str, c: &str| (a.to_owned(), b.to_owned(), c.to_owned());
        assert_eq!(differs, [text("warmup", "5", "50"), text("steps", "5", "2000")]);
        let rules = fields(&Rule::adamw(0.1), &Rule::Sgd { momentum: 0.9 });
        assert!(rules.contains(&text("rule", "adamw", "sgd")) && rules.contains(&text("momentum", "none", "0.9")), "{rules:?}");
    }
}
