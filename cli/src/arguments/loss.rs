//! What a loss takes besides its name.

use super::headings::LOSS;
use super::values;
use crate::failure::Failure;
use clap::Args;
use losses::{Hyperparameters, LossError};
use model::align::Objective;
use serde::Serialize;

/// The hyper-parameters of the losses.
#[derive(Debug, Clone, Args, Serialize)]
pub struct LossSettings {
    /// β of dpo, cdpo, ipo, hinge and robust, from 1e-6 to 1e6: how strongly they hold the model to its reference
    #[arg(long, value_name = "B", help_heading = LOSS, default_value_t = 0.1, value_parser = values::positive)]
    pub beta: f64,
    /// α of the SLPO forms, above 0.5 and at most 1 (from 0 with --weights shift): the share of the pair's probability that goes to the
    /// chosen completion
    #[arg(long, value_name = "A", help_heading = LOSS, default_value_t = 1.0, value_parser = values::unit)]
    pub alpha: f64,
    /// The fraction of preferences that cdpo and robust take to be wrong, at least 0 and at most 0.4995
    #[arg(long, value_name = "E", help_heading = LOSS, default_value_t = 0.1, value_parser = values::unit)]
    pub label_smoothing: f64,
    /// The weights of the SLPO forms: eq7 (w_w = α·m, w_l = (1−α)·m) or shift (w_w = π_w + α·π_l, w_l = (1−α)·π_l)
    #[arg(long, value_name = "FORM", help_heading = LOSS, default_value = "eq7", value_parser = ["eq7", "shift"])]
    pub weights: String,
    /// Divide each log-probability by its completion's tokens (ipo's mean form)
    #[arg(long, help_heading = LOSS)]
    pub length_normalize: bool,
}

impl LossSettings {
    /// The loss of this name with these settings.
    ///
    /// # Errors
    /// [`Failure::Usage`] for a setting that the loss cannot have.
    pub fn of(&self, loss: &str) -> Result<Objective, Failure> {
        self.objective(loss).map_err(|error| Failure::Usage(error.to_string()))
    }

    fn objective(&self, loss: &str) -> Result<Objective, LossError> {
        let loss = loss.parse()?;
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
