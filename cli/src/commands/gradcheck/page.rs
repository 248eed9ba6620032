//! The page of `--html`: a summary, every error as a bar on a logarithmic scale, heat maps of the elements, and where tolerances come from.

use super::heat::{self, HeatMap, heat_maps};
use super::run::{CheckPlan, Checked, Detail};
use super::words::{failures, of_allowed};
use crate::failure::Failure;
use crate::report::{Align, Report, ReportError, Table};
use engine::gradcheck::{Check, Method};
use minijinja::{Environment, context, value::Serde};
use serde::Serialize;

/// Decades of the bars' scale below and above the allowed error.
const DECADES: (f64, f64) = (4.0, 1.0);

/// A row of the table of bars.
#[derive(Serialize)]
struct BarRow<'a> {
    name: &'a str,
    /// The anchor of the heat maps, if there are any.
    anchor: Option<String>,
    passed: bool,
    seconds: String,
    /// One bar for each method, or `None` if the method does not apply.
    bars: Vec<Option<Bar>>,
}

#[derive(Serialize)]
struct Bar {
    /// Percent of the scale's width.
    width: f64,
    passed: bool,
    text: String,
    title: String,
}

/// The heat maps of one subject.
#[derive(Serialize)]
struct Maps<'a> {
    name: &'a str,
    anchor: String,
    passed: bool,
    sample: String,
    methods: Vec<MethodMaps>,
}

#[derive(Serialize)]
struct MethodMaps {
    name: &'static str,
    worst: String,
    maps: Vec<HeatMap>,
}

/// Builds the page.
///
/// # Errors
/// [`Failure::Report`] if the layout fails, which is a defect of this program.
pub fn page(checked: &[Checked], plan: &CheckPlan) -> Result<Report, Failure> {
    let checks: Vec<&Check> = checked.iter().flat_map(|checked| &checked.report.checks).collect();
    let failed: Vec<&Checked> = checked.iter().filter(|checked| !checked.report.passed()).collect();
    let mut report = Report::new("Gradient checks").lead(lead(&checks)).style(STYLE).key_values(summary(checked, &checks, plan));
    if !failed.is_empty() {
        report = report.section("What failed");
        for checked in failed {
            report = report.preformatted(failures(&checked.report).trim_end());
        }
    }
    report = report.section("The witnesses").paragraph(WITNESSES).table(witnesses(&checks));
    report = report.section("Every check").paragraph(BARS).fragment(bars(checked)?);
    if checked.iter().any(|checked| checked.detail.is_some()) {
        report = report.section("Element by element").paragraph(MAPS).fragment(maps(checked)?);
    }
    Ok(report.section("Where the tolerances come from").paragraph(TOLERANCES).table(reasons(&checks)))
}

const STYLE: &str = include_str!("page.css");

const WITNESSES: &str = "A gradient by hand is believed when ways to the same number that share no code agree with it. Each sees mistakes that \
    others miss. slpo explain NAME derives a function's gradient.";

const BARS: &str = "Each bar is the largest error of all samples over what is allowed there, on a logarithmic scale of five decades; the tick is \
    what is allowed, and what reaches past it fails. No bar: no error at all. Hover for the numbers, click a name for its elements.";

const MAPS: &str = "One sample of each, every element in the colour of its error over what is allowed there. The first axis runs down, the \
    others across. Hover for an element's indices, the input's value there, and the two numbers.";

const TOLERANCES: &str = "An error may be γ·s. γ = (32 + 4√N)·u counts roundings: 32 along the longest path, 4√N for sums of the N elements of \
    inputs and output, with u the unit round-off of f64 (of f32 where f32 is compared). s is what one rounding can do there, from the \
    function's own first and second derivatives by dual numbers. m is what cancels inside the function, \
    1 for log-probabilities say, mostly 0. No tolerance is tuned.";

fn lead(checks: &[&Check]) -> String {
    let failed = checks.iter().filter(|check| !check.passed).count();
    match (failed, checks.iter().max_by(|a, b| of_allowed(a).total_cmp(&of_allowed(b)))) {
        (0, Some(worst)) => format!(
            "All {} checks passed. The largest error is {}: {} by {}.",
            checks.len(),
            heat::part(of_allowed(worst)),
            worst.name,
            title(worst.method)
        ),
        _ => format!("{failed} of {} checks failed.", checks.len()),
    }
}

fn summary(checked: &[Checked], checks: &[&Check], plan: &CheckPlan) -> Vec<(&'static str, String)> {
    let passed = checks.iter().filter(|check| check.passed).count();
    let seconds: f64 = checks.iter().map(|check| check.seconds).sum();
    let samples = match (plan.samples, plan.quick) {
        (Some(samples), _) => format!("{samples} of each"),
        (None, true) => "3 of ops and losses, 1 of models".to_owned(),
        (None, false) => "12 of ops and losses, 2 of models".to_owned(),
    };
    vec![
        ("functions", checked.len().to_string()),
        ("checks passed", format!("{passed} of {}", checks.len())),
        ("samples", samples),
        ("first seed", plan.seed.to_string()),
        ("time, all threads", format!("{seconds:.1} s")),
    ]
}

/// What each method that was used compares, and the mistakes that it sees.
fn witnesses(checks: &[&Check]) -> Table {
    let used = Method::ALL.into_iter().filter(|method| checks.iter().any(|check| check.method == *method));
    let table = Table::new([("witness", Align::Left), ("what it compares", Align::Left), ("what it sees", Align::Left)]);
    used.fold(table, |table, method| {
        let [compared, seen] = witness(method);
        table.row([title(method), compared, seen])
    })
}

fn witness(method: Method) -> [&'static str; 2] {
    match method {
        Method::FiniteDifference => [
            "the gradient with (f(x + h) − f(x − h))/2h for ever smaller h, element by element",
            "a wrong sign, a forgotten term or factor: it runs f alone",
        ],
        Method::ForwardMode => {
            ["the gradient with f run on dual numbers a + bε, ε² = 0", "the same, to the last digits: nothing is approximated"]
        }
        Method::Adjoint => {
            ["⟨v, J·u⟩ with ⟨Jᵀ·v, u⟩ for random u and v", "what the gradient of one input takes from another, over all inputs at once"]
        }
        Method::Twin => ["values and gradients with the same mathematics composed of small ops", "what went wrong when ops were fused"],
        Method::Reference => ["the fast kernels with plain loops", "mistakes of vectors, blocks and threads"],
        Method::Precision => ["f32 with f64 at the same inputs", "cancellation and overflow in the numbers that training uses"],
        Method::SecondOrder => [
            "H·u, the gradient differentiated once more, with differences of the gradient",
            "a gradient that is right at a point and wrong as a function",
        ],
    }
}

/// Returns the heading of a method.
fn title(method: Method) -> &'static str {
    match method {
        Method::FiniteDifference => "finite differences",
        Method::ForwardMode => "forward mode",
        Method::Adjoint => "adjoint identity",
        Method::Twin => "twin",
        Method::Reference => "reference kernels",
        Method::Precision => "f32 against f64",
        Method::SecondOrder => "second order",
    }
}

fn anchor(name: &str) -> String {
    format!("elements-{name}")
}

fn bars(checked: &[Checked]) -> Result<String, Failure> {
    let rows: Vec<BarRow> = checked.iter().map(row).collect();
    let methods = Method::ALL.map(title);
    render(include_str!("bars.html"), context! { methods, rows => Serde(&rows), tick => 100.0 * DECADES.0 / (DECADES.0 + DECADES.1) })
}

fn row(checked: &Checked) -> BarRow<'_> {
    let report = &checked.report;
    let bar = |method| report.checks.iter().find(|check| check.method == method).map(bar);
    BarRow {
        name: &report.name,
        anchor: checked.detail.as_ref().map(|_| anchor(&report.name)),
        passed: report.passed(),
        seconds: format!("{:.3}", report.checks.iter().map(|check| check.seconds).sum::<f64>()),
        bars: Method::ALL.map(bar).into(),
    }
}

fn bar(check: &Check) -> Bar {
    let share = of_allowed(check);
    let width = (share.log10() + DECADES.0) / (DECADES.0 + DECADES.1) * 100.0;
    let worst = check.worst.as_ref().map_or(String::new(), |worst| {
        let of = worst.input.map_or(String::new(), |input| format!(" of input {input}"));
        let seed = worst.seed.map_or(String::new(), |seed| format!("\nseed {seed}, shapes {:?}", worst.shapes));
        format!("\n{}{of} at {:?}: expected {:.9e}, got {:.9e}{seed}", worst.quantity, worst.index, worst.expected, worst.got)
    });
    let (text, largest) = (if share == 0.0 { "0".to_owned() } else { format!("{share:.0e}") }, check.max_abs_error);
    // An error below the scale still shows as a short bar. An infinite error fills the whole bar.
    let width = if share == 0.0 { 0.0 } else { width.clamp(2.0, 100.0) };
    Bar { width, passed: check.passed, text, title: format!("{}; largest error {largest:.3e}{worst}", heat::part(share)) }
}

fn maps(checked: &[Checked]) -> Result<String, Failure> {
    let of = |checked| -> Option<Maps> { maps_of(checked) };
    let subjects: Vec<Maps> = checked.iter().filter_map(of).collect();
    render(
        include_str!("maps.html"),
        context! { subjects => Serde(&subjects), legend => heat::CLASSES.map(|(_, class, text)| (class, text)) },
    )
}

fn maps_of(checked: &Checked) -> Option<Maps<'_>> {
    let Detail { seed, report, inputs } = checked.detail.as_ref()?;
    let shapes: Vec<String> = inputs.iter().map(|input| format!("{:?}", input.shape)).collect();
    let methods = report.checks.iter().map(|check| MethodMaps {
        name: title(check.method),
        worst: heat::part(of_allowed(check)),
        maps: heat_maps(check, inputs),
    });
    Some(Maps {
        name: &report.name,
        anchor: anchor(&report.name),
        passed: report.passed(),
        sample: format!("seed {seed}, inputs {}", shapes.join(" ")),
        methods: methods.collect(),
    })
}

fn render(template: &str, values: minijinja::Value) -> Result<String, Failure> {
    let mut environment = Environment::new();
    environment.add_template("part.html", template).map_err(ReportError::from)?;
    let part = environment.get_template("part.html").and_then(|template| template.render(values));
    Ok(part.map_err(ReportError::from)?)
}

/// Describes the scale of each method, as its checks state it.
fn reasons(checks: &[&Check]) -> Table {
    let table = Table::new([("method", Align::Left), ("s, the scale of what is allowed", Align::Left)]);
    Method::ALL
        .iter()
        .filter_map(|&method| checks.iter().find(|check| check.method == method))
        .fold(table, |table, check| table.row([title(check.method), check.tolerance_reason]))
}
