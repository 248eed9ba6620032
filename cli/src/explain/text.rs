//! An explanation as text for a terminal.

use super::numbers::{long, place, short, tensor};
use super::tree::tree;
use super::unicode::unicode;
use engine::explain::{Explanation, Piece, Worked};
use std::fmt::Write;

/// Width of a derivation in columns.
const WIDTH: usize = 100;

/// Writes the whole explanation.
pub fn text(explanation: &Explanation, worked: &Worked) -> String {
    let mut out = format!("{}: {}\n\nFORMULA\n\n", explanation.name, explanation.summary());
    for formula in explanation.formulas() {
        let _ = writeln!(out, "    {}", unicode(formula));
    }
    out.push_str("\nDERIVATION\n\n");
    for (i, step) in explanation.derivation().iter().enumerate() {
        out.push_str(&numbered(i + 1, step));
    }
    out.push_str(&example(worked));
    out.push_str(&gradient(worked));
    for graph in &worked.graphs {
        let _ = write!(out, "\nGRAPH {} (value, ∂ gradient of L)\n\n{}", graph.title, indented(&tree(graph)));
    }
    out
}

/// Writes a step in words. Formulas inside a line become Unicode.
pub fn prose(step: &[Piece<'_>]) -> String {
    let words = |piece: &Piece<'_>| match piece {
        Piece::Text(words) => (*words).to_owned(),
        Piece::Inline(latex) => unicode(latex),
        Piece::Display(latex) => format!("\n{}\n", unicode(latex)),
    };
    step.iter().map(words).collect()
}

fn numbered(number: usize, step: &[Piece<'_>]) -> String {
    let mut out = String::new();
    let mut paragraph = String::new();
    let mut first = format!("{number:>2}. ");
    for piece in step {
        match piece {
            Piece::Text(words) => paragraph.push_str(words),
            Piece::Inline(latex) => paragraph.push_str(&unicode(latex)),
            Piece::Display(latex) => {
                wrap(&std::mem::take(&mut paragraph), &std::mem::replace(&mut first, "    ".to_owned()), &mut out);
                let _ = writeln!(out, "\n        {}\n", unicode(latex));
            }
        }
    }
    wrap(&paragraph, &first, &mut out);
    out
}

/// Wraps words into lines. The first line begins with `first`, the others are indented by its width.
fn wrap(words: &str, first: &str, out: &mut String) {
    let mut line = first.to_owned();
    let mut empty = true;
    for word in words.split_ascii_whitespace() {
        if !empty && line.chars().count() + 1 + word.chars().count() > WIDTH {
            let _ = writeln!(out, "{line}");
            (line, empty) = ("    ".to_owned(), true);
        }
        if !empty {
            line.push(' ');
        }
        line.push_str(word);
        empty = false;
    }
    if !empty {
        let _ = writeln!(out, "{line}");
    }
}

fn example(worked: &Worked) -> String {
    let mut out = format!("\nEXAMPLE  {}\n\n", worked.call);
    if !worked.given.is_empty() {
        let _ = writeln!(out, "    {}", worked.given);
    }
    let width = worked.inputs.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(1);
    for (name, input) in &worked.inputs {
        let _ = writeln!(out, "    {name:<width$} {}", tensor(&input.shape, &input.data));
    }
    let _ = writeln!(out, "    {:<width$} {}", "y", tensor(&worked.output.shape, &worked.output.data));
    out
}

fn gradient(worked: &Worked) -> String {
    let what = if worked.cotangent.len() == 1 {
        "L = y".to_owned()
    } else {
        format!("L = ⟨v, y⟩, v = {}", super::numbers::list(&worked.cotangent, 16))
    };
    let mut out = format!("\nGRADIENT of {what}\n\n");
    let composed = worked.elements.iter().any(|element| element.composed.is_some());
    let width = worked.elements.iter().map(|element| place(worked, element).chars().count()).max().unwrap_or(0);
    let head = if composed { "composition" } else { "" };
    let line = format!("    {:<width$} {:>18} {:>18} {:>18} {:>9} {head:>18}", "", "vjp", "dual numbers", "differences", "± error");
    let _ = writeln!(out, "{}", line.trim_end());
    for element in &worked.elements {
        let (reverse, forward, difference) = (long(element.reverse), long(element.forward), long(element.difference));
        let composed = element.composed.map(long).unwrap_or_default();
        let error = format!("{:.0e}", element.difference_error);
        let line = format!("    {:<width$} {reverse:>18} {forward:>18} {difference:>18} {error:>9} {composed:>18}", place(worked, element));
        let _ = writeln!(out, "{}", line.trim_end());
    }
    let (forward, reverse) = worked.adjoint;
    let _ = writeln!(out, "\n    adjoint identity: ⟨v, J·u⟩ = {}, ⟨Jᵀ·v, u⟩ = {}\n", long(forward), long(reverse));
    let _ = writeln!(out, "    {:<18} {:>13} {:>13} {:>13}", "checked by", "error", "of its scale", "allowed");
    for check in &worked.report.checks {
        let (error, relative, allowed) = (short(check.max_abs_error), short(check.max_rel_error), short(check.tolerance));
        let verdict = if check.passed { "ok" } else { "WRONG" };
        let _ = writeln!(out, "    {:<18} {error:>13} {relative:>13} {allowed:>13}  {verdict}", check.method.name());
    }
    out
}

fn indented(text: &str) -> String {
    text.lines().map(|line| format!("    {line}\n")).collect()
}
