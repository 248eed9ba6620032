//! `slpo verify`: checks another program's loss and gradients, which it wrote to a file, against ours.

mod dump;

use crate::arguments::{Shared, Verify};
use crate::failure::Failure;
use crate::output::{Number, Output};
use dump::Dump;
use losses::LossError;
use losses::verify::{GradientCheck, LossCheck, Problem, Report, SumCheck, check_sums, verify};
use serde::Serialize;
use std::io::{self, Write};

#[derive(Serialize)]
struct Verified<'a> {
    loss: Option<LossLine>,
    gradients: Vec<GradientLine<'a>>,
    log_probs: Vec<GradientLine<'a>>,
    explanation: Option<&'a str>,
    passed: bool,
}

#[derive(Serialize)]
struct LossLine {
    theirs: Number,
    ours: Number,
    abs_error: Number,
    tolerance: Number,
    passed: bool,
}

#[derive(Serialize)]
struct GradientLine<'a> {
    name: &'a str,
    max_abs_error: Number,
    max_rel_error: Number,
    worst_index: Vec<usize>,
    theirs: Number,
    ours: Number,
    tolerance: Number,
    passed: bool,
}

impl From<LossCheck> for LossLine {
    fn from(check: LossCheck) -> Self {
        let LossCheck { theirs, ours, abs_error, tolerance, passed } = check;
        Self { theirs: Number(theirs), ours: Number(ours), abs_error: Number(abs_error), tolerance: Number(tolerance), passed }
    }
}

impl<'a> GradientLine<'a> {
    fn new(check: &'a GradientCheck, problem: &Problem) -> Self {
        Self {
            name: check.name,
            max_abs_error: Number(check.max_abs_error),
            max_rel_error: Number(check.max_rel_error),
            worst_index: place(check.worst_index, &problem.gradient_shape(check.name)),
            theirs: Number(check.theirs),
            ours: Number(check.ours),
            tolerance: Number(check.tolerance),
            passed: check.passed,
        }
    }
}

/// Converts a flat index to one index for each axis.
fn place(mut flat: usize, shape: &[usize]) -> Vec<usize> {
    let mut indices: Vec<usize> = shape
        .iter()
        .rev()
        .map(|&extent| {
            let index = flat % extent;
            flat /= extent;
            index
        })
        .collect();
    indices.reverse();
    indices
}

/// Verifies a dump.
///
/// # Errors
/// [`Failure::Usage`] for hyper-parameters that do not fit the loss; [`Failure::Model`] for a file that cannot be read or is incomplete;
/// [`Failure::Failed`] if the loss or a gradient is wrong.
pub fn run(arguments: &Verify, shared: &Shared) -> Result<(), Failure> {
    let objective = arguments.settings.of(&arguments.loss)?;
    let refused = |error: LossError| model::Error::bad_file(&arguments.file, error.to_string());
    let mut dump = Dump::open(&arguments.file)?;
    let problem = dump.problem(&objective)?;
    let results = dump.results(&problem)?;
    let log_probs = dump.log_probs(&problem)?;
    let report = verify(&problem, &results, dump.precision()).map_err(refused)?;
    let sums = log_probs.iter().map(|(sums, tokens)| match &problem {
        Problem::Tails(tails) => tails.check_sums(tokens.name, sums, dump.precision()),
        _ => check_sums(sums, tokens, dump.precision()),
    });
    let sums = sums.collect::<Result<Vec<SumCheck>, LossError>>().map_err(refused)?;
    let passed = report.passed && sums.iter().all(|sum| sum.check.passed);
    let explanation = sums.iter().find_map(|sum| sum.explanation.clone()).or_else(|| report.explanation.clone());
    let verified = Verified {
        loss: report.loss.map(LossLine::from),
        gradients: report.gradients.iter().map(|check| GradientLine::new(check, &problem)).collect(),
        log_probs: sums.iter().map(|sum| GradientLine::new(&sum.check, &problem)).collect(),
        explanation: explanation.as_deref(),
        passed,
    };
    Output::new(shared.json).result(&verified, |to| table(to, &report, &sums, &problem))?;
    if passed {
        return Ok(());
    }
    let why = explanation.as_ref().map_or("no known mistake explains it".to_owned(), |words| format!("probably {words}"));
    Err(Failure::Failed(format!("{}: this is not {objective}: {why}", arguments.file.display())))
}

fn table(to: &mut dyn Write, report: &Report, sums: &[SumCheck], problem: &Problem) -> io::Result<()> {
    writeln!(to, "{:<36} {:>16} {:>16} {:>10} {:>10}", "", "theirs", "ours", "differs", "allowed")?;
    let word = |passed| if passed { "ok" } else { "WRONG" };
    if let Some(x) = &report.loss {
        writeln!(
            to,
            "{:<36} {:>16.9e} {:>16.9e} {:>10.2e} {:>10.2e}  {}",
            "loss",
            x.theirs,
            x.ours,
            x.abs_error,
            x.tolerance,
            word(x.passed)
        )?;
    }
    for x in sums.iter().map(|sum| &sum.check).chain(&report.gradients) {
        let name = format!("{}{:?}", x.name, place(x.worst_index, &problem.gradient_shape(x.name)));
        let differs = (x.theirs - x.ours).abs();
        writeln!(to, "{name:<36} {:>16.9e} {:>16.9e} {differs:>10.2e} {:>10.2e}  {}", x.theirs, x.ours, x.tolerance, word(x.passed))?;
    }
    if !report.gradients.is_empty() {
        writeln!(to, "(of each gradient its worst element)")?;
    }
    let given: Vec<&str> = report.gradients.iter().map(|x| x.name).chain(report.loss.map(|_| "loss")).collect();
    let all = std::iter::once("loss").chain(problem.gradient_names().iter().copied());
    let missing: Vec<&str> = all.filter(|name| !given.contains(name)).collect();
    if !missing.is_empty() {
        writeln!(to, "not in the file, so not checked: {}", missing.join(", "))?;
    }
    Ok(())
}
