//! `slpo audit`: recomputes the claims of the SLPO paper from a seed, and gives a verdict on each.

mod formulas;
mod page;

use crate::arguments::{Audit, Shared};
use crate::failure::Failure;
use crate::output::{Number, Output};
use losses::audit::figures::figures;
use losses::audit::{Check, Claim, audit};
use serde::Serialize;
use std::io::{self, Write};

/// The width of a printed paragraph, in columns.
const WIDTH: usize = 100;

#[derive(Serialize)]
struct Audited<'a> {
    claims: Vec<Line<'a>>,
}

#[derive(Serialize)]
struct Line<'a> {
    id: &'a str,
    claim: &'a str,
    verdict: &'a str,
    evidence: &'a str,
    value: Number,
    expected: Number,
    holds: bool,
    formula: &'a str,
    tolerance: Number,
    agrees: bool,
    source: &'a str,
    file: &'a str,
    function: &'a str,
    checks: Vec<Compared>,
}

/// A computed number beside its prediction.
#[derive(Serialize)]
struct Compared {
    what: &'static str,
    value: Number,
    expected: Number,
    tolerance: Number,
    agrees: bool,
}

impl From<&Check> for Compared {
    fn from(check: &Check) -> Self {
        let [value, expected, tolerance] = [check.value, check.expected, check.tolerance].map(Number);
        Self { what: check.what, value, expected, tolerance, agrees: check.agrees() }
    }
}

impl<'a> From<&'a Claim> for Line<'a> {
    fn from(claim: &'a Claim) -> Self {
        Self {
            id: claim.id,
            claim: claim.claim,
            verdict: &claim.verdict,
            evidence: &claim.evidence,
            value: Number(claim.value),
            expected: Number(claim.expected),
            holds: claim.holds,
            formula: claim.formula,
            tolerance: Number(claim.tolerance),
            agrees: claim.agrees,
            source: claim.source,
            file: claim.file(),
            function: claim.function(),
            checks: claim.checks.iter().map(Compared::from).collect(),
        }
    }
}

/// Computes every claim. If a page is asked for, writes it before anything is printed.
///
/// # Errors
/// [`Failure::Report`] if the page cannot be written; [`Failure::Failed`] if a computed number disagrees with its prediction.
pub fn run(options: &Audit, shared: &Shared) -> Result<(), Failure> {
    let claims = audit(shared.seed);
    if let Some(path) = &options.html {
        page::page(&claims, &figures(shared.seed), shared.seed).write(path)?;
    }
    let audited = Audited { claims: claims.iter().map(Line::from).collect() };
    Output::new(shared.json).result(&audited, |to| write_list(to, &claims, shared.seed))?;
    let wrong: Vec<&str> = claims.iter().filter(|claim| !claim.agrees).map(|claim| claim.id).collect();
    if !wrong.is_empty() {
        return Err(Failure::Failed(format!("the computation disagrees with its prediction for {}", wrong.join(", "))));
    }
    Ok(())
}

fn write_list(to: &mut dyn Write, claims: &[Claim], seed: u64) -> io::Result<()> {
    for claim in claims {
        paragraph(to, &format!("{:<4}", claim.id), claim.claim)?;
        paragraph(to, "     verdict:", &claim.verdict)?;
        paragraph(to, "     ", &claim.evidence)?;
        writeln!(to)?;
    }
    let holding = claims.iter().filter(|claim| claim.holds).count();
    let agreeing = claims.iter().filter(|claim| claim.agrees).count();
    writeln!(to, "seed {seed}: {holding} of {} claims hold; {agreeing} of {0} computations agree with their predictions", claims.len())
}

/// Writes a paragraph behind a head. Further lines are indented to the claim's text.
fn paragraph(to: &mut dyn Write, head: &str, text: &str) -> io::Result<()> {
    let mut line = head.to_owned();
    for word in text.split_whitespace() {
        if line.chars().count() + 1 + word.chars().count() > WIDTH {
            writeln!(to, "{line}")?;
            line = "    ".to_owned();
        }
        if !line.ends_with("     ") {
            line.push(' ');
        }
        line.push_str(word);
    }
    writeln!(to, "{line}")
}
