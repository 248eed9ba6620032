//! `slpo gradcheck`: checks the gradient of every op, loss, block and decoder by all methods that can find an error.

mod heat;
mod page;
mod program;
mod run;
mod subjects;
mod words;

use crate::arguments::{Gradcheck, Shared};
use crate::failure::Failure;
use crate::output::{Number, Output};
use engine::gradcheck::{Check, Report, Worst};
use run::{CheckPlan, Checked};
use serde::Serialize;
use std::path::Path;
use subjects::chosen;
use words::{failures, of_allowed};

#[derive(Serialize)]
struct Outcome<'a> {
    checks: Vec<Line<'a>>,
    passed: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    html: Option<&'a Path>,
}

#[derive(Serialize)]
struct Line<'a> {
    name: &'a str,
    method: &'static str,
    max_abs_error: Number,
    max_rel_error: Number,
    tolerance: Number,
    tolerance_reason: &'static str,
    passed: bool,
    seconds: f64,
    worst: Option<WorstLine<'a>>,
}

#[derive(Serialize)]
struct WorstLine<'a> {
    quantity: &'static str,
    input: Option<usize>,
    index: &'a [usize],
    expected: Number,
    got: Number,
    seed: Option<u64>,
    shapes: &'a [Vec<usize>],
    input_value: Option<Number>,
}

impl<'a> From<&'a Worst> for WorstLine<'a> {
    fn from(worst: &'a Worst) -> Self {
        Self {
            quantity: worst.quantity,
            input: worst.input,
            index: &worst.index,
            expected: Number(worst.expected),
            got: Number(worst.got),
            seed: worst.seed,
            shapes: &worst.shapes,
            input_value: worst.input_value.map(Number),
        }
    }
}

impl<'a> From<&'a Check> for Line<'a> {
    fn from(check: &'a Check) -> Self {
        Self {
            name: &check.name,
            method: check.method.name(),
            max_abs_error: Number(check.max_abs_error),
            max_rel_error: Number(check.max_rel_error),
            tolerance: Number(check.tolerance),
            tolerance_reason: check.tolerance_reason,
            passed: check.passed,
            seconds: check.seconds,
            worst: check.worst.as_ref().map(WorstLine::from),
        }
    }
}

/// Checks the named subjects, or all; or the function of another program.
///
/// # Errors
/// Those of [`program::run`] if there is a program.
/// [`Failure::Usage`] for an unknown name, [`Failure::Failed`] if a check fails, [`Failure::Report`] if the page cannot be written.
pub fn run(arguments: &Gradcheck, shared: &Shared) -> Result<(), Failure> {
    if let Some(program) = arguments.of_program() {
        return program::run(&program, shared);
    }
    let subjects = chosen(&arguments.names)?;
    let output = Output::new(shared.json);
    let plan = CheckPlan {
        seed: shared.seed,
        samples: arguments.samples,
        quick: arguments.quick,
        threads: shared.threads,
        page: arguments.html.is_some(),
        named: !arguments.names.is_empty(),
    };
    output.stream(&format!("{:<28} {:>7} {:>12}  slowest\n", "", "methods", "of allowed"))?;
    let checked = run::all(&subjects, &plan, |checked| output.stream(&row(&checked.report)))?;
    if let Some(path) = &arguments.html {
        page::page(&checked, &plan)?.write(path)?;
    }
    let checks: Vec<&Check> = checked.iter().flat_map(|checked| &checked.report.checks).collect();
    let failed = checks.iter().filter(|check| !check.passed).count();
    let lines = checks.iter().map(|check| Line::from(*check)).collect();
    let result = Outcome { checks: lines, passed: failed == 0, html: arguments.html.as_deref() };
    output.result(&result, |to| {
        writeln!(to, "{} of {} checks passed", checks.len() - failed, checks.len())?;
        arguments.html.as_ref().map_or(Ok(()), |path| writeln!(to, "the page is {}", path.display()))
    })?;
    if failed > 0 {
        return Err(Failure::Failed(format!("{failed} of {} checks failed: {}", checks.len(), names_of_failed(&checked))));
    }
    Ok(())
}

fn names_of_failed(checked: &[Checked]) -> String {
    let failed = checked.iter().filter(|checked| !checked.report.passed()).map(|checked| checked.report.name.as_str());
    failed.collect::<Vec<_>>().join(", ")
}

/// Prints one line for a person, and more for a failed check.
fn row(report: &Report) -> String {
    let largest = report.checks.iter().map(of_allowed).fold(0.0, f64::max);
    let slowest = report.checks.iter().max_by(|a, b| a.seconds.total_cmp(&b.seconds));
    let slowest = slowest.map_or(String::new(), |check| format!("{} {:.0} ms", check.method, 1e3 * check.seconds));
    let line = format!("{:<28} {:>7} {:>11.3}%  {slowest}\n", report.name, report.checks.len(), 100.0 * largest);
    if report.passed() { line } else { format!("{line}{}", failures(report)) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use engine::function;
    use engine::gradcheck::{Entry, Input, Sample, check_entry};

    #[test]
    fn a_failure_says_op_method_element_input_values_shapes_seed_and_how_to_see_it_again() {
        let entry = Entry::new("broken", |_| {
            let x = Input::new(vec![0.5, 2.0, -3.0, 1.0], &[2, 2]);
            Sample::new(function!(|x| x[0].mul(&x[0])), [x]).with_twin(function!(|x| x[0].mul(&x[0]).add(&x[0].scale(1e-3))))
        });
        let text = row(&check_entry(&entry, [41], 4));
        for part in [
            "broken by twin: FAILED",
            "value at [0, 0]: expected",
            "got",
            "shapes [[2, 2]], seed 41",
            "again: slpo gradcheck broken --seed 41 --samples 1\n",
        ] {
            assert!(text.contains(part), "no {part:?} in\n{text}");
        }
    }
}
