//! The arguments of `slpo compare`.

use super::{CutSettings, values};
use clap::Args;
use model::study::arms::{ARMS, Arm};
use std::path::PathBuf;

/// Arguments of `slpo compare`.
#[derive(Debug, Clone, Args)]
#[command(after_help = "Examples:\n  slpo compare --model base --data preferences.jsonl --losses dpo,slpo-gkl --out comparison\n  \
                        slpo compare --model base --data preferences.jsonl --losses dpo,simpo,sft --seeds 10 \
                        --text other.txt --out comparison\n  \
                        slpo compare --model base --data preferences.jsonl --losses dpo,slpo-gkl --out comparison --resume\n\n\
                        Every loss gets as many trials of its learning rate and its own strength. Pairs are split by prompt: the test is \
                        the same for all runs, and no setting is chosen on it. A loss counts where its policy first reaches a divergence.")]
pub struct Compare {
    /// Preference pairs (.jsonl)
    #[arg(long, value_name = "FILE")]
    pub data: PathBuf,
    /// The folder of the model to start from, which is also the reference
    #[arg(long, value_name = "MODEL")]
    pub model: PathBuf,
    /// The losses, two or more with commas between them: names as in slpo align, or sft, dpo+nll and the other names of slpo study;
    /// all for those of the study. The others are compared with the first
    #[arg(long, value_name = "NAME,NAME", default_value = "dpo,slpo-gkl", value_parser = arms)]
    pub losses: Arms,
    /// Runs of each chosen setting, from 2, each with its own order and its own pairs to learn
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = values::integer::<u64>(2..=1000))]
    pub seeds: u64,
    /// The folder for the runs and the report
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
    /// Optimiser steps of each run, from 1; a run ends earlier where it passes the last of --divergences
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = values::count::<u64>())]
    pub steps: u64,
    /// Pairs of a batch, from 1
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = values::count::<usize>())]
    pub batch: usize,
    /// The learning rate in the middle of those that are tried, above 0
    #[arg(long, alias = "lr", value_name = "RATE", default_value_t = 3e-4, value_parser = values::positive)]
    pub learning_rate: f64,
    /// Where losses are compared: KL(π‖ref) a token on the test, in nats, ascending
    #[arg(long, value_name = "K,K", default_value = "0.01,0.025,0.05,0.1,0.2", value_parser = divergences)]
    pub divergences: Divergences,
    /// Pairs of the test, from 1 [default: a fifth of all, at most 200]
    #[arg(long, value_name = "N", value_parser = values::count::<usize>())]
    pub tested: Option<usize>,
    /// Text that has nothing to do with the pairs (.txt), on which forgetting is measured [default: none]
    #[arg(long, value_name = "FILE")]
    pub text: Option<PathBuf>,
    /// Pairs of a second test, such as ones of another kind than those of --data (.jsonl) [default: none]
    #[arg(long, value_name = "FILE")]
    pub second_test: Option<PathBuf>,
    /// Most tokens of a sequence, from 2; longer ones are cut as --truncation says [default: what the model's configuration
    /// allows, up to 1024]
    #[arg(long, alias = "max-length", value_name = "N", value_parser = values::integer::<usize>(2..=u32::MAX.into()))]
    pub max_tokens: Option<usize>,
    /// What is cut.
    #[command(flatten)]
    pub cut: CutSettings,
    /// Go on with the comparison in --out; its runs are the same as without the stop
    #[arg(long)]
    pub resume: bool,
}

/// The losses that are compared.
#[derive(Debug, Clone)]
pub struct Arms(pub Vec<Arm>);

/// The divergences at which losses are compared.
#[derive(Debug, Clone)]
pub struct Divergences(pub Vec<f64>);

fn arms(text: &str) -> Result<Arms, String> {
    if text == "all" {
        return Ok(Arms(ARMS.to_vec()));
    }
    let mut arms: Vec<Arm> = Vec::new();
    for name in text.split(',').map(str::trim) {
        let arm = Arm::named(name).ok_or_else(|| format!("there is no loss {name:?}: slpo align --help lists them"))?;
        if arms.iter().any(|other| other.name == arm.name) {
            return Err(format!("{} is named twice", arm.name));
        }
        arms.push(arm);
    }
    if arms.len() < 2 { Err("a comparison needs two losses or more".to_owned()) } else { Ok(Arms(arms)) }
}

fn divergences(text: &str) -> Result<Divergences, String> {
    let all: Vec<f64> = text.split(',').map(values::positive).collect::<Result<_, _>>()?;
    if all.windows(2).all(|pair| pair[0] < pair[1]) { Ok(Divergences(all)) } else { Err("must ascend".to_owned()) }
}
