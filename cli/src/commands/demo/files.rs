//! `slpo demo --files`: data of the small language as files, for the first commands of somebody who has no data yet.

use crate::failure::Failure;
use crate::run_folder::write_atomically;
use engine::Generator;
use model::Error;
use model::files::is_there;
use model::language::Language;
use model::language::preference::Labelling;
use serde_json::json;
use std::path::{Path, PathBuf};

/// Sentences of the corpus, one a line.
const SENTENCES: usize = 20_000;
/// Rows of completions, and pairs of preferences.
const ROWS: usize = 1000;
/// How much completions follow the reward: they are drawn from the best policy of E\[r\] − β·KL.
const BETA: f64 = 0.5;

/// Writes `corpus.txt`, `completions.jsonl` and `preferences.jsonl` into a folder, and returns their paths.
///
/// # Errors
/// [`Failure::Failed`] if one of them is there already; [`Error::Io`].
pub fn write(folder: &Path, seed: u64) -> Result<Vec<PathBuf>, Failure> {
    let paths = ["corpus.txt", "completions.jsonl", "preferences.jsonl"].map(|name| folder.join(name));
    for path in &paths {
        if is_there(path)? {
            return Err(Failure::Failed(format!("{} is there already, and stays: choose another folder for --files", path.display())));
        }
    }
    model::atomic::make_folder(folder)?;
    let language = Language::new();
    let texts = [corpus(&language, seed), completions(&language, seed), preferences(&language, seed)];
    for (path, text) in paths.iter().zip(texts) {
        write_atomically(path, text.as_bytes()).map_err(Error::io(path))?;
    }
    Ok(paths.to_vec())
}

fn corpus(language: &Language, seed: u64) -> String {
    let mut generator = Generator::new(seed).stream(1);
    (0..SENTENCES).map(|_| language.decode(&language.sample_sentence(&mut || generator.uniform())) + "\n").collect()
}

fn completions(language: &Language, seed: u64) -> String {
    let mut generator = Generator::new(seed).stream(2);
    let (aligned, mut uniform) = (language.aligned(BETA), || generator.uniform());
    let row = |_| {
        let prompt = language.sample_prompt(&mut uniform);
        let completion = aligned.sample_completion(&prompt, &mut uniform);
        json!({ "prompt": language.decode(&prompt), "completion": format!(" {}", language.decode(&completion)) }).to_string() + "\n"
    };
    (0..ROWS).map(row).collect()
}

fn preferences(language: &Language, seed: u64) -> String {
    let mut generator = Generator::new(seed).stream(3);
    let mut uniform = || generator.uniform();
    let row = |_| {
        let prompt = language.sample_prompt(&mut uniform);
        let pair = language.sample_pair(&prompt, Labelling::HigherReward, &mut uniform);
        let [chosen, rejected] = [&pair.chosen, &pair.rejected].map(|tokens| format!(" {}", language.decode(tokens)));
        json!({ "prompt": language.decode(&prompt), "chosen": chosen, "rejected": rejected }).to_string() + "\n"
    };
    (0..ROWS).map(row).collect()
}
