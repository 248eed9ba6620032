//! An explanation as a page that needs no network, no script and no other file.

use super::drawing::svg;
use super::mathml::{MathMl, escaped};
use super::numbers::{list, long, place, short, tensor};
use crate::report::{ReportError, font};
use engine::explain::{Explanation, Piece, Worked};
use minijinja::value::Serde;
use serde::Serialize;

#[derive(Serialize)]
struct Page<'a> {
    name: &'static str,
    summary: String,
    formulas: Vec<String>,
    steps: Vec<String>,
    call: &'a str,
    given: String,
    values: Vec<(String, String)>,
    cotangent: Option<String>,
    composed: bool,
    elements: Vec<ElementRow>,
    adjoint: (String, String),
    checks: Vec<CheckRow>,
    passed: bool,
    graphs: Vec<(&'static str, String)>,
    source: &'static str,
    font: String,
    version: &'static str,
}

#[derive(Serialize)]
struct ElementRow {
    place: String,
    x: String,
    reverse: String,
    others: Vec<String>,
    error: String,
}

#[derive(Serialize)]
struct CheckRow {
    method: &'static str,
    error: String,
    relative: String,
    allowed: String,
    passed: bool,
    reason: &'static str,
}

/// The page as HTML.
///
/// # Errors
/// [`ReportError::Template`].
pub fn page(explanation: &Explanation, worked: &Worked) -> Result<String, ReportError> {
    let math = MathMl::new();
    let named = worked.inputs.iter().map(|(name, input)| ((*name).to_owned(), tensor(&input.shape, &input.data)));
    let output = ("y".to_owned(), tensor(&worked.output.shape, &worked.output.data));
    let formulas: Vec<String> = explanation.formulas().into_iter().map(|latex| math.display(latex)).collect();
    let steps: Vec<String> = explanation.derivation().iter().map(|step| html(step, &math)).collect();
    let font = font::style_sheet(formulas.iter().chain(&steps).map(String::as_str));
    let page = Page {
        name: explanation.name,
        summary: explanation.summary(),
        formulas,
        steps,
        call: &worked.call,
        given: worked.given.clone(),
        values: named.chain([output]).collect(),
        cotangent: (worked.cotangent.len() > 1).then(|| list(&worked.cotangent, 16)),
        composed: worked.elements.iter().any(|element| element.composed.is_some()),
        elements: rows(worked),
        adjoint: (long(worked.adjoint.0), long(worked.adjoint.1)),
        checks: checks(worked),
        passed: worked.report.passed(),
        graphs: worked.graphs.iter().map(|graph| (graph.title, svg(graph))).collect(),
        source: explanation.source,
        font,
        version: env!("CARGO_PKG_VERSION"),
    };
    let mut environment = minijinja::Environment::new();
    environment.add_template("explain.html", include_str!("page.html"))?;
    Ok(environment.get_template("explain.html")?.render(Serde(&page))?)
}

fn html(step: &[Piece<'_>], math: &MathMl) -> String {
    let piece = |piece: &Piece<'_>| match piece {
        Piece::Text(words) => escaped(words),
        Piece::Inline(latex) => math.inline(latex),
        Piece::Display(latex) => math.display(latex),
    };
    step.iter().map(piece).collect()
}

fn rows(worked: &Worked) -> Vec<ElementRow> {
    let row = |element: &engine::explain::Element| {
        let mut others = vec![element.forward, element.difference, element.reference, element.single];
        others.extend(element.composed);
        ElementRow {
            place: place(worked, element),
            x: short(element.x),
            reverse: long(element.reverse),
            others: others.into_iter().map(long).collect(),
            error: format!("{:.0e}", element.difference_error),
        }
    };
    worked.elements.iter().map(row).collect()
}

fn checks(worked: &Worked) -> Vec<CheckRow> {
    let row = |check: &engine::gradcheck::Check| CheckRow {
        method: check.method.name(),
        error: short(check.max_abs_error),
        relative: short(check.max_rel_error),
        allowed: short(check.tolerance),
        passed: check.passed,
        reason: check.tolerance_reason,
    };
    worked.report.checks.iter().map(row).collect()
}
