//! The demo's report page.

use super::experiment::{Experiment, RUNS};
use super::measure::{HEADINGS, Outcome, best_cells, matched};
use crate::number::signed;
use crate::report::chart::{BarChart, XyChart};
use crate::report::{Align, Report, Table};
use model::align::PairMetrics;
use std::time::Duration;

/// The number of points over which a smoothed line averages.
const SMOOTHING: usize = 15;

/// Builds the whole page.
pub fn report(experiment: &Experiment, outcomes: &[Outcome], elapsed: Duration) -> Report {
    let page = Report::new("SLPO and DPO on a language whose truth is known")
        .lead(
            "A decoder learned a small generated language. Pairs of its own completions were labelled by a reward that is known \
             exactly. Each loss aligned it from the same start with the same steps, batches and learning rate, three times.",
        )
        .table(table(experiment, outcomes))
        .paragraph(
            "Losses can be compared only where their policies are equally far from the reference: at ¼, ½ and 1 nat of KL(π‖ref), each \
             where a run first gets that far. The other columns are for the end of the runs, where each loss is at a divergence of its own.",
        )
        .paragraph(
            "E[reward] and the two divergences are means over completions drawn from the models, with their standard errors. \
             KL(π‖ref) is what alignment spent. KL(ref‖π) is large where completions that the reference gives were lost. Δ is the mean \
             change of ln π of the chosen and of the rejected completions, on pairs that were kept apart. Divergences and changes are in \
             nats a completion.",
        )
        .figure(
            "Reward against divergence",
            "Mean paths of three runs. The upper line is the best that any policy can do: the closed-form optimum of E[r] − β·KL for the \
             language. Of two losses at the same divergence, the upper one has spent it better. A line ends where not all runs get that \
             far.",
            frontier(experiment, outcomes),
        )
        .figure(
            "Reward at the end",
            "Expected reward with standard errors. Each method is at a divergence of its own.",
            bars(experiment, outcomes),
        )
        .figure(
            "Accuracy on pairs kept apart",
            "The part of unseen pairs whose log-ratio favours the chosen completion.",
            accuracies(outcomes),
        );
    let page = page
        .section("Ten sentences before and after")
        .paragraph(
            "Each row has one prompt and the same random numbers, so a model that did not change writes the same sentence. The number is \
             the sentence's reward. Kind deeds, gentle manners and places are rewarded, rough deeds are not.",
        )
        .table(sentences(outcomes));
    let page = curves(page, outcomes);
    page.section("The language")
        .paragraph(example_text(experiment))
        .figure(
            "Learning the language",
            "The model's loss comes down to the entropy of the language, below which nothing can go.",
            XyChart::new("step", "loss (nats a sentence)")
                .smoothed_line("training", experiment.learning_curve.clone(), SMOOTHING)
                .reference("entropy of the language", experiment.language.entropy()),
        )
        .section("How it was run")
        .key_values(settings(experiment, elapsed))
}

fn table(experiment: &Experiment, outcomes: &[Outcome]) -> Table {
    let columns = HEADINGS.iter().enumerate().map(|(i, heading)| (*heading, if i == 0 { Align::Left } else { Align::Right }));
    let caption = "Expected reward where KL(π‖ref) first reaches a divergence, then at the end: means of three runs.";
    let empty = Table::new(columns).caption(caption).row(best_cells(experiment));
    let best = outcomes.iter().filter_map(|o| o.matched[HALF]).fold(f64::NEG_INFINITY, f64::max);
    outcomes.iter().fold(empty, |table, outcome| {
        let table = table.row(outcome.cells());
        if outcome.matched[HALF] == Some(best) { table.highlight(1 + HALF) } else { table }
    })
}

/// The methods whose sentences are shown beside the reference's.
const WRITERS: [&str; 2] = ["DPO", "SLPO-GKL α=0.9"];

fn sentences(outcomes: &[Outcome]) -> Table {
    let writers: Vec<&Outcome> =
        outcomes.iter().filter(|outcome| outcome.curve.is_empty() || WRITERS.contains(&outcome.name.as_str())).collect();
    let columns = writers.iter().flat_map(|writer| [(writer.name.clone(), Align::Left), ("reward".to_owned(), Align::Right)]);
    let rows = (0..writers.iter().map(|writer| writer.sentences.len()).min().unwrap_or(0)).map(|row| {
        writers.iter().flat_map(move |writer| {
            let (sentence, reward) = &writer.sentences[row];
            [sentence.clone(), signed(*reward, 2)]
        })
    });
    rows.fold(Table::new(columns), |table, row| table.row(row.collect::<Vec<_>>()))
}

/// Points of a line over divergences.
const POINTS: usize = 40;
/// The least divergence of the chart, in nats.
const LEAST: f64 = 0.02;
/// The place of half a nat among the divergences.
const HALF: usize = 1;

fn frontier(experiment: &Experiment, outcomes: &[Outcome]) -> XyChart {
    let language = &experiment.language;
    let farthest = outcomes.iter().map(|outcome| outcome.kl.0).fold(1.0, f64::max);
    let grid: Vec<f64> = (0..=POINTS).map(|i| LEAST * (farthest / LEAST).powf(i as f64 / POINTS as f64)).collect();
    let points: Vec<(f64, f64)> = grid.iter().map(|&kl| (kl, language.most_reward_at(kl))).collect();
    let chart = XyChart::new("KL from the reference (nats a completion)", "expected reward").log_x().line("best possible", points);
    let line = |chart: XyChart, outcome: &Outcome| {
        let points: Vec<(f64, f64)> = grid.iter().filter_map(|&kl| Some((kl, matched(&outcome.paths, kl)?))).collect();
        chart.line(outcome.name.as_str(), points)
    };
    outcomes.iter().filter(|outcome| !outcome.paths.is_empty()).fold(chart, line)
}

fn bars(experiment: &Experiment, outcomes: &[Outcome]) -> BarChart {
    let chart = BarChart::new("expected reward").reference("the language's own", experiment.language.expected_reward());
    outcomes.iter().fold(chart, |chart, o| chart.bar_with_error(o.name.as_str(), o.reward.0, o.reward.1))
}

fn accuracies(outcomes: &[Outcome]) -> BarChart {
    let aligned = outcomes.iter().filter(|o| !o.curve.is_empty());
    aligned.fold(BarChart::new("accuracy").reference("a coin's", 0.5), |chart, o| chart.bar(o.name.as_str(), o.accuracy))
}

fn curves(page: Report, outcomes: &[Outcome]) -> Report {
    let chart = |label: &str, value: fn(&PairMetrics) -> f64| {
        outcomes.iter().filter(|o| !o.curve.is_empty()).fold(XyChart::new("step", label), |chart, outcome| {
            let points: Vec<(f64, f64)> = outcome.curve.iter().map(|p| (p.step as f64, value(&p.pairs))).collect();
            chart.smoothed_line(outcome.name.as_str(), points, SMOOTHING)
        })
    };
    page.section("During alignment")
        .figure(
            "Chosen completions",
            "Mean ln π(y_w) − ln π_ref(y_w) of the batch: below zero the chosen completions themselves become less likely.",
            chart("change of chosen log-prob (nats)", |pairs| pairs.chosen_log_ratio),
        )
        .figure(
            "Rejected completions",
            "Mean ln π(y_l) − ln π_ref(y_l) of the batch.",
            chart("change of rejected log-prob (nats)", |pairs| pairs.chosen_log_ratio - pairs.margin),
        )
        .figure(
            "Accuracy on the batch",
            "The part of the batch's pairs whose log-ratio favours the chosen completion, before the step.",
            chart("accuracy", |pairs| pairs.accuracy),
        )
}

fn example_text(experiment: &Experiment) -> String {
    let language = &experiment.language;
    let mut generator = engine::Generator::new(11);
    let sentences: Vec<String> = (0..5).map(|_| language.decode(&language.sample_sentence(&mut || generator.uniform()))).collect();
    format!(
        "{} words, {} prompts. Sentences drawn from it: {} Its entropy is {:.3} nats a sentence, its expected reward {:.3}.",
        language.words().len(),
        language.prompts().len(),
        sentences.join(" "),
        language.entropy(),
        language.expected_reward()
    )
}

fn settings(experiment: &Experiment, elapsed: Duration) -> Vec<(String, String)> {
    let budget = &experiment.budget;
    let rows = [
        ("parameters", experiment.reference.parameter_count().to_string()),
        ("pretraining", format!("{} steps of {} sentences", budget.pretrain_steps, budget.pretrain_batch)),
        (
            "alignment",
            format!(
                "{RUNS} runs of {} steps of {} pairs, learning rate {:e}, β of DPO 1",
                budget.align_steps, budget.align_batch, budget.align_learning_rate
            ),
        ),
        ("pairs", format!("{} to train on, {} kept apart, labelled by the higher reward", budget.train_pairs, budget.held_out_pairs)),
        ("samples for each estimate", budget.samples.to_string()),
        ("command", std::env::args().collect::<Vec<_>>().join(" ")),
        ("time", format!("{:.0} s", elapsed.as_secs_f64())),
    ];
    rows.map(|(key, value)| (key.to_owned(), value)).to_vec()
}
