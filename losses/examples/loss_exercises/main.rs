//! Four losses for you to write. They are marked by `verify`, which names the mistake where it knows it.
//!
//! ```text
//! cargo run -p slpo-losses --example loss_exercises                   what there is, and what you have solved
//! cargo run -p slpo-losses --example loss_exercises -- dpo            marks dpo in yours.rs
//! cargo run -p slpo-losses --example loss_exercises -- all --solutions
//! ```

mod solutions;
mod yours;

use losses::verify::{DumpPrecision, PairProblem, Problem, Report, Results, verify};
use losses::{Hyperparameters, Loss, LossError};
use yours::Answer;

/// [chosen, rejected, reference chosen, reference rejected] of each pair; the last pair is past hinge's kink.
const PAIRS: [[f64; 4]; 4] = [[-1.5, -2.0, -1.75, -1.25], [-0.75, -3.0, -1.0, -2.5], [-4.0, -3.5, -3.0, -4.0], [-1.0, -25.0, -6.0, -3.0]];
const BETA: f64 = 0.1;
const LOSSES: [Loss; 4] = [Loss::Dpo, Loss::IpoSum, Loss::Hinge, Loss::Slpo];

fn answer(loss: Loss, pair: [f64; 4], is_solution: bool) -> Answer {
    match (loss, is_solution) {
        (Loss::Dpo, false) => yours::dpo(pair, BETA),
        (Loss::IpoSum, false) => yours::ipo_sum(pair, BETA),
        (Loss::Hinge, false) => yours::hinge(pair, BETA),
        (_, false) => yours::slpo(pair),
        (Loss::Dpo, true) => solutions::dpo(pair, BETA),
        (Loss::IpoSum, true) => solutions::ipo_sum(pair, BETA),
        (Loss::Hinge, true) => solutions::hinge(pair, BETA),
        (_, true) => solutions::slpo(pair),
    }
}

/// Marks a loss by the mean over the pairs; `None` if it is not solved yet.
fn mark(loss: Loss, is_solution: bool) -> Result<Option<Report>, LossError> {
    let answers: Option<Vec<(f64, [f64; 2])>> = PAIRS.into_iter().map(|pair| answer(loss, pair, is_solution)).collect();
    let Some(answers) = answers else { return Ok(None) };
    let column = |place: usize| PAIRS.iter().map(|pair| pair[place]).collect::<Vec<f64>>();
    let problem = PairProblem {
        terms: vec![(loss, 1.0)],
        hyper: Hyperparameters { beta: BETA, alpha: 1.0, ..Hyperparameters::default() },
        policy_chosen: column(0),
        policy_rejected: column(1),
        reference_chosen: column(2),
        reference_rejected: column(3),
        lengths: None,
        weights: None,
        divergences: None,
    };
    // The gradients of a mean are those of the pairs, divided by their number.
    let mean = |values: Vec<f64>| values.iter().sum::<f64>() / PAIRS.len() as f64;
    let slopes = |side: usize| Some(answers.iter().map(|(_, slopes)| slopes[side] / PAIRS.len() as f64).collect());
    let results = Results { loss: Some(mean(answers.iter().map(|(loss, _)| *loss).collect())), gradients: vec![slopes(0), slopes(1)] };
    verify(&Problem::Pairs(problem), &results, DumpPrecision::F64).map(Some)
}

fn show(loss: Loss, report: Option<Report>) -> bool {
    let Some(report) = report else {
        println!("{loss}: not solved yet: it returns None in losses/examples/loss_exercises/yours.rs");
        return false;
    };
    if report.passed {
        println!("{loss}: right, the loss and both slopes");
        return true;
    }
    println!("{loss}: not right");
    if let Some(wrong) = report.loss.filter(|loss| !loss.passed) {
        println!("  the mean loss is {:.6}, you have {:.6}", wrong.ours, wrong.theirs);
    }
    for wrong in report.gradients.iter().filter(|gradient| !gradient.passed) {
        println!("  {} of pair {}: expected {:.6}, got {:.6}", wrong.name, wrong.worst_index, wrong.ours, wrong.theirs);
    }
    println!("  {}", report.explanation.map_or_else(|| "no known mistake explains it".to_owned(), |words| format!("probably {words}")));
    false
}

fn main() -> Result<(), LossError> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let is_solution = arguments.iter().any(|argument| argument == "--solutions");
    let name = arguments.iter().find(|argument| *argument != "--solutions").map_or("all", String::as_str);
    let wanted: Vec<Loss> = LOSSES.into_iter().filter(|loss| name == "all" || loss.name() == name).collect();
    if wanted.is_empty() {
        eprintln!("there is no exercise {name:?}; there are {}", LOSSES.map(Loss::name).join(", "));
    }
    let mut are_right = !wanted.is_empty();
    for loss in wanted {
        are_right &= show(loss, mark(loss, is_solution)?);
    }
    std::process::exit(i32::from(!are_right));
}
