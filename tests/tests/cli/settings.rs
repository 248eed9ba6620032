//! Settings of a run on the real binary: `--resume` and `--config` alone, what changed, what is refused, and what config.toml holds then.

use crate::command::{Workplace, binary, failure, object, text};
use std::path::Path;
use std::process::{Command, Output};
use toml::{Table, Value};

const TRAIN: &str = "train --data {}/text.txt --batch-rows 2 --batch-tokens 16 --warmup 1";
const ALIGN: &str = "align --model {}/model --data {}/preferences.jsonl --batch 4 --learning-rate 1e-3";

fn config(run: &Path) -> Table {
    std::fs::read_to_string(run.join("config.toml")).unwrap().parse().unwrap()
}

fn said(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// Runs in a folder, with paths as they are typed there.
fn run_in(folder: &Path, arguments: &str) -> Output {
    Command::new(binary()).args(arguments.split(' ')).current_dir(folder).output().unwrap()
}

/// Makes a finished run one that was stopped after `step`.
fn stop_after(run: &Path, step: u64) {
    for entry in std::fs::read_dir(run.join("checkpoints")).unwrap().flatten() {
        let number: u64 = entry.file_name().to_str().unwrap().trim_start_matches("step-").parse().unwrap();
        if number > step {
            std::fs::remove_dir_all(entry.path()).unwrap();
        }
    }
    let _ = std::fs::remove_file(run.join("model.safetensors"));
}

#[test]
fn resume_alone_goes_on_with_the_runs_own_settings_to_the_same_bits() {
    let workplace = Workplace::new();
    let sft = "sft --model {}/model --data {}/completions.jsonl --batch 3 --epochs 1 --dropout 0.1 --lr 1e-3";
    for (command, name) in [
        (format!("{TRAIN} --steps 6 --dropout 0.1 --seed 5"), "train"),
        (sft.to_owned(), "sft"),
        (format!("{ALIGN} --loss IPO --beta 0.3 --steps 6"), "align"),
    ] {
        let (whole, stopped) = (workplace.path(&format!("{name}-whole")), workplace.path(&format!("{name}-stopped")));
        text(&workplace.run(&format!("{command} --checkpoint-every 4 --out {{}}/{name}-whole")));
        text(&workplace.run(&format!("{command} --checkpoint-every 4 --out {{}}/{name}-stopped")));
        let before = std::fs::read(stopped.join("config.toml")).unwrap();
        stop_after(&stopped, 4);
        let resumed = workplace.run(&format!("{name} --out {{}}/{name}-stopped --resume"));
        text(&resumed);
        assert!(!said(&resumed).contains("warning") && !said(&resumed).contains('→'), "{}", said(&resumed));
        for file in ["model.safetensors", "metrics.jsonl"] {
            assert!(std::fs::read(whole.join(file)).unwrap() == std::fs::read(stopped.join(file)).unwrap(), "{name}: {file}");
        }
        assert_eq!(std::fs::read(stopped.join("config.toml")).unwrap(), before, "{name}: nothing changed");
    }
}

#[test]
fn what_changes_no_result_is_said_and_config_toml_has_it_with_its_history() {
    let workplace = Workplace::new();
    let run = workplace.path("run");
    text(&workplace.run(&format!("{TRAIN} --steps 3 --out {{}}/run")));
    let resumed = workplace.run("train --out {}/run --resume --steps 5 --keep 3 --lr 1e-3");
    text(&resumed);
    let lines = said(&resumed);
    let other = "the run goes on, but not to the result that it would have had";
    for expected in
        [format!("warning: steps: 3 → 5: {other}"), format!("warning: learning-rate: 0.002 → 0.001: {other}"), "keep: 2 → 3".to_owned()]
    {
        assert_eq!(lines.lines().filter(|line| *line == expected).count(), 1, "{expected}: {lines}");
    }
    assert!(!lines.contains('{') && !lines.contains("Schedule"), "{lines}");
    let settings = config(&run);
    assert_eq!((settings["steps"].as_integer(), settings["keep"].as_integer()), (Some(5), Some(3)));
    let history = settings["history"].as_array().unwrap();
    assert_eq!((history.len(), history[0]["step"].as_integer()), (1, Some(3)));
    assert!(history[0]["date"].is_str());
    let changed = ["steps: 3 → 5", "learning-rate: 0.002 → 0.001", "keep: 2 → 3"].map(|change| Value::String(change.to_owned()));
    assert_eq!(history[0]["changed"].as_array().unwrap()[..], changed);
    text(&workplace.run("train --out {}/run --resume --steps 6"));
    assert_eq!(config(&run)["history"].as_array().unwrap().len(), 2, "the history is kept");
    // And the file is one to give to --config.
    text(&workplace.run("train --config {}/run/config.toml --out {}/again"));
    assert_eq!((config(&workplace.path("again"))["steps"].as_integer(), config(&workplace.path("again")).get("history")), (Some(6), None));
    let fewer = failure(&workplace.run("train --out {}/run --resume --steps 2"), 2);
    assert!(fewer.contains("step 6 is done, and the run is to have 2 steps"), "{fewer}");
}

#[test]
fn what_changes_the_mathematics_is_refused_without_change_and_done_with_it() {
    let workplace = Workplace::new();
    workplace.write("other.jsonl", &std::fs::read_to_string(workplace.path("preferences.jsonl")).unwrap().replace("number", "digit"));
    let run = workplace.path("run");
    text(&workplace.run(&format!("{ALIGN} --loss cdpo --steps 2 --out {{}}/run")));
    let before = std::fs::read(run.join("metrics.jsonl")).unwrap();
    for (flags, expected) in [
        ("--loss ipo --beta 0.7", "loss: cdpo → ipo, beta: 0.1 → 0.7"),
        ("--label-smoothing 0.2", "label-smoothing: 0.1 → 0.2"),
        ("--seed 8", "seed: 0 → 8"),
        ("--batch-size 3", "batch: 4 → 3"),
        ("--accumulate 2", "accumulate: 1 → 2"),
        ("--dropout 0.1", "dropout: 0.0 → 0.1"),
        ("--weight-decay 0.1", "weight-decay: 0.0 → 0.1"),
        ("--max-length 64", "max-tokens: not set → 64"),
        ("--reference {}/model", "reference: not set → "),
        ("--data {}/other.jsonl --json", "the training data (its fingerprint): "),
        ("--lora-rank 2", "lora-rank: not set → 2"),
        ("--precision tf32", "precision: f32 → tf32"),
    ] {
        let line = failure(&workplace.run(&format!("align --out {{}}/run --resume --steps 4 {flags}")), 2);
        assert!(line.contains(expected) && line.contains("give --change") && line.contains("another --out"), "{flags}: {line}");
        assert!(!line.contains("steps: 2"), "only what is refused is named: {line}");
    }
    assert_eq!(std::fs::read(run.join("metrics.jsonl")).unwrap(), before, "a refused command changes nothing");
    let changed = workplace.run("align --out {}/run --resume --steps 4 --change --loss ipo --beta 0.7");
    text(&changed);
    for expected in ["warning: loss: cdpo → ipo: ", "warning: beta: 0.1 → 0.7: ", "warning: label-smoothing: 0.1 → not set"] {
        assert!(said(&changed).contains(expected), "{expected}: {}", said(&changed));
    }
    let settings = config(&run);
    assert_eq!((settings["loss"].as_str(), settings["beta"].as_float(), settings.get("label_smoothing")), (Some("ipo"), Some(0.7), None));
    // From here on it is the run that it was made.
    text(&workplace.run("align --out {}/run --resume --steps 5"));
}

#[test]
fn data_that_was_edited_since_the_checkpoint_is_refused_without_change() {
    let workplace = Workplace::new();
    text(&workplace.run(&format!("{TRAIN} --steps 2 --out {{}}/run")));
    workplace.write("text.txt", &"Another text, of another length altogether.\n".repeat(60));
    let line = failure(&workplace.run("train --out {}/run --resume --steps 4"), 2);
    assert!(line.contains("the training data (its fingerprint): ") && line.contains("give --change"), "{line}");
    let changed = workplace.run("train --out {}/run --resume --steps 4 --change");
    text(&changed);
    assert!(said(&changed).contains("warning: the training data (its fingerprint): "), "{}", said(&changed));
    assert!(config(&workplace.path("run"))["history"].to_string().contains("fingerprint"));
}

#[test]
fn a_run_goes_on_from_another_folder_and_after_it_was_moved() {
    let workplace = Workplace::new();
    let here = workplace.path("");
    std::fs::create_dir(workplace.path("elsewhere")).unwrap();
    text(&run_in(&here, "train --data text.txt --out run --steps 2 --batch-rows 2 --batch-tokens 16"));
    assert_eq!(config(&workplace.path("run"))["data"].as_str(), Some("text.txt"), "as it was typed");
    text(&run_in(&workplace.path("elsewhere"), "train --out ../run --resume --steps 3"));
    text(&run_in(&workplace.path("elsewhere"), "train --config ../run/config.toml --out new --steps 1"));
    std::fs::rename(workplace.path("run"), workplace.path("moved")).unwrap();
    let moved = run_in(&here, "train --out moved --resume --steps 4 --data text.txt");
    text(&moved);
    assert!(!said(&moved).contains("data: "), "the same file, typed otherwise: {}", said(&moved));
    std::fs::copy(workplace.path("text.txt"), workplace.path("copy.txt")).unwrap();
    let copied = run_in(&here, "train --out moved --resume --steps 5 --data copy.txt");
    text(&copied);
    assert!(said(&copied).contains("text.txt → copy.txt"), "the same text elsewhere: {}", said(&copied));
    text(&run_in(&here, "train --out moved --resume --data text.txt"));
    std::fs::rename(workplace.path("text.txt"), workplace.path("gone.txt")).unwrap();
    let line = failure(&run_in(&here, "train --out moved --resume --steps 6"), 1);
    assert!(line.contains("text.txt: there is no such file (--data)"), "{line}");
}

/// config.toml as it was written before it named its command: every setting, used or not, and the cut warm-up of a short run.
#[test]
fn a_run_of_an_older_version_goes_on_as_what_it_was() {
    let workplace = Workplace::new();
    text(&workplace.run(&format!("{TRAIN} --steps 4 --checkpoint-every 2 --warmup 0 --out {{}}/whole").replace(" --warmup 1", "")));
    text(&workplace.run(&format!("{TRAIN} --steps 4 --checkpoint-every 2 --warmup 0 --out {{}}/old").replace(" --warmup 1", "")));
    stop_after(&workplace.path("old"), 2);
    let root = workplace.path("");
    let old = format!(
        "data = \"{root}text.txt\"\nout = \"{root}old\"\npreset = \"nano\"\nsteps = 4\nbatch_rows = 2\nbatch_tokens = 16\naccumulate = 1\n\
         learning_rate = 0.002\nwarmup = 0\nweight_decay = 0.1\nclip = 1.0\ndropout = 0.0\nheld_out = 0.1\neval_every = 200\n\
         checkpoint_every = 2\nkeep = 2\non_nonfinite = \"stop\"\ncheckpoint_activations = false\ndevice = \"auto\"\nprecision = \"f32\"\nseed = 0\n",
        root = root.display()
    );
    workplace.write("old/config.toml", &old);
    let resumed = workplace.run("train --out {}/old --resume");
    text(&resumed);
    assert!(!said(&resumed).contains('→'), "{}", said(&resumed));
    for file in ["model.safetensors", "metrics.jsonl"] {
        let bytes = |run: &str| std::fs::read(workplace.path(run).join(file)).unwrap();
        assert!(bytes("old") == bytes("whole"), "{file}");
    }
    text(&workplace.run(&format!("{ALIGN} --steps 2 --out {{}}/aligned")));
    let mut settings = config(&workplace.path("aligned"));
    settings.remove("command");
    settings.remove("working_directory");
    for (name, value) in [("label_smoothing", Value::Float(0.1)), ("alpha", Value::Float(1.0)), ("epochs", Value::Float(1.0))] {
        settings.insert(name.to_owned(), value);
    }
    settings.insert("weights".to_owned(), Value::String("eq7".to_owned()));
    settings.insert("length_normalize".to_owned(), Value::Boolean(false));
    workplace.write("aligned/config.toml", &toml::to_string(&settings).unwrap());
    let resumed = workplace.run("align --out {}/aligned --resume --steps 3");
    text(&resumed);
    assert_eq!(said(&resumed).matches('→').count(), 1, "{}", said(&resumed));
}

/// config.toml of β-DPO as it was written before the loss left out pairs.
#[test]
fn a_run_that_kept_all_pairs_goes_on_with_all_pairs() {
    let workplace = Workplace::new();
    let beta_dpo = format!("{ALIGN} --loss beta-dpo --steps 4 --checkpoint-every 2").replace("--batch 4", "--batch 8");
    for (settings, out) in [(" --filter-share 0", "whole"), (" --filter-share 0", "old"), ("", "filtered")] {
        text(&workplace.run(&format!("{beta_dpo}{settings} --out {{}}/{out}")));
    }
    let model = |out: &str| std::fs::read(workplace.path(out).join("model.safetensors")).unwrap();
    assert!(model("whole") != model("filtered"), "the default leaves pairs out");
    stop_after(&workplace.path("old"), 2);
    let mut settings = config(&workplace.path("old"));
    assert_eq!(settings.remove("filter_share").and_then(|share| share.as_float()), Some(0.0));
    workplace.write("old/config.toml", &toml::to_string(&settings).unwrap());
    let resumed = workplace.run("align --out {}/old --resume");
    text(&resumed);
    assert!(!said(&resumed).contains('→'), "{}", said(&resumed));
    assert!(model("old") == model("whole"));
    assert_eq!(config(&workplace.path("old"))["filter_share"].as_float(), Some(0.0));
    workplace.write("own.toml", "loss = \"beta-dpo\"\n");
    text(&workplace.run(&format!("{ALIGN} --steps 4 --config {{}}/own.toml --out {{}}/own").replace("--batch 4", "--batch 8")));
    assert!(model("own") == model("filtered"), "a person's own file has the default");
}

#[test]
fn only_what_is_used_is_written_down() {
    let workplace = Workplace::new();
    for (loss, used) in [
        ("dpo", vec!["beta"]),
        ("robust", vec!["beta", "label_smoothing"]),
        ("slpo-gkl", vec!["alpha", "weights"]),
        ("slpo-literal", vec![]),
    ] {
        text(&workplace.run(&format!("{ALIGN} --loss {loss} --steps 1 --out {{}}/{loss}")));
        let settings = config(&workplace.path(loss));
        let all = ["beta", "label_smoothing", "alpha", "weights", "length_normalize"];
        assert_eq!(all.into_iter().filter(|name| settings.contains_key(*name)).collect::<Vec<_>>(), used, "{loss}");
        assert!(settings.contains_key("steps") && !settings.contains_key("epochs") && !settings.contains_key("lora_alpha"), "{settings}");
    }
}

#[test]
fn a_run_of_another_command_is_not_gone_on_with() {
    let workplace = Workplace::new();
    text(&workplace.run(&format!("{TRAIN} --steps 2 --out {{}}/run")));
    let line = failure(&workplace.run("align --out {}/run --resume"), 2);
    assert!(line.contains("run/config.toml: these are the settings of slpo train, not of slpo align"), "{line}");
    let line = failure(&workplace.run("train --out {}/nothing --resume"), 1);
    assert!(line.contains("nothing holds no run to resume"), "{line}");
}

#[test]
fn epochs_of_a_text_are_steps() {
    let workplace = Workplace::new();
    // 2,080 bytes, of which a tenth is kept apart, in steps of 32 tokens.
    let summary = object(&workplace.run("train --data {}/text.txt --epochs 0.5 --batch 2 --max-tokens 16 --out {}/run --json"));
    let steps = summary["steps"].as_u64().unwrap();
    assert!((28..=31).contains(&steps), "{summary}");
    let settings = config(&workplace.path("run"));
    assert_eq!((settings["epochs"].as_float(), settings.get("steps")), (Some(0.5), None));
    let longer = workplace.run("train --out {}/run --resume --steps 40 --json");
    assert_eq!(object(&longer)["steps"], 40);
    assert!(said(&longer).contains("epochs: 0.5 → not set") && said(&longer).contains("steps: not set → 40"), "{}", said(&longer));
}
