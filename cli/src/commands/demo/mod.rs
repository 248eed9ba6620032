//! `slpo demo`: runs the whole path, from pretraining to alignment, on a small language whose truth is known.
//!
//! A decoder learns the language. Pairs of its own completions are labelled by the known reward. Each loss then aligns the decoder from the
//! same start with the same budget, three times. The losses are compared where their policies are equally far from the reference, and with
//! closed forms.

mod experiment;
mod files;
mod measure;
mod page;
mod scores;

use crate::arguments::{Demo, Shared};
use crate::failure::Failure;
use crate::output::Output;
use crate::progress::Progress;
use crate::run_folder::write_atomically;
use experiment::{Budget, Experiment, RUNS};
use measure::{DIVERGENCES, Outcome};
use serde_json::{Value, json};
use std::path::Path;
use std::time::Instant;

/// Runs the demo and writes `report.html` and `results.json` into its folder.
pub fn run(arguments: &Demo, shared: &Shared) -> Result<(), Failure> {
    let started = Instant::now();
    let usual = Budget::default();
    let budget = Budget {
        pretrain_steps: arguments.pretrain_steps.unwrap_or(usual.pretrain_steps),
        align_steps: arguments.align_steps.unwrap_or(usual.align_steps),
        samples: arguments.samples.unwrap_or(usual.samples),
        ..usual
    };
    let out = Output::new(shared.json);
    if let Some(folder) = &arguments.files {
        let written = files::write(folder, shared.seed)?;
        return out.result(&json!({ "files": written }), |to| {
            written.iter().try_for_each(|path| writeln!(to, "wrote {}", path.display()))?;
            writeln!(to, "Next: slpo train --data {} --out base", written[0].display())
        });
    }
    let say = |text: &str| out.stream(&format!("{text}\n"));
    crate::commands::model_out::refuse_occupied(&arguments.out, "the demo's report would replace the one there; choose another --out")?;
    model::atomic::make_folder(&arguments.out)?;
    say("1/3  a decoder learns a small language whose distribution and reward are known exactly")?;
    let mut experiment = Experiment::new(budget, shared.seed)?;
    let mut bar = Progress::new(budget.pretrain_steps, !shared.json);
    experiment.pretrain(&mut bar)?;
    bar.finish();
    say(&experiment.pretraining_summary())?;
    say("2/3  its own completions, in pairs: the one with the higher reward is the chosen one")?;
    experiment.draw_pairs()?;
    say(&experiment.pairs_summary())?;
    say("3/3  each loss aligns it from the same start with the same budget, three times")?;
    let mut outcomes = vec![measure::reference(&experiment)?];
    for method in experiment::METHODS {
        let mut bar = Progress::new(RUNS * budget.align_steps, !shared.json);
        let measured = |step: u64, decoder: &_| measure::moment(&experiment, step, decoder);
        let runs = (0..RUNS).map(|run| experiment.align(method, run, &mut bar, measured)).collect::<Result<_, _>>()?;
        outcomes.push(measure::outcome(&experiment, method.name, runs)?);
        bar.finish();
    }
    let report = arguments.out.join("report.html");
    page::report(&experiment, &outcomes, started.elapsed()).write(&report)?;
    let results = results(&experiment, &outcomes, &report, started.elapsed().as_secs_f64());
    write(&arguments.out.join("results.json"), &results)?;
    say(&measure::table(&experiment, &outcomes))?;
    say(&format!("{:.0} s. The report with its figures: {}", started.elapsed().as_secs_f64(), report.display()))?;
    out.result(&results, |_| Ok(()))
}

fn write(path: &Path, value: &Value) -> Result<(), Failure> {
    let text = format!("{value:#}\n");
    write_atomically(path, text.as_bytes()).map_err(|source| model::Error::Io { path: path.to_owned(), source })?;
    Ok(())
}

fn results(experiment: &Experiment, outcomes: &[Outcome], report: &Path, seconds: f64) -> Value {
    json!({
        "language": experiment.truth(),
        "pretraining": experiment.pretraining(),
        "pairs": { "train": experiment.train_pairs().len(), "held_out": experiment.held_out_pairs().len() },
        "divergences": DIVERGENCES,
        "best_possible_at_divergence": measure::best(experiment),
        "methods": outcomes.iter().map(Outcome::to_json).collect::<Vec<_>>(),
        "report": report,
        "seconds": seconds,
    })
}
