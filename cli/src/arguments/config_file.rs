//! Settings from a TOML file. Its keys are the command's flags, or their aliases, with `_` for `-`.
//!
//! Each key is converted to the flag that it names, so the values have the same types, ranges and messages as the flags. Three keys of a
//! run's config.toml are no flags: `command`, `working_directory` and `history`.

use super::command_line::Arguments;
use super::given::{Given, without_requirements};
use super::one_line;
use crate::failure::Failure;
use clap::{Arg, ArgAction, CommandFactory};
use losses::{Hyperparameters, Setting};
use std::any::TypeId;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use toml::{Table, Value};

/// Flags that cannot be set in a file.
const NOT_SETTINGS: [&str; 7] = ["config", "resume", "change", "profile", "json", "help", "version"];

/// A settings file, read for one command.
pub struct ConfigFile {
    /// The path of the file.
    pub path: PathBuf,
    /// The settings of the file, each by its name with `_` for `-`, and as a flag. A switch that is off has no flag.
    pub settings: Vec<(String, Option<OsString>)>,
    /// The changes of the run that the file belongs to, oldest first.
    pub history: Vec<Table>,
    /// True if the file names the command that it belongs to.
    pub names_command: bool,
}

impl ConfigFile {
    /// Reads the file for `command`.
    ///
    /// # Errors
    /// [`Failure::Failed`] if the file cannot be read, [`Failure::Usage`] for a key that is no setting of the command.
    pub fn read(path: &Path, command: &str) -> Result<Self, Failure> {
        let unreadable = |error: model::Error| Failure::Failed(format!("{error} (--config)"));
        let text = model::files::read_text(path, model::files::FLAGS).map_err(unreadable)?;
        let mut table: Table = text.parse().map_err(|error| Failure::Usage(malformed(path, &text, &error)))?;
        let file = Self::of(path, &mut table, command).map_err(|reason| Failure::Usage(format!("{}: {reason}", path.display())))?;
        file.check(command)?;
        Ok(file)
    }

    fn of(path: &Path, table: &mut Table, command: &str) -> Result<Self, String> {
        let names_command = table.contains_key("command");
        if let Some(other) = text_of(table, "command")?.filter(|other| other != command) {
            return Err(format!("these are the settings of slpo {other}, not of slpo {command}"));
        }
        let folder = text_of(table, "working_directory")?.map(PathBuf::from);
        let history = history_of(table)?;
        name_the_mean(table);
        let root = Arguments::command();
        let command = root.find_subcommand(command).ok_or("no command")?;
        let flags: Vec<&Arg> = root.get_arguments().chain(command.get_arguments()).filter(|arg| is_setting(arg)).collect();
        let mut settings: Vec<(String, Option<OsString>)> = Vec::new();
        for (key, value) in table.iter() {
            let (name, flag) = flag(&flags, key, value, folder.as_deref())?;
            if settings.iter().any(|(other, _)| *other == name) {
                return Err(format!("{key} and another key are both --{}", name.replace('_', "-")));
            }
            settings.push((name, flag));
        }
        Ok(Self { path: path.to_owned(), settings, history, names_command })
    }

    /// Checks the values as the command line would.
    fn check(&self, command: &str) -> Result<(), Failure> {
        let root = Arguments::command();
        let line = self.line(command);
        match without_requirements(&root).try_get_matches_from(&line) {
            Ok(_) => Ok(()),
            Err(error) => Err(Failure::Usage(format!("{}: {}", self.path.display(), one_line::of(&error, &root, &line)))),
        }
    }

    /// Builds the command line with the same settings.
    pub fn line(&self, command: &str) -> Vec<OsString> {
        let flags = self.settings.iter().filter_map(|(_, flag)| flag.clone());
        ["slpo".into(), command.into()].into_iter().chain(flags).collect()
    }

    /// Returns a setting's value as the file has it, or `None` for a switch.
    pub fn value(&self, setting: &str) -> Option<String> {
        let (_, flag) = self.settings.iter().find(|(name, _)| name == setting)?;
        Some(flag.as_ref()?.to_str()?.split_once('=')?.1.to_owned())
    }

    /// Lists the settings to which the file gives a value other than the default.
    pub fn unusual(&self, given: &Given) -> Vec<&str> {
        let root = Arguments::command();
        let Some(command) = root.find_subcommand(&given.command) else { return Vec::new() };
        let default = |name: &str| command.get_arguments().find(|arg| arg.get_id() == name).map(|arg| arg.get_default_values().to_vec());
        let is_default = |name: &str| match (self.value(name), default(name)) {
            (Some(value), Some(default)) => default.iter().any(|default| same(&value, &default.to_string_lossy())),
            (None, _) => !self.settings.iter().any(|(other, flag)| other == name && flag.is_some()),
            (Some(_), None) => false,
        };
        self.settings.iter().map(|(name, _)| name.as_str()).filter(|name| !is_default(name)).collect()
    }
}

/// Names the loss of a file that says how `ipo` averages: `length_normalize = false` is `ipo-sum`.
fn name_the_mean(table: &mut Table) {
    let is_ipo = table.get("loss").and_then(Value::as_str) == Some("ipo");
    if let Some(Value::Boolean(means)) = table.get("length_normalize").cloned().filter(|_| is_ipo) {
        table.remove("length_normalize");
        table.insert("loss".to_owned(), Value::String(if means { "ipo" } else { "ipo-sum" }.to_owned()));
    }
}

/// True if the values are equal as texts or as numbers.
fn same(a: &str, b: &str) -> bool {
    a == b || a.parse::<f64>().is_ok_and(|a| b.parse() == Ok(a))
}

fn text_of(table: &mut Table, key: &str) -> Result<Option<String>, String> {
    match table.remove(key) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(other) => Err(format!("{key} must be a text in quotes, not {other}")),
    }
}

fn history_of(table: &mut Table) -> Result<Vec<Table>, String> {
    let entries = match table.remove("history") {
        None => Vec::new(),
        Some(Value::Array(entries)) => entries,
        Some(other) => return Err(format!("history must be a list of tables, not {other}")),
    };
    let table = |entry: Value| match entry {
        Value::Table(table) => Ok(table),
        other => Err(format!("history must be a list of tables, and holds {other}")),
    };
    entries.into_iter().map(table).collect()
}

fn is_setting(arg: &Arg) -> bool {
    arg.get_long().is_some_and(|long| !NOT_SETTINGS.contains(&long))
}

/// True if the setting is a path of a file or folder.
pub fn is_path(arg: &Arg) -> bool {
    arg.get_value_parser().type_id() == TypeId::of::<PathBuf>()
}

/// Converts a key and its value to a setting and its flag. A switch that is off has no flag. Relative paths start at `folder`.
fn flag(flags: &[&Arg], key: &str, value: &Value, folder: Option<&Path>) -> Result<(String, Option<OsString>), String> {
    let name = key.replace('_', "-");
    let is_called =
        |arg: &&&Arg| arg.get_long() == Some(&name) || arg.get_all_aliases().is_some_and(|aliases| aliases.contains(&name.as_str()));
    let Some(arg) = flags.iter().find(is_called) else {
        let known: Vec<String> = flags.iter().filter_map(|arg| arg.get_long()).map(|long| long.replace('-', "_")).collect();
        return Err(format!("there is no setting {key:?}; the settings are {}", known.join(", ")));
    };
    let (setting, long) = (arg.get_id().to_string(), arg.get_long().unwrap_or(&name));
    if let ArgAction::SetTrue = arg.get_action() {
        return match value {
            Value::Boolean(on) => Ok((setting, on.then(|| format!("--{long}").into()))),
            other => Err(format!("{key} must be true or false, not {other}")),
        };
    }
    let text = text(arg, value).map_err(|wanted| format!("{key} must be {wanted}, not {value} ({})", kind(value)))?;
    let resolved = match folder {
        Some(folder) if is_path(arg) && text != "off" && !is_current(folder) => folder.join(&text).into_os_string(),
        _ => text.into(),
    };
    let mut flag = OsString::from(format!("--{long}="));
    flag.push(resolved);
    Ok((setting, Some(flag)))
}

fn is_current(folder: &Path) -> bool {
    std::env::current_dir().is_ok_and(|current| current == folder)
}

/// Formats a number of a loss, or the word that it allows in place of one.
fn number_of_loss(setting: Setting, value: &Value) -> Result<String, &'static str> {
    let is_word = |text: &str| text.parse::<f64>().is_err() && Hyperparameters::default().set(setting, text).is_ok();
    match value {
        Value::Integer(number) => Ok(number.to_string()),
        Value::Float(number) => Ok(number.to_string()),
        Value::String(text) if is_word(text) => Ok(text.clone()),
        _ => Err("a number"),
    }
}

/// Formats a value as for the command line. The error names the kind of value that is needed.
fn text(arg: &Arg, value: &Value) -> Result<String, &'static str> {
    let parser = arg.get_value_parser();
    let is = |id: TypeId| parser.type_id() == id;
    if is(TypeId::of::<u64>()) || is(TypeId::of::<usize>()) {
        return match value {
            Value::Integer(number) => Ok(number.to_string()),
            Value::Float(number) => Ok(number.to_string()),
            // TOML has no whole numbers above 2^63 − 1, so larger ones are written as texts.
            Value::String(text) if text.parse::<u64>().is_ok_and(|number| number > i64::MAX as u64) => Ok(text.clone()),
            _ => Err("a whole number"),
        };
    }
    if is(TypeId::of::<f64>()) {
        return match value {
            Value::Integer(number) => Ok(number.to_string()),
            Value::Float(number) => Ok(number.to_string()),
            _ => Err("a number"),
        };
    }
    if let Some(setting) = Setting::ALL.into_iter().find(|setting| arg.get_id() == setting.field() && setting.words().is_empty()) {
        return number_of_loss(setting, value);
    }
    match value {
        Value::String(text) => Ok(text.clone()),
        _ => Err("a text in quotes"),
    }
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::String(_) => "a text",
        Value::Integer(_) | Value::Float(_) => "a number",
        Value::Boolean(_) => "true or false",
        Value::Datetime(_) => "a date",
        Value::Array(_) => "a list",
        Value::Table(_) => "a table",
    }
}

/// Reports invalid TOML in one line, with the number of the line where the parser stopped.
fn malformed(path: &Path, text: &str, error: &toml::de::Error) -> String {
    let at = error.span().map_or(0, |span| span.start);
    let line = 1 + text.bytes().take(at).filter(|&byte| byte == b'\n').count();
    let shown = path.display();
    let extension = path.extension().and_then(|extension| extension.to_str()).unwrap_or_default().to_lowercase();
    let found = text.lines().nth(line - 1).unwrap_or_default();
    let is_yaml = found.split_once(": ").is_some_and(|(key, _)| key.chars().all(|c| c.is_alphanumeric() || "_-".contains(c)));
    let other = match extension.as_str() {
        "yaml" | "yml" => Some("YAML"),
        "json" => Some("JSON"),
        _ if is_yaml || found.trim() == "---" => Some("YAML"),
        _ if text.trim_start().starts_with('{') => Some("JSON"),
        _ => None,
    };
    match other {
        Some(other) => format!("{shown}:{line}: settings are TOML, as in learning_rate = 1e-3, and this looks like {other}"),
        None => format!("{shown}:{line}: not valid TOML: {}", error.message()),
    }
}
