//! Training with the real binary: what a run leaves behind, going on where one stopped, every loss, and the demo.

use crate::command::{Workplace, failure, object, text};
use crate::pages::assert_nothing_is_hidden;
use losses::{Loss, Need};
use serde_json::Value;
use std::path::Path;

const SMALL: &str = "--steps 12 --batch-rows 4 --batch-tokens 32 --eval-every 6 --warmup 2";

fn bytes(path: &Path) -> Vec<u8> {
    std::fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn metrics(folder: &Path) -> Vec<Value> {
    let text = String::from_utf8(bytes(&folder.join("metrics.jsonl"))).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// The values of one metric over the steps.
fn series(folder: &Path, name: &str) -> Vec<f64> {
    metrics(folder).iter().filter_map(|record| record.get(name).and_then(Value::as_f64)).collect()
}

#[test]
fn a_run_learns_and_leaves_a_model_metrics_settings_and_a_report() {
    let workplace = Workplace::new();
    let summary = object(&workplace.run(&format!("train --data {{}}/text.txt --out {{}}/run {SMALL} --json")));
    assert_eq!(summary["steps"], 12);
    let run = workplace.path("run");
    let losses = series(&run, "loss");
    assert_eq!(losses.len(), 12);
    assert!(losses[11] < losses[0] - 0.5, "{losses:?}");
    assert!(!series(&run, "held_out_loss").is_empty());
    for file in ["config.json", "model.safetensors", "tokenizer.json", "config.toml", "report.html"] {
        assert!(run.join(file).is_file(), "{file}");
    }
    let events =
        std::fs::read_dir(&run).unwrap().flatten().filter(|e| e.file_name().to_string_lossy().starts_with("events.out.tfevents")).count();
    assert_eq!(events, 1);
    let report = String::from_utf8(bytes(&run.join("report.html"))).unwrap();
    for outside in ["<script", "src=", "href=", "url(", "@import"] {
        assert!(!report.contains(outside), "the report is self-contained, but holds {outside}");
    }
    assert!(report.contains("<svg"));
    let new = object(&workplace.run("generate --model {}/run --prompt The --max-tokens 5 --json"));
    assert!(new["tokens"].as_array().unwrap().len() <= 5);
}

#[test]
fn a_profiled_run_tells_where_a_step_goes_and_trains_to_the_same_bits() {
    let workplace = Workplace::new();
    let train = |out: &str, rest: &str| workplace.run(&format!("train --data {{}}/text.txt --out {{}}/{out} {SMALL} --json{rest}"));
    object(&train("plain", ""));
    let output = train("profiled", " --profile");
    assert_eq!(object(&output)["steps"], 12);
    let table = String::from_utf8(output.stderr.clone()).unwrap();
    assert!(table.starts_with("step 3, by op:\npass "), "{table}");
    for (pass, op) in [("forward", "attention"), ("backward", "linear"), ("update", "optimizer")] {
        assert!(table.lines().any(|line| line.starts_with(pass) && line.contains(op)), "no {op} {pass}:\n{table}");
    }
    let weights = |run: &str| bytes(&workplace.path(run).join("model.safetensors"));
    assert!(weights("plain") == weights("profiled"));
}

#[test]
fn a_run_that_was_stopped_goes_on_to_the_same_bits() {
    let workplace = Workplace::new();
    let train = |out: &str, rest: &str| {
        text(&workplace.run(&format!("train --data {{}}/text.txt --out {{}}/{out} {SMALL} --dropout 0.1 {rest}")));
    };
    train("whole", "--checkpoint-every 5");
    // The same run as it was when it had been stopped after step 10: its checkpoint there, its metrics so far.
    train("stopped", "--checkpoint-every 5");
    std::fs::remove_dir_all(workplace.path("stopped/checkpoints/step-12")).unwrap();
    std::fs::remove_file(workplace.path("stopped/model.safetensors")).unwrap();
    train("stopped", "--checkpoint-every 5 --resume");
    for file in ["model.safetensors", "metrics.jsonl"] {
        assert!(bytes(&workplace.path("whole").join(file)) == bytes(&workplace.path("stopped").join(file)), "{file} differs");
    }
}

#[test]
fn the_number_of_threads_changes_no_bit() {
    let workplace = Workplace::new();
    let weights: Vec<Vec<u8>> = [1, 2, 3, 7]
        .map(|threads| {
            text(&workplace.run(&format!("train --data {{}}/text.txt --out {{}}/threads{threads} {SMALL} --threads {threads}")));
            bytes(&workplace.path(&format!("threads{threads}/model.safetensors")))
        })
        .into();
    assert!(weights.iter().all(|w| *w == weights[0]));
}

#[test]
fn how_a_batch_is_split_changes_the_step_by_rounding_only() {
    let workplace = Workplace::new();
    let align = |out: &str, split: &str| {
        let rest = "--epochs 1 --learning-rate 1e-3 --warmup 0";
        text(&workplace.run(&format!("align --model {{}}/model --data {{}}/preferences.jsonl --out {{}}/{out} {split} {rest}")));
        series(&workplace.path(out), "loss")
    };
    let (whole, parts) = (align("whole", "--batch 4"), align("parts", "--batch 1 --accumulate 4"));
    assert_eq!(whole.len(), 5);
    for (a, b) in whole.iter().zip(&parts) {
        assert!((a - b).abs() < 1e-4 * a.abs().max(1.0), "{whole:?} against {parts:?}");
    }
}

#[test]
fn every_loss_starts_where_theory_says_and_trains() {
    let workplace = Workplace::new();
    for (loss, start) in Loss::ALL.map(|loss| (loss, loss.start_value(&loss.defaults()))) {
        let out = format!("{{}}/{loss}");
        let run = workplace.run(&format!(
            "align --model {{}}/model --data {{}}/preferences.jsonl --eval-data {{}}/preferences.jsonl --out {out} --loss {loss} --steps 3 --batch 5"
        ));
        text(&run);
        let folder = workplace.path(loss.name());
        let losses = series(&folder, "loss");
        assert_eq!(losses.len(), 3, "{loss}");
        if let Some(start) = start {
            assert!((losses[0] - start).abs() < 1e-6 * start, "{loss} starts at {} and should at {start}", losses[0]);
        }
        let kl = series(&folder, "held_out_kl").first().copied();
        let expected = loss.needs(Need::Reference, &loss.defaults()).then_some(0.0);
        assert_eq!(kl, expected, "{loss}: policy and reference, if there is one, are one model at the start");
    }
}

#[test]
fn fine_tuning_learns_the_completions() {
    let workplace = Workplace::new();
    text(
        &workplace
            .run("sft --model {}/model --data {}/completions.jsonl --out {}/tuned --steps 30 --batch 10 --learning-rate 3e-3 --warmup 0"),
    );
    let losses = series(&workplace.path("tuned"), "loss");
    assert!(losses[29] < 0.5 * losses[0], "{losses:?}");
}

#[test]
fn a_run_is_not_written_over_and_bad_input_is_one_line() {
    let workplace = Workplace::new();
    text(&workplace.run(&format!("train --data {{}}/text.txt --out {{}}/run {SMALL}")));
    let line = failure(&workplace.run(&format!("train --data {{}}/text.txt --out {{}}/run {SMALL}")), 1);
    assert!(line.contains("run"), "{line}");
    let line = failure(&workplace.run("train --data {}/missing.txt --out {}/new"), 1);
    assert!(line.contains("missing.txt"), "{line}");
    workplace.write("bad.jsonl", "{\"prompt\": \"a\", \"chosen\": \"b\", \"rejected\": \"c\"}\n{\"prompt\": 3}\n");
    let line = failure(&workplace.run("align --model {}/model --data {}/bad.jsonl --out {}/new"), 1);
    assert!(line.contains("bad.jsonl:2"), "{line}");
    let line = failure(&workplace.run("align --model {}/model --data {}/preferences.jsonl --out {}/new --loss slpo --alpha 0.4"), 2);
    assert!(line.contains("alpha"), "{line}");
    let line = failure(&workplace.run("train --data {}/text.txt --out {}/new --resume"), 1);
    assert!(line.contains("new"), "{line}");
    assert!(!workplace.path("new").exists(), "a run that could not start leaves nothing behind");
}

#[test]
fn the_demos_files_are_data_for_every_training_command_and_replace_nothing() {
    let workplace = Workplace::new();
    let written = object(&workplace.run("demo --files {}/try --json"));
    assert_eq!(written["files"].as_array().unwrap().len(), 3);
    let counts = [("train", "corpus.txt"), ("sft", "completions.jsonl"), ("align", "preferences.jsonl")].map(|(_, file)| {
        let text = std::fs::read_to_string(workplace.path("try").join(file)).unwrap();
        text.lines().count()
    });
    assert_eq!(counts, [20_000, 1000, 1000]);
    object(&workplace.run("train --data {}/try/corpus.txt --out {}/base --steps 1 --json"));
    object(&workplace.run("sft --model {}/base --data {}/try/completions.jsonl --out {}/tuned --steps 1 --json"));
    object(&workplace.run("align --model {}/base --data {}/try/preferences.jsonl --loss dpo --out {}/aligned --steps 1 --json"));
    let line = failure(&workplace.run("demo --files {}/try"), 1);
    assert!(line.contains("corpus.txt is there already, and stays: choose another folder for --files"), "{line}");
}

#[test]
fn the_demo_compares_the_losses_and_draws_the_report() {
    let workplace = Workplace::new();
    let results = object(&workplace.run("demo --out {}/demo --pretrain-steps 20 --align-steps 3 --samples 64 --json"));
    let methods: Vec<&str> = results["methods"].as_array().unwrap().iter().map(|m| m["method"].as_str().unwrap()).collect();
    assert_eq!(methods, ["reference", "DPO", "SFT", "SLPO token", "SLPO sequence", "SLPO exact Q*", "SLPO-GKL α=1", "SLPO-GKL α=0.9"]);
    assert_eq!(results["methods"][0]["kl_from_reference"]["value"], 0.0);
    let best: Vec<f64> = results["best_possible_at_divergence"].as_array().unwrap().iter().map(|best| best.as_f64().unwrap()).collect();
    assert!(best.len() == 3 && best.windows(2).all(|pair| pair[0] < pair[1]), "{best:?}");
    for method in results["methods"].as_array().unwrap() {
        assert_eq!(method["expected_reward_at_divergence"].as_array().map(Vec::len), Some(3), "{method}");
    }
    let report = String::from_utf8(bytes(&workplace.path("demo/report.html"))).unwrap();
    assert!(report.matches("<svg").count() >= 6 && methods.iter().all(|method| report.contains(method)));
    assert_nothing_is_hidden(&[&workplace.path("demo/report.html")]);
}
