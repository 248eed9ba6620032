//! What `slpo verify` takes.

use super::headings::LOSS;
use super::{LossSettings, values};
use clap::Args;
use losses::{Kind, Loss};
use std::path::PathBuf;

/// Arguments of `slpo verify`.
#[derive(Debug, Clone, Args)]
#[command(after_help = after_help())]
pub struct Verify {
    /// The other program's inputs, loss and gradients
    #[arg(value_name = "FILE.safetensors")]
    pub file: PathBuf,
    /// The loss, or several with commas between them, whose weighted sum is checked
    #[arg(long, value_name = "NAME", help_heading = LOSS, value_parser = values::losses(), ignore_case = true)]
    pub loss: String,
    /// The loss' own settings.
    #[command(flatten)]
    pub settings: LossSettings,
}

/// Examples, and what the file holds for each kind of loss.
fn after_help() -> String {
    let of = |kind: Kind| Loss::listed(|loss| loss.kind() == kind);
    format!(
        "Examples:\n  slpo verify dump.safetensors --loss dpo --beta 0.05\n  slpo verify dump.safetensors --loss slpo-token --json\n\n\
         The file holds, for the losses of sequence log-probabilities: policy_chosen_logps, policy_rejected_logps, for \
         those with a reference reference_chosen_logps, reference_rejected_logps [B] and, as far as they are to be \
         checked, loss [], grad_policy_chosen_logps, grad_policy_rejected_logps [B]; chosen_lengths and rejected_lengths [B], \
         which the losses of token means need.\n\n\
         With policy_chosen_token_logps [B,T] and chosen_mask [B,T] (likewise policy_rejected_, reference_chosen_ and \
         reference_rejected_token_logps, rejected_mask) it is also checked that the log-probabilities are sums over \
         the completions only: the mask keeps their tokens and drops prompt and padding.\n\n\
         ld-dpo reads weighted sums as log-probabilities. With all four token log-probabilities and both masks it forms them \
         itself, and checks grad_policy_chosen_token_logps, grad_policy_rejected_token_logps [B,T] too. wpo also reads \
         chosen_weights and rejected_weights [B], tdpo1 and tdpo2 chosen_divergences and \
         rejected_divergences [B]. beta-dpo counts every pair of the file.\n\n\
         For {}: policy_logps, reference_logps, label [N] (1 or true for a desirable row, else 0), kl [] for kto (the mean log-ratio \
         of the mismatched completions; below 0 it counts as 0), and loss [], grad_policy_logps [N].\n\n\
         For {}: logits [B,T,V], y_w, y_l, w_w [B,T], perhaps w_l and mask [B,T], and loss [], grad_logits [B,T,V].\n\n\
         For {}: logits and reference_logits [2B,T,V], the chosen completions of all pairs first and then the \
         rejected ones, row t before token t; y_w, y_l [B,T] with a negative number past the end token; loss [], \
         grad_logits [2B,T,V].\n\n\
         The loss is a mean over pairs, over rows, or over positions. Numbers in F64, F32, F16 or BF16.",
        of(Kind::Unpaired),
        of(Kind::Tokenwise),
        of(Kind::Exact)
    )
}
