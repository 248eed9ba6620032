//! Errors of the command line, in one line.

use clap::error::{ContextKind, ContextValue, ErrorKind};
use losses::Loss;
use std::ffi::OsString;

/// Formats the parser's message in one line: the error, its tips, and which command's help to read.
pub fn of(error: &clap::Error, root: &clap::Command, arguments: &[OsString]) -> String {
    let path = path_of(root, arguments);
    let names: Vec<&str> = path.iter().map(|command| command.get_name()).collect();
    let help = format!("see {} --help", names.join(" "));
    match error.kind() {
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand | ErrorKind::MissingSubcommand => {
            format!("{} needs a command: {}; {help}", names.join(" "), subcommands(path.last().copied().unwrap_or(root)))
        }
        ErrorKind::InvalidSubcommand => match other_name(error) {
            Some((asked, meant)) => format!("there is no command {asked}: that is `{meant}` here; {help}"),
            None => format!("{}; {help}", message(error)),
        },
        _ => format!("{}; {help}", message(error)),
    }
}

/// Joins the first paragraph and the tips, each on one line.
fn message(error: &clap::Error) -> String {
    let text = error.render().to_string();
    let mut paragraphs = text.split("\n\n").map(|paragraph| paragraph.split_whitespace().collect::<Vec<_>>().join(" "));
    let what = paragraphs.next().unwrap_or_default();
    let tips: Vec<String> = paragraphs.filter(|paragraph| paragraph.starts_with("tip: ")).collect();
    let what = what.strip_prefix("error: ").unwrap_or(&what);
    format!("{what}{}", tips.iter().map(|tip| format!("; {tip}")).collect::<String>())
}

/// Lists the commands that the arguments name, from the program itself to the innermost.
fn path_of<'a>(root: &'a clap::Command, arguments: &[OsString]) -> Vec<&'a clap::Command> {
    let mut path = vec![root];
    for argument in arguments.iter().skip(1) {
        path.extend(path[path.len() - 1].find_subcommand(argument));
    }
    path
}

fn subcommands(command: &clap::Command) -> String {
    let names: Vec<&str> = command.get_subcommands().map(clap::Command::get_name).filter(|name| *name != "help").collect();
    match names.split_last() {
        Some((last, others)) if !others.is_empty() => format!("{} or {last}", others.join(", ")),
        _ => names.concat(),
    }
}

/// The names of commands in other programs, and the command here.
const OTHER_NAMES: [(&[&str], &str); 9] = [
    (&["pretrain", "pre-train"], "slpo train"),
    (&["finetune", "fine-tune", "tune", "instruct", "instruction-tune"], "slpo sft"),
    (&["lora", "qlora", "peft"], "slpo sft --lora-rank 8"),
    (&["rlhf", "preference", "preferences", "prefer", "alignment"], "slpo align"),
    (&["infer", "inference", "sample", "complete", "predict", "run"], "slpo generate"),
    (&["evaluate", "test", "perplexity"], "slpo eval"),
    (&["tokenize", "dataset", "inspect", "preprocess"], "slpo data"),
    (&["export", "import", "download"], "slpo convert"),
    (&["fuse", "merge-adapter"], "slpo merge"),
];

/// Returns the user's name for a command, and the command that this program has for it.
fn other_name(error: &clap::Error) -> Option<(&str, String)> {
    let Some(ContextValue::String(asked)) = error.get(ContextKind::InvalidSubcommand) else { return None };
    let name = asked.to_lowercase().replace('_', "-");
    if let Ok(loss) = name.parse::<Loss>() {
        return Some((asked, format!("slpo align --loss {loss}")));
    }
    let (_, meant) = OTHER_NAMES.iter().find(|(names, _)| names.contains(&name.as_str()))?;
    Some((asked, (*meant).to_owned()))
}
