//! LoRA on the real binary: training an adapter, using it, merging it.

use crate::command::{Workplace, binary, failure, object, text};
use crate::shared::{self, numbers};
use serde_json::Value;
use std::process::{Command, Stdio};
use std::time::Duration;

/// A workplace with an adapter in `tuned/`, trained by `sft`.
fn tuned() -> Workplace {
    let workplace = Workplace::new();
    let line = "sft --model {}/model --data {}/completions.jsonl --out {}/tuned --steps 6 --learning-rate 0.05 --warmup 0 --lora-rank 2 \
                --lora-targets q_proj,v_proj,down_proj --checkpoint-every 3 --json";
    object(&workplace.run(line));
    workplace
}

fn logits(workplace: &Workplace, options: &str) -> Vec<f64> {
    numbers(&object(&workplace.run(&format!("score --tokens 1,2,3,4 --json {options}")))["logits"])
}

fn apart(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max)
}

#[test]
fn what_is_left_is_an_adapter_folder_and_the_model_is_as_it_was() {
    let workplace = Workplace::new();
    let before = std::fs::read(workplace.path("model/model.safetensors")).unwrap();
    let line = "sft --model {}/model --data {}/completions.jsonl --out {}/tuned --steps 2 --lora-rank 2 --json";
    object(&workplace.run(line));
    assert_eq!(std::fs::read(workplace.path("model/model.safetensors")).unwrap(), before);
    assert!(!workplace.path("tuned/model.safetensors").exists() && workplace.path("tuned/adapter_model.safetensors").exists());
    let settings: Value = shared::json(&workplace.path("tuned/adapter_config.json"));
    assert_eq!((settings["peft_type"].as_str(), settings["r"].as_u64(), settings["lora_alpha"].as_u64()), (Some("LORA"), Some(2), Some(4)));
    assert_eq!(settings["target_modules"], serde_json::json!(["q_proj", "v_proj"]));
}

#[test]
fn the_adapter_changes_what_the_model_says_and_merged_weights_say_the_same() {
    let workplace = tuned();
    let base = logits(&workplace, "--model {}/model");
    let adapted = logits(&workplace, "--model {}/model --adapter {}/tuned");
    object(&workplace.run("merge --model {}/model --adapter {}/tuned --out {}/merged --json"));
    let merged = logits(&workplace, "--model {}/merged");
    assert!(apart(&base, &adapted) > 1e-3);
    // f32 products in another order.
    assert!(apart(&merged, &adapted) < 1e-4, "{}", apart(&merged, &adapted));
    for line in [
        "generate --model {}/model --adapter {}/tuned --prompt 1 --max-tokens 4 --json",
        "eval --model {}/model --adapter {}/tuned --data {}/preferences.jsonl --json",
    ] {
        object(&workplace.run(line));
    }
}

#[test]
fn alignment_starts_at_its_reference_which_is_the_base_with_the_adapter_off() {
    let workplace = Workplace::new();
    let line = "align --model {}/model --data {}/preferences.jsonl --out {}/aligned --steps 4 --learning-rate 0.05 --warmup 0 --loss dpo \
                --lora-rank 2 --lora-alpha 4 --json";
    object(&workplace.run(line));
    let metrics = std::fs::read_to_string(workplace.path("aligned/metrics.jsonl")).unwrap();
    let losses: Vec<f64> = metrics.lines().filter_map(|line| serde_json::from_str::<Value>(line).unwrap()["loss"].as_f64()).collect();
    assert!((losses[0] - std::f64::consts::LN_2).abs() < 1e-6, "{losses:?}");
    assert!(losses[3] < losses[0], "{losses:?}");
}

#[test]
fn a_reference_that_is_named_counts_and_the_base_itself_is_what_is_taken_without() {
    let workplace = Workplace::new();
    let losses = |out: &str, reference: &str| {
        let line = format!(
            "align --model {{}}/model --data {{}}/preferences.jsonl --out {{}}/{out} --steps 4 --learning-rate 0.05 --warmup 0 --loss dpo \
             --lora-rank 2 --json{reference}"
        );
        object(&workplace.run(&line));
        let metrics = std::fs::read_to_string(workplace.path(out).join("metrics.jsonl")).unwrap();
        let loss = |line: &str| serde_json::from_str::<Value>(line).unwrap()["loss"].as_f64();
        metrics.lines().filter_map(loss).collect::<Vec<_>>()
    };
    let without = losses("without", "");
    assert_eq!(losses("itself", " --reference {}/model"), without);
    object(
        &workplace.run("sft --model {}/model --data {}/completions.jsonl --out {}/other --steps 5 --warmup 0 --learning-rate 0.05 --json"),
    );
    let other = losses("against-other", " --reference {}/other");
    assert!((other[0] - std::f64::consts::LN_2).abs() > 1e-3, "{other:?}");
}

#[test]
fn an_adapter_s_run_that_is_killed_goes_on_to_the_bits_of_one_that_was_not() {
    let workplace = Workplace::new();
    let line = |out: &str| {
        format!(
            "align --model {{}}/model --data {{}}/preferences.jsonl --out {{}}/{out} --loss dpo --steps 120 --batch 2 --dropout 0.1 \
             --lora-rank 2 --lora-targets q_proj,down_proj --checkpoint-every 2 --eval-every 10"
        )
    };
    text(&workplace.run(&line("whole")));
    let folder = workplace.path("").display().to_string();
    let words = line("killed").replace("{}", folder.trim_end_matches('/'));
    let mut child = Command::new(binary()).args(words.split_whitespace()).stderr(Stdio::null()).spawn().unwrap();
    let begun = || {
        let checkpoints = std::fs::read_dir(workplace.path("killed/checkpoints")).into_iter().flatten().flatten();
        checkpoints.filter(|entry| entry.file_name().to_str().is_some_and(|name| name.starts_with("step-"))).count() > 0
    };
    while !begun() && child.try_wait().unwrap().is_none() {
        std::thread::sleep(Duration::from_millis(2));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(!workplace.path("killed/adapter_model.safetensors").exists(), "it was killed before its end");
    text(&workplace.run(&format!("{} --resume", line("killed"))));
    for file in ["adapter_model.safetensors", "metrics.jsonl", "checkpoints/step-120/optimizer.safetensors"] {
        let bytes = |out: &str| std::fs::read(workplace.path(out).join(file)).unwrap();
        assert!(bytes("killed") == bytes("whole"), "{file}");
    }
}

#[test]
fn wrong_settings_are_one_message() {
    let workplace = Workplace::new();
    let sft = |options: &str| {
        let line = format!("sft --model {{}}/model --data {{}}/completions.jsonl --out {{}}/out --steps 1 {options}");
        failure(&workplace.run(&line), 2)
    };
    assert!(sft("--lora-rank 2 --lora-targets c_attn").contains("the target \"c_attn\" is not supported; supported: q_proj"));
    assert!(sft("--lora-rank 0").contains("--lora-rank"));
    assert!(sft("--lora-alpha 2").contains("--lora-rank"));
    let message = failure(&workplace.run("score --model {}/model --adapter {}/nothing --tokens 1"), 1);
    assert!(message.contains("nothing: there is no such folder; a LoRA adapter is a folder on this machine"), "{message}");
    let message = failure(&workplace.run("score --model {}/model --adapter {}/model --tokens 1"), 1);
    assert!(message.contains("this is a model, not a LoRA adapter"), "{message}");
}
