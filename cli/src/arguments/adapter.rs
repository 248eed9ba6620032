//! What the commands take that train, use or merge a LoRA adapter.

use super::headings::LORA;
use super::values;
use clap::Args;
use serde::Serialize;
use std::path::PathBuf;

/// Training an adapter instead of the whole model.
#[derive(Debug, Clone, Args, Serialize)]
pub struct Lora {
    /// Train a LoRA adapter of this rank, from 1, and leave the model as it is; --out is then a PEFT adapter folder
    #[arg(long, alias = "lora-r", value_name = "R", help_heading = LORA, value_parser = values::count::<usize>())]
    pub lora_rank: Option<usize>,
    /// The adapter is scaled by A / R, A above 0 [default: twice the rank]
    #[arg(long, value_name = "A", help_heading = LORA, value_parser = values::positive)]
    pub lora_alpha: Option<f64>,
    /// The modules that get an adapter, separated by commas: ends of their names in the model's file [default: q_proj,v_proj, or the one
    /// that holds both]
    #[arg(long, alias = "lora-target-modules", value_name = "NAMES", help_heading = LORA)]
    pub lora_targets: Option<String>,
}

/// Arguments of `slpo merge`.
#[derive(Debug, Clone, Args)]
#[command(after_help = "Examples:\n  slpo merge --model base --adapter aligned --out merged")]
pub struct Merge {
    /// The folder of the model that the adapter was trained on
    #[arg(long, value_name = "MODEL")]
    pub model: PathBuf,
    /// The PEFT folder of the LoRA adapter
    #[arg(long, value_name = "ADAPTER")]
    pub adapter: PathBuf,
    /// The folder to write the merged model into
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
    /// Replace the model that is in --out, as a whole; other files there stay
    #[arg(long)]
    pub force: bool,
}
