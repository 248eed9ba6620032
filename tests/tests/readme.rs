//! What the READMEs state is true: links, command lines, names of files and tests, counts. The help's examples are understood too. Read
//! this if you moved a file or changed a count.

mod command;

use command::{binary, object, slpo};
use model::config::{Config, preset::PRESETS};
use serde_json::Value;
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

const READMES: [&str; 9] = [
    "README.md",
    "engine/README.md",
    "losses/README.md",
    "model/README.md",
    "cli/README.md",
    "tests/README.md",
    "tests/peers/README.md",
    "tests/fuzz/README.md",
    "benches/README.md",
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn read(file: &str) -> String {
    fs::read_to_string(root().join(file)).unwrap_or_else(|error| panic!("{file}: {error}"))
}

/// The folder that relative links of a README start from.
fn folder_of(readme: &str) -> PathBuf {
    root().join(readme).parent().expect("a folder").to_path_buf()
}

/// A README in two parts: its prose, and its code blocks, each with the language that it names.
fn parts(text: &str) -> (String, Vec<(String, String)>) {
    let (mut prose, mut blocks) = (String::new(), Vec::new());
    for (index, piece) in text.split("```").enumerate() {
        match piece.split_once('\n') {
            Some((language, code)) if index % 2 == 1 => blocks.push((language.to_owned(), code.to_owned())),
            _ => prose.push_str(piece),
        }
    }
    (prose, blocks)
}

/// What stands between backticks in the prose.
fn code_spans(prose: &str) -> Vec<String> {
    prose.split('`').skip(1).step_by(2).map(|span| span.split_whitespace().collect::<Vec<_>>().join(" ")).collect()
}

/// The words of a shell line up to its comment, each simple command by itself.
fn shell_commands(line: &str) -> Vec<Vec<String>> {
    let (mut commands, mut word, mut quote) = (vec![Vec::new()], None::<String>, None);
    for letter in line.chars().chain([' ']) {
        match (quote, letter) {
            (Some(open), _) if open == letter => quote = None,
            (Some(_), _) => word.get_or_insert_default().push(letter),
            (None, '"' | '\'') => {
                quote = Some(letter);
                word.get_or_insert_default();
            }
            (None, '#') if word.is_none() => break,
            (None, ' ' | '|' | '&' | ';' | '(' | ')') => {
                commands.last_mut().expect("a command").extend(word.take());
                if letter != ' ' {
                    commands.push(Vec::new());
                }
            }
            (None, _) => word.get_or_insert_default().push(letter),
        }
    }
    commands
}

/// The commands of all shell blocks of a README.
fn shell(readme: &str) -> Vec<Vec<String>> {
    let blocks = parts(&read(readme)).1;
    let lines: String = blocks.into_iter().filter(|(language, _)| language == "sh").map(|(_, code)| code.replace("\\\n", " ")).collect();
    lines.lines().flat_map(shell_commands).filter(|words| !words.is_empty()).collect()
}

/// The words of a command before it sends its output to a file.
fn before_redirection(words: &[String]) -> &[String] {
    &words[..words.iter().position(|word| word == ">").unwrap_or(words.len())]
}

/// The arguments of a command that runs slpo, also by cargo, mpirun or after variables.
fn slpo_arguments(words: &[String]) -> Option<&[String]> {
    let is_cargo_run = words.len() > 1 && words[0] == "cargo" && words[1] == "run" && !words.iter().any(|word| word == "--bin");
    let name = if is_cargo_run { "--" } else { "slpo" };
    words.iter().position(|word| word == name).map(|place| before_redirection(&words[place + 1..]))
}

/// The target of a link, split at its `#`.
fn links(prose: &str) -> Vec<(String, String)> {
    let targets = prose.split("](").skip(1).filter_map(|rest| rest.split_once(')')).map(|(target, _)| target);
    let local = targets.filter(|target| !target.starts_with("http"));
    local.map(|target| target.split_once('#').unwrap_or((target, ""))).map(|(path, anchor)| (path.to_owned(), anchor.to_owned())).collect()
}

/// A heading as the fragment that links to it.
fn anchor(heading: &str) -> String {
    let kept = heading.trim_start_matches('#').trim().to_lowercase();
    kept.chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c)).map(|c| if c == ' ' { '-' } else { c }).collect()
}

#[test]
fn every_relative_link_leads_somewhere() {
    for readme in READMES {
        for (path, fragment) in links(&parts(&read(readme)).0) {
            let target = if path.is_empty() { root().join(readme) } else { folder_of(readme).join(&path) };
            assert!(target.exists(), "{readme}: {path} is not there");
            if !fragment.is_empty() {
                let headings = fs::read_to_string(&target).unwrap();
                let found = headings.lines().any(|line| line.starts_with('#') && anchor(line) == fragment);
                assert!(found, "{readme}: {path} has no heading #{fragment}");
            }
        }
    }
}

/// `--help` after the other arguments: they are read before it, and nothing is run.
#[test]
fn every_command_line_is_understood() {
    let mut count = 0;
    for readme in READMES {
        let is_placeholder = |word: &String| word.chars().all(|c| c.is_ascii_uppercase());
        let spans = code_spans(&parts(&read(readme)).0).into_iter().flat_map(|span| shell_commands(&span));
        let spans = spans.filter(|words| words.first().is_some_and(|word| word == "slpo") && !words.iter().any(is_placeholder));
        for words in shell(readme).into_iter().chain(spans.filter(|words| !words.iter().any(|word| word.contains('…')))) {
            let Some(arguments) = slpo_arguments(&words) else { continue };
            let output = Command::new(binary()).args(arguments).arg("--help").output().unwrap();
            assert!(output.status.success(), "{readme}: {}: {}", words.join(" "), String::from_utf8_lossy(&output.stderr));
            count += 1;
        }
    }
    assert!(count > 40, "only {count} command lines were found");
}

/// The examples under the help of every command.
#[test]
fn every_example_of_the_help_is_understood() {
    let help = |command: &str| {
        let output = Command::new(binary()).args(command.split_whitespace()).arg("--help").env("COLUMNS", "200").output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    let overview = help("");
    let commands = overview.lines().skip_while(|line| *line != "Commands:").skip(1).take_while(|line| !line.is_empty());
    let names = commands.filter(|line| !line.starts_with("   ")).filter_map(|line| line.split_whitespace().next());
    let mut count = 0;
    for command in ["", "bench step", "bench peak"].into_iter().chain(names.filter(|name| *name != "help")) {
        for line in help(command).lines().filter(|line| line.starts_with("  ") && line.contains("slpo ")) {
            for words in shell_commands(line).iter().filter(|words| words.first().is_some_and(|word| word == "slpo")) {
                let output = Command::new(binary()).args(before_redirection(&words[1..])).arg("--help").output().unwrap();
                assert!(output.status.success(), "slpo {command} --help: {line}: {}", String::from_utf8_lossy(&output.stderr));
                count += 1;
            }
        }
    }
    assert!(count > 40, "only {count} examples were found");
}

/// Places that a name in a README may be relative to.
fn is_there(readme: &str, name: &str) -> bool {
    [folder_of(readme), root(), root().join("tests/tests")].iter().any(|folder| folder.join(name).exists())
}

#[test]
fn every_source_file_and_folder_that_is_named_is_there() {
    let ends = [".rs", ".py", ".sh", ".md"];
    for readme in READMES {
        let named = code_spans(&parts(&read(readme)).0);
        let scripts = shell(readme).into_iter().flatten().filter(|word| word.contains('/'));
        for name in named.into_iter().chain(scripts) {
            let is_path = !name.contains(|c: char| !(c.is_alphanumeric() || "_-./".contains(c)));
            let is_example = name.contains("NAME") || name.contains("site-packages");
            let is_file = ends.iter().any(|end| name.ends_with(end)) && name.len() > 4;
            if is_path && !is_example && (is_file || name.ends_with('/')) {
                assert!(is_there(readme, &name), "{readme}: {name} is not there");
            }
        }
        for words in shell(readme) {
            for pair in words.windows(2).filter(|pair| pair[0] == "--test") {
                let crates = ["tests/tests", "engine/tests", "losses/tests"].map(|folder| root().join(folder));
                let files = [format!("{}.rs", pair[1]), format!("{}/main.rs", pair[1])];
                let found = crates.iter().any(|folder| files.iter().any(|file| folder.join(file).exists()));
                assert!(found, "{readme}: there is no test {}", pair[1]);
            }
        }
    }
}

/// Every Rust source of the workspace.
fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
        let path = entry.path();
        if path.is_dir() && !["target", "installed", ".git"].iter().any(|name| path.ends_with(name)) {
            sources(&path, found);
        } else if path.extension().is_some_and(|end| end == "rs") {
            found.push(path);
        }
    }
}

#[test]
fn every_test_that_is_named_is_there_and_every_file_of_tests_is_named() {
    let text = read("tests/README.md");
    let mut files = Vec::new();
    sources(&root(), &mut files);
    let functions: String = files.iter().map(|file| fs::read_to_string(file).unwrap()).collect();
    let mut count = 0;
    for span in code_spans(&parts(&text).0) {
        let name = span.trim_end_matches('…');
        let is_name = span.ends_with('…') || name.matches('_').count() > 1;
        if is_name && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_') {
            assert!(functions.contains(&format!("fn {name}")), "there is no test {span}");
            count += 1;
        }
    }
    assert!(count > 20, "only {count} names of tests were found");
    for folder in ["", "cli/"] {
        for file in fs::read_dir(root().join("tests/tests").join(folder)).unwrap().map(|entry| entry.unwrap().path()) {
            let name = format!("{folder}{}", file.file_name().unwrap().to_str().unwrap());
            let is_test = name.ends_with(".rs") && name != "cli/main.rs";
            assert!(!is_test || text.contains(&format!("`{name}`")), "tests/README.md does not name {name}");
        }
    }
}

/// The numbers before `noun` in the prose and code of a README.
fn numbers_before(text: &str, noun: &str) -> Vec<usize> {
    let (text, noun) = (text.split_whitespace().collect::<Vec<_>>().join(" "), format!(" {noun}"));
    let found = text.match_indices(&noun).filter_map(|(place, found)| {
        let ends_there = !text[place + found.len()..].starts_with(char::is_alphanumeric);
        let word = text[..place].rsplit(' ').next().unwrap_or_default().replace(',', "");
        word.trim_start_matches('(').parse().ok().filter(|_| ends_there)
    });
    found.collect()
}

fn list<'a>(value: &'a Value, key: &str) -> &'a [Value] {
    value[key].as_array().map(Vec::as_slice).unwrap_or_else(|| panic!("no list {key}"))
}

/// Entries of a list or an object.
fn size(value: &Value) -> usize {
    value.as_array().map(Vec::len).or(value.as_object().map(serde_json::Map::len)).expect("a list or an object")
}

/// The names of the losses, as `slpo align --help` lists them, without those of sums of losses.
fn loss_names() -> BTreeSet<String> {
    let output = Command::new(binary()).args(["align", "-h"]).env("COLUMNS", "1000").output().unwrap();
    let help = String::from_utf8(output.stdout).unwrap();
    let line = help.lines().find(|line| line.contains("--loss <")).expect("--loss in the help");
    let values = line.split("[possible values: ").nth(1).and_then(|rest| rest.split(']').next()).expect("the names of the losses");
    let is_sum = |name: &str| losses::PRESETS.iter().any(|preset| preset.name == name);
    values.split(", ").filter(|name| !is_sum(name)).map(str::to_owned).collect()
}

/// Figures on the page of the audit.
fn figures() -> usize {
    let folder = tempfile::tempdir().unwrap();
    let page = folder.path().join("audit.html");
    assert!(slpo("audit --html {page}", &[("page", &page)]).status.success());
    fs::read_to_string(page).unwrap().matches("<figure").count()
}

/// Files with `ending` in a folder.
fn files_in(folder: &str, ending: &str) -> usize {
    let names = fs::read_dir(root().join(folder)).unwrap().map(|entry| entry.unwrap().file_name());
    names.filter(|name| name.to_str().unwrap().ends_with(ending)).count()
}

#[test]
fn every_count_is_the_programs_own() {
    let audit = object(&slpo("audit --json", &[]));
    let claims = list(&audit, "claims");
    let holding = claims.iter().filter(|claim| claim["holds"] == true).count();
    let explained = object(&slpo("explain --json", &[]));
    let checked = object(&slpo("gradcheck --samples 1 --json", &[]));
    let distinct = |key: &str| list(&checked, "checks").iter().map(|check| check[key].to_string()).collect::<BTreeSet<_>>().len();
    let fixture = |name: &str| -> Value { serde_json::from_str(&read(&format!("tests/tests/fixtures/{name}.json"))).unwrap() };
    let templates = fixture("chat_templates");
    let counts = [
        ("claims", claims.len()),
        ("hold", holding),
        ("do not", claims.len() - holding),
        ("figures", figures()),
        ("explanations", list(&explained, "explanations").len()),
        ("ops", engine::ops::registry().len()),
        ("losses", loss_names().len()),
        ("functions", distinct("name")),
        ("methods", distinct("method")),
        ("readers", files_in("tests/fuzz/fuzz_targets", ".rs")),
        ("templates", size(&templates["templates"])),
        ("conversations", size(&templates["conversations"])),
        ("expressions", size(&fixture("chat_templates_expressions")["expressions"])),
    ];
    let texts = READMES.map(|readme| (readme, read(readme)));
    for (noun, count) in counts {
        let stated: Vec<_> =
            texts.iter().flat_map(|(readme, text)| numbers_before(text, noun).into_iter().map(move |n| (readme, n))).collect();
        assert!(!stated.is_empty(), "no README says how many {noun} there are: {count}");
        for (readme, number) in stated {
            assert_eq!(number, count, "{readme}: {number} {noun}");
        }
    }
    let checks = list(&checked, "checks").len();
    for (readme, text) in &texts {
        for number in numbers_before(text, "checks") {
            assert!((number..number + 100).contains(&checks), "{readme}: more than {number} checks; there are {checks}");
        }
    }
}

#[test]
fn the_table_of_losses_has_every_loss_once() {
    let text = read("losses/README.md");
    let table = text.split("## The losses").nth(1).and_then(|rest| rest.split("\n## ").next()).expect("a table of losses");
    let names: Vec<String> = table.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next().map(str::to_owned)).collect();
    assert_eq!(names.len(), loss_names().len(), "{names:?}");
    assert_eq!(names.into_iter().collect::<BTreeSet<_>>(), loss_names());
}

/// 918656 as 918,656.
fn with_commas(number: u64) -> String {
    let digits = number.to_string();
    let groups: Vec<&str> =
        (0..digits.len().div_ceil(3)).rev().map(|i| &digits[digits.len().saturating_sub(3 * i + 3)..digits.len() - 3 * i]).collect();
    groups.join(",")
}

#[test]
fn the_tables_of_presets_have_their_sizes() {
    let (manual, model) = (read("cli/README.md"), read("model/README.md"));
    for preset in PRESETS {
        let config = Config::preset(preset.name).unwrap();
        let parameters = with_commas(config.parameter_count());
        let start = format!("| `{}` | {parameters} | ", preset.name);
        let row = manual.lines().find(|line| line.starts_with(&start)).unwrap_or_else(|| panic!("cli/README.md has no {start}"));
        let (rows, tokens) = (preset.batch.rows, preset.batch.tokens);
        let has_batch = row.contains(&format!("{rows} × {tokens}")) || row.contains(&format!("{rows} sequences of {tokens} tokens"));
        assert!(has_batch && row.ends_with(&format!("| {:e} |", preset.learning_rate)), "{row}");
        let sizes = [config.hidden_size, config.layers, config.heads, config.intermediate_size].map(|size| size.to_string()).join(" | ");
        let row = format!("| `{}` | {sizes} | {} | {parameters} |", preset.name, with_commas(config.vocab_size as u64));
        assert!(model.contains(&row), "model/README.md has no {row}");
    }
}

#[test]
fn the_first_page_has_the_test_command_and_what_a_build_needs() {
    let text = read("README.md");
    assert!(shell("README.md").contains(&["cargo", "test", "--workspace"].map(str::to_owned).to_vec()), "no test command");
    let manifest: toml::Table = read("Cargo.toml").parse().unwrap();
    let version = manifest["workspace"]["package"]["rust-version"].as_str().unwrap();
    assert!(text.contains(&format!("Rust {version} or newer")), "Rust {version}");
}

/// The sentences of prose: of paragraphs, items of lists and cells of tables.
fn sentences(prose: &str) -> Vec<String> {
    let mut texts = vec![String::new()];
    for line in prose.lines() {
        let begins = line.trim().is_empty() || line.starts_with(['#', '|', '!']) || line.trim_start().starts_with("- ");
        let begins = begins || line.trim_start().starts_with(|c: char| c.is_ascii_digit()) && line.contains(". ");
        if begins || texts.last().is_some_and(|text| text.starts_with(['#', '|'])) {
            texts.push(String::new());
        }
        let text = texts.last_mut().expect("a text");
        text.push_str(line.trim());
        text.push(' ');
    }
    let cells = texts.iter().flat_map(|text| if text.starts_with('|') { text.split('|').collect() } else { vec![text.as_str()] });
    let ends = [". ", "! ", "? ", ".** ", ".) "];
    let mut sentences: Vec<String> = cells.map(str::to_owned).collect();
    for end in ends {
        sentences = sentences.iter().flat_map(|text| text.split(end)).map(str::to_owned).collect();
    }
    sentences
}

/// Prose with the text of its links and without their targets.
fn without_targets(prose: &str) -> String {
    let mut pieces = prose.split("](");
    let first = pieces.next().unwrap_or_default().to_owned();
    pieces.fold(first, |text, piece| text + piece.split_once(')').map_or(piece, |(_, rest)| rest))
}

#[test]
fn the_first_page_is_one_screen_and_no_manual_has_a_long_sentence() {
    let words = read("README.md").split_whitespace().count();
    assert!(words < 900, "README.md has {words} words");
    let pages = ["README.md", "engine/README.md", "losses/README.md", "model/README.md", "cli/README.md"];
    let is_long = |text: &String| text.split_whitespace().filter(|word| word.contains(char::is_alphanumeric)).count() > 25;
    let long: Vec<String> =
        pages.into_iter().flat_map(|readme| sentences(&without_targets(&parts(&read(readme)).0))).filter(is_long).collect();
    assert!(long.is_empty(), "sentences of more than 25 words: {long:#?}");
}
