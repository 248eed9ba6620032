//! What `slpo verify` takes.

use super::values;
use clap::Args;
use std::path::PathBuf;

/// Names of the losses that can be verified: those that are functions of what a dump holds.
const VERIFIABLE: [&str; 9] = ["dpo", "cdpo", "ipo", "hinge", "robust", "slpo", "slpo-token", "slpo-literal", "slpo-gkl"];

/// Arguments of `slpo verify`.
#[derive(Debug, Clone, Args)]
#[command(after_help = "Examples:\n  slpo verify dump.safetensors --loss dpo --beta 0.05\n  \
                        slpo verify dump.safetensors --loss slpo-token --json\n\n\
                        The file holds, for the pairwise losses: policy_chosen_logps, policy_rejected_logps, reference_chosen_logps,\n\
                        reference_rejected_logps [B] and, as far as they are to be checked, loss [], grad_policy_chosen_logps,\n\
                        grad_policy_rejected_logps [B]; chosen_lengths and rejected_lengths [B] where they are known.\n\
                        For slpo-token and slpo-literal: logits [B,T,V], y_w, y_l, w_w [B,T], perhaps w_l and mask [B,T], and loss [],\n\
                        grad_logits [B,T,V]. The loss is a mean over pairs, or over positions. Numbers in F64, F32, F16 or BF16.")]
pub struct Verify {
    /// The other program's inputs, loss and gradients
    #[arg(value_name = "FILE.safetensors")]
    pub file: PathBuf,
    /// The loss
    #[arg(long, value_name = "NAME", value_parser = VERIFIABLE)]
    pub loss: String,
    /// β, above 0
    #[arg(long, value_name = "B", default_value_t = 0.1, value_parser = values::positive)]
    pub beta: f64,
    /// α of the SLPO forms, from 0 to 1
    #[arg(long, value_name = "A", default_value_t = 1.0, value_parser = values::unit)]
    pub alpha: f64,
    /// The fraction of preferences that cdpo and robust take to be wrong, at least 0 and below 0.5
    #[arg(long, value_name = "E", default_value_t = 0.1, value_parser = values::below_half)]
    pub label_smoothing: f64,
    /// The weights of the SLPO forms: eq7 or shift
    #[arg(long, value_name = "FORM", default_value = "eq7", value_parser = ["eq7", "shift"])]
    pub weights: String,
    /// Divide each log-probability by its completion's tokens (ipo's mean form)
    #[arg(long)]
    pub length_normalize: bool,
}
