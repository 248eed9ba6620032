//! Generation against the full forward pass on every architecture, and `slpo generate` with several prompts and stop texts.

use crate::command::{Workplace, failure, object, slpo_words, text};
use crate::shared::{ARCHITECTURES, json, shared, tokens};
use engine::Cpu;
use model::decoder::{Decoder, Packed};
use model::generate::{Sampling, StopConditions, generate};
use model::model_folder::ModelFolder;
use serde_json::Value;

/// The most likely token after `context`, by a forward pass over all of it, without a cache.
fn most_likely(decoder: &Decoder<Cpu<f64>>, context: &[u32]) -> u32 {
    let logits = decoder.logits(&Packed::new([context]));
    let last = logits.slice(0, context.len() - 1, context.len()).to_f64();
    (0..last.len()).fold(0, |best, token| if last[token] > last[best] { token } else { best }) as u32
}

#[test]
fn greedy_tokens_are_those_of_the_full_forward_pass_at_every_step_alone_and_in_a_batch() {
    for name in ARCHITECTURES {
        let Some(folder) = shared(&format!("data/tiny-random/{name}")) else { return };
        let model = ModelFolder::open(&folder).unwrap();
        let decoder = Decoder::from_tensors(&Cpu::<f64>::new(), &model.config, model.tensors.clone()).unwrap();
        let golden = json(&folder.join("golden_forward.json"));
        let mut prompts: Vec<Vec<u32>> = golden["cases"].as_array().unwrap().iter().map(|case| tokens(&case["tokens"])).collect();
        prompts.iter_mut().for_each(|prompt| prompt.truncate(20));
        prompts.push(vec![3, 1, 4, 1, 5]);
        let limits = StopConditions { max_tokens: 12, stop: &[] };
        let run =
            |prompts: &[Vec<u32>]| generate(&decoder, prompts, &Sampling::GREEDY, limits, &engine::Generator::new(0), |_, _| true).unwrap();
        let batched = run(&prompts);
        for (prompt, new) in prompts.iter().zip(&batched) {
            let mut context = prompt.clone();
            for (step, &token) in new.iter().enumerate() {
                assert_eq!(token, most_likely(&decoder, &context), "{name}: step {step} after {prompt:?}");
                context.push(token);
            }
            assert_eq!(run(std::slice::from_ref(prompt))[0], *new, "{name}: alone after {prompt:?}");
        }
    }
}

#[test]
fn the_command_gives_the_golden_tokens_of_every_architecture() {
    for name in ARCHITECTURES {
        let Some(folder) = shared(&format!("data/tiny-random/{name}")) else { return };
        let golden = json(&folder.join("golden_forward.json"));
        let case = &golden["greedy"][0];
        let (prompt, expected) = (tokens(&case["prompt_tokens"]), tokens(&case["new_tokens"]));
        let prompt = prompt.iter().map(u32::to_string).collect::<Vec<_>>().join(",");
        let (model, count) = (folder.to_str().unwrap(), expected.len().to_string());
        let words = [
            "generate",
            "--model",
            model,
            "--prompt-tokens",
            &prompt,
            "--max-tokens",
            &count,
            "--temperature",
            "0",
            "--ignore-eos",
            "--json",
        ];
        assert_eq!(tokens(&object(&slpo_words(&words))["tokens"]), expected, "{name}");
    }
}

/// The one line of standard output as a JSON list.
fn list(output: &std::process::Output) -> Vec<Value> {
    let text = text(output);
    assert_eq!(text.lines().count(), 1);
    serde_json::from_str::<Value>(&text).unwrap().as_array().unwrap().clone()
}

fn run(workplace: &Workplace, words: &[&str]) -> std::process::Output {
    let model = workplace.path("model").display().to_string();
    slpo_words(&[&["generate", "--model", &model, "--max-tokens", "10"], words].concat())
}

#[test]
fn several_prompts_are_answered_in_one_batch_each_as_if_alone() {
    let workplace = Workplace::new();
    let all = list(&run(&workplace, &["--prompt", "one", "--prompt", "a longer one", "--temperature", "0", "--json"]));
    for (prompt, answer) in ["one", "a longer one"].iter().zip(&all) {
        assert_eq!(*answer, object(&run(&workplace, &["--prompt", prompt, "--temperature", "0", "--json"])), "{prompt}");
    }
    workplace.write("prompts.jsonl", "{\"prompt\": \"one\"}\n{\"prompt\": \"a longer one\"}\n");
    let file = workplace.path("prompts.jsonl").display().to_string();
    assert_eq!(list(&run(&workplace, &["--prompts", &file, "--temperature", "0", "--json"])), all);
    let both = list(&run(&workplace, &["--prompt", "zero", "--prompts", &file, "--temperature", "0", "--json"]));
    assert_eq!((both.len(), &both[1..]), (3, &all[..]));
    let shown = text(&run(&workplace, &["--prompts", &file, "--temperature", "0"]));
    assert!(shown.contains("[1] \"one\"\n") && shown.contains("[2] \"a longer one\"\n"), "{shown}");
}

#[test]
fn the_first_of_several_stop_texts_ends_a_text() {
    let workplace = Workplace::new();
    let words = ["--prompt", "x", "--seed", "5", "--json"];
    let whole = object(&run(&workplace, &words))["text"].as_str().unwrap().to_owned();
    let letters: Vec<String> = whole.chars().filter(|c| c.is_ascii_alphanumeric()).map(String::from).collect();
    let [Some(late), Some(early)] = [letters.last(), letters.first()] else {
        println!("skipped: the random model says nothing to stop at: {whole:?}");
        return;
    };
    let stopped = object(&run(&workplace, &[&words[..], &["--stop", late, "--stop", early]].concat()));
    assert_eq!(stopped["text"], whole[..whole.find(early.as_str()).unwrap()]);
}

#[test]
fn the_folder_s_generation_config_says_what_ends_a_text() {
    let workplace = Workplace::new();
    let words = ["--prompt", "x", "--temperature", "0", "--json"];
    let whole = tokens(&object(&run(&workplace, &words))["tokens"]);
    let third = whole[2];
    workplace.write("model/generation_config.json", &format!("{{\"eos_token_id\": [{third}, 257]}}"));
    let ended = tokens(&object(&run(&workplace, &words))["tokens"]);
    let first = whole.iter().position(|&token| token == third).unwrap();
    assert_eq!(ended, whole[..=first], "the ending token is part of the tokens");
    assert_eq!(tokens(&object(&run(&workplace, &[&words[..], &["--ignore-eos"]].concat()))["tokens"]), whole);
    workplace.write("model/generation_config.json", "{\"eos_token_id\": \"x\"}");
    assert!(failure(&run(&workplace, &words), 1).contains("generation_config.json: eos_token_id must be"));
}

#[test]
fn prompts_that_cannot_be_run_are_one_message() {
    let workplace = Workplace::new();
    assert!(failure(&run(&workplace, &["--json"]), 2).contains("--prompt"));
    workplace.write("prompts.jsonl", "{\"prompt\": \"one\"}\n{\"text\": \"two\"}\n");
    let file = workplace.path("prompts.jsonl").display().to_string();
    assert!(failure(&run(&workplace, &["--prompts", &file]), 1).contains("prompts.jsonl:2: a row needs"));
}
