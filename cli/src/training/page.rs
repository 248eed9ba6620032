//! What every run's page ends with: its metrics from start to end, what the model writes, warnings, settings, and the commands to go on.

use super::texts::Text;
use crate::number::significant;
use crate::report::{Align, Report, Table};
use crate::run_folder::Record;
use model::align::metrics::{ACCURACY, MARGIN, held_out};
use std::path::Path;

/// What a page says of its run.
pub struct Ran<'a> {
    /// The run's folder.
    pub out: &'a Path,
    /// The folder of the model that training began from.
    pub base: Option<&'a Path>,
    /// True if the folder has an adapter, not a whole model.
    pub is_adapter: bool,
    /// Optimiser steps.
    pub steps: u64,
    /// Optimiser steps that were skipped.
    pub skipped: u64,
    /// Seconds since this process began.
    pub seconds: f64,
    /// The settings.
    pub settings: &'a toml::Table,
    /// Every metric that was logged.
    pub records: &'a [Record],
    /// What the model wrote.
    pub texts: &'a [Text],
    /// What the run warned of.
    pub warnings: &'a [String],
}

/// Ends the page of a run.
pub fn end(page: Report, ran: &Ran<'_>) -> Report {
    let made = format!("{} steps in {:.0} s", ran.steps, ran.seconds);
    let skipped = match ran.skipped {
        0 => String::new(),
        skipped => format!("; {skipped} were skipped"),
    };
    let page = page.section("From start to end").paragraph(format!("{made}{skipped}.")).table(start_and_end(ran.records));
    let page = written(page, ran.texts);
    let warnings = match ran.warnings {
        [] => "None.".to_owned(),
        warnings => warnings.join("\n"),
    };
    page.section("Warnings")
        .preformatted(warnings)
        .section("Settings")
        .key_values(
            ran.settings.iter().map(|(name, value)| (name.as_str(), value.as_str().map_or_else(|| value.to_string(), str::to_owned))),
        )
        .section("Go on")
        .preformatted(commands(ran))
}

/// The first and the last value of every metric.
fn start_and_end(records: &[Record]) -> Table {
    let mut names: Vec<&str> = Vec::new();
    for (name, _) in records.iter().flat_map(|record| &record.values) {
        if !names.contains(&name.as_str()) {
            names.push(name);
        }
    }
    let table = Table::new([("metric", Align::Left), ("start", Align::Right), ("end", Align::Right)]);
    names.iter().fold(table, |table, name| {
        let mut having = records.iter().filter_map(|record| Some((record, value_of(record, name)?)));
        let first = having.next();
        let last = having.next_back().or(first);
        let cell = |found: Option<(&Record, f64)>| match found {
            Some((record, value)) if !is_tie(record, name) => significant(value, 5),
            _ => "–".to_owned(),
        };
        table.row([(*name).to_owned(), cell(first), cell(last)])
    })
}

fn value_of(record: &Record, name: &str) -> Option<f64> {
    record.values.iter().find(|(own, _)| own == name).map(|(_, value)| *value)
}

/// True for an accuracy where the policy still equals its reference: the margin is exactly 0, and no pair is decided.
pub fn is_tie(record: &Record, name: &str) -> bool {
    let margin = match name {
        ACCURACY => MARGIN,
        held_out::ACCURACY => held_out::MARGIN,
        _ => return false,
    };
    value_of(record, margin) == Some(0.0)
}

/// What the model makes of some prompts, before and after.
fn written(page: Report, texts: &[Text]) -> Report {
    if texts.is_empty() {
        return page;
    }
    let table = Table::new([("prompt", Align::Left), ("before", Align::Left), ("after", Align::Left)]);
    let row = |table: Table, text: &Text| table.row([text.prompt.as_str(), &text.before, text.after.as_deref().unwrap_or("–")]);
    page.section("What it writes")
        .paragraph("The likeliest tokens after prompts of the run's own data, before the first step and after the last.")
        .table(texts.iter().fold(table, row))
}

/// The commands that use what was trained, and train it further.
fn commands(ran: &Ran<'_>) -> String {
    let out = word(ran.out);
    let model = match ran.base {
        Some(base) if ran.is_adapter => format!("{} --adapter {out}", word(base)),
        _ => out.clone(),
    };
    let command = ran.settings.get("command").and_then(toml::Value::as_str).unwrap_or("train");
    let twice = 2 * ran.steps;
    format!("slpo generate --model {model} --prompt \"Once upon a time\"\nslpo {command} --out {out} --resume --steps {twice}\n")
}

/// A path as one word of a shell's line.
fn word(path: &Path) -> String {
    let path = path.display().to_string();
    let is_plain = path.chars().all(|c| c.is_alphanumeric() || "/._-+=:@".contains(c));
    if is_plain { path } else { format!("'{}'", path.replace('\'', "'\\''")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_is_told_from_start_to_end_with_what_it_writes_and_the_commands_to_go_on() {
        let record = |step: u64, values: &[(&str, f64)]| Record {
            step,
            values: values.iter().map(|(name, value)| ((*name).to_owned(), *value)).collect(),
        };
        let records = [
            record(0, &[("held_out_accuracy", 0.0), ("held_out_margin", 0.0)]),
            record(1, &[("loss", 0.623_147)]),
            record(2, &[("loss", 0.5)]),
            record(2, &[("held_out_accuracy", 0.75), ("held_out_margin", 1.0)]),
        ];
        let settings = "command = \"align\"\nbeta = 0.5".parse().unwrap();
        let texts = [Text { prompt: "Once".to_owned(), before: " a".to_owned(), after: Some(" <b>".to_owned()) }];
        let ran = Ran {
            out: Path::new("my run"),
            base: Some(Path::new("base")),
            is_adapter: true,
            steps: 2,
            skipped: 1,
            seconds: 3.2,
            settings: &settings,
            records: &records,
            texts: &texts,
            warnings: &["step 2: careful".to_owned()],
        };
        let page = end(Report::new("A run"), &ran).render().unwrap();
        for part in [
            "2 steps in 3 s; 1 were skipped.",
            "0.62315",
            "0.75",
            " &lt;b&gt;",
            "step 2: careful",
            "beta",
            "slpo generate --model base --adapter &#x27;my run&#x27;",
            "slpo align --out &#x27;my run&#x27; --resume --steps 4",
        ] {
            assert!(page.contains(part), "{part}: {page}");
        }
        assert!(page.contains('–') && !page.contains("0</td><td class=\"right\">0.75<"), "a tie is no accuracy");
    }
}
