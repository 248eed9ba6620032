//! The report of `slpo align`.

use crate::report::Report;
use crate::report::chart::XyChart;
use crate::run_folder::Record;
use crate::training::{series, smoothing};
use losses::Loss;
use model::align::metrics::{ACCURACY, CHOSEN_LOG_PROB, KL, MARGIN, REJECTED_LOG_PROB, held_out};
use model::align::unpaired::{DESIRABLE_LOG_RATIO, UNDESIRABLE_LOG_RATIO};
use serde_json::Value;

/// Builds the page of a run with this loss.
pub fn report(loss: Loss, description: String, records: &[Record], summary: &Value) -> Report {
    let losses = series(records, "loss");
    let window = smoothing(losses.len());
    let train = |name: &str| series(records, name);
    let chart = |label: &str| XyChart::new("step", label);
    Report::new(format!("Alignment with {loss}"))
        .lead(description)
        .figure("Loss", "Of each step's batch, before the step.", chart("loss").smoothed_line("training", losses, window))
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
            "Margin",
            "ln π/π_ref of the chosen completion less that of the rejected one.",
            chart("margin (nats)").smoothed_line("training", train(MARGIN), window).line("held out", train(held_out::MARGIN)),
        )
        .figure(
            "Accuracy",
            "The part of pairs with a margin above zero; \"preferred\" asks the model alone: is ln π larger for the chosen one?",
            chart("accuracy")
                .smoothed_line("training", decided(records, ACCURACY, MARGIN), window)
                .line("held out", decided(records, held_out::ACCURACY, held_out::MARGIN))
                .line("held out, preferred", train(held_out::PREFERRED)),
        )
        .figure(
            "Divergence from the reference",
            "KL(π‖π_ref) of the next token, averaged over the completion tokens of a step's pairs and of the pairs kept apart.",
            chart("KL (nats a token)").line("training", train(KL)).line("held out", train(held_out::KL)),
        )
        .section("Summary")
        .preformatted(format!("{summary:#}"))
}

/// Builds the page of a run on labelled rows with this loss.
pub fn report_of_rows(loss: Loss, description: String, records: &[Record], summary: &Value) -> Report {
    let losses = series(records, "loss");
    let window = smoothing(losses.len());
    let train = |name: &str| series(records, name);
    let chart = |label: &str| XyChart::new("step", label);
    Report::new(format!("Alignment with {loss}"))
        .lead(description)
        .figure("Loss", "Of each step's batch, before the step.", chart("loss").smoothed_line("training", losses, window))
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
        )
        .figure(
            "Divergence from the reference",
            "KL(π‖π_ref) of the next token, averaged over the completion tokens of a step's rows and of the rows kept apart.",
            chart("KL (nats a token)").line("training", train(KL)).line("held out", train(held_out::KL)),
        )
        .section("Summary")
        .preformatted(format!("{summary:#}"))
}

/// Returns the accuracies of records whose margin is not exactly 0. A margin of 0 means that the policy still equals its reference, so
/// there is no accuracy yet.
fn decided(records: &[Record], accuracy: &str, margin: &str) -> Vec<(f64, f64)> {
    let margins = series(records, margin);
    let is_tie = |step: f64| margins.contains(&(step, 0.0));
    series(records, accuracy).into_iter().filter(|(step, _)| !is_tie(*step)).collect()
}
