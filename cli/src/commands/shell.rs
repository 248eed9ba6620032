//! `slpo completions` and `slpo man`: what a shell and `man` know of the command line, made from its definition.

use crate::arguments::{Arguments, Completions, Man, Shared};
use crate::failure::Failure;
use crate::output::Output;
use crate::run_folder::write_atomically;
use clap::CommandFactory;
use model::Error;
use serde_json::json;
use std::path::PathBuf;

/// Writes the completions of a shell to standard output.
///
/// # Errors
/// [`Failure`] if standard output cannot be written.
pub fn completions(arguments: &Completions, shared: &Shared) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(arguments.shell, &mut Arguments::command(), "slpo", &mut script);
    let script = String::from_utf8_lossy(&script).into_owned();
    Output::new(shared.json)
        .result(&json!({ "shell": arguments.shell.to_string(), "script": script }), |to| to.write_all(script.as_bytes()))
}

/// Writes the manual's pages into a folder.
///
/// # Errors
/// [`Error::Io`].
pub fn man(arguments: &Man, shared: &Shared) -> Result<(), Failure> {
    model::atomic::make_folder(&arguments.out)?;
    let mut root = Arguments::command();
    root.build();
    let mut pages = vec![page(&root, arguments.out.join("slpo.1"))?];
    for command in root.get_subcommands().filter(|command| command.get_name() != "help") {
        let name = format!("slpo-{}", command.get_name());
        pages.push(page(&command.clone().name(name.clone()), arguments.out.join(format!("{name}.1")))?);
    }
    Output::new(shared.json)
        .result(&json!({ "pages": pages }), |to| writeln!(to, "{} pages are in {}", pages.len(), arguments.out.display()))
}

fn page(command: &clap::Command, path: PathBuf) -> Result<PathBuf, Failure> {
    let mut text = Vec::new();
    let written = clap_mangen::Man::new(command.clone()).render(&mut text).and_then(|()| write_atomically(&path, &text));
    written.map_err(Error::io(&path))?;
    Ok(path)
}
