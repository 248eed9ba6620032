//! `slpo compare`: the comparison of `slpo study` on a person's own pairs and model.

mod report;
mod settings;

use super::load::{Loaded, longest_sequence};
use super::notices;
use super::study::design::{Design, Key};
use super::study::driver::Driver;
use super::study::record::Record;
use super::study::store::Store;
use crate::arguments::{Compare, Shared};
use crate::failure::Failure;
use crate::output::Output;
use engine::Device;
use model::Error;
use model::boundary::Limits;
use model::data::{ChatTemplate, PreferenceSet, TextData, text};
use model::study::own_pairs::{Measured, NAMES, Other, OwnPairs, Settings};
use model::study::path::Moment;
use serde_json::json;
use std::time::Instant;

/// The most tokens of other text on which forgetting is measured: more would take longer than the pairs.
const TEXT_TOKENS: usize = 4096;
/// Tokens of a window of other text.
const WINDOW: usize = 256;
/// The seeds on which settings are chosen.
const TUNING_SEEDS: [u64; 3] = [1000, 1001, 1002];

/// Compares the losses and writes the report.
///
/// # Errors
/// The errors of the model's files, of the data, of the runs and of the folder.
pub fn run(arguments: &Compare, shared: &Shared) -> Result<(), Failure> {
    crate::device::processor()?;
    let loaded = Loaded::open(&arguments.model)?;
    let longest = longest_sequence(loaded.config(), arguments.max_tokens);
    let limits = Limits { truncation: arguments.cut.truncation(), ..Limits::new(longest) };
    let set = PreferenceSet::load(&arguments.data, &loaded.tokenizer, &ChatTemplate::of(&loaded.tokenizer)?, &limits)?;
    let text = other_text(arguments, &loaded, longest)?;
    let load = |path| PreferenceSet::load(path, &loaded.tokenizer, &ChatTemplate::of(&loaded.tokenizer)?, &limits);
    let second = arguments.second_test.as_deref().map(load).transpose()?;
    let other = Other { text, second: second.as_ref().map(|set| set.pairs.clone()).unwrap_or_default() };
    let settings = settings::of(arguments, shared, &loaded.decoder, &set.pairs, &other);
    let design = design(arguments);
    let farthest = design.divergences.last().copied().unwrap_or(f64::INFINITY);
    let drawing = Settings { batch: arguments.batch, tested: arguments.tested, seed: shared.seed, farthest };
    let pairs = OwnPairs::new(loaded.decoder, set.pairs, other, drawing).map_err(|error| error.at(&arguments.data))?;
    let folder = arguments.out.as_path();
    let mut store = if arguments.resume {
        settings::check(folder, &settings)?;
        Store::resume(folder, &design)?
    } else {
        Store::begin(folder, &design)?
    };
    settings::write(folder, &settings)?;
    [Some(&set.report), second.as_ref().map(|set| &set.report)]
        .into_iter()
        .flatten()
        .for_each(|report| notices::of_rows(report, shared.json));
    let threads = shared.threads.unwrap_or_else(rayon::current_num_threads);
    let driver = Driver { design: &design, folder, threads, json: shared.json, again: "the same command with --resume".to_owned() };
    driver.make(&mut store, |key| one(&design, &pairs, key))?;
    let lines = report::write(folder, &design, store.records(), &pairs)?;
    let page = folder.join("report.html");
    Output::new(shared.json).result(&json!({ "report": page, "compared": lines }), |to| {
        lines.iter().try_for_each(|line| writeln!(to, "{}", line.words))?;
        writeln!(to, "The report with its figures: {}", page.display())
    })
}

fn design(arguments: &Compare) -> Design {
    Design {
        name: "compare",
        tier: 3,
        place: "on real pairs",
        arms: arguments.losses.0.clone(),
        divergences: arguments.divergences.0.clone(),
        values: &NAMES,
        facts: &[],
        has_best: false,
        outcome: "preferred pairs above the reference (points)",
        divergence: "KL(π‖ref) a token (nats)",
        middle_rate: arguments.learning_rate,
        steps: arguments.steps,
        tuning_seeds: TUNING_SEEDS.to_vec(),
        fresh_seeds: (0..arguments.seeds).collect(),
        cells: vec!["pairs"],
        for_long: &[],
    }
}

fn one(design: &Design, pairs: &OwnPairs<Device>, key: Key) -> Result<(Record, Vec<Moment>), Failure> {
    let started = Instant::now();
    let Key { arm, trial, seed, steps, .. } = key;
    let on = if design.fresh_seeds.contains(&seed) { Measured::Test } else { Measured::Apart };
    let run = pairs.run(&design.arms[arm], design.learning_rate(arm, trial), design.strength(arm, trial), steps, seed, on)?;
    Ok(Record::new(key, run, Vec::new(), started.elapsed().as_secs_f64(), design))
}

/// Returns windows of the text on which forgetting is measured: its first tokens.
fn other_text(arguments: &Compare, loaded: &Loaded, longest: usize) -> Result<Vec<Vec<u32>>, Failure> {
    let Some(path) = &arguments.text else { return Ok(Vec::new()) };
    let data = TextData::load(path, &loaded.tokenizer, 0.0)?;
    notices::of_file(path, &data.remarks);
    let tokens = &data.train()[..data.train().len().min(TEXT_TOKENS)];
    if tokens.len() < 2 {
        let reason = "the text is a single token, and nothing comes before it".to_owned();
        return Err(Error::NoData { path: path.clone(), reason }.into());
    }
    Ok(text::windows(tokens, WINDOW.min(longest)).map(<[u32]>::to_vec).collect())
}
