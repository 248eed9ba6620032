//! The report of `slpo align`.

use crate::report::Report;
use crate::report::chart::XyChart;
use crate::run_folder::Record;
use crate::training::{is_tie, series, smoothing};
use losses::Loss;
use model::align::metrics::{ACCURACY, CHOSEN_LOG_PROB, CHOSEN_LOG_RATIO, KL, MARGIN, REJECTED_LOG_PROB, held_out};
use model::align::unpaired::{DESIRABLE_LOG_RATIO, UNDESIRABLE_LOG_RATIO};

/// Builds the page of a run with this loss.
pub fn report(loss: Loss, description: String, records: &[Record]) -> Report {
    let (train, chart) = (|name: &str| series(records, name), |label: &str| XyChart::new("step", label));
    let window = smoothing(train("loss").len());
    let page = begin(loss, description, records)
        .figure(
            "Log-probabilities of the completions",
            "Sums over completion tokens. Watch whether the chosen completions fall together with the rejected ones.",
            chart("log-probability (nats)")
                .smoothed_line("chosen", train(CHOSEN_LOG_PROB), window)
                .smoothed_line("rejected", train(REJECTED_LOG_PROB), window)
                .line("chosen, held out", train(held_out::CHOSEN_LOG_PROB))
                .line("rejected, held out", train(held_out::REJECTED_LOG_PROB)),
        )
        .figure(
            "Log-ratios of the completions",
            "ln π/π_ref, summed over completion tokens. Below 0 the policy makes them less likely than the reference does.",
            chart("log-ratio (nats)").smoothed_line("chosen", train(CHOSEN_LOG_RATIO), window).smoothed_line(
                "rejected",
                rejected_log_ratio(records),
                window,
            ),
        )
        .figure(
            "Margin",
            "ln π/π_ref of the chosen completion less that of the rejected one.",
            chart("margin (nats)").smoothed_line("training", train(MARGIN), window).line("held out", train(held_out::MARGIN)),
        )
        .figure(
            "Accuracy",
            "The part of pairs with a margin above zero; \"preferred\" asks the model alone: is ln π larger for the chosen one?",
            chart("accuracy")
                .smoothed_line("training", decided(records, ACCURACY), window)
                .line("held out", decided(records, held_out::ACCURACY))
                .line("held out, preferred", train(held_out::PREFERRED)),
        );
    end(page, "pairs", records)
}

/// Builds the page of a run on labelled rows with this loss.
pub fn report_of_rows(loss: Loss, description: String, records: &[Record]) -> Report {
    let (train, chart) = (|name: &str| series(records, name), |label: &str| XyChart::new("step", label));
    let window = smoothing(train("loss").len());
    let page = begin(loss, description, records)
        .figure(
            "Log-ratios of the completions",
            "ln π/π_ref, summed over completion tokens. Desirable completions should rise above 0 and undesirable ones fall below it.",
            chart("log-ratio (nats)")
                .smoothed_line("desirable", train(DESIRABLE_LOG_RATIO), window)
                .smoothed_line("undesirable", train(UNDESIRABLE_LOG_RATIO), window)
                .line("desirable, held out", train(held_out::DESIRABLE_LOG_RATIO))
                .line("undesirable, held out", train(held_out::UNDESIRABLE_LOG_RATIO)),
        )
        .figure(
            "Accuracy",
            "The part of rows whose log-ratio has the sign of their label.",
            chart("accuracy").smoothed_line("training", train(ACCURACY), window).line("held out", train(held_out::ACCURACY)),
        );
    end(page, "rows", records)
}

/// Begins the page of either kind of run: its title and the loss.
fn begin(loss: Loss, description: String, records: &[Record]) -> Report {
    let losses = series(records, "loss");
    let window = smoothing(losses.len());
    let chart = XyChart::new("step", "loss").smoothed_line("training", losses, window);
    Report::new(format!("Alignment with {loss}")).lead(description).figure("Loss", "Of each step's batch, before the step.", chart)
}

/// Ends the page of either kind of run: the divergence on its `examples`, pairs or rows,
fn end(page: Report, examples: &str, records: &[Record]) -> Report {
    let chart =
        XyChart::new("step", "KL (nats a token)").line("training", series(records, KL)).line("held out", series(records, held_out::KL));
    let what = format!(
        "KL(π‖π_ref) of the next token, averaged over the completion tokens of a step's {examples} and of the {examples} kept apart."
    );
    page.figure("Divergence from the reference", what, chart)
}

/// Returns the accuracies of records in which pairs are decided.
fn decided(records: &[Record], accuracy: &str) -> Vec<(f64, f64)> {
    let decided: Vec<Record> = records.iter().filter(|record| !is_tie(record, accuracy)).cloned().collect();
    series(&decided, accuracy)
}

/// Returns ln π/π_ref of the rejected completions of each step: that of the chosen ones less the margin.
fn rejected_log_ratio(records: &[Record]) -> Vec<(f64, f64)> {
    let margins = series(records, MARGIN);
    let chosen = series(records, CHOSEN_LOG_RATIO);
    chosen.into_iter().zip(margins).map(|((step, chosen), (_, margin))| (step, chosen - margin)).collect()
}
