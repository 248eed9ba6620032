//! What the binary says when training goes wrong: which op and tensor, which sign, and what to do.

use crate::command::{self, Workplace, failure, object, text};
use losses::Loss;
use model::decoder::Decoder;
use model::model_folder::ModelFolder;
use serde_json::{Value, json};
use std::cell::Cell;
use std::path::Path;
use std::process::Output;

/// Writes a copy of the model in which a parameter's values are changed.
fn altered(workplace: &Workplace, name: &str, change: impl Fn(&str, &mut f32)) {
    let ModelFolder { config, tensors, tokenizer, .. } = ModelFolder::open(&workplace.path("model")).unwrap();
    let mut tensors = tensors;
    for (tensor, values) in &mut tensors {
        values.data.iter_mut().for_each(|value| change(tensor, value));
    }
    Decoder::from_tensors(&engine::Device::default(), &config, tensors.clone()).unwrap();
    ModelFolder::save(&workplace.path(name), &config, &tensors, &tokenizer).unwrap();
}

fn errors(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

#[track_caller]
fn stopped(output: &Output) -> String {
    let said = errors(output);
    assert_eq!(output.status.code(), Some(1), "{said}");
    said.lines().last().unwrap().to_owned()
}

fn records(folder: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(folder.join("metrics.jsonl")).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn a_value_that_overflows_stops_the_run_and_the_op_and_its_tensor_are_named() {
    let workplace = Workplace::new();
    let key = ("linears", "model.layers.1.self_attn.k_proj.weight", "q_proj");
    let gate = ("gated_mlp", "model.layers.1.mlp.gate_proj.weight", "o_proj");
    for (op, huge, other) in [key, gate] {
        altered(&workplace, op, |name, value| {
            if name == huge {
                *value = 3e38;
            }
        });
        let line = stopped(&workplace.run(&format!("sft --model {{}}/{op} --data {{}}/completions.jsonl --steps 3 --out {{}}/run-{op}")));
        assert!(
            line.starts_with("error: step 1: the loss is ") && line.contains("; micro-batch 1: the first value that is not finite is"),
            "{line}"
        );
        assert!(line.contains(&format!("the result of op `{op}`")), "{line}");
        assert!(line.contains("computed from ") && line.contains(huge) && !line.contains(other), "{line}");
    }
}

#[test]
fn a_gradient_that_overflows_is_named_with_the_parameter_on_its_way() {
    let workplace = Workplace::new();
    // Each token has the embedding (1, 0, …, 0). So the first element of every hidden state is near 8·1.2e37, all logits are alike, and the
    // embedding's gradient is a sum past 3.4e38.
    let place = Cell::new(0);
    altered(&workplace, "steep", |name, value| match name {
        "model.norm.weight" => *value = 1.2e37,
        "model.embed_tokens.weight" => *value = f32::from(u8::from(place.replace(place.get() + 1) % 64 == 0)),
        _ => *value *= 1e-3,
    });
    let line = stopped(&workplace.run("sft --model {}/steep --data {}/completions.jsonl --steps 3 --out {}/run"));
    assert!(line.contains("but the gradient of model.embed_tokens.weight is not finite"), "{line}");
    assert!(
        line.contains("a gradient from op `linear_cross_entropy`") && line.contains("on its way to model.embed_tokens.weight"),
        "{line}"
    );
}

#[test]
fn a_run_that_stops_on_a_bad_step_keeps_its_last_checkpoint_and_one_that_skips_goes_on() {
    let workplace = Workplace::new();
    let train = "train --data {}/text.txt --batch-rows 2 --batch-tokens 16 --warmup 0 --checkpoint-every 1 --steps 6 --clip 1e30";
    let line = stopped(&workplace.run(&format!("{train} --learning-rate 1e18 --out {{}}/stop")));
    assert!(line.contains("training stopped before the step was made"), "{line}");
    let checkpoints = std::fs::read_dir(workplace.path("stop/checkpoints")).unwrap().count();
    assert!(checkpoints >= 1);
    let skipping = workplace.run(&format!("{train} --learning-rate 1e18 --out {{}}/skip --on-nonfinite skip --json"));
    let summary = object(&skipping);
    let skipped = summary["skipped"].as_u64().unwrap();
    assert!(skipped >= 1, "{summary}");
    let said = errors(&skipping);
    assert_eq!(said.lines().filter(|line| line.starts_with("warning: step ") && line.contains(" is skipped: ")).count() as u64, skipped);
    let marked = records(&workplace.path("skip")).iter().filter(|record| record.get("skipped").is_some()).count() as u64;
    assert_eq!(marked, skipped);
    text(&workplace.run(&format!("{train} --learning-rate 1e18 --out {{}}/skip --on-nonfinite skip --resume")));
}

fn align(workplace: &Workplace, rest: &str) -> (Vec<String>, Value) {
    let output = workplace.run(&format!("align --model {{}}/model --data {{}}/preferences.jsonl --batch 5 --json {rest}"));
    let summary = object(&output);
    (errors(&output).lines().map(str::to_owned).collect(), summary)
}

#[track_caller]
fn warned(lines: &[String], of: &str) {
    let count = lines.iter().filter(|line| line.starts_with("warning: ") && line.contains(of)).count();
    assert_eq!(count, 1, "{of}: said once: {lines:?}");
}

#[test]
fn chosen_completions_that_fall_with_the_rejected_ones_are_warned_of_once() {
    let workplace = Workplace::new();
    // Both completions begin alike: pushing the rejected one down pushes the chosen one down.
    let row = |i: usize| format!("{{\"prompt\": \"{i}\", \"chosen\": \"aaaaaaaaab\", \"rejected\": \"aaaaaaaaaaaaaaaaaaaaaaac\"}}\n");
    workplace.write("preferences.jsonl", &(0..10).map(row).collect::<String>());
    let (lines, summary) =
        align(&workplace, "--loss dpo --beta 0.1 --learning-rate 1e-2 --warmup 0 --steps 30 --eval-every 10 --out {}/run");
    warned(&lines, "likelihood displacement: over the last 10 steps the chosen completions fell together with the rejected ones");
    assert_eq!(summary["warnings"].as_array().unwrap().len(), lines.len(), "they are in the summary too");
}

#[test]
fn a_policy_that_leaves_its_reference_is_warned_of_once() {
    let workplace = Workplace::new();
    let row = |i: usize| format!("{{\"prompt\": \"{i}\", \"chosen\": \"bbbbbbbbb\", \"rejected\": \"cccccccc\"}}\n");
    workplace.write("preferences.jsonl", &(0..10).map(row).collect::<String>());
    let (lines, _) = align(&workplace, "--loss dpo --beta 0.01 --learning-rate 1e-2 --warmup 0 --steps 30 --eval-every 10 --out {}/run");
    warned(&lines, "KL running away: KL(π‖π_ref) is ");
}

#[test]
fn a_healthy_alignment_is_not_warned_of() {
    let workplace = Workplace::new();
    let (lines, summary) = align(&workplace, "--loss dpo --learning-rate 1e-4 --warmup 2 --steps 25 --out {}/run");
    assert_eq!(lines, Vec::<String>::new());
    assert_eq!(summary["warnings"], Value::Array(Vec::new()));
}

#[test]
fn slpo_on_long_sequences_does_nothing_in_f32_and_the_number_says_why() {
    let workplace = Workplace::new();
    let (lines, _) = align(&workplace, "--loss slpo --learning-rate 1e-3 --warmup 0 --steps 12 --out {}/run");
    warned(&lines, "slpo will do next to nothing here: it weights a pair and its gradient by the pair's mass m = π_w + π_l, at most e^-");
    warned(&lines, "the loss has stayed at its start value, ");
    let cure = "use --loss slpo-gkl, which divides by m, or slpo-token, which works on tokens";
    assert!(lines.iter().filter(|line| line.starts_with("warning: ")).all(|line| line.contains(cure)), "{lines:?}");
    let first = lines.iter().position(|line| line.starts_with("warning: slpo will do")).unwrap();
    assert!(first < lines.iter().position(|line| line.contains("warning: step 1")).unwrap_or(usize::MAX), "before the first step");
    let (lines, _) = align(&workplace, "--loss slpo-gkl --learning-rate 1e-3 --warmup 0 --steps 12 --out {}/gkl");
    assert!(!lines.iter().any(|line| line.contains("next to nothing")), "{lines:?}");
}

#[test]
fn a_learning_rate_below_f32_is_said() {
    let workplace = Workplace::new();
    let (lines, _) = align(&workplace, "--loss dpo --learning-rate 1e-12 --warmup 0 --steps 12 --out {}/run");
    warned(&lines, "raise --learning-rate");
    warned(&lines, "the loss has stayed at its start value, 0.69314");
}

#[test]
fn cached_reference_log_probs_give_the_bits_of_live_ones_and_stale_ones_are_found_at_the_start() {
    let workplace = Workplace::new();
    let run = "--loss dpo --steps 12 --out";
    let (lines, _) = align(&workplace, &format!("{run} {{}}/live --reference-cache off"));
    assert!(lines.is_empty(), "{lines:?}");
    align(&workplace, &format!("{run} {{}}/cached --reference-cache {{}}/cache.json"));
    align(&workplace, &format!("{run} {{}}/again --reference-cache {{}}/cache.json"));
    let weights = |name: &str| std::fs::read(workplace.path(name).join("model.safetensors")).unwrap();
    assert!(weights("cached") == weights("live"), "cached and live reference log-probs differ");
    assert!(weights("again") == weights("live"));
    let mut cache: Value = serde_json::from_slice(&std::fs::read(workplace.path("cache.json")).unwrap()).unwrap();
    for pair in cache["log_probs"].as_object_mut().unwrap().values_mut() {
        for (side, change) in [(0, 5.0), (1, 3.0)] {
            pair[side] = Value::from(pair[side].as_f64().unwrap() - change);
        }
    }
    std::fs::write(workplace.path("cache.json"), cache.to_string()).unwrap();
    let cached = Loss::ALL.into_iter().filter(|loss| loss.takes_cached_reference(&loss.defaults()));
    let known = cached.filter_map(|loss| Some((loss, loss.start_value(&loss.defaults())?)));
    for (loss, start) in known {
        let (lines, _) = align(&workplace, &format!("--loss {loss} --steps 1 --out {{}}/stale-{loss} --reference-cache {{}}/cache.json"));
        warned(&lines, &format!("with the policy equal to its reference it must be {start:.6}: likely cause: "));
        warned(&lines, "cache.json holds log-probabilities that are not this reference's; delete it");
    }
}

#[test]
fn losses_of_every_input_start_where_their_theory_says_with_dropout_too() {
    let workplace = Workplace::new();
    for loss in Loss::one_of_each_input() {
        let (lines, _) = align(&workplace, &format!("--loss {loss} --steps 1 --dropout 0.3 --out {{}}/{loss}"));
        assert!(!lines.iter().any(|line| line.contains("before the first step")), "{loss}: {lines:?}");
    }
    let line = failure(&workplace.run("align --model {}/model --data {}/preferences.jsonl --out {}/x --on-nonfinite perhaps"), 2);
    assert!(line.contains("on-nonfinite"), "{line}");
}

#[test]
fn a_run_that_skips_every_step_fails_and_writes_no_model() {
    let workplace = Workplace::new();
    altered(&workplace, "broken", |name, value| {
        if name == "model.layers.1.mlp.gate_proj.weight" {
            *value = 3e38;
        }
    });
    let run = "sft --model {}/broken --data {}/completions.jsonl --steps 2 --on-nonfinite skip --out {}/run";
    let line = stopped(&workplace.run(run));
    assert!(
        line.starts_with("error: every step was skipped, and nothing was learned: no model is written; the last: step 2 is skipped"),
        "{line}"
    );
    assert!(!workplace.path("run/model.safetensors").exists());
    let first = stopped(&workplace.run("sft --model {}/broken --data {}/completions.jsonl --steps 2 --out {}/stop"));
    assert!(first.contains("not at the learning rate"), "no step came before: {first}");
}

#[test]
fn training_that_ends_worse_than_it_began_is_said_and_a_short_good_run_is_not() {
    let workplace = Workplace::new();
    let train = "train --data {}/text.txt --batch-rows 4 --batch-tokens 32 --steps 24 --json";
    let good = workplace.run(&format!("{train} --lr 5e-4 --out {{}}/good"));
    assert_eq!(object(&good)["warnings"], Value::Array(Vec::new()));
    let bad = workplace.run(&format!("{train} --lr 5 --warmup 12 --out {{}}/bad"));
    let (_, lines) = (object(&bad), errors(&bad).lines().map(str::to_owned).collect::<Vec<_>>());
    warned(&lines, ", that of guessing among the ");
}

#[test]
fn a_gradient_that_jumps_is_said_once() {
    let workplace = Workplace::new();
    // One row is unlike the others, and comes last: the model that has learned the others is surprised.
    let row = |completion: &str| format!("{}\n", json!({"prompt": "the ", "completion": completion}));
    std::fs::write(workplace.path("rows.jsonl"), [row("cat sat on the mat.").repeat(30), row("tttaaa")].concat()).unwrap();
    let sft = "sft --model {}/model --data {}/rows.jsonl --batch 1 --epochs 1 --learning-rate 1e-2 --seed 3 --out {}/run --json";
    let output = workplace.run(sft);
    object(&output);
    let lines: Vec<String> = errors(&output).lines().map(str::to_owned).collect();
    warned(&lines, "step 31: the norm of the gradient jumped to ");
}

#[test]
fn fine_tuning_a_model_that_does_not_fit_the_data_is_said_at_the_start() {
    let workplace = Workplace::new();
    altered(&workplace, "sharp", |name, value| {
        if name == "model.norm.weight" {
            *value = 200.0;
        }
    });
    let sft = "sft --model {}/sharp --data {}/completions.jsonl --eval-data {}/completions.jsonl --steps 1 --out {}/run --json";
    let output = workplace.run(sft);
    object(&output);
    let lines: Vec<String> = errors(&output).lines().map(str::to_owned).collect();
    warned(&lines, "step 0: the held-out loss is ");
    warned(&lines, "likely cause: the model, or its tokenizer, does not fit the data");
}

#[test]
fn a_folder_that_vanishes_during_a_run_is_named_and_made_again_with_all_metrics() {
    let workplace = Workplace::new();
    let train = "train --data {}/text.txt --batch-rows 2 --batch-tokens 16 --steps 400 --checkpoint-every 100 --out {}/parent/run --json";
    let filled = train.replace("{}", workplace.path("").to_str().unwrap().trim_end_matches('/'));
    let start = || {
        let mut run = std::process::Command::new(command::binary());
        run.args(filled.split(' ')).stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
        let child = run.spawn().unwrap();
        let metrics = workplace.path("parent/run/metrics.jsonl");
        while std::fs::read_to_string(&metrics).unwrap_or_default().lines().count() < 5 {
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        child
    };
    let child = start();
    std::fs::rename(workplace.path("parent"), workplace.path("moved")).unwrap();
    let output = child.wait_with_output().unwrap();
    object(&output);
    let lines: Vec<String> = errors(&output).lines().map(str::to_owned).collect();
    warned(&lines, "was moved or removed while the run went on; it is written again, with all metrics so far");
    let run = workplace.path("parent/run");
    let steps: Vec<u64> = records(&run).iter().map(|record| record["step"].as_u64().unwrap()).collect();
    assert!((1..=400).all(|step| steps.contains(&step)), "{steps:?}");
    assert!(run.join("config.toml").is_file() && run.join("model.safetensors").is_file() && run.join("checkpoints/step-400").is_dir());
    std::fs::remove_dir_all(workplace.path("parent")).unwrap();
    let child = start();
    std::fs::rename(workplace.path("parent"), workplace.path("moved again")).unwrap();
    workplace.write("parent", "a file in the folder's place");
    let line = stopped(&child.wait_with_output().unwrap());
    assert!(line.contains("parent/run: the run's folder was moved or removed while the run went on, and cannot be made again: "), "{line}");
}
