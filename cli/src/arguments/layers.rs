//! Combines the settings of a command. The command line wins over the file of `--config`, and this file wins over the config.toml of a
//! resumed run.

use super::change::{Change, Effect, Layers};
use super::command_line::Arguments;
use super::config_file::ConfigFile;
use super::given::{Given, find_command, parse_flags};
use super::one_line;
use crate::failure::Failure;
use crate::run_folder::{CONFIG, RunFolderError};
use clap::CommandFactory;
use clap::error::ErrorKind;
use losses::{Loss, Setting};
use model::files::is_there;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// Pairs of settings that replace each other.
const INSTEAD: [(&str, &str); 2] = [("steps", "epochs"), ("epochs", "steps")];

/// Settings that a config.toml may lack, with the value that its run used. A file that lacks one does not name its command either.
const BEFORE: [(&[&str], &str, &str); 2] = [(&["sft", "align"], "truncation", "prompt-start"), (&["sft"], "turns", "last")];

/// A setting of a loss that a config.toml with this loss may lack, with the value that its run used. Newer runs write down every setting
/// that their losses use.
const BEFORE_OF_LOSS: (Setting, &str) = (Setting::FilterShare, "0");

/// Parses the command line together with the settings of the files.
///
/// # Errors
/// [`Failure::Usage`] for settings that are invalid, missing or different from those of the resumed run; [`Failure::Failed`] for files that
/// cannot be read.
pub fn apply(root: &clap::Command, given: &Given, arguments: &[OsString]) -> Result<(Arguments, Layers), Failure> {
    let path = |name: &str| given.matches.try_get_one::<PathBuf>(name).ok().flatten().cloned();
    let switch = |name: &str| given.matches.try_get_one::<bool>(name).ok().flatten() == Some(&true);
    let config = path("config").map(|path| ConfigFile::read(&path, &given.command)).transpose()?;
    let out = path("out").or_else(|| config.as_ref()?.value("out").map(PathBuf::from));
    let run = match out.as_deref().filter(|_| switch("resume")) {
        Some(out) => own_settings(out, &given.command)?,
        None => None,
    };
    let files: Vec<&ConfigFile> = run.iter().chain(&config).collect();
    let line = layered(root, given, &files, arguments);
    let parsed = match parse_flags(&line) {
        Ok(parsed) => parsed,
        Err(error) if is_missing(&error) && switch("resume") && out.is_some() && run.is_none() => {
            return Err(RunFolderError::NothingToResume { folder: out.unwrap_or_default() }.into());
        }
        Err(error) => return Err(Failure::Usage(one_line::of(&error, root, &line))),
    };
    let notes = config.as_ref().map_or_else(Vec::new, |config| without_effect(&parsed, given, config));
    let changes = run.as_ref().map_or(Ok(Vec::new()), |run| changes(&parsed, given, run))?;
    if !switch("change") {
        refuse(&changes, out.as_deref().unwrap_or(Path::new("")))?;
    }
    let history = run.map_or_else(Vec::new, |run| run.history);
    Ok((parsed, Layers { notes, changes, history }))
}

fn is_missing(error: &clap::Error) -> bool {
    error.kind() == ErrorKind::MissingRequiredArgument
}

/// Reads the run's own settings. Returns `None` if the folder has no config.toml, which is so in a process that does not have the folder.
fn own_settings(out: &Path, command: &str) -> Result<Option<ConfigFile>, Failure> {
    let path = out.join(CONFIG);
    if !is_there(&path)? {
        return Ok(None);
    }
    let mut file = ConfigFile::read(&path, command)?;
    let before: Vec<_> = used_before(&file, command).into_iter().filter(|(name, _)| !gives(&file, name)).collect();
    let flag = |name: &str, value: &str| Some(format!("--{}={value}", name.replace('_', "-")).into());
    file.settings.extend(before.into_iter().map(|(name, value)| (name.to_owned(), flag(name, value))));
    // The folder may have been moved since, so it is taken from the command line.
    file.settings.retain(|(name, _)| name != "out");
    let mut here = OsString::from("--out=");
    here.push(out);
    file.settings.push(("out".to_owned(), Some(here)));
    Ok(Some(file))
}

/// Lists the settings that the run used if its file lacks them.
fn used_before(file: &ConfigFile, command: &str) -> Vec<(&'static str, &'static str)> {
    let of_command = BEFORE.iter().filter(|(commands, ..)| !file.names_command && commands.contains(&command));
    let (setting, value) = BEFORE_OF_LOSS;
    let losses = file.value("loss").unwrap_or_default();
    let is_used = losses.split(',').filter_map(|name| name.parse::<Loss>().ok()).any(|loss| loss.uses().contains(&setting));
    of_command.map(|&(_, name, value)| (name, value)).chain(is_used.then_some((setting.field(), value))).collect()
}

/// Builds one command line from the files and the arguments. Of each setting, and of each pair that replaces each other, only the value
/// with the highest priority stays.
fn layered(root: &clap::Command, given: &Given, files: &[&ConfigFile], arguments: &[OsString]) -> Vec<OsString> {
    if files.is_empty() {
        return arguments.to_vec();
    }
    let position = find_command(root, arguments).map_or(1, |(position, _)| position);
    let mut line = vec![arguments[0].clone(), arguments[position].clone()];
    for (place, file) in files.iter().enumerate() {
        let later = |name: &str| given.flags.contains(name) || files[place + 1..].iter().any(|file| gives(file, name));
        let replaced = |name: &str| later(name) || INSTEAD.iter().any(|(this, other)| *this == name && later(other));
        line.extend(file.settings.iter().filter(|(name, _)| !replaced(name)).filter_map(|(_, flag)| flag.clone()));
    }
    line.extend(arguments.iter().enumerate().filter(|(i, _)| ![0, position].contains(i)).map(|(_, argument)| argument.clone()));
    line
}

fn gives(file: &ConfigFile, setting: &str) -> bool {
    file.settings.iter().any(|(name, _)| name == setting)
}

/// Lists the settings of a file that have no effect beside the other settings.
fn without_effect(parsed: &Arguments, given: &Given, config: &ConfigFile) -> Vec<String> {
    let unusual = config.unusual(given);
    let unused = parsed.command.as_ref().map_or_else(Vec::new, |command| command.unused());
    let of_file = unused.into_iter().filter(|unused| unusual.contains(&unused.setting) && !given.flags.contains(unused.setting));
    of_file.map(|unused| format!("{}: {}", config.path.display(), unused.reason)).collect()
}

/// Lists the settings that differ from those of the resumed run.
fn changes(parsed: &Arguments, given: &Given, run: &ConfigFile) -> Result<Vec<Change>, Failure> {
    let settings =
        |arguments: &Arguments| arguments.command.as_ref().and_then(|command| command.run_settings(&arguments.shared)).transpose();
    let line = run.line(&given.command);
    let before = parse_flags(&line).map_err(|error| {
        let reason = one_line::of(&error, &Arguments::command(), &line);
        Failure::Usage(format!("{}: {reason}", run.path.display()))
    })?;
    Ok(match (settings(&before)?, settings(parsed)?) {
        (Some(before), Some(now)) => now.changes_since(&before),
        _ => Vec::new(),
    })
}

/// Refuses changes of settings on which the result depends.
fn refuse(changes: &[Change], out: &Path) -> Result<(), Failure> {
    let refused: Vec<String> = changes.iter().filter(|change| change.effect == Effect::OnResult).map(Change::to_string).collect();
    if refused.is_empty() {
        return Ok(());
    }
    let what = refused.join(", ");
    Err(Failure::Usage(format!(
        "{what}: the run in {} was begun otherwise; go on with what it had, give --change to change it from here on, or begin a new run in \
         another --out",
        out.display()
    )))
}
