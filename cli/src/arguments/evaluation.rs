//! What the commands take that run a model or check the engine.

use super::values::{self, TokenList};
use super::{CutSettings, TurnSettings};
use clap::Args;
use std::path::PathBuf;

/// Arguments of `slpo convert`.
#[derive(Debug, Clone, Args)]
#[command(after_help = "Examples:\n  slpo convert stories260K.bin --tokenizer tok512.bin --out stories260k\n  \
                        slpo convert model-f16.gguf --out model\n  slpo convert llama-as-meta-published-it --out model\n  \
                        slpo convert aligned --to gguf --type q8_0 --out aligned.gguf")]
pub struct Convert {
    /// A GGUF file (F32, F16, BF16, Q8_0, Q4_0, Q4_1), a llama2.c `.bin` file (version 0), or a folder with safetensors under Hugging
    /// Face's names or Meta's
    #[arg(value_name = "SOURCE")]
    pub source: PathBuf,
    /// The folder to write: config.json, model.safetensors and, with a tokenizer, tokenizer.json; with --to gguf, the file
    #[arg(long, value_name = "MODEL")]
    pub out: PathBuf,
    /// What to write: a Hugging Face folder, or one GGUF file of a Llama, Mistral, Qwen2 or Qwen3 folder, with its tokenizer
    #[arg(long, value_name = "FORMAT", value_parser = ["hf", "gguf"], default_value = "hf")]
    pub to: String,
    /// The type of the matrices in a GGUF file [default: f16]
    #[arg(long = "type", value_name = "TYPE", value_parser = ["f32", "f16", "bf16", "q8_0"])]
    pub stored: Option<String>,
    /// Replace the model that is in --out, as a whole; other files there stay
    #[arg(long)]
    pub force: bool,
    /// llama2.c's tokenizer.bin, a tokenizer.json or a folder with one [default: the source's own, where it has one]
    #[arg(long, value_name = "FILE")]
    pub tokenizer: Option<PathBuf>,
}

/// Arguments of `slpo generate`.
#[derive(Debug, Clone, Args)]
#[command(
    allow_negative_numbers = true,
    after_help = "Examples:\n  slpo generate --model stories260k --prompt \"Once upon a time\" --max-tokens 200 --temperature 0\n  \
                        slpo generate --model stories260k --prompt-tokens 1,403,407 --top-p 0.9 --seed 7 --json"
)]
pub struct Generate {
    /// The model's folder, or a GGUF file
    #[arg(long, value_name = "MODEL")]
    pub model: PathBuf,
    /// A LoRA adapter for the model: the PEFT folder of one
    #[arg(long, value_name = "ADAPTER")]
    pub adapter: Option<PathBuf>,
    /// The text to continue; BOS is put before it where the tokenizer has one. May be repeated: the prompts run in one batch, and
    /// the JSON is a list
    #[arg(
        long,
        value_name = "TEXT",
        allow_hyphen_values = true,
        required_unless_present_any = ["prompt_tokens", "prompts"],
        conflicts_with = "prompt_tokens"
    )]
    pub prompt: Vec<String>,
    /// Rows with a `prompt` (text or chat messages), run in one batch; the JSON is a list
    #[arg(long, value_name = "FILE", conflicts_with = "prompt_tokens")]
    pub prompts: Option<PathBuf>,
    /// The token ids to continue, as they are: no BOS is added (an empty list is BOS alone)
    #[arg(long, value_name = "1,2,3")]
    pub prompt_tokens: Option<TokenList>,
    /// Most new tokens to write, from 1 [default: 128]
    #[arg(long, alias = "max-new-tokens", value_name = "N", value_parser = values::count::<usize>())]
    pub max_tokens: Option<usize>,
    /// Logits are divided by this, at least 0; 1 is the model's own distribution, 0 takes the most likely token [default: 1]
    #[arg(long, value_name = "T", value_parser = values::non_negative)]
    pub temperature: Option<f64>,
    /// Sample from the K most likely tokens only; 0 for all [default: 0]
    #[arg(long, value_name = "K")]
    pub top_k: Option<usize>,
    /// Sample from the most likely tokens that together reach this probability, above 0 and at most 1 [default: 1]
    #[arg(long, value_name = "P", value_parser = values::share)]
    pub top_p: Option<f64>,
    /// Sample from tokens with at least this share of the most likely one's probability, 0 to 1; 0 for all [default: 0]
    #[arg(long, value_name = "P", value_parser = values::fraction)]
    pub min_p: Option<f64>,
    /// Logits of tokens that are in the prompt or in the text so far are divided by this (multiplied where negative), above 0; more than 1
    /// makes repetition rarer [default: 1]
    #[arg(long, value_name = "X", value_parser = values::positive)]
    pub repetition_penalty: Option<f64>,
    /// Do not stop at the end-of-text token, nor at texts that generation_config.json names as ends
    #[arg(long)]
    pub ignore_eos: bool,
    /// Stop before this text; \n is a line break. May be repeated
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true, value_parser = values::escaped)]
    pub stop: Vec<String>,
    /// Write the model's bytes to the terminal unchanged; otherwise control characters are shown (\u{1b}) and not obeyed
    #[arg(long)]
    pub raw: bool,
}

/// Arguments of `slpo score`.
#[derive(Debug, Clone, Args)]
#[command(after_help = "Examples:\n  slpo score --model stories260k --text \"Once upon a time\"\n  \
                        slpo score --model stories260k --tokens 1,403,407,261,378 --json")]
pub struct Score {
    /// The model's folder
    #[arg(long, value_name = "MODEL")]
    pub model: PathBuf,
    /// A LoRA adapter for the model: the PEFT folder of one
    #[arg(long, value_name = "ADAPTER")]
    pub adapter: Option<PathBuf>,
    /// The text to score; BOS is put before it where the tokenizer has one
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true, required_unless_present = "tokens", conflicts_with = "tokens")]
    pub text: Option<String>,
    /// The token ids to score, as they are: no BOS is added
    #[arg(long, value_name = "1,2,3")]
    pub tokens: Option<TokenList>,
}

/// Arguments of `slpo eval`.
#[derive(Debug, Clone, Args)]
#[command(after_help = "Examples:\n  slpo eval --model stories260k --data stories.txt\n  \
                        slpo eval --model aligned --reference base --data preferences.jsonl\n\n\
                        The data's own form decides what is measured: text (.txt, or rows with `text`), completions (rows with \
                        `prompt` and `completion`, or `messages`) or preferences (rows with `chosen` and `rejected`).")]
pub struct Eval {
    /// The model's folder
    #[arg(long, value_name = "MODEL")]
    pub model: PathBuf,
    /// A LoRA adapter for the model: the PEFT folder of one
    #[arg(long, value_name = "ADAPTER")]
    pub adapter: Option<PathBuf>,
    /// Text, completions (.jsonl) or preferences (.jsonl)
    #[arg(long, value_name = "FILE")]
    pub data: PathBuf,
    /// For preferences: the model that margins and KL are measured against
    #[arg(long, value_name = "MODEL")]
    pub reference: Option<PathBuf>,
    /// For text: most tokens that a prediction can look back on [default: the window that the model was trained with here, or else what
    /// its configuration allows, up to 1024]
    #[arg(long, value_name = "N", value_parser = values::count::<usize>())]
    pub window: Option<usize>,
    /// For rows: most tokens of a sequence, from 2; longer ones are cut as --truncation says [default: what the model's
    /// configuration allows, up to 1024]
    #[arg(long, alias = "max-length", value_name = "N", value_parser = values::integer::<usize>(2..=u32::MAX.into()))]
    pub max_tokens: Option<usize>,
    /// Which turns are measured.
    #[command(flatten)]
    pub turns: TurnSettings,
    /// What is cut.
    #[command(flatten)]
    pub cut: CutSettings,
}

/// Arguments of `slpo gradcheck`.
#[derive(Debug, Clone, Args)]
#[command(after_help = "Examples:\n  slpo gradcheck\n  slpo gradcheck --quick --html gradients.html\n  \
                        slpo gradcheck softmax attention --json\n  slpo gradcheck decoders\n  \
                        slpo gradcheck 'decoder-llama-*' --samples 1\n\n\
                        A name is that of an op, a loss or a model (softmax, slpo-token, decoder-llama, decoder-gpt2-dpo), of a part of \
                        the suite (ops, losses, blocks, decoders), the beginning of names (decoder) or a pattern (*-dpo).\n\n\
                        A function of your own, in any language:\n  slpo gradcheck --program 'python3 mine.py'\n\n\
                        The program's first line is {\"inputs\": FILE.safetensors}, which has the point, or {\"inputs\": {\"x\": [3]}}, for \
                        a point drawn from --seed. It then gets lines {\"inputs\": FILE, \"output\": FILE, \"cotangent\": FILE or null}. For \
                        each it writes the output file and answers {}, or {\"error\": TEXT}. The output holds `value` and, if there is a \
                        cotangent, for each input x `grad_x`: the gradient of the sum of cotangent times value. Arrays are F64 or F32. \
                        Each element is right, wrong, or unchecked where differences cannot tell (a kink, noise). Exit code 1 if one is \
                        wrong or none could be checked. '-' is the process that started slpo, by standard input and output.")]
pub struct Gradcheck {
    /// What to check [default: everything]
    #[arg(value_name = "NAME")]
    pub names: Vec<String>,
    /// Draw fewer samples, which takes half the time or less
    #[arg(long)]
    pub quick: bool,
    /// Samples of each, from 1; the first has the seed N of --seed N [default: 12 of ops and losses, 2 of models; 3 and 1 with --quick]
    #[arg(long, value_name = "N", value_parser = values::count::<u64>(), conflicts_with = "quick")]
    pub samples: Option<u64>,
    /// Write a page with every error and heat maps of the elements
    #[arg(long, value_name = "FILE")]
    pub html: Option<PathBuf>,
    /// Check the gradient of another program's function instead, against differences with an error estimate; the shell starts it
    #[arg(long, value_name = "CMD", conflicts_with_all = ["names", "quick", "samples", "html"])]
    pub program: Option<String>,
    /// The longest wait for a line of the program, in seconds, above 0 [default: 60]
    #[arg(long, value_name = "SECONDS", value_parser = values::positive, requires = "program")]
    pub timeout: Option<f64>,
}

impl Gradcheck {
    /// The program to check, if there is one.
    pub fn of_program(&self) -> Option<GradcheckProgram> {
        let command = self.program.clone()?;
        Some(GradcheckProgram { command, timeout: self.timeout.unwrap_or(60.0) })
    }
}

/// What `slpo gradcheck --program` takes.
#[derive(Debug, Clone)]
pub struct GradcheckProgram {
    /// The command that the shell starts.
    pub command: String,
    /// Seconds to wait for a line.
    pub timeout: f64,
}

/// Arguments of `slpo audit`.
#[derive(Debug, Clone, Args)]
#[command(after_help = "Examples:\n  slpo audit\n  slpo audit --seed 7 --json\n  slpo audit --html audit.html\n\n\
                        Instances are drawn from the seed; the verdicts do not depend on it.")]
pub struct Audit {
    /// Write the audit as a page to read: claims, formulas, verdicts and figures
    #[arg(long, value_name = "FILE")]
    pub html: Option<PathBuf>,
}
