//! The settings of a run, as its config.toml keeps them, and the differences of a resumed run.

use super::change::{Change, Effect};
use super::command_line::{Arguments, Command, Shared};
use super::config_file::is_path;
use super::{Align, Sft, Train};
use crate::failure::Failure;
use crate::run_folder::MetricNames;
use clap::CommandFactory;
use serde::Serialize;
use serde_json::{Map, Value};
use std::path::Path;
use toml::Table;

/// Every setting that has an effect, by name, in the order of the help.
#[derive(Debug, Clone, PartialEq)]
pub struct RunSettings {
    command: &'static str,
    values: Map<String, Value>,
}

/// Returns the effect of changing a setting. A setting that is not listed changes the result. Data may be moved: the checkpoint's
/// fingerprint shows whether the data are the same.
fn effect_of(setting: &str) -> Effect {
    match setting {
        "device"
        | "threads"
        | "data"
        | "eval_every"
        | "eval_data"
        | "checkpoint_every"
        | "keep"
        | "metric_names"
        | "on_nonfinite"
        | "checkpoint_activations"
        | "reference_cache" => Effect::None,
        "steps" | "epochs" | "learning_rate" | "warmup" | "clip" => Effect::OnPath,
        _ => Effect::OnResult,
    }
}

impl RunSettings {
    /// Collects the settings of `command` and those of every command, without the `unused` ones.
    fn new(command: &'static str, own: &impl Serialize, shared: &Shared, unused: &[&str]) -> Result<Self, Failure> {
        let failed = |error: serde_json::Error| Failure::Failed(format!("cannot write down the settings: {error}"));
        let mut values = Map::new();
        for part in [serde_json::to_value(own).map_err(failed)?, serde_json::to_value(shared).map_err(failed)?] {
            let Value::Object(part) = part else { continue };
            values.extend(part.into_iter().filter(|(name, value)| !value.is_null() && !unused.contains(&name.as_str())));
        }
        Ok(Self { command, values })
    }

    /// The names of metrics in the files that other programs read.
    pub fn metric_names(&self) -> MetricNames {
        match self.values.get("metric_names").and_then(Value::as_str) {
            Some("trl") => MetricNames::Trl { beta: self.values.get("beta").and_then(Value::as_f64).unwrap_or(1.0) },
            _ => MetricNames::Own,
        }
    }

    /// Lists the differences from earlier settings. `out` is left out, because a run's folder may be moved.
    pub fn changes_since(&self, before: &Self) -> Vec<Change> {
        let names: Vec<&String> =
            before.values.keys().chain(self.values.keys().filter(|name| !before.values.contains_key(*name))).collect();
        let paths = path_settings(self.command);
        let differs = |name: &&String| match (before.values.get(*name), self.values.get(*name)) {
            (Some(Value::String(before)), Some(Value::String(now))) if paths.contains(name) => !is_same_path(before, now),
            (before, now) => before != now,
        };
        let changed = names.into_iter().filter(|name| *name != "out").filter(differs);
        let shown = |values: &Map<String, Value>, name: &str| values.get(name).map(plain);
        let change = |name: &String| Change {
            setting: name.clone(),
            before: shown(&before.values, name),
            now: shown(&self.values, name),
            effect: effect_of(name),
        };
        changed.map(change).collect()
    }

    /// Lists the settings that must be the same in all processes of a run. Only the number of threads may differ.
    pub fn lines(&self) -> Vec<String> {
        let lines = self.values.iter().filter(|(name, _)| *name != "threads");
        lines.map(|(name, value)| format!("{name} = {value}")).collect()
    }

    /// Writes the text of config.toml, with the run's `history` of changes.
    ///
    /// # Errors
    /// If a value has no TOML form.
    pub fn to_toml(&self, history: &[Table]) -> Result<String, toml::ser::Error> {
        let folder = std::env::current_dir().ok().and_then(|folder| folder.to_str().map(str::to_owned));
        let mut all = Map::new();
        all.insert("command".to_owned(), self.command.into());
        all.extend(folder.map(|folder| ("working_directory".to_owned(), folder.into())));
        all.extend(self.values.iter().map(|(name, value)| (name.clone(), in_toml(value))));
        let mut text = toml::to_string_pretty(&all)?;
        for entry in history {
            text += "\n[[history]]\n";
            text += &toml::to_string(entry)?;
        }
        Ok(text)
    }
}

/// Formats a value for a person.
pub fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// Converts a value for TOML. TOML has no whole numbers above 2^63 − 1, so larger ones become texts.
fn in_toml(value: &Value) -> Value {
    match value.as_u64() {
        Some(number) if i64::try_from(number).is_err() => number.to_string().into(),
        _ => value.clone(),
    }
}

fn path_settings(command: &str) -> Vec<String> {
    let root = Arguments::command();
    let arguments = root.find_subcommand(command).into_iter().flat_map(clap::Command::get_arguments);
    arguments.filter(|argument| is_path(argument)).map(|argument| argument.get_id().to_string()).collect()
}

/// True if two texts name the same path.
fn is_same_path(a: &str, b: &str) -> bool {
    let whole = |path: &str| Path::new(path).canonicalize().or_else(|_| std::path::absolute(path)).unwrap_or_else(|_| path.into());
    a == b || whole(a) == whole(b)
}

impl Train {
    /// Collects the settings of the run.
    ///
    /// # Errors
    /// If they cannot be serialised.
    pub fn run_settings(&self, shared: &Shared) -> Result<RunSettings, Failure> {
        let whole = Self { steps: self.fixed_steps(), learning_rate: Some(self.peak_rate()), ..self.clone() };
        let unused = whole.unused();
        RunSettings::new("train", &whole, shared, &unused.iter().map(|unused| unused.setting).collect::<Vec<_>>())
    }
}

impl Sft {
    /// Collects the settings of the run.
    ///
    /// # Errors
    /// If they cannot be serialised.
    pub fn run_settings(&self, shared: &Shared) -> Result<RunSettings, Failure> {
        let whole = Self { training: self.training.whole(), ..self.clone() };
        let unused = whole.unused();
        RunSettings::new("sft", &whole, shared, &unused.iter().map(|unused| unused.setting).collect::<Vec<_>>())
    }
}

impl Align {
    /// Collects the settings of the run.
    ///
    /// # Errors
    /// If they cannot be serialised.
    pub fn run_settings(&self, shared: &Shared) -> Result<RunSettings, Failure> {
        let settings = self.settings.clone().resolved(&self.loss);
        let whole = Self { training: self.training.whole(), settings, ..self.clone() };
        let unused = whole.unused();
        RunSettings::new("align", &whole, shared, &unused.iter().map(|unused| unused.setting).collect::<Vec<_>>())
    }
}

impl Command {
    /// Collects the settings of a training run. Returns `None` for a command that does not train.
    pub fn run_settings(&self, shared: &Shared) -> Option<Result<RunSettings, Failure>> {
        match self {
            Self::Train(train) => Some(train.run_settings(shared)),
            Self::Sft(sft) => Some(sft.run_settings(shared)),
            Self::Align(align) => Some(align.run_settings(shared)),
            _ => None,
        }
    }
}
