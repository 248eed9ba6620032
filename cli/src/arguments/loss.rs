//! The settings of a loss.

use super::headings::LOSS;
use super::values;
use crate::failure::Failure;
use clap::Args;
use losses::{Hyperparameters, Loss, LossError, Setting};
use model::align::Objective;
use serde::Serialize;

/// The hyper-parameters of the losses.
#[derive(Debug, Clone, Args, Serialize)]
pub struct LossSettings {
    /// How strongly the model is held to its reference.
    #[arg(long, value_name = "B", help_heading = LOSS, default_value_t = 0.1, value_parser = values::number, help = beta())]
    pub beta: f64,
    /// The share of the pair's probability that goes to the chosen completion.
    #[arg(long, value_name = "A", help_heading = LOSS, default_value_t = 1.0, value_parser = values::unit, help = alpha())]
    pub alpha: f64,
    /// The fraction of preferences that are taken to be wrong.
    #[arg(long, value_name = "E", help_heading = LOSS, default_value_t = 0.1, value_parser = values::unit, help = label_smoothing())]
    pub label_smoothing: f64,
    /// The rule for the target masses.
    #[arg(long, value_name = "FORM", help_heading = LOSS, default_value = "eq7", value_parser = ["eq7", "shift"], help = weights())]
    pub weights: String,
    /// Means over the tokens instead of sums.
    #[arg(long, help_heading = LOSS, help = length_normalize())]
    pub length_normalize: bool,
}

impl LossSettings {
    /// Creates the loss of this name with these settings.
    ///
    /// # Errors
    /// [`Failure::Usage`] for a setting that the loss does not support.
    pub fn of(&self, loss: &str) -> Result<Objective, Failure> {
        self.objective(loss).map_err(|error| Failure::Usage(error.to_string()))
    }

    fn objective(&self, loss: &str) -> Result<Objective, LossError> {
        let loss: Loss = loss.parse()?;
        let hyper = Hyperparameters {
            beta: self.beta,
            label_smoothing: self.label_smoothing,
            alpha: self.alpha,
            weights: self.weights.parse()?,
            length_normalize: self.length_normalize,
        };
        Objective::new(loss, hyper)
    }
}

/// Lists the names of the losses that use a setting.
pub fn users(setting: Setting) -> String {
    Loss::listed(|loss| loss.uses().contains(&setting))
}

fn beta() -> String {
    let setting = Setting::Beta;
    format!("β of {}, {}: how strongly they hold the model to its reference", users(setting), setting.range())
}

fn alpha() -> String {
    let setting = Setting::Alpha;
    let (users, range) = (users(setting), setting.range());
    format!("α of {users}, {range}: the share of the pair's probability that goes to the chosen completion")
}

fn label_smoothing() -> String {
    let setting = Setting::LabelSmoothing;
    format!("The fraction of preferences that {} take to be wrong, {}", users(setting), setting.range())
}

fn weights() -> String {
    let users = users(Setting::Weights);
    format!("The weights of {users}: eq7 (w_w = α·m, w_l = (1−α)·m) or shift (w_w = π_w + α·π_l, w_l = (1−α)·π_l)")
}

fn length_normalize() -> String {
    let users = users(Setting::LengthNormalize);
    format!("Divide each log-probability by its completion's tokens (the mean form of {users})")
}
