//! Help texts of the real binary at several widths of the terminal: nothing is wider, and running text is wrapped once.

use crate::command::{Workplace, binary, failure};
use std::process::Command;

const COMMANDS: [&str; 24] = [
    "",
    "demo",
    "train",
    "sft",
    "align",
    "generate",
    "chat",
    "data",
    "score",
    "eval",
    "convert",
    "merge",
    "gradcheck",
    "verify",
    "audit",
    "explain",
    "bench",
    "bench step",
    "bench peak",
    "devices",
    "study",
    "compare",
    "completions",
    "man",
];

fn help(command: &str, columns: usize) -> String {
    let words = command.split_whitespace().chain(["--help"]);
    let output = Command::new(binary()).args(words).env("COLUMNS", columns.to_string()).output().unwrap();
    assert!(output.status.success(), "{command}");
    String::from_utf8(output.stdout).unwrap()
}

/// Lines that are longer only because a word of them does not fit are no fault of the wrapping, and the line of usage is never wrapped.
fn is_too_wide(line: &str, columns: usize) -> bool {
    line.chars().count() > columns && line.split_whitespace().count() > 1 && !line.starts_with("Usage: ")
}

#[test]
fn no_line_of_any_help_is_wider_than_the_terminal() {
    for columns in [60, 80, 120] {
        for command in COMMANDS {
            let help = help(command, columns);
            let wide: Vec<&str> = help.lines().filter(|line| is_too_wide(line, columns)).collect();
            assert!(wide.is_empty(), "slpo {command} at {columns} columns: {wide:#?}");
        }
    }
}

/// A line of running text that ends early although the next word would fit has a line break of its own in it.
#[test]
fn running_text_is_wrapped_once() {
    let columns = 80;
    for command in COMMANDS {
        let help = help(command, columns);
        let lines: Vec<&str> = help.lines().collect();
        for pair in lines.windows(2) {
            let [line, next] = pair else { continue };
            let is_running_text = |line: &str| !line.starts_with(' ') && !line.is_empty() && !line.ends_with(':');
            let begins_anew = next.starts_with("Usage:") || next.starts_with(char::is_uppercase);
            if !is_running_text(line) || !is_running_text(next) || begins_anew {
                continue;
            }
            let word = next.split_whitespace().next().unwrap_or_default().chars().count();
            assert!(line.chars().count() + 1 + word > columns, "slpo {command}: {line:?} is cut before {next:?}");
        }
    }
}

#[test]
fn the_examples_of_every_help_name_a_loss_that_does_something() {
    for command in COMMANDS {
        let help = help(command, 200);
        assert!(!help.lines().any(|line| line.contains("--loss slpo ") || line.ends_with("--loss slpo")), "slpo {command}: {help}");
    }
}

#[test]
fn messages_about_files_say_what_is_wrong_and_which_flag_it_is_of() {
    let workplace = Workplace::new();
    for (command, expected) in [
        ("train --data {}/nope.txt --out {}/x", "nope.txt: there is no such file (--data)"),
        ("train --data {} --out {}/x", ": it is a folder: give the file (--data)"),
        ("sft --model {}/model --data {}/completions.jsonl --eval-data {}/nope --out {}/x", "nope: there is no such file (--eval-data)"),
        ("eval --model {}/model --data {}/model", "model: it is a folder: give the file (--data)"),
        ("train --config {}/nope.toml --out {}/x", "nope.toml: there is no such file or folder (--config)"),
        ("train --config {}/model --out {}/x", "model: is a folder"),
        ("generate --model {}/model --prompts {}/nope.jsonl", "nope.jsonl: there is no such file (--prompts)"),
        ("train --data {}/text.txt --out {}/text.txt/below", "a part of the path is a file, not a folder"),
        ("train --data {}/text.txt/below --out {}/x", "text.txt/below: a part of the path is a file, not a folder (--data)"),
    ] {
        let line = failure(&workplace.run(command), 1);
        assert!(line.contains(expected) && !line.contains("os error"), "{command}: {line}");
    }
}

#[test]
fn flags_that_a_form_of_data_does_not_use_are_refused() {
    let workplace = Workplace::new();
    let line = failure(&workplace.run("eval --model {}/model --data {}/text.txt --max-tokens 9"), 2);
    assert!(line.contains("--window does the same for text"), "{line}");
    let line = failure(&workplace.run("eval --model {}/model --data {}/completions.jsonl --window 9"), 2);
    assert!(line.contains("--max-tokens does the same for rows"), "{line}");
}
