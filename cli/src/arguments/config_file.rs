//! Settings from a TOML file: its keys are the command's flags with `_` for `-`.
//!
//! Each key becomes the flag that it names and is put before the flags of the command line, of which the last wins. So the file's values
//! have the same types, ranges and messages as the flags'.

use super::{Arguments, find_command, one_line};
use crate::failure::Failure;
use clap::{Arg, ArgAction, CommandFactory};
use std::ffi::OsString;
use std::path::Path;
use toml::{Table, Value};

/// Flags that a file cannot give.
const NOT_SETTINGS: [&str; 5] = ["config", "resume", "json", "help", "version"];

/// The command line `arguments`, which names the settings file `path`, with the file's settings below its own.
pub fn apply(path: &Path, arguments: Vec<OsString>) -> Result<Arguments, Failure> {
    let text = model::files::read_text(path, model::files::FLAGS)?;
    let settings: Table = text.parse().map_err(|error| Failure::Usage(malformed(path, &text, &error)))?;
    let root = Arguments::command();
    let Some((position, command)) = find_command(&root, &arguments) else {
        return Err(Failure::Usage("a settings file needs a command: see slpo --help".to_owned()));
    };
    let in_file = |reason: String| Failure::Usage(format!("{}: {reason}", path.display()));
    let flags: Vec<&Arg> = root.get_arguments().chain(command.get_arguments()).filter(|arg| is_setting(arg)).collect();
    let settings = settings.iter().map(|(key, value)| flag(&flags, key, value));
    let settings: Vec<OsString> = settings.filter_map(Result::transpose).collect::<Result<_, _>>().map_err(in_file)?;
    let mut layered = vec![arguments[0].clone(), arguments[position].clone()];
    layered.extend(settings);
    layered.extend(arguments.into_iter().enumerate().filter(|(i, _)| ![0, position].contains(i)).map(|(_, argument)| argument));
    super::parse_flags(&layered).map_err(|error| in_file(one_line::of(&error, Some(command))))
}

fn is_setting(arg: &Arg) -> bool {
    arg.get_long().is_some_and(|long| !NOT_SETTINGS.contains(&long))
}

/// The flag that a key stands for; none for a switch that is off.
fn flag(flags: &[&Arg], key: &str, value: &Value) -> Result<Option<OsString>, String> {
    let name = key.replace('_', "-");
    let Some(arg) = flags.iter().find(|arg| arg.get_long() == Some(&name)) else {
        let known: Vec<String> = flags.iter().filter_map(|arg| arg.get_long()).map(|long| long.replace('-', "_")).collect();
        return Err(format!("there is no setting {key:?}; the settings are {}", known.join(", ")));
    };
    if let ArgAction::SetTrue = arg.get_action() {
        return match value {
            Value::Boolean(on) => Ok(on.then(|| format!("--{name}").into())),
            other => Err(format!("{key} must be true or false, not {other}")),
        };
    }
    let text = match value {
        Value::String(text) => text.clone(),
        Value::Integer(number) => number.to_string(),
        Value::Float(number) => number.to_string(),
        other => return Err(format!("{key} must be a number or a text, not {}", other.type_str())),
    };
    Ok(Some(format!("--{name}={text}").into()))
}

/// One line with the line that the parser stopped at.
fn malformed(path: &Path, text: &str, error: &toml::de::Error) -> String {
    let at = error.span().map_or(0, |span| span.start);
    let line = 1 + text.bytes().take(at).filter(|&byte| byte == b'\n').count();
    format!("{}:{line}: not valid TOML: {}", path.display(), error.message())
}
