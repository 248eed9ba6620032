//! `slpo gradcheck --program`: a person's function in any language, whose gradient is held to differences of its own values.

mod channel;
mod protocol;

use crate::arguments::{GradcheckProgram, Shared};
use crate::failure::Failure;
use crate::output::{Number, Output};
use channel::Channel;
use engine::gradcheck::{Arithmetic, Judged, Outside, Verdict, check_outside, fixed_cotangent};
use protocol::Conversation;
use serde::Serialize;
use std::io::{self, Write};
use std::time::{Duration, Instant};

/// What `allowed` is made of.
const REASON: &str = "Ridders' error estimate, and the rounding of the values over the step";

#[derive(Serialize)]
struct Outcome<'a> {
    checks: Vec<InputLine<'a>>,
    elements: Vec<ElementLine<'a>>,
    precision: &'static str,
    passed: bool,
}

/// One input, in the form of the other checks: errors are those of checked elements, relative to what is allowed.
#[derive(Serialize)]
struct InputLine<'a> {
    name: &'a str,
    method: &'static str,
    max_abs_error: Number,
    max_rel_error: Number,
    tolerance: Number,
    tolerance_reason: &'static str,
    passed: bool,
    seconds: f64,
    right: usize,
    wrong: usize,
    unchecked: usize,
}

#[derive(Serialize)]
struct ElementLine<'a> {
    input: &'a str,
    /// Empty for a random direction over several elements.
    index: &'a [usize],
    /// How many elements were moved together.
    elements: usize,
    verdict: &'static str,
    reason: Option<&'static str>,
    expected: Number,
    got: Number,
    estimated_error: Number,
    allowed: Number,
}

/// Checks the gradient of a program's function.
///
/// # Errors
/// [`Failure::Failed`] if an element is wrong, if none could be checked, or if the program gives a bad answer.
pub fn run(program: &GradcheckProgram, shared: &Shared) -> Result<(), Failure> {
    let start = Instant::now();
    let channel = Channel::open(&program.command, Duration::from_secs_f64(program.timeout))?;
    let mut conversation = Conversation::begin(channel, shared.seed)?;
    let (judged, arithmetic) = judge(&mut conversation)?;
    let names = conversation.names.clone();
    let seconds = start.elapsed().as_secs_f64();
    let checks: Vec<InputLine<'_>> = names.iter().enumerate().map(|(input, name)| input_line(name, input, &judged, seconds)).collect();
    let total = |count: fn(&InputLine<'_>) -> usize| checks.iter().map(count).sum::<usize>();
    let (right, wrong, unchecked) = (total(|x| x.right), total(|x| x.wrong), total(|x| x.unchecked));
    let precision = if arithmetic == Arithmetic::SINGLE { "f32" } else { "f64" };
    let passed = wrong == 0 && right > 0;
    let elements = judged.iter().map(|judged| element_line(&names[judged.input], judged)).collect();
    let outcome = Outcome { checks, elements, precision, passed };
    Output::new(shared.json).result(&outcome, |to| {
        table(to, &names, &judged)?;
        writeln!(to, "{right} right, {wrong} wrong, {unchecked} unchecked; numbers in {precision}")
    })?;
    match judged.iter().find(|judged| judged.verdict == Verdict::Wrong) {
        Some(first) => Err(conversation.failure(&format!(
            "the gradient is wrong: {} is {:e}, where differences give {:e} ± {:.1e}",
            place(&format!("grad_{}", names[first.input]), first),
            first.got,
            first.expected,
            first.allowed,
        ))),
        None if right == 0 => Err(conversation.failure("nothing could be checked: choose another point, away from kinks")),
        None => Ok(()),
    }
}

/// Asks for the value and the gradient at the point, and holds the gradient to differences.
fn judge(conversation: &mut Conversation) -> Result<(Vec<Judged>, Arithmetic), Failure> {
    let value = conversation.value(&conversation.point())?;
    if let Some(element) = value.iter().position(|x| !x.is_finite()) {
        let reason = format!("`value` is {} at element {element}: give a point where it is finite", value[element]);
        return Err(conversation.failure(&reason));
    }
    if value.is_empty() {
        return Err(conversation.failure("`value` has no elements: there is nothing to check"));
    }
    let (again, gradient) = conversation.gradient(&fixed_cotangent(value.len()))?;
    let arithmetic = conversation.arithmetic;
    let size = value.iter().fold(0.0_f64, |size, x| size.max(x.abs()));
    let differs = |(a, b): (&f64, &f64)| (a - b).abs() > 64.0 * arithmetic.unit_roundoff() * size || b.is_nan();
    if let Some(element) = value.iter().zip(&again).position(differs) {
        let (first, second) = (value[element], again[element]);
        return Err(conversation.failure(&format!(
            "two calls at the same point gave {first:e} and {second:e} as element {element} of `value`: switch dropout and other \
             randomness off, or fix its seed"
        )));
    }
    let inputs = conversation.inputs.clone();
    let outside = Outside { inputs: &inputs, value: &value, gradient: &gradient, arithmetic };
    Ok((check_outside(&outside, |x| conversation.value(x))?, arithmetic))
}

fn input_line<'a>(name: &'a str, input: usize, judged: &[Judged], seconds: f64) -> InputLine<'a> {
    let own = || judged.iter().filter(|judged| judged.input == input);
    let count = |is: fn(Verdict) -> bool| own().filter(|judged| is(judged.verdict)).count();
    let checked = || own().filter(|judged| !matches!(judged.verdict, Verdict::Unchecked(_)));
    let error = |judged: &Judged| (judged.expected - judged.got).abs();
    let relative = |judged: &Judged| if error(judged) == 0.0 { 0.0 } else { error(judged) / judged.allowed };
    let wrong = count(|verdict| verdict == Verdict::Wrong);
    InputLine {
        name,
        method: "finite_difference",
        max_abs_error: Number(checked().map(error).fold(0.0, f64::max)),
        max_rel_error: Number(checked().map(relative).fold(0.0, f64::max)),
        tolerance: Number(1.0),
        tolerance_reason: REASON,
        passed: wrong == 0,
        seconds,
        right: count(|verdict| verdict == Verdict::Right),
        wrong,
        unchecked: count(|verdict| matches!(verdict, Verdict::Unchecked(_))),
    }
}

fn element_line<'a>(input: &'a str, judged: &'a Judged) -> ElementLine<'a> {
    let (verdict, reason) = words(judged.verdict);
    ElementLine {
        input,
        index: &judged.index,
        elements: judged.elements.len(),
        verdict,
        reason,
        expected: Number(judged.expected),
        got: Number(judged.got),
        estimated_error: Number(judged.estimated_error),
        allowed: Number(judged.allowed),
    }
}

fn words(verdict: Verdict) -> (&'static str, Option<&'static str>) {
    match verdict {
        Verdict::Right => ("right", None),
        Verdict::Wrong => ("wrong", None),
        Verdict::Unchecked(reason) => ("unchecked", Some(reason)),
    }
}

/// `x[1, 2]`, or `x (500 elements)`.
fn place(name: &str, judged: &Judged) -> String {
    match judged.elements.len() {
        1 if judged.index.is_empty() => name.to_owned(),
        1 => format!("{name}{:?}", judged.index),
        many => format!("{name} ({many} elements)"),
    }
}

fn table(to: &mut dyn Write, names: &[String], judged: &[Judged]) -> io::Result<()> {
    writeln!(to, "{:<24} {:>17} {:>9} {:>17} {:>9}", "", "by differences", "error", "by the gradient", "allowed")?;
    for judged in judged {
        let place = place(&names[judged.input], judged);
        let Judged { expected, estimated_error, got, allowed, .. } = judged;
        let verdict = match words(judged.verdict) {
            ("right", _) => "ok".to_owned(),
            ("wrong", _) => "WRONG".to_owned(),
            (word, reason) => format!("{word}: {}", reason.unwrap_or_default()),
        };
        writeln!(to, "{place:<24} {expected:>17.9e} {estimated_error:>9.1e} {got:>17.9e} {allowed:>9.1e}  {verdict}")?;
    }
    Ok(())
}
