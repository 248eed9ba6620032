//! What a model's files hold and this program does not use is said once on standard error, whatever the command; what is no model says what
//! it is.

use crate::command::{Workplace, failure, object, slpo_words};
use crate::shared::{self, tokens};
use serde_json::{Value, json};
use std::process::Output;

/// Changes one key of a file in the workplace.
fn set(workplace: &Workplace, file: &str, key: &str, value: Value) {
    let mut settings = if workplace.path(file).exists() { shared::json(&workplace.path(file)) } else { json!({}) };
    settings[key] = value;
    workplace.write(file, &settings.to_string());
}

/// The warnings of a command that succeeded.
#[track_caller]
fn warnings(output: &Output) -> Vec<String> {
    let said = String::from_utf8(output.stderr.clone()).unwrap();
    assert!(output.status.success(), "{said}");
    said.lines().filter(|line| line.starts_with("warning: ")).map(str::to_owned).collect()
}

#[test]
fn an_unknown_key_is_named_once_by_every_command_that_reads_the_model() {
    let workplace = Workplace::new();
    let commands = [
        "score --model {}/model --tokens 1,2 --json",
        "generate --model {}/model --prompt a --max-tokens 2 --json",
        "eval --model {}/model --data {}/preferences.jsonl --reference {}/model --json",
        "data {}/preferences.jsonl --model {}/model --json",
        "convert {}/model --out {}/converted --json",
    ];
    for command in commands {
        assert_eq!(warnings(&workplace.run(command)), Vec::<String>::new(), "{command}");
    }
    set(&workplace, "model/config.json", "a_new_key", json!(3));
    std::fs::remove_dir_all(workplace.path("converted")).unwrap();
    for command in commands {
        let said = warnings(&workplace.run(command));
        assert!(said.len() == 1 && said[0].contains("model/config.json") && said[0].contains("a_new_key"), "{command}: {said:?}");
    }
    set(&workplace, "model/config.json", "final_logit_softcapping", json!(30.0));
    let line = failure(&workplace.run(commands[0]), 1);
    assert!(line.contains("final_logit_softcapping 30.0 is not supported"), "{line}");
}

#[test]
fn what_generation_config_asks_for_is_done_or_named() {
    let workplace = Workplace::new();
    let generate = |more: &str| workplace.run(format!("generate --model {{}}/model --prompt a --max-tokens 4 --json {more}").trim_end());
    let file = "model/generation_config.json";
    set(&workplace, file, "num_beams", json!(4));
    set(&workplace, file, "a_new_key", json!(4));
    let said = warnings(&generate(""));
    assert!(said.len() == 2 && said[0].contains("num_beams 4") && said[1].contains("a_new_key"), "{said:?}");
    workplace.write(file, "{\"do_sample\": true, \"temperature\": 0.6, \"top_k\": 0, \"repetition_penalty\": 1.1}");
    let said = warnings(&generate(""));
    assert!(said.len() == 1 && said[0].contains("--temperature 0.6 --repetition-penalty 1.1"), "{said:?}");
    assert_eq!(warnings(&generate("--temperature 1")), Vec::<String>::new(), "the command line has said what it wants");
}

#[test]
fn a_text_longer_than_the_model_was_made_for_is_warned_of() {
    let workplace = Workplace::new();
    let longest = shared::json(&workplace.path("model/config.json"))["max_position_embeddings"].as_u64().unwrap();
    let said = |tokens: u64| {
        warnings(&workplace.run(&format!("generate --model {{}}/model --prompt-tokens 1,2 --max-tokens {tokens} --ignore-eos --json")))
    };
    assert_eq!(said(longest - 2), Vec::<String>::new());
    let beyond = said(longest);
    assert!(beyond.len() == 1 && beyond[0].contains(&format!("max_position_embeddings is {longest}")), "{beyond:?}");
}

#[test]
fn the_penalty_and_min_p_change_what_is_drawn() {
    let workplace = Workplace::new();
    let model = workplace.path("model").display().to_string();
    let drawn = |more: &[&str]| {
        let words = ["generate", "--model", &model, "--prompt-tokens", "5,6,7", "--max-tokens", "20", "--ignore-eos", "--json"];
        tokens(&object(&slpo_words(&[&words[..], more].concat()))["tokens"])
    };
    let greedy = drawn(&["--temperature", "0"]);
    assert_eq!(drawn(&["--min-p", "1", "--seed", "3"]), greedy, "only the most likely is as likely as the most likely");
    let penalised = drawn(&["--temperature", "0", "--repetition-penalty", "1e6"]);
    let distinct: std::collections::BTreeSet<u32> = penalised.iter().chain(&[5, 6, 7]).copied().collect();
    assert_eq!(distinct.len(), penalised.len() + 3, "{penalised:?}");
    for (flag, value) in [("--min-p", "1.5"), ("--min-p", "-0.1"), ("--repetition-penalty", "0"), ("--repetition-penalty", "-2")] {
        let line = failure(&slpo_words(&["generate", "--model", &model, "--prompt", "a", flag, value]), 2);
        assert!(line.contains(flag), "{line}");
    }
}

#[test]
fn a_path_that_is_no_model_is_one_clear_line_wherever_it_is_given() {
    let workplace = Workplace::new();
    let hub = "meta-llama/Llama-3.2-1B: there is no such folder";
    for (command, expected) in [
        ("score --model meta-llama/Llama-3.2-1B --tokens 1", hub),
        ("generate --model {}/model --adapter meta-llama/Llama-3.2-1B --prompt a", hub),
        ("eval --model {}/model --reference meta-llama/Llama-3.2-1B --data {}/preferences.jsonl", hub),
        ("sft --model meta-llama/Llama-3.2-1B --data {}/completions.jsonl --out {}/out", hub),
        ("align --model {}/model --reference meta-llama/Llama-3.2-1B --data {}/preferences.jsonl --loss dpo --out {}/out", hub),
        ("data {}/completions.jsonl --model meta-llama/Llama-3.2-1B", hub),
        ("chat --model gpt2", "hf download gpt2"),
    ] {
        let line = failure(&workplace.run(command), 1);
        assert!(line.contains(expected) && !line.contains("os error"), "{command}: {line}");
    }
    object(&workplace.run("sft --model {}/model --data {}/completions.jsonl --out {}/tuned --steps 1 --lora-rank 2 --json"));
    let line = failure(&workplace.run("score --model {}/tuned --tokens 1"), 1);
    assert!(line.contains("tuned: this is a LoRA adapter, not a model"), "{line}");
    set(&workplace, "tuned/adapter_config.json", "init_lora_weights", json!("pissa_niter_4"));
    let line = failure(&workplace.run("score --model {}/model --adapter {}/tuned --tokens 1"), 1);
    assert!(line.contains("tuned/adapter_config.json") && line.contains("init_lora_weights"), "{line}");
}
