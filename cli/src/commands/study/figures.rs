//! The figures of the study.

use super::results::{Results, mean, value};
use super::stages::MIDDLE;
use super::store::Paths;
use crate::report::chart::{BarChart, Chart, XyChart};
use model::study::arms::ARMS;
use model::study::path::{DIVERGENCES, Moment, NAMES, at};

/// The arms in figures with a line for each: more lines cannot be told apart.
const SHOWN: [&str; 8] = ["dpo", "ipo", "simpo", "sft", "slpo-token", "slpo-exact", "slpo-gkl .9", "slpo-halves"];
/// Points of a line over divergences.
const POINTS: usize = 40;

fn shown() -> impl Iterator<Item = (usize, &'static str)> {
    ARMS.iter().enumerate().map(|(place, arm)| (place, arm.name)).filter(|(_, name)| SHOWN.contains(name))
}

/// Mean reward over seeds where the policy first reaches each divergence, beside the most that is possible.
pub fn paths(results: &Results, paths: &Paths) -> Chart {
    let most = DIVERGENCES[DIVERGENCES.len() - 1];
    let grid: Vec<f64> = (0..=POINTS).map(|i| most * i as f64 / POINTS as f64).collect();
    let best: Vec<(f64, f64)> = std::iter::once((0.0, 0.0))
        .chain(DIVERGENCES.iter().enumerate().map(|(place, &kl)| (kl, mean(&results.fresh(0, place, |record| record.best[place])))))
        .collect();
    let chart = XyChart::new("KL(π‖ref) (nats)", "reward above the reference").line("best possible", best);
    let line = |chart: XyChart, (arm, name): (usize, &'static str)| {
        let runs = paths.of(results, arm);
        // A line ends where fewer than all runs get that far.
        let reached = |kl: &f64| -> Option<(f64, f64)> {
            let rewards: Vec<f64> = runs.iter().map(|run| at(run, *kl)).filter(|at| at.is_reached).map(|at| at.values[0]).collect();
            (!rewards.is_empty() && rewards.len() == runs.len()).then(|| (*kl, mean(&rewards)))
        };
        chart.line(name, grid.iter().filter_map(reached).collect::<Vec<_>>())
    };
    shown().fold(chart, line).into()
}

/// The drift among the completions that nobody compared, over the steps.
pub fn drift(results: &Results, paths: &Paths) -> Chart {
    let chart = XyChart::new("step", "drift of the others (nats)");
    let line = |chart: XyChart, (arm, name): (usize, &'static str)| {
        let runs = paths.of(results, arm);
        let at_moment = |place: usize| -> Option<(f64, f64)> {
            let moments: Vec<&Moment> = runs.iter().map(|run| run.get(place)).collect::<Option<_>>()?;
            let drift: Vec<f64> = moments.iter().map(|moment| value(&moment.values, "drift")).collect();
            Some((moments.first()?.step as f64, mean(&drift)))
        };
        chart.line(name, (0..NAMES.len() * POINTS).map_while(at_moment).collect::<Vec<_>>())
    };
    shown().fold(chart, line).into()
}

/// The gain at the end against the longest completion; `None` if one of the lengths was not run.
pub fn lengths(results: &Results) -> Option<Chart> {
    let chart = XyChart::new("longest completion (tokens)", "reward above the reference, at the end");
    let end = |arm: usize, cell: &str| results.in_cell(cell, arm, |record| record.end.values[0]);
    let points = |arm: usize| {
        let point = |(length, cell): (f64, &str)| Some((length, mean(&end(arm, cell)?)));
        [(2.0, "length 2"), (4.0, "length 4"), (6.0, "length 6")].into_iter().map(point).collect::<Option<Vec<_>>>()
    };
    let lines: Vec<(&str, Vec<(f64, f64)>)> = (0..ARMS.len()).filter_map(|arm| Some((ARMS[arm].name, points(arm)?))).collect();
    (!lines.is_empty()).then(|| lines.into_iter().fold(chart, |chart, (name, points)| chart.line(name, points)).into())
}

/// The reward at the middle divergence against the share of labels that are flipped; `None` without flipped labels.
pub fn noise(results: &Results) -> Option<Chart> {
    let reward = |record: &super::record::Record| record.reached[MIDDLE].values[0];
    let cells =
        results.scale.cells.iter().filter_map(|cell| Some((cell, format!("0{}", cell.strip_prefix("flipped ")?).parse::<f64>().ok()?)));
    let cells: Vec<(&&str, f64)> = cells.collect();
    let line = |chart: XyChart, (arm, name): (usize, &'static str)| {
        let others = cells.iter().filter_map(|(cell, share)| Some((*share, mean(&results.in_cell(cell, arm, reward)?))));
        let points: Vec<(f64, f64)> = std::iter::once((0.0, mean(&results.fresh(arm, MIDDLE, reward)))).chain(others).collect();
        chart.line(name, points)
    };
    let chart = XyChart::new("share of labels that are flipped", format!("reward above the reference at κ = {}", DIVERGENCES[MIDDLE]));
    let arms = ARMS.iter().enumerate().map(|(place, arm)| (place, arm.name));
    let of_noise = ["dpo", "cdpo", "robust", "ipo", "slpo-token", "slpo-gkl 1", "slpo-gkl .7"];
    (!cells.is_empty()).then(|| arms.filter(|(_, name)| of_noise.contains(name)).fold(chart, line).into())
}

/// The reward of every arm less dpo's at the middle divergence, with half the width of the interval.
pub fn forest(results: &Results) -> Chart {
    let chart = BarChart::new(format!("reward less dpo's at κ = {}", DIVERGENCES[MIDDLE]));
    let bar = |chart: BarChart, beside: super::results::Beside| {
        let (low, high) = beside.difference.interval;
        chart.bar_with_error(ARMS[beside.arm].name, beside.difference.mean, (high - low) / 2.0)
    };
    results.beside_dpo(MIDDLE).into_iter().fold(chart, bar).into()
}
