//! The examples of the crates: each is short, and prints what its first lines say.

use std::path::{Path, PathBuf};
use std::process::Command;

/// The most lines of an example.
const LINES: usize = 100;

/// The examples of all crates.
fn sources() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned();
    let folders = ["engine", "losses", "model"].map(|name| root.join(name).join("examples"));
    let files = folders.iter().flat_map(|folder| std::fs::read_dir(folder).unwrap()).map(|entry| entry.unwrap().path());
    let mut files: Vec<PathBuf> = files.filter(|path| path.extension().is_some_and(|extension| extension == "rs")).collect();
    files.sort();
    files
}

/// The lines that an example says it prints.
fn promised(text: &str) -> Vec<&str> {
    let lines = text.lines().map_while(|line| line.strip_prefix("//!")).map(|line| line.strip_prefix(' ').unwrap_or(line));
    lines.skip_while(|line| *line != "It prints:").skip(2).take_while(|line| *line != "```").collect()
}

/// The program of an example, beside this one. Cargo builds all of them before it runs tests of the whole workspace.
fn program(name: &str) -> PathBuf {
    let own = std::env::current_exe().unwrap();
    let profile = own.parent().unwrap().parent().unwrap();
    let program = profile.join("examples").join(name).with_extension(std::env::consts::EXE_EXTENSION);
    if !program.exists() {
        let release = (profile.file_name().unwrap() == "release").then_some("--release");
        let made = Command::new(env!("CARGO")).args(["build", "--workspace", "--examples"]).args(release).status().unwrap();
        assert!(made.success(), "the examples do not build");
    }
    program
}

/// True if a line is as promised, where … stands for anything.
fn is_as_promised(line: &str, promised: &str) -> bool {
    let mut parts = promised.split('…');
    let Some(mut rest) = parts.next().and_then(|first| line.strip_prefix(first)) else { return false };
    let mut is_open = false;
    for part in parts {
        is_open = part.is_empty();
        let Some(at) = rest.find(part) else { return false };
        rest = &rest[at + part.len()..];
    }
    rest.is_empty() || is_open
}

#[test]
fn examples_are_short_and_print_what_their_first_lines_say() {
    let sources = sources();
    assert!(sources.len() >= 13, "{sources:?}");
    for source in sources {
        let text = std::fs::read_to_string(&source).unwrap();
        let shown = source.display();
        assert!(text.lines().count() < LINES, "{shown} has {} lines", text.lines().count());
        let promised = promised(&text);
        assert!(!promised.is_empty(), "{shown} does not say what it prints");
        let run = Command::new(program(source.file_stem().unwrap().to_str().unwrap())).output().unwrap();
        assert!(run.status.success(), "{shown}: {}", String::from_utf8_lossy(&run.stderr));
        let printed = String::from_utf8(run.stdout).unwrap();
        let lines: Vec<&str> = printed.lines().map(str::trim_end).collect();
        assert_eq!(lines.len(), promised.len(), "{shown} prints\n{printed}");
        for (line, promised) in lines.iter().zip(promised) {
            assert!(is_as_promised(line, promised), "{shown}: promised\n{promised}\nprinted\n{line}");
        }
    }
}

/// Runs an example with arguments. Returns what it printed, and whether it ended well.
fn said(name: &str, arguments: &str) -> (String, bool) {
    let run = Command::new(program(name)).args(arguments.split_whitespace()).output().unwrap();
    (String::from_utf8(run.stdout).unwrap() + &String::from_utf8(run.stderr).unwrap(), run.status.success())
}

#[test]
fn exercises_wait_to_be_solved_and_their_solutions_are_right() {
    let (printed, is_well) = said("exercises", "all --solutions");
    assert!(is_well && printed.lines().count() == 12 && printed.lines().all(|line| line.contains(": right.")), "{printed}");
    let (printed, is_well) = said("loss_exercises", "all --solutions");
    assert!(is_well && printed.lines().count() == 4 && printed.lines().all(|line| line.contains(": right,")), "{printed}");
    for (name, exercise) in [("exercises", "softmax"), ("loss_exercises", "dpo")] {
        let (printed, is_well) = said(name, exercise);
        assert!(!is_well && printed.contains("not solved yet") && printed.contains("yours.rs"), "{printed}");
        let (printed, is_well) = said(name, "no-such");
        assert!(!is_well && printed.contains("there is no exercise \"no-such\"; there are"), "{printed}");
    }
    assert!(said("exercises", "").0.matches("to do").count() == 12);
}

#[test]
fn each_planted_mistake_is_seen_and_has_one_answer() {
    for seed in 0..20 {
        let (shown, is_well) = said("exercises", &format!("find {seed}"));
        assert!(is_well && shown.contains("expected") && shown.contains("got"), "{shown}");
        let right =
            ["sign", "factor", "term", "mask", "shift"].iter().filter(|answer| said("exercises", &format!("find {seed} {answer}")).1);
        assert_eq!(right.count(), 1, "{shown}");
    }
}

#[test]
fn an_ellipsis_stands_for_anything() {
    for (line, promised, expected) in [
        ("1.25 ms", "… ms", true),
        ("loss 0.1234", "loss 0.…", true),
        ("loss 0.12 of 3", "loss … of 3", true),
        ("loss 0.12 of 4", "loss … of 3", false),
        ("plain", "plain", true),
        ("plain and more", "plain", false),
    ] {
        assert_eq!(is_as_promised(line, promised), expected, "{line} {promised}");
    }
}
