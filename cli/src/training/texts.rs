//! What a model writes before training and after it, from prompts of the run's own data: for the run's page. `texts.json` in its folder
//! keeps them over a stop.

use crate::failure::Failure;
use crate::run_folder::write_atomically;
use engine::{Device, Generator};
use model::Error;
use model::decoder::{Decoder, packed_checks::check_length};
use model::evaluate::Check;
use model::files::{FLAGS, is_there, read_text};
use model::generate::{Sampling, StopConditions, generate};
use model::tokenizer::Tokenizer;
use serde::{Deserialize, Serialize};
use std::path::Path;

/// The file of the texts.
const FILE: &str = "texts.json";
/// The number of prompts.
const PROMPTS: usize = 3;
/// The longest prompt, in tokens. A longer one would cost time and fill the page.
const LONGEST: usize = 128;
/// The number of new tokens.
const NEW: usize = 40;

/// One prompt with what the model made of it. The most likely token is taken at each place.
#[derive(Serialize, Deserialize)]
pub struct Text {
    /// The prompt.
    pub prompt: String,
    /// What came before the first step.
    pub before: String,
    /// What came after the last step.
    pub after: Option<String>,
}

/// The prompts of a run.
pub struct Prompts<'a> {
    tokens: Vec<Vec<u32>>,
    tokenizer: &'a Tokenizer,
}

impl<'a> Prompts<'a> {
    /// Chooses among prompts those that are short enough.
    pub fn choose(all: Vec<Vec<u32>>, decoder: &Decoder<Device>, tokenizer: &'a Tokenizer) -> Self {
        let fits = |prompt: &Vec<u32>| (1..=LONGEST).contains(&prompt.len()) && check_length(prompt.len() + NEW, decoder.config()).is_ok();
        let mut tokens: Vec<Vec<u32>> = Vec::new();
        for prompt in all.into_iter().filter(fits) {
            if tokens.len() < PROMPTS && !tokens.contains(&prompt) {
                tokens.push(prompt);
            }
        }
        Self { tokens, tokenizer }
    }

    /// What the model makes of each prompt, with the prompt. Ends early with the error of `go_on`.
    fn written(&self, decoder: &Decoder<Device>, go_on: Check<'_>) -> Result<Vec<(String, String)>, Failure> {
        let ends: Vec<u32> = decoder.config().eos.iter().copied().chain(self.tokenizer.eos()).collect();
        let limits = StopConditions { max_tokens: NEW, stop: &ends };
        let written = generate(decoder, &self.tokens, &Sampling::GREEDY, limits, &Generator::new(0), |_, _| go_on().is_ok())?;
        go_on()?;
        let decode = |(prompt, new): (&Vec<u32>, Vec<u32>)| {
            let new = new.strip_suffix(ends.as_slice()).unwrap_or(&new);
            Ok((self.tokenizer.decode(prompt)?, self.tokenizer.decode_after(prompt, new)?))
        };
        self.tokens.iter().zip(written).map(decode).collect()
    }

    /// Writes `texts.json` with what the model makes of each prompt before the first step.
    ///
    /// # Errors
    /// [`Error::Io`], the errors of generating, and that of `go_on`.
    pub fn before(&self, folder: &Path, decoder: &Decoder<Device>, go_on: Check<'_>) -> Result<(), Failure> {
        if self.tokens.is_empty() {
            return Ok(());
        }
        let written = self.written(decoder, go_on)?;
        save(folder, &written.into_iter().map(|(prompt, before)| Text { prompt, before, after: None }).collect::<Vec<_>>())
    }

    /// Adds to `texts.json` what the model makes of each prompt after the last step, and returns all of it. A run that began before there
    /// was such a file has no texts.
    ///
    /// # Errors
    /// As [`Prompts::before`]. [`Error::BadFile`] if the file is not what a run wrote.
    pub fn after(&self, folder: &Path, decoder: &Decoder<Device>) -> Result<Vec<Text>, Failure> {
        let path = folder.join(FILE);
        if self.tokens.is_empty() || !is_there(&path)? {
            return Ok(Vec::new());
        }
        let mut texts: Vec<Text> =
            serde_json::from_str(&read_text(&path, FLAGS)?).map_err(|error| Error::bad_file(&path, error.to_string()))?;
        for ((_, after), text) in self.written(decoder, &|| Ok(()))?.into_iter().zip(&mut texts) {
            text.after = Some(after);
        }
        save(folder, &texts)?;
        Ok(texts)
    }
}

fn save(folder: &Path, texts: &[Text]) -> Result<(), Failure> {
    let path = folder.join(FILE);
    let text = serde_json::to_string_pretty(texts).map_err(|error| Error::bad_file(&path, error.to_string()))?;
    Ok(write_atomically(&path, (text + "\n").as_bytes()).map_err(Error::io(&path))?)
}
