//! The model card: `README.md` in a trained model's folder, with the front matter that model hubs read. It says what the model is, how it
//! was made, what was measured and what went wrong.

use crate::failure::Failure;
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
    /// The folder of the model that training began from.
    pub base: Option<&'a Path>,
    /// True if the folder has an adapter, not a whole model.
    pub is_adapter: bool,
    /// Optimiser steps.
    pub steps: u64,
    /// Numbers that are trained.
    pub parameters: usize,
    /// The text of `config.toml`.
    pub config: &'a str,
    /// The last value of every metric.
    pub last: &'a Map<String, Value>,
    /// What the run warned of.
    pub warnings: &'a [String],
}

impl Card<'_> {
    /// Writes the card into the model's folder. A page of the person's own is left there. Returns false in that case.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn write(&self, folder: &Path) -> Result<bool, Failure> {
        let path = folder.join(FILE);
        if is_there(&path)? && !read_text(&path, FLAGS)?.contains(SIGN) {
            return Ok(false);
        }
        write_atomically(&path, self.text(folder).as_bytes()).map_err(Error::io(&path))?;
        Ok(true)
    }

    fn text(&self, folder: &Path) -> String {
        let name = folder.file_name().map_or_else(|| "model".to_owned(), |name| name.to_string_lossy().into_owned());
        let mut text = format!("---\n{}---\n\n# {name}\n\n{}\n\n{SIGN}.\n", self.front_matter(), self.lead());
        let public = self.config.lines().filter(|line| !line.starts_with(PRIVATE));
        let settings: String = public.map(|line| without_folders(line) + "\n").collect();
        text += &format!("\n## How it was made\n\n`slpo {}` with these settings:\n\n```toml\n{settings}```\n", self.command());
        text += "\n## What was measured\n\nThe last value of each metric. `metrics.jsonl` and `metrics.csv` have all of them.\n\n";
        text += "| metric | last value |\n|---|---:|\n";
        self.last.iter().for_each(|(name, value)| text += &format!("| `{name}` | {} |\n", number(value)));
        text += "\n## Warnings\n\n";
        if self.warnings.is_empty() {
            text += "None.\n";
        }
        self.warnings.iter().for_each(|warning| text += &format!("- {}\n", warning.replace('\n', " ")));
        text + "\n## Use\n\n```sh\nslpo generate --model THIS_FOLDER --prompt \"Once upon a time\"\n```\n"
    }

    /// The command's name: its first setting.
    fn command(&self) -> String {
        let settings: toml::Table = self.config.parse().unwrap_or_default();
        settings.get("command").and_then(toml::Value::as_str).unwrap_or("train").to_owned()
    }

    /// What model hubs read, in YAML. Strings are written as JSON, which is YAML too.
    fn front_matter(&self) -> String {
        let library = if self.is_adapter { "peft" } else { "transformers" };
        let base = self.base.and_then(Path::file_name).map(|name| format!("base_model: {}\n", Value::from(name.to_string_lossy())));
        let tags = Value::from(vec!["slpo".to_owned(), self.command()]);
        format!("library_name: {library}\npipeline_tag: text-generation\n{}tags: {tags}\n", base.unwrap_or_default())
    }

    fn lead(&self) -> String {
        let kind = if self.is_adapter { "An adapter (LoRA)" } else { "A language model" };
        let base = self.base.and_then(Path::file_name).map(|name| name.to_string_lossy());
        let from = base.map_or_else(String::new, |name| format!(", from {name}"));
        format!("{kind} with {} trained parameters, made by `slpo {}` in {} steps{from}.", self.parameters, self.command(), self.steps)
    }
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
    value.as_f64().map_or_else(|| value.to_string(), |value| format!("{}", format!("{value:.5e}").parse::<f64>().unwrap_or(value)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn card<'a>(last: &'a Map<String, Value>, warnings: &'a [String]) -> Card<'a> {
        let base = Some(Path::new("models/base \"one\""));
        let config = "command = \"align\"\nworking_directory = \"/home/me\"\ndata = \"/home/me/a b/pairs.jsonl\"\nloss = \"dpo\"\n";
        Card { base, is_adapter: false, steps: 9, parameters: 246_336, config, last, warnings }
    }

    #[test]
    fn a_card_has_front_matter_settings_metrics_and_warnings_and_leaves_a_persons_own_page() {
        let folder = tempfile::tempdir().unwrap();
        let Value::Object(last) = json!({ "loss": 0.123_456_789, "held_out_kl": "NaN" }) else { unreachable!() };
        let warnings = ["step 3: the chosen completions\nfall".to_owned()];
        assert!(card(&last, &warnings).write(folder.path()).unwrap());
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
        assert!(card(&last, &[]).write(folder.path()).unwrap());
        std::fs::write(folder.path().join(FILE), "# Mine\n").unwrap();
        assert!(!card(&last, &[]).write(folder.path()).unwrap());
        assert_eq!(std::fs::read_to_string(folder.path().join(FILE)).unwrap(), "# Mine\n");
    }
}
