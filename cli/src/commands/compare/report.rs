//! The report of a comparison: what came out, with intervals, and what it cannot say.

use crate::commands::study::design::{Design, Key};
use crate::commands::study::document::{Document, Item};
use crate::commands::study::figures;
use crate::commands::study::hypotheses::with_interval;
use crate::commands::study::record::Record;
use crate::commands::study::results::{LEVEL, Results};
use crate::commands::study::store::{PATHS, Paths};
use crate::commands::study::tables;
use crate::failure::Failure;
use engine::Device;
use model::study::own_pairs::OwnPairs;
use model::study::statistics::RESAMPLES;
use serde::Serialize;
use std::collections::BTreeMap;
use std::path::Path;

/// What else moves, by its name in the file of runs and in words.
const MOVED: [(&str, &str); 5] = [
    ("margins_above_0", "margin > 0 (%)"),
    ("chosen", "ln π/ref chosen"),
    ("rejected", "ln π/ref rejected"),
    ("forgetting", "other text (nats a token)"),
    ("preferred_second", "second test (points)"),
];

/// A loss beside the first one at one divergence.
#[derive(Debug, Serialize)]
pub struct Compared {
    loss: &'static str,
    divergence: f64,
    /// The outcome less that of the first loss.
    difference: f64,
    interval: (f64, f64),
    /// p after Holm's correction over the losses.
    p: f64,
    /// The same in words.
    pub words: String,
    #[serde(skip)]
    is_same_in_every_seed: bool,
}

/// Writes the report into the folder of the runs. Returns each loss beside the first.
///
/// # Errors
/// Those of reading and writing the files.
pub fn write(folder: &Path, design: &Design, records: &BTreeMap<Key, Record>, pairs: &OwnPairs<Device>) -> Result<Vec<Compared>, Failure> {
    let paths = Paths::read(&folder.join(PATHS), design)?;
    let results = Results::new(design.clone(), records);
    let compared = compared(&results);
    document(&results, &paths, &compared, pairs).write(folder)?;
    Ok(compared)
}

fn compared(results: &Results) -> Vec<Compared> {
    let design = &results.design;
    let mut all = Vec::new();
    for (place, &divergence) in design.divergences.iter().enumerate() {
        for beside in results.beside_first(place) {
            let (loss, first) = (design.arms[beside.arm].name, design.arms[0].name);
            let p = beside.corrected;
            let told = match beside.difference.mean {
                _ if !beside.is_told() => "no difference can be told",
                mean if mean > 0.0 => "more",
                _ => "less",
            };
            let is_same_in_every_seed = beside.is_same_in_every_seed();
            let spread = if is_same_in_every_seed { ", the same in every seed" } else { "" };
            let difference = with_interval(&beside.difference);
            let words = format!("κ = {divergence}: {loss} less {first} {difference} points: {told}{spread} (p = {p:.3})");
            let (difference, interval) = (beside.difference.mean, beside.difference.interval);
            all.push(Compared { loss, divergence, difference, interval, p, words, is_same_in_every_seed });
        }
    }
    all
}

/// The comparisons that tell a difference.
fn told(compared: &[Compared]) -> String {
    let told: Vec<String> = compared.iter().filter(|line| line.p < LEVEL).map(|line| format!("{}.", line.words)).collect();
    match told.len() {
        0 => format!("None of {} comparisons tells a difference after correction.", compared.len()),
        count => format!("{count} of {} comparisons tell a difference after correction. {}", compared.len(), told.join(" ")),
    }
}

/// What an interval of no width is worth, if there is one.
fn same_in_every_seed(compared: &[Compared], tested: usize) -> Option<Item> {
    let count = compared.iter().filter(|line| line.is_same_in_every_seed).count();
    (count > 0).then(|| {
        Item::Paragraph(format!(
            "In {count} comparisons the difference is the same in every seed. Its interval then has no width and its p is the least that \
             {RESAMPLES} resamples can show, although it may be a matter of few pairs: one pair of {tested} is {:.2} points.",
            100.0 / tested as f64
        ))
    })
}

fn document(results: &Results, paths: &Paths, compared: &[Compared], pairs: &OwnPairs<Device>) -> Document {
    let design = &results.design;
    let [learned, tested] = pairs.counts();
    let seeds = design.fresh_seeds.len();
    let is_measured = |name: &str| results.values(0, design.middle(), name).iter().any(|value| !value.is_nan());
    let moved: Vec<(&str, &str)> = MOVED.into_iter().filter(|(name, _)| is_measured(name)).collect();
    let figure = |file: &'static str, title: &str, caption: &str, chart| Item::Figure {
        file,
        title: title.to_owned(),
        caption: caption.to_owned(),
        chart,
    };
    let mut items = vec![
        Item::Section("What came out".to_owned()),
        Item::Paragraph(told(compared)),
        tables::beside(results),
        figure(
            "forest",
            &format!("Each loss beside {}", design.arms[0].name),
            "Means over seeds with half the width of their 95 % intervals, before correction.",
            figures::forest(results),
        ),
        Item::Section("Preferred pairs at matched divergence".to_owned()),
        Item::Paragraph(format!(
            "A run counts where its KL(π‖ref) a token on the test first reaches κ; one that never does has its last value. A pair is \
             preferred if its chosen completion is more likely than its rejected one. Settings were chosen for each κ on {} other seeds, \
             by pairs that are not in the test.",
            design.tuning_seeds.len()
        )),
        tables::outcomes(results),
        figure(
            "matched",
            "Preferred pairs at matched divergence",
            "Means over seeds, each point at the settings chosen for its κ.",
            figures::matched(results),
        ),
        figure(
            "paths",
            "Preferred pairs along the runs",
            "Means over seeds at the settings chosen for the middle κ. A line ends where not all runs get that far.",
            figures::paths(results, paths),
        ),
        Item::Section("What else moves".to_owned()),
        tables::moved(results, &moved),
        Item::Section("Settings".to_owned()),
        tables::settings(results),
        Item::Section("What this cannot say".to_owned()),
        Item::Paragraph(format!(
            "The intervals are over {seeds} seeds, each with its own pairs to learn and its own order, on one test of {tested} pairs. \
             Other pairs to test on may differ by more: a share of {tested} pairs has a standard error of up to {:.1} points. One model was \
             trained, and only with the settings that the last table names.",
            50.0 / (tested as f64).sqrt()
        )),
    ];
    items.extend(same_in_every_seed(compared, tested));
    let lead = format!(
        "{} on {learned} pairs, tested on {tested} others: {} runs of at most {} steps.",
        design.arms.iter().map(|arm| arm.name).collect::<Vec<_>>().join(", "),
        results.records.len(),
        design.steps
    );
    Document { title: "Preference losses at matched divergence".to_owned(), lead, items }
}
