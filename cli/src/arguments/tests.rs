//! Command lines as they are read: what each gives, and what is refused in which words.

use super::*;

fn read(line: &str) -> Result<Request, Failure> {
    parse(line.split(' ').map(OsString::from).collect())
}

fn train(line: &str) -> (Shared, Train) {
    match read(line) {
        Ok(Request::Run(shared, command)) => match *command {
            Command::Train(train) => (shared, train),
            other => panic!("{other:?}"),
        },
        Ok(Request::Show(text)) => panic!("{text}"),
        Err(failure) => panic!("{failure}"),
    }
}

fn usage(line: &str) -> String {
    match read(line) {
        Err(Failure::Usage(text)) => text,
        Err(other) => panic!("not about usage: {other}"),
        Ok(_) => panic!("{line} is accepted"),
    }
}

#[test]
fn the_definition_is_sound() {
    Arguments::command().debug_assert();
}

#[test]
fn alone_it_shows_help_with_the_main_job_first() {
    let Ok(Request::Show(help)) = read("slpo") else { panic!("no help") };
    let at = |text: &str| help.find(text).unwrap_or_else(|| panic!("no {text} in {help}"));
    assert!(at("demo") < at("train") && at("train") < at("gradcheck"));
}

#[test]
fn a_flag_wins_over_the_file_and_the_file_over_the_default() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("settings.toml");
    std::fs::write(&file, "steps = 7\nlearning_rate = 1e-4\nseed = 5\ncheckpoint_activations = true\npreset = \"micro\"\n").unwrap();
    let line = format!("slpo --seed 9 train --data a.txt --steps 8 --out b --config {}", file.display());
    let (shared, train) = train(&line);
    assert_eq!((train.steps, shared.seed), (8, 9), "flags, wherever they stand");
    assert_eq!((train.learning_rate, train.preset.as_str(), train.checkpoint_activations), (1e-4, "micro", true));
    assert_eq!(train.warmup, 50);
}

#[test]
fn a_runs_own_settings_can_be_given_again() {
    let folder = tempfile::tempdir().unwrap();
    let (_, first) = train("slpo train --data a.txt --out b --dropout 0.25 --batch-rows 3");
    let file = folder.path().join("config.toml");
    std::fs::write(&file, toml::to_string(&first).unwrap()).unwrap();
    let (_, again) = train(&format!("slpo train --data c.txt --out d --config {}", file.display()));
    assert_eq!((again.dropout, again.batch_rows, again.data.to_str()), (0.25, Some(3), Some("c.txt")));
}

#[test]
fn what_is_wrong_in_a_file_is_named_with_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("settings.toml");
    for (text, expected) in [
        ("stepps = 7", "settings.toml: there is no setting \"stepps\"; the settings are"),
        ("steps = 0", "settings.toml: invalid value '0' for '--steps <N>'"),
        ("steps = true", "settings.toml: steps must be a number or a text, not boolean"),
        ("checkpoint_activations = 1", "settings.toml: checkpoint_activations must be true or false, not 1"),
        ("seed = 1\nsteps = ", "settings.toml:2: not valid TOML"),
        ("config = \"x\"", "there is no setting \"config\""),
    ] {
        std::fs::write(&file, text).unwrap();
        let message = usage(&format!("slpo train --data a.txt --out b --config {}", file.display()));
        assert!(message.contains(expected) && !message.contains('\n'), "{message}");
    }
}

#[test]
fn bad_usage_is_one_line_that_names_the_flag() {
    for (line, expected) in [
        ("slpo train --out b", "--data <FILE>"),
        ("slpo train --data a --out b --dropout 1", "'--dropout <P>': must be at least 0 and below 1"),
        ("slpo align --model a --data b --out c --loss dop", "[possible values: dpo, cdpo"),
        ("slpo --json align --model a --data b --out c --loss dop", "see slpo align --help"),
        ("slpo align --model a --data b --out c --los dpo", "'--loss'"),
        ("slpo generate --model a --prompt-tokens 1,x", "\"x\" is no token id"),
        ("slpo generate --model a", "--prompt <TEXT>"),
        ("slpo trian", "slpo --help"),
        ("slpo score --threads 0 --model a --text b", "--threads"),
    ] {
        let message = usage(line);
        assert!(message.contains(expected) && !message.contains('\n'), "{line}: {message}");
    }
}
