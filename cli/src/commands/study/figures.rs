//! The figures of the study.

use super::results::{Results, mean};
use super::store::Paths;
use crate::report::chart::{BarChart, Chart, XyChart};
use model::study::path::{Moment, mean_at};

/// The most lines in a figure: more cannot be told apart.
const MOST: usize = 8;
/// The arms in figures where there are more than [`MOST`].
const SHOWN: [&str; 8] = ["dpo", "ipo", "simpo", "sft", "slpo-token", "slpo-exact", "slpo-gkl .9", "slpo-halves"];
/// Points of a line over divergences.
const POINTS: usize = 40;

fn shown(results: &Results) -> Vec<(usize, &'static str)> {
    let arms = &results.design.arms;
    let is_shown = |(_, name): &(usize, &'static str)| arms.len() <= MOST || SHOWN.contains(name);
    arms.iter().enumerate().map(|(place, arm)| (place, arm.name)).filter(is_shown).collect()
}

/// The most that is possible at each divergence, from 0 on; `None` if that is not known.
fn best(results: &Results) -> Option<Vec<(f64, f64)>> {
    let best = |(place, &kl): (usize, &f64)| (kl, mean(&results.fresh(0, place, |record| record.best[place])));
    let points = || std::iter::once((0.0, 0.0)).chain(results.design.divergences.iter().enumerate().map(best)).collect();
    results.design.has_best.then(points)
}

fn with_best(results: &Results, chart: XyChart, farthest: f64) -> XyChart {
    let Some(points) = best(results) else { return chart };
    // The last point is moved back along its line to where the chart ends.
    let within = points.iter().take_while(|(kl, _)| *kl <= farthest).count();
    let mut shown = points[..within].to_vec();
    if let (Some(&(a, low)), Some(&(b, high))) = (shown.last(), points.get(within)) {
        shown.push((farthest, low + (high - low) * (farthest - a) / (b - a)));
    }
    chart.line("best possible", shown)
}

/// Mean outcome of the chosen settings at each divergence, beside the most that is possible if that is known.
pub fn matched(results: &Results) -> Chart {
    let design = &results.design;
    let outcome = |arm: usize, place: usize| mean(&results.fresh(arm, place, |record| record.reached[place].values[0]));
    let points = |arm: usize| design.divergences.iter().enumerate().map(|(place, &kl)| (kl, outcome(arm, place))).collect::<Vec<_>>();
    let chart = XyChart::new(design.divergence, design.outcome);
    let chart = with_best(results, chart, design.divergences.last().copied().unwrap_or(1.0));
    shown(results).into_iter().fold(chart, |chart, (arm, name)| chart.line(name, points(arm))).into()
}

/// Mean outcome over seeds where the policy first reaches each divergence, at the settings chosen for the middle one.
pub fn paths(results: &Results, paths: &Paths) -> Chart {
    let design = &results.design;
    let most = design.divergences.last().copied().unwrap_or(1.0);
    let grid: Vec<f64> = (0..=POINTS).map(|i| most * i as f64 / POINTS as f64).collect();
    let line = |arm: usize| {
        let runs = paths.of(results, arm);
        // A line ends where fewer than all runs get that far.
        grid.iter().filter_map(|&kl| Some((kl, mean_at(runs.iter().copied(), kl, 0)?))).collect::<Vec<_>>()
    };
    let lines: Vec<(&str, Vec<(f64, f64)>)> = shown(results).into_iter().map(|(arm, name)| (name, line(arm))).collect();
    let farthest = lines.iter().filter_map(|(_, points)| points.last()).map(|(kl, _)| *kl).fold(0.0, f64::max);
    let chart = with_best(results, XyChart::new(design.divergence, design.outcome), farthest);
    lines.into_iter().fold(chart, |chart, (name, points)| chart.line(name, points)).into()
}

/// A value over the steps, under the words of its axis.
pub fn over_steps(results: &Results, paths: &Paths, name: &str, words: &str) -> Chart {
    let of = results.design.values.iter().position(|known| *known == name).unwrap_or(0);
    let chart = XyChart::new("step", words);
    let line = |chart: XyChart, (arm, name): (usize, &'static str)| {
        let runs = paths.of(results, arm);
        let at_moment = |place: usize| -> Option<(f64, f64)> {
            let moments: Vec<&Moment> = runs.iter().map(|run| run.get(place)).collect::<Option<_>>()?;
            let values: Vec<f64> = moments.iter().map(|moment| moment.values[of]).collect();
            Some((moments.first()?.step as f64, mean(&values)))
        };
        chart.line(name, (0..).map_while(at_moment).collect::<Vec<_>>())
    };
    shown(results).into_iter().fold(chart, line).into()
}

/// The gain at the end against the longest completion; `None` if one of the lengths was not run.
pub fn lengths(results: &Results) -> Option<Chart> {
    let chart = XyChart::new("longest completion (tokens)", "reward above the reference, at the end");
    let end = |arm: usize, cell: &str| results.in_cell(cell, arm, |record| record.end.values[0]);
    let points = |arm: usize| {
        let point = |(length, cell): (f64, &str)| Some((length, mean(&end(arm, cell)?)));
        [(2.0, "length 2"), (4.0, "length 4"), (6.0, "length 6")].into_iter().map(point).collect::<Option<Vec<_>>>()
    };
    let lines: Vec<(&str, Vec<(f64, f64)>)> =
        (0..results.design.arms.len()).filter_map(|arm| Some((results.design.arms[arm].name, points(arm)?))).collect();
    (!lines.is_empty()).then(|| lines.into_iter().fold(chart, |chart, (name, points)| chart.line(name, points)).into())
}

/// The reward at the middle divergence against the share of labels that are flipped; `None` without flipped labels.
pub fn noise(results: &Results) -> Option<Chart> {
    let middle = results.design.middle();
    let reward = |record: &super::record::Record| record.reached[middle].values[0];
    let cells =
        results.design.cells.iter().filter_map(|cell| Some((cell, format!("0{}", cell.strip_prefix("flipped ")?).parse::<f64>().ok()?)));
    let cells: Vec<(&&str, f64)> = cells.collect();
    let line = |chart: XyChart, (arm, name): (usize, &'static str)| {
        let others = cells.iter().filter_map(|(cell, share)| Some((*share, mean(&results.in_cell(cell, arm, reward)?))));
        let points: Vec<(f64, f64)> = std::iter::once((0.0, mean(&results.fresh(arm, middle, reward)))).chain(others).collect();
        chart.line(name, points)
    };
    let chart = XyChart::new(
        "share of labels that are flipped",
        format!("reward above the reference at κ = {}", results.design.divergences[middle]),
    );
    let arms = results.design.arms.iter().enumerate().map(|(place, arm)| (place, arm.name));
    let of_noise = ["dpo", "cdpo", "robust", "ipo", "slpo-token", "slpo-gkl 1", "slpo-gkl .7"];
    (!cells.is_empty()).then(|| arms.filter(|(_, name)| of_noise.contains(name)).fold(chart, line).into())
}

/// The outcome of every arm less that of the first at the middle divergence, with half the width of the interval.
pub fn forest(results: &Results) -> Chart {
    let design = &results.design;
    let middle = design.middle();
    let chart = BarChart::new(format!("{}, less that of {}, at κ = {}", design.outcome, design.arms[0].name, design.divergences[middle]));
    let bar = |chart: BarChart, beside: super::results::Beside| {
        let (low, high) = beside.difference.interval;
        chart.bar_with_error(design.arms[beside.arm].name, beside.difference.mean, (high - low) / 2.0)
    };
    results.beside_first(middle).into_iter().fold(chart, bar).into()
}
