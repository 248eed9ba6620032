//! The commands that run a model, on a real one: what they print is what others computed.

use crate::command::{object, slpo, slpo_words, text};
use crate::shared::{json, numbers, shared, tokens};
use serde_json::Value;
use std::path::{Path, PathBuf};

/// stories260k converted from llama2.c's files, with its golden values.
struct Stories {
    folder: tempfile::TempDir,
    source: PathBuf,
    golden: Value,
}

impl Stories {
    fn convert() -> Option<Self> {
        let source = shared("data/stories260k")?;
        let folder = tempfile::tempdir().unwrap();
        let paths = [("source", source.as_path()), ("out", folder.path())];
        let output = slpo("convert {source}/stories260K.bin --tokenizer {source}/tok512.bin --out {out} --json", &paths);
        let report = object(&output);
        assert_eq!((report["parameters"].as_u64(), report["tokenizer"].as_bool()), (Some(260_032), Some(true)));
        let golden = json(&source.join("golden_forward.json"));
        Some(Self { folder, source, golden })
    }

    fn model(&self) -> &str {
        self.folder.path().to_str().unwrap()
    }

    fn cases(&self) -> &[Value] {
        self.golden["cases"].as_array().unwrap()
    }
}

/// `1,2,3`.
fn list(tokens: &[u32]) -> String {
    tokens.iter().map(u32::to_string).collect::<Vec<_>>().join(",")
}

#[track_caller]
fn close(ours: &[f64], theirs: &[f64], tolerance: f64) {
    assert_eq!(ours.len(), theirs.len());
    for (i, (a, b)) in ours.iter().zip(theirs).enumerate() {
        assert!((a - b).abs() <= tolerance, "[{i}]: {a} against {b}");
    }
}

#[test]
fn greedy_text_from_nothing_is_the_published_one_to_the_last_character() {
    let Some(stories) = Stories::convert() else { return };
    let published = stories.golden["published_greedy_text"].as_str().unwrap();
    let expected = tokens(&stories.golden["greedy"][0]["new_tokens"]);
    let count = expected.len().to_string();
    let arguments = ["generate", "--model", stories.model(), "--prompt", "", "--max-tokens", &count, "--temperature", "0"];
    let generated = object(&slpo_words(&[&arguments[..], &["--json"]].concat()));
    assert_eq!(generated["text"].as_str(), Some(published));
    assert_eq!(tokens(&generated["tokens"]), expected);
    assert_eq!(text(&slpo_words(&arguments)), format!("{published}\n"), "as it comes");
}

#[test]
fn greedy_tokens_after_each_prompt_are_the_golden_ones() {
    let Some(stories) = Stories::convert() else { return };
    for case in stories.golden["greedy"].as_array().unwrap() {
        let (expected, prompt) = (tokens(&case["new_tokens"]), list(&tokens(&case["prompt_tokens"])));
        let count = expected.len().to_string();
        let common = ["generate", "--model", stories.model(), "--max-tokens", &count, "--temperature", "0", "--json"];
        for prompt in [["--prompt-tokens", &prompt], ["--prompt", case["prompt_text"].as_str().unwrap()]] {
            let generated = object(&slpo_words(&[&common[..], &prompt].concat()));
            assert_eq!(tokens(&generated["tokens"]), expected, "{prompt:?}");
        }
    }
}

#[test]
fn a_seed_gives_the_same_text_whatever_the_threads_and_another_seed_another() {
    let Some(stories) = Stories::convert() else { return };
    let generate = |options: &str| {
        let line = format!("generate --model {} --prompt Once --max-tokens 40 --json {options}", stories.model());
        object(&slpo(&line, &[]))["text"].as_str().unwrap().to_owned()
    };
    let first = generate("--seed 1 --threads 1");
    assert_eq!(generate("--seed 1 --threads 3"), first);
    assert_ne!(generate("--seed 2"), first);
    assert_eq!(generate("--seed 1 --top-k 1"), generate("--seed 2 --temperature 0"), "one candidate is no choice");
}

#[test]
fn a_text_stops_before_the_stop_text() {
    let Some(stories) = Stories::convert() else { return };
    let arguments = ["generate", "--model", stories.model(), "--prompt", "", "--temperature", "0", "--stop", "to play"];
    let expected = "Once upon a time, there was a little girl named Lily. She loved ";
    assert_eq!(object(&slpo_words(&[&arguments[..], &["--json"]].concat()))["text"], expected);
    assert_eq!(text(&slpo_words(&arguments)), format!("{expected}\n"));
}

#[test]
fn scores_are_the_golden_log_probs_and_logits() {
    let Some(stories) = Stories::convert() else { return };
    for case in stories.cases() {
        let given = tokens(&case["tokens"]);
        let of_tokens = object(&slpo_words(&["score", "--model", stories.model(), "--tokens", &list(&given), "--json"]));
        assert_eq!(tokens(&of_tokens["tokens"]), given);
        close(&numbers(&of_tokens["logprobs"]), &numbers(&case["next_token_logprob"]), 1e-4);
        close(&numbers(&of_tokens["logits"]), &numbers(&case["logits_last"]), 1e-4);
        let of_text = object(&slpo_words(&["score", "--model", stories.model(), "--text", case["text"].as_str().unwrap(), "--json"]));
        assert_eq!(of_text, of_tokens, "BOS is added to a text");
    }
}

#[test]
fn a_person_sees_each_token_and_the_perplexity() {
    let Some(stories) = Stories::convert() else { return };
    let case = &stories.cases()[1];
    let table = text(&slpo_words(&["score", "--model", stories.model(), "--text", case["text"].as_str().unwrap()]));
    assert!(table.contains("\" upon\"") && table.lines().count() == 2 + tokens(&case["tokens"]).len(), "{table}");
    let perplexity = case["mean_nll"].as_f64().unwrap().exp();
    assert!(table.contains(&format!("perplexity {perplexity:.3}")), "{table}");
}

#[test]
fn a_text_is_evaluated_as_its_golden_likelihoods_say() {
    let Some(stories) = Stories::convert() else { return };
    let golden = json(&stories.source.join("golden_tinystories_nll.json"));
    let (mut nats, mut count) = (0.0, 0);
    let all = std::fs::read_to_string(stories.source.join("tinystories_sample.txt")).unwrap();
    for (i, (story, expected)) in all.split("<|endoftext|>").zip(golden["stories"].as_array().unwrap()).enumerate() {
        let file = stories.folder.path().join(format!("{i}.txt"));
        std::fs::write(&file, story.trim()).unwrap();
        let result = object(&slpo("eval --model {model} --data {file} --json", &[("model", stories.folder.path()), ("file", &file)]));
        let n = result["tokens"].as_u64().unwrap();
        let expected = expected["sum_logprob"].as_f64().unwrap();
        let per_token = result["nats_per_token"].as_f64().unwrap();
        assert!((per_token * n as f64 + expected).abs() <= 1e-3, "{i}: {result} against {expected}");
        let bits = result["bits_per_byte"].as_f64().unwrap();
        assert!((bits + expected / std::f64::consts::LN_2 / story.trim().len() as f64).abs() <= 1e-5, "{i}: {result}");
        (nats, count) = (nats - expected, count + n);
    }
    assert!(count > 500 && nats / (count as f64) < 1.7, "{nats} nats for {count} tokens");
}

#[test]
fn preferences_are_scored_against_a_reference() {
    let Some(stories) = Stories::convert() else { return };
    let Some(data) = shared("data/blimp-pairs/dev.jsonl") else { return };
    let eval = |options: &str, paths: &[(&str, &Path)]| {
        let paths = [&[("model", stories.folder.path()), ("data", data.as_path())], paths].concat();
        object(&slpo(&format!("eval --model {{model}} --data {{data}} --json {options}"), &paths))
    };
    let plain = eval("--threads 2", &[]);
    let against_itself = eval("--reference {model}", &[]);
    for key in ["chosen_log_prob", "rejected_log_prob", "accuracy_unreferenced", "pairs"] {
        assert_eq!(plain[key], against_itself[key], "{key}");
    }
    assert_eq!((against_itself["kl"].as_f64(), against_itself["margin"].as_f64()), (Some(0.0), Some(0.0)));
    assert_eq!(plain["accuracy"], plain["accuracy_unreferenced"]);
    let margin = plain["chosen_log_prob"].as_f64().unwrap() - plain["rejected_log_prob"].as_f64().unwrap();
    close(&[plain["margin"].as_f64().unwrap()], &[margin], 1e-6);
    let accuracy = plain["accuracy"].as_f64().unwrap();
    assert!((0.5..0.7).contains(&accuracy), "a small model does a little better than chance: {accuracy}");
}

#[test]
fn rows_that_cannot_be_used_are_counted() {
    let Some(stories) = Stories::convert() else { return };
    let Some(data) = shared("data/pandalm-human/preferences.jsonl") else { return };
    let paths = [("model", stories.folder.path()), ("data", data.as_path())];
    let result = object(&slpo("eval --model {model} --data {data} --max-tokens 64 --json", &paths));
    assert_eq!(result["data"]["dropped"]["empty_completion"], 52);
    let [rows, kept] = ["rows", "kept"].map(|key| result["data"][key].as_u64().unwrap());
    let dropped: u64 = result["data"]["dropped"].as_object().unwrap().values().filter_map(Value::as_u64).sum();
    assert_eq!((rows, kept + dropped, result["pairs"].as_u64()), (888, 888, Some(kept)));
}
