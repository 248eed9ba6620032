//! What every command prints: one JSON object and nothing else, or one line about what went wrong and an exit code.

use crate::command::{Workplace, binary, failure, object, slpo, slpo_words, text};
use std::process::{Command, Stdio};

#[test]
fn a_command_prints_exactly_one_json_object() {
    let here = Workplace::new();
    for (arguments, key) in [
        ("convert {}/model --out {}/copy", "parameters"),
        ("generate --model {}/model --prompt cat --max-tokens 5", "text"),
        ("generate --model {}/model --prompt -1 --max-tokens 5", "text"),
        ("generate --model {}/model --prompt-tokens 99,97 --max-tokens 5 --ignore-eos", "tokens"),
        ("score --model {}/model --text cat", "logprobs"),
        ("eval --model {}/model --data {}/text.txt", "bits_per_byte"),
        ("eval --model {}/model --data {}/completions.jsonl", "perplexity"),
        ("eval --model {}/model --data {}/preferences.jsonl --reference {}/model", "kl"),
        ("gradcheck softmax add", "passed"),
        ("train --data {}/text.txt --out {}/trained --steps 3 --batch-rows 2 --batch-tokens 16", "steps"),
        ("sft --model {}/trained --data {}/completions.jsonl --out {}/tuned --steps 2", "steps"),
        ("align --model {}/tuned --data {}/preferences.jsonl --loss slpo --out {}/aligned --steps 2", "steps"),
    ] {
        let output = here.run(&format!("{arguments} --json"));
        assert!(!object(&output)[key].is_null(), "{arguments}: {}", String::from_utf8_lossy(&output.stdout));
    }
    assert!(here.path("aligned/model.safetensors").is_file(), "a trained model can be started from");
}

#[test]
fn bad_usage_is_one_line_and_exit_code_2() {
    let here = Workplace::new();
    here.write("settings.toml", "stepps = 3");
    for (arguments, expected) in [
        ("trian", "unrecognized subcommand 'trian'"),
        ("train --data {}/text.txt", "--out <DIR>"),
        ("train --data {}/text.txt --out {}/x --preset huge", "[possible values: nano, micro, stories15m, gpt2s]"),
        ("train --data {}/text.txt --out {}/x --config {}/settings.toml", "settings.toml: there is no setting \"stepps\""),
        ("align --model {}/model --data {}/preferences.jsonl --loss dop --out {}/x", "invalid value 'dop' for '--loss <NAME>'"),
        ("generate --model {}/model --prompt a --temperatur 1", "'--temperature'"),
        ("generate --model {}/model --prompt a --temperature -1", "at least 0"),
        ("train --data {}/text.txt --out {}/x --learning-rate -0.1", "must be above 0"),
        ("generate --model {}/model --prompt a --top-p nan", "above 0 and at most 1"),
        ("generate --model {}/model --prompt a --prompt-tokens 1", "cannot be used with"),
        ("score --model {}/model --tokens 1,x", "\"x\" is no token id"),
        ("score --model {}/model --tokens ", "no tokens to score"),
        ("eval --model {}/model --data {}/text.txt --reference {}/model", "--reference is for preferences"),
        ("gradcheck sofmax", "nothing to check is called \"sofmax\""),
        ("score --model {}/model --text a --threads 0", "--threads"),
    ] {
        for form in ["", " --json"] {
            // An empty last word must stay the last of its own flag.
            let line = if arguments.ends_with(' ') { arguments.to_owned() } else { format!("{arguments}{form}") };
            let message = failure(&here.run(&line), 2);
            assert!(message.contains(expected), "{arguments}: {message}");
        }
    }
}

#[test]
fn bad_input_is_one_line_that_names_the_place_and_exit_code_1() {
    let here = Workplace::new();
    here.run("convert {}/model --out {}/short");
    let weights = std::fs::read(here.path("model/model.safetensors")).unwrap();
    std::fs::write(here.path("short/model.safetensors"), &weights[..weights.len() / 2]).unwrap();
    let good = r#"{"prompt": "a", "chosen": "b", "rejected": "c"}"#;
    here.write("malformed.jsonl", &format!("{good}\n{good}\n{{\"prompt\": \"a\", \n"));
    here.write("key.jsonl", &format!("{good}\n{{\"prompt\": \"a\", \"chosen\": \"b\"}}\n"));
    here.write("empty.jsonl", "");
    here.write("blank.jsonl", "{\"prompt\": \"a\", \"completion\": \"\"}\n{\"prompt\": \"b\", \"completion\": \" \"}\n");
    here.write("latin1.txt", "");
    std::fs::write(here.path("latin1.txt"), b"one\ntwo \xe9\n").unwrap();
    for (arguments, expected) in [
        ("score --model {}/nowhere --text a", "nowhere: there is no such folder; a model is a folder on this machine"),
        ("score --model {}/text.txt --text a", "a model is a folder"),
        ("score --model {}/short --text a", "short/model.safetensors"),
        ("score --model {}/model --tokens 1,258", "token 258 is out of range: the vocabulary has 258 tokens"),
        ("generate --model {}/model --prompt-tokens 999", "token 999 is out of range"),
        ("eval --model {}/model --data {}/malformed.jsonl", "malformed.jsonl:3: not valid JSON"),
        ("eval --model {}/model --data {}/key.jsonl", "key.jsonl:2: "),
        ("eval --model {}/model --data {}/empty.jsonl", "empty.jsonl: the file has no rows"),
        ("eval --model {}/model --data {}/blank.jsonl", "blank.jsonl: no row can be used: 2 rows, 0 kept, 2 dropped (2 empty completion"),
        ("eval --model {}/model --data {}/latin1.txt", "latin1.txt:2: not UTF-8"),
        ("eval --model {}/model --data {}/missing.txt", "missing.txt: there is no such file"),
        ("convert {}/text.txt --out {}/x", "text.txt"),
        ("score --model {}/model --text a --device cuda", "CUDA"),
        ("sft --model {}/model --data {}/blank.jsonl --out {}/x", "blank.jsonl: no row can be used"),
        ("align --model {}/model --data {}/malformed.jsonl --out {}/x", "malformed.jsonl:3"),
        ("train --data {}/missing.txt --out {}/x", "missing.txt"),
        ("train --data {}/text.txt --out {}/x --config {}/missing.toml", "missing.toml"),
    ] {
        for form in ["", " --json"] {
            let message = failure(&here.run(&format!("{arguments}{form}")), 1);
            assert!(message.contains(expected), "{arguments}: {message}");
        }
    }
}

#[test]
fn alone_it_shows_help_and_every_command_has_examples() {
    let help = text(&slpo_words(&[]));
    let first = help.lines().skip_while(|line| !line.starts_with("Commands:")).nth(1).unwrap();
    assert!(first.trim().starts_with("demo"), "{help}");
    for name in ["demo", "train", "sft", "align", "convert", "generate", "score", "eval", "gradcheck"] {
        let help = text(&slpo(&format!("{name} --help"), &[]));
        assert!(help.contains(&format!("  slpo {name}")) && help.contains("--seed <N>"), "{help}");
    }
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let here = Workplace::new();
    let model = here.path("model");
    let mut command = Command::new(binary());
    command.args(["generate", "--prompt", "a", "--ignore-eos", "--max-tokens", "60", "--model"]).arg(model);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success() && output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_under_standard_output_is_said() {
    let here = Workplace::new();
    for name in ["--json", "--device=cpu"] {
        let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
        let mut command = Command::new(binary());
        command.args(["score", "--text", "a", name, "--model"]).arg(here.path("model"));
        let message = failure(&command.stdout(full).output().unwrap(), 1);
        assert!(message.contains("cannot write to standard output: the disk is full"), "{message}");
    }
}
