//! The model card: `README.md` in the folder of every model that is written, with the front matter that model hubs read. It says what the
//! model is, how it was made, what was measured and what went wrong.

use crate::number::significant;
use crate::run_folder::write_atomically;
use model::Error;
use model::files::{FLAGS, is_there, read_text};
use serde_json::{Map, Value};
use std::path::Path;

/// The card's file.
pub const FILE: &str = "README.md";
/// The sentence by which a card is known. A page that a person wrote in its place does not have it.
const SIGN: &str = "This card was written by `slpo`";
/// A setting that tells nothing of the model, only of the machine.
const PRIVATE: &str = "working_directory =";

/// What a card tells.
pub struct Card<'a> {
    /// The model that this one was made from.
    pub base: Option<&'a Path>,
    /// True if the folder has an adapter, not a whole model.
    pub is_adapter: bool,
    /// The command's name.
    pub command: &'a str,
    /// What the model is and what made it: the words between "A language model with" and "made by `slpo …`".
    pub parameters: String,
    /// How it was made, after the command's name.
    pub how: How<'a>,
    /// What the command warned of.
    pub warnings: &'a [String],
}

/// How a model was made.
pub enum How<'a> {
    /// By training.
    Run {
        /// Optimiser steps.
        steps: u64,
        /// The text of `config.toml`.
        config: &'a str,
        /// The last value of every metric.
        last: &'a Map<String, Value>,
    },
    /// From other files alone.
    Files(String),
}

impl Card<'_> {
    /// Writes the card of the model for `place` into `folder`, which is the same or will take its place. A page of the person's own is
    /// left there. Returns false in that case.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn write(&self, folder: &Path, place: &Path) -> model::Result<bool> {
        let there = place.join(FILE);
        if is_there(&there)? && !read_text(&there, FLAGS)?.contains(SIGN) {
            return Ok(false);
        }
        let path = folder.join(FILE);
        write_atomically(&path, self.text(place).as_bytes()).map_err(Error::io(&path))?;
        Ok(true)
    }

    fn text(&self, place: &Path) -> String {
        let name = place.file_name().map_or_else(|| "model".to_owned(), |name| name.to_string_lossy().into_owned());
        let mut text = format!("---\n{}---\n\n# {name}\n\n{}\n\n{SIGN}.\n\n## How it was made\n\n", self.front_matter(), self.lead());
        match &self.how {
            How::Run { config, last, .. } => {
                let public = config.lines().filter(|line| !line.starts_with(PRIVATE));
                let settings: String = public.map(|line| without_folders(line) + "\n").collect();
                text += &format!("`slpo {}` with these settings:\n\n```toml\n{settings}```\n\n## What was measured\n\n", self.command);
                text += "The last value of each metric. `metrics.jsonl` and `metrics.csv` have all of them.\n\n";
                text += "| metric | last value |\n|---|---:|\n";
                last.iter().for_each(|(name, value)| text += &format!("| `{name}` | {} |\n", number(value)));
            }
            How::Files(how) => text += &format!("`slpo {}`: {how}.\n", self.command),
        }
        text += "\n## Warnings\n\n";
        if self.warnings.is_empty() {
            text += "None.\n";
        }
        self.warnings.iter().for_each(|warning| text += &format!("- {}\n", warning.replace('\n', " ")));
        let model = if self.is_adapter { "ITS_BASE --adapter THIS_FOLDER" } else { "THIS_FOLDER" };
        text + &format!("\n## Use\n\n```sh\nslpo generate --model {model} --prompt \"Once upon a time\"\n```\n")
    }

    /// What model hubs read, in YAML. Strings are written as JSON, which is YAML too.
    fn front_matter(&self) -> String {
        let library = if self.is_adapter { "peft" } else { "transformers" };
        let base = self.base.and_then(Path::file_name).map(|name| format!("base_model: {}\n", Value::from(name.to_string_lossy())));
        let tags = Value::from(vec!["slpo", self.command]);
        format!("library_name: {library}\npipeline_tag: text-generation\n{}tags: {tags}\n", base.unwrap_or_default())
    }

    fn lead(&self) -> String {
        let kind = if self.is_adapter { "An adapter (LoRA)" } else { "A language model" };
        let base = self.base.and_then(Path::file_name).map(|name| name.to_string_lossy());
        let from = base.map_or_else(String::new, |name| format!(", from {name}"));
        let steps = match self.how {
            How::Run { steps, .. } => format!(" in {steps} steps"),
            How::Files(_) => String::new(),
        };
        format!("{kind} with {}, made by `slpo {}`{steps}{from}.", self.parameters, self.command)
    }
}

/// The warning that a page stays in the card's place.
pub fn not_written(place: &Path) -> String {
    format!("{}: this page is not by slpo, so no model card is written in its place", place.join(FILE).display())
}

/// A line of settings without the folders of a path: they tell of a person's machine, and a card is for others.
fn without_folders(line: &str) -> String {
    match line.split_once(" = \"") {
        Some((name, value)) if value.contains('/') => format!("{name} = \"{}", value.rsplit('/').next().unwrap_or(value)),
        _ => line.to_owned(),
    }
}

/// Six digits, or the value as it is if it is no number.
fn number(value: &Value) -> String {
    value.as_f64().map_or_else(|| value.to_string(), |value| significant(value, 6))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn card<'a>(last: &'a Map<String, Value>, warnings: &'a [String]) -> Card<'a> {
        let base = Some(Path::new("models/base \"one\""));
        let parameters = "246336 trained parameters".to_owned();
        let config = "command = \"align\"\nworking_directory = \"/home/me\"\ndata = \"/home/me/a b/pairs.jsonl\"\nloss = \"dpo\"\n";
        Card { base, is_adapter: false, command: "align", parameters, how: How::Run { steps: 9, config, last }, warnings }
    }

    #[test]
    fn a_card_has_front_matter_settings_metrics_and_warnings_and_leaves_a_persons_own_page() {
        let folder = tempfile::tempdir().unwrap();
        let Value::Object(last) = json!({ "loss": 0.123_456_789, "held_out_kl": "NaN" }) else { unreachable!() };
        let warnings = ["step 3: the chosen completions\nfall".to_owned()];
        assert!(card(&last, &warnings).write(folder.path(), folder.path()).unwrap());
        let text = std::fs::read_to_string(folder.path().join(FILE)).unwrap();
        let front = "---\nlibrary_name: transformers\npipeline_tag: text-generation\nbase_model: \"base \\\"one\\\"\"\ntags: [\"slpo\",\"align\"]\n---\n";
        assert!(text.starts_with(front), "{text}");
        for part in [
            "```toml\ncommand = \"align\"\ndata = \"pairs.jsonl\"\nloss = \"dpo\"\n```",
            "| `loss` | 0.123457 |",
            "- step 3: the chosen completions fall\n",
            "in 9 steps",
        ] {
            assert!(text.contains(part), "{part}: {text}");
        }
        // Its own card is written again, and a page of the person's own is not.
        assert!(card(&last, &[]).write(folder.path(), folder.path()).unwrap());
        std::fs::write(folder.path().join(FILE), "# Mine\n").unwrap();
        assert!(!card(&last, &[]).write(folder.path(), folder.path()).unwrap());
        assert_eq!(std::fs::read_to_string(folder.path().join(FILE)).unwrap(), "# Mine\n");
    }

    #[test]
    fn a_model_made_from_files_has_a_card_without_metrics() {
        let (base, how) = (Some(Path::new("a/tiny.gguf")), How::Files("a GGUF file, its matrices in Q8_0".to_owned()));
        let card = Card { base, is_adapter: false, command: "convert", parameters: "12 parameters".to_owned(), how, warnings: &[] };
        let text = card.text(Path::new("out/tiny"));
        assert!(text.contains("# tiny\n\nA language model with 12 parameters, made by `slpo convert`, from tiny.gguf.\n"), "{text}");
        assert!(text.contains("`slpo convert`: a GGUF file, its matrices in Q8_0.\n") && !text.contains("metric"), "{text}");
    }
}
