//! How the source reads: comments are statements no wider than the formatter's line, and a name means one thing. Read this if a test here
//! fails on a line of yours.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

const CRATES: [&str; 4] = ["engine", "losses", "model", "cli"];

/// rustfmt's max_width: the formatter leaves comments as they are.
const WIDTH: usize = 140;

/// Names of types that several crates could claim, with the one meaning that each has.
const ONE_MEANING: [(&str, &str); 7] = [
    ("Pass", "a part of a training step: forward, backward, update"),
    ("Row", "a row of a data file"),
    ("Run", "a training run"),
    ("Plan", "when a training run stops, evaluates and saves"),
    ("Output", "what a command prints"),
    ("Precision", "how products round"),
    ("Limits", "how long a sequence may be"),
];

fn sources(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let found = entries.flat_map(|path| if path.is_dir() { sources(&path) } else { vec![path] });
    found.filter(|path| path.extension().is_some_and(|extension| extension == "rs")).collect()
}

/// Each file of the crates with its text.
fn files() -> Vec<(PathBuf, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let paths = CRATES.iter().flat_map(|name| sources(&root.join(name).join("src")));
    paths.map(|path| (path.strip_prefix(root).unwrap().to_owned(), fs::read_to_string(&path).unwrap())).collect()
}

/// `FILE:LINE: TEXT` of each line that `is_wrong`.
fn wrong_lines(is_wrong: impl Fn(&str) -> bool) -> Vec<String> {
    let of_file = |(path, text): (PathBuf, String)| {
        let lines = text.lines().enumerate().filter(|(_, line)| is_wrong(line.trim_start()));
        lines.map(|(number, line)| format!("{}:{}: {}", path.display(), number + 1, line.trim())).collect::<Vec<_>>()
    };
    files().into_iter().flat_map(of_file).collect()
}

/// A comment that could be wrapped: a row of a table could not.
fn is_comment(line: &str) -> bool {
    let text = line.trim_start();
    text.starts_with("//") && !text.trim_start_matches(['/', '!']).trim_start().starts_with('|')
}

#[test]
fn no_comment_is_wider_than_the_formatters_line() {
    let wide = |(path, text): (PathBuf, String)| {
        let lines = text.lines().enumerate().filter(|(_, line)| is_comment(line) && line.chars().count() > WIDTH);
        lines.map(|(number, _)| format!("{}:{}", path.display(), number + 1)).collect::<Vec<_>>()
    };
    let found: Vec<String> = files().into_iter().flat_map(wide).collect();
    assert!(found.is_empty(), "wider than {WIDTH} characters:\n{}", found.join("\n"));
}

#[test]
fn no_comment_is_a_question() {
    let asks = |line: &str| line.ends_with('?') || line.split("? ").skip(1).any(|rest| rest.starts_with(char::is_uppercase));
    let found = wrong_lines(|line| line.starts_with("//") && asks(line));
    assert!(found.is_empty(), "{}", found.join("\n"));
}

/// The name of the type that a line defines.
fn defined(line: &str) -> Option<&str> {
    let line =
        line.strip_prefix("pub ").or_else(|| line.strip_prefix("pub(crate) ")).or_else(|| line.strip_prefix("pub(super) ")).unwrap_or(line);
    let name = ["struct ", "enum ", "trait ", "type "].iter().find_map(|keyword| line.strip_prefix(keyword))?;
    name.split(|c: char| !c.is_alphanumeric() && c != '_').next()
}

#[test]
fn a_name_means_one_thing() {
    let mut places = BTreeMap::<String, Vec<String>>::new();
    for (path, text) in files() {
        // What is indented belongs to a trait or a function.
        for name in text.lines().filter_map(defined) {
            places.entry(name.to_owned()).or_default().push(path.display().to_string());
        }
    }
    assert!(places.len() > 500, "the types are found");
    for (name, meaning) in ONE_MEANING {
        let found = places.get(name).map_or(&[][..], Vec::as_slice);
        assert!(found.len() <= 1, "{name} is {meaning}, and is defined in {}", found.join(", "));
    }
}
