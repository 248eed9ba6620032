//! The command line alone, before it is combined with settings files.

use super::command_line::Arguments;
use clap::parser::ValueSource;
use clap::{ArgMatches, CommandFactory, FromArgMatches};
use std::collections::BTreeSet;
use std::ffi::OsString;

/// The command line alone.
pub struct Given {
    pub command: String,
    pub matches: ArgMatches,
    /// The settings that the command line gives, with `_` for `-`.
    pub flags: BTreeSet<String>,
}

impl Given {
    /// Returns `None` if the command line has no command.
    pub fn of(matches: ArgMatches) -> Option<Self> {
        let (command, matches) = matches.subcommand()?;
        let from_command_line = |id: &str| matches.value_source(id) == Some(ValueSource::CommandLine);
        let flags = matches.ids().map(|id| id.as_str().to_owned()).filter(|id| from_command_line(id)).collect();
        Some(Self { command: command.to_owned(), matches: matches.clone(), flags })
    }
}

/// Makes every argument of the training commands optional, because a settings file may give them.
pub fn without_requirements(root: &clap::Command) -> clap::Command {
    ["train", "sft", "align"]
        .into_iter()
        .fold(root.clone(), |root, name| root.mut_subcommand(name, |command| command.mut_args(|argument| argument.required(false))))
}

/// Parses the command line alone.
pub fn parse_flags(arguments: &[OsString]) -> Result<Arguments, clap::Error> {
    Arguments::from_arg_matches(&Arguments::command().try_get_matches_from(arguments)?)
}

/// Finds the command and its position. Only flags that every command has can come before it, and no value of theirs is a command's name.
pub fn find_command<'a>(root: &'a clap::Command, arguments: &[OsString]) -> Option<(usize, &'a clap::Command)> {
    let named = |(position, argument): (usize, &OsString)| root.find_subcommand(argument).map(|command| (position, command));
    arguments.iter().enumerate().skip(1).find_map(named)
}
