//! The command line before settings files are laid below it.

use super::command_line::Arguments;
use clap::parser::ValueSource;
use clap::{ArgMatches, CommandFactory, FromArgMatches};
use std::collections::BTreeSet;
use std::ffi::OsString;

/// The command line by itself.
pub struct Given {
    pub command: String,
    pub matches: ArgMatches,
    /// The settings that it gives itself, with `_` for `-`.
    pub flags: BTreeSet<String>,
}

impl Given {
    /// `None` where there is no command.
    pub fn of(matches: ArgMatches) -> Option<Self> {
        let (command, matches) = matches.subcommand()?;
        let from_command_line = |id: &str| matches.value_source(id) == Some(ValueSource::CommandLine);
        let flags = matches.ids().map(|id| id.as_str().to_owned()).filter(|id| from_command_line(id)).collect();
        Some(Self { command: command.to_owned(), matches: matches.clone(), flags })
    }
}

/// The commands that train, with nothing that has to be given.
pub fn without_requirements(root: &clap::Command) -> clap::Command {
    ["train", "sft", "align"]
        .into_iter()
        .fold(root.clone(), |root, name| root.mut_subcommand(name, |command| command.mut_args(|argument| argument.required(false))))
}

/// The command line with nothing below it.
pub fn parse_flags(arguments: &[OsString]) -> Result<Arguments, clap::Error> {
    Arguments::from_arg_matches(&Arguments::command().try_get_matches_from(arguments)?)
}

/// Where the command's name stands, and the command. Only flags of every command can stand before it, and none has such a value.
pub fn find_command<'a>(root: &'a clap::Command, arguments: &[OsString]) -> Option<(usize, &'a clap::Command)> {
    let named = |(position, argument): (usize, &OsString)| root.find_subcommand(argument).map(|command| (position, command));
    arguments.iter().enumerate().skip(1).find_map(named)
}
