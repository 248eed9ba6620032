//! The audit as a page: each claim with its formula, verdict and numbers, followed by the figures that show it.

use super::formulas;
use crate::report::chart::{Chart, SurfaceChart, XyChart};
use crate::report::{Card, Report, Tone};
use losses::audit::figures::{Curves, Drawing, Figure, Surface};
use losses::audit::{Check, Claim};

/// Headings. Each covers the claims whose ids begin with one of its letters.
const SECTIONS: [(&str, &str); 9] = [
    ("Equations 1 to 5 and Appendix A: DPO rewritten", "EA"),
    ("Key observations about DPO", "K"),
    ("Appendix B: temperature", "B"),
    ("Section 4: cross-entropy with soft targets", "P"),
    ("Section 5: the objective", "S"),
    ("Section 6: the implementation", "I"),
    ("The shape of the objective", "C"),
    ("Our rescaled limit", "G"),
    ("The paper's later revision", "R"),
];

/// Builds the page of these claims and figures, which were computed from `seed`.
pub fn page(claims: &[Claim], figures: &[Figure], seed: u64) -> Report {
    let cards: Vec<Card> = claims.iter().map(card).collect();
    let count = |tone| cards.iter().filter(|card| card.tone == tone).count();
    let agreeing = claims.iter().filter(|claim| claim.agrees).count();
    let lead = format!(
        "{} claims of Ho, \"Supervised Learning Preference Optimization\", each recomputed on instances drawn from the seed {seed}: values \
         and gradients in f64 by this program's own tape, curvature by exact Hessian-vector products, sequences by enumeration. {} are true, \
         {} true with a reservation, {} false, misleading or defects.",
        claims.len(),
        count(Tone::Holds),
        count(Tone::Partly),
        count(Tone::Fails)
    );
    let report = Report::new("The SLPO paper, audited").lead(lead);
    let report = WHAT_IT_IS.iter().fold(report, |report, text| report.paragraph(*text));
    let report = report.fragment(contents(&cards)).index(&cards).key_values([
        ("seed", seed.to_string()),
        ("claims", claims.len().to_string()),
        ("computations that agree with theory", format!("{agreeing} of {}", claims.len())),
    ]);
    let report = SECTIONS.iter().fold(report, |report, (heading, letters)| {
        let inside = cards.iter().filter(|card| card.id.starts_with(|letter| letters.contains(letter)));
        inside.fold(report.section(*heading), |report, card| {
            // A figure is placed below the last of the claims that it shows.
            let below = figures.iter().filter(|figure| figure.claims.last() == Some(&card.id.as_str()) && !is_papers(figure));
            below.fold(report.card(card.clone()), draw)
        })
    });
    figures.iter().filter(|figure| is_papers(figure)).fold(report.section("The paper's own figures, redrawn"), draw)
}

/// What a reader needs to know before the claims.
const WHAT_IT_IS: [&str; 2] = [
    "A language model π, the policy, is to prefer one completion of a prompt, the chosen one, to another, the rejected one, without moving \
     far from the model it began as, the reference. DPO raises the margin between the two log-ratios ln π/π_ref. Nothing in it keeps the \
     chosen completion's own probability from falling.",
    "SLPO replaces that by supervised learning: it moves the rejected completion's probability to the chosen one, keeps that of every other \
     completion, and minimises the cross-entropy to this target. Each card has one claim of the paper, its formula, what was computed, and \
     the verdict.",
];

/// Links to the first card of each section.
fn contents(cards: &[Card]) -> String {
    let link = |(heading, letters): &(&str, &str)| {
        let first = cards.iter().find(|card| card.id.starts_with(|letter| letters.contains(letter)))?;
        Some(format!("<li><a href=\"#{}\">{}</a></li>", first.id, escaped(heading)))
    };
    format!("<nav><ul>{}</ul></nav>", SECTIONS.iter().filter_map(link).collect::<String>())
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;")
}

fn is_papers(figure: &Figure) -> bool {
    figure.name.starts_with("paper-")
}

fn card(claim: &Claim) -> Card {
    Card {
        id: claim.id.to_owned(),
        heading: claim.claim.to_owned(),
        latex: formulas::of(claim.id).unwrap_or_default().to_owned(),
        tone: tone(claim),
        verdict: claim.verdict.clone(),
        evidence: claim.evidence.clone(),
        computed: claim.formula.to_owned(),
        rows: claim.checks.iter().map(row).collect(),
        file: claim.file().to_owned(),
        function: claim.function().to_owned(),
    }
}

/// Chooses the tone of a claim. A claim that does not hold fails, and a verdict that says more than "true" has a reservation.
fn tone(claim: &Claim) -> Tone {
    match claim.verdict.split_once([',', ':', '(', ' ']).map_or(claim.verdict.as_str(), |(first, _)| first).trim() {
        _ if !claim.holds => Tone::Fails,
        _ if claim.verdict == "true" => Tone::Holds,
        "true" | "exact" => Tone::Partly,
        _ => Tone::Fails,
    }
}

fn row(check: &Check) -> [String; 4] {
    [check.what.to_owned(), number(check.value), number(check.expected), format!("{:.0e}", check.tolerance)]
        .map(|text| text.replace('-', "−"))
}

fn number(x: f64) -> String {
    match x.abs() {
        0.0 => "0".to_owned(),
        size if (1e-3..1e5).contains(&size) => format!("{x:.9}").trim_end_matches('0').trim_end_matches('.').to_owned(),
        _ => format!("{x:.6e}"),
    }
}

fn draw(report: Report, figure: &Figure) -> Report {
    let chart: Chart = match &figure.drawing {
        Drawing::Curves(curves) => xy(curves).into(),
        Drawing::Surface(found) => surface(found).into(),
    };
    report.figure(figure.title.clone(), figure.caption.clone(), chart)
}

fn xy(curves: &Curves) -> XyChart {
    let chart = XyChart::new(curves.x_label, curves.y_label);
    let chart = if curves.log_y { chart.log_y() } else { chart };
    let chart = curves.curves.iter().fold(chart, |chart, curve| match curve.marks {
        true => chart.points(&curve.name, curve.points.clone()),
        false => chart.line(&curve.name, curve.points.clone()),
    });
    curves.levels.iter().fold(chart, |chart, (label, y)| chart.reference(label, *y))
}

fn surface(found: &Surface) -> SurfaceChart {
    let Surface { x_label, y_label, value_label, x, y, values, path } = found.clone();
    SurfaceChart { x_label: x_label.to_owned(), y_label: y_label.to_owned(), value_label, x, y, values, path }
}
