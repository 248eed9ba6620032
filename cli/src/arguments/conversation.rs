//! What the commands take that look at a dataset or hold a conversation.

use super::values;
use super::{CutSettings, TurnSettings};
use clap::Args;
use std::path::PathBuf;

/// Arguments of `slpo chat`.
#[derive(Debug, Clone, Args)]
#[command(
    allow_negative_numbers = true,
    after_help = "Examples:\n  slpo chat --model aligned\n  \
                        slpo chat --model aligned --system \"You are brief.\" --temperature 0\n  \
                        printf 'Hello\\nAnd now?\\n' | slpo chat --model aligned --json\n\n\
                        A line is what you say. /reset starts anew, /exit or the end of the input ends; ctrl-C stops an answer."
)]
pub struct Chat {
    /// The model's folder, with a chat template in tokenizer_config.json or chat_template.jinja; or a GGUF file with one
    #[arg(long, value_name = "MODEL")]
    pub model: PathBuf,
    /// Instructions before the conversation
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true)]
    pub system: Option<String>,
    /// A Jinja chat template [default: the model's own]
    #[arg(long, value_name = "FILE")]
    pub chat_template: Option<PathBuf>,
    /// Most new tokens of an answer, from 1
    #[arg(long, alias = "max-new-tokens", value_name = "N", default_value_t = 512, value_parser = values::count::<usize>())]
    pub max_tokens: usize,
    /// Logits are divided by this, at least 0; 0 takes the most likely token [default: what generation_config.json says, or 0.7]
    #[arg(long, value_name = "T", value_parser = values::non_negative)]
    pub temperature: Option<f64>,
    /// Sample from the K most likely tokens only; 0 for all [default: what generation_config.json says, or all]
    #[arg(long, value_name = "K", value_parser = values::integer::<usize>(0..=u64::MAX))]
    pub top_k: Option<usize>,
    /// Sample from the most likely tokens that together reach this probability, above 0 and at most 1 [default: what
    /// generation_config.json says, or 1]
    #[arg(long, value_name = "P", value_parser = values::share)]
    pub top_p: Option<f64>,
    /// Sample from tokens with at least this share of the most likely one's probability, 0 to 1; 0 for all [default: what
    /// generation_config.json says, or 0]
    #[arg(long, value_name = "P", value_parser = values::fraction)]
    pub min_p: Option<f64>,
    /// Logits of tokens that are in the conversation are divided by this (multiplied where negative), above 0; more than 1 makes
    /// repetition rarer [default: what generation_config.json says, or 1]
    #[arg(long, value_name = "X", value_parser = values::positive)]
    pub repetition_penalty: Option<f64>,
    /// End an answer before this text; \n is a line break. May be repeated
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true, value_parser = values::escaped)]
    pub stop: Vec<String>,
    /// Write the model's bytes to the terminal unchanged; otherwise control characters are shown (\u{1b}) and not obeyed
    #[arg(long)]
    pub raw: bool,
}

/// Arguments of `slpo data`.
#[derive(Debug, Clone, Args)]
#[command(after_help = "Examples:\n  slpo data preferences.jsonl --model base\n  \
                        slpo data chats.parquet --model base --max-tokens 512 --json\n\n\
                        Rows are read as `slpo align` (with `chosen` and `rejected`) or `slpo sft` would read them.")]
pub struct Data {
    /// Preferences or completions: JSON lines, a JSON array, or Parquet
    #[arg(value_name = "FILE")]
    pub data: PathBuf,
    /// The folder of the model whose tokenizer and chat template are used
    #[arg(long, value_name = "MODEL")]
    pub model: PathBuf,
    /// Most tokens of a sequence, from 2; longer ones are cut as --truncation says [default: what the model's configuration
    /// allows, up to 1024]
    #[arg(long = "max-tokens", aliases = ["max-length", "max-seq-length"], value_name = "N")]
    #[arg(value_parser = values::integer::<usize>(2..=u32::MAX.into()))]
    pub max_length: Option<usize>,
    /// Which turns are learned.
    #[command(flatten)]
    pub turns: TurnSettings,
    /// What is cut.
    #[command(flatten)]
    pub cut: CutSettings,
    /// Also report how alike the model finds the two completions of each pair (CHES): a high score warns that alignment may lower the
    /// chosen completion's own probability
    #[arg(long)]
    pub ches: bool,
    /// Rows to show, with the learned tokens marked
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = values::integer::<usize>(0..=u64::MAX))]
    pub examples: usize,
}
