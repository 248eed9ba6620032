//! Rows as people bring them, through the real binary: what is learned of them, what is named, what is refused.

use crate::command::{Workplace, binary, failure, object, text};
use serde_json::{Value, json};
use std::process::{Command, Output};

/// A template that reads tools and ends turns with a text of its own.
const TEMPLATE: &str = "{% if tools %}[{{ tools | tojson }}]{% endif %}{% for m in messages %}<{{ m.role }}>{{ m.content }}<|end|>\n{% endfor %}\
                        {% if add_generation_prompt %}<assistant>{% endif %}";

/// A workplace whose model has a chat template and a tokenizer with named special tokens.
fn with_template() -> Workplace {
    let workplace = Workplace::new();
    workplace.write("model/chat_template.jinja", TEMPLATE);
    workplace
}

fn warnings(output: &Output) -> Vec<String> {
    let text = String::from_utf8(output.stderr.clone()).unwrap();
    text.lines().filter(|line| line.starts_with("warning: ")).map(str::to_owned).collect()
}

fn conversation() -> Value {
    let turn = |role: &str, content: &str| json!({"role": role, "content": content});
    json!({"messages": [turn("user", "a"), turn("assistant", "b"), turn("user", "c"), turn("assistant", "d")]})
}

#[test]
fn every_turn_is_learned_and_counted_and_the_last_alone_where_asked() {
    let workplace = with_template();
    workplace.write("chats.jsonl", &format!("{}\n", conversation()));
    let all = object(&workplace.run("data {}/chats.jsonl --model {}/model --json"));
    assert_eq!((all["turns"].as_u64(), all["kept"].as_u64()), (Some(2), Some(1)));
    let last = object(&workplace.run("data {}/chats.jsonl --model {}/model --turns last --json"));
    assert_eq!(last["turns"], 1);
    assert!(last["examples"][0]["completion"].as_str().unwrap().starts_with("d<|end|>"), "{last}");
    let tokens = |turns: &str| {
        object(&workplace.run(&format!("eval --model {{}}/model --data {{}}/chats.jsonl --turns {turns} --json")))["tokens"]
            .as_u64()
            .unwrap()
    };
    // "d<|end|>" and the byte tokenizer's EOS; "b<|end|>" besides.
    assert_eq!((tokens("last"), tokens("all")), (9, 9 + 8));
    let said = text(&workplace.run("data {}/chats.jsonl --model {}/model"));
    assert!(said.contains("2  turns of the assistant are learned"), "{said}");
}

#[test]
fn what_a_row_says_and_is_not_used_is_a_warning_once_on_standard_error() {
    let workplace = with_template();
    let row = |n: usize| json!({"prompt": "p", "chosen": format!("a{n}"), "rejected": "b", "zzz": n, "id": n});
    workplace.write("pairs.jsonl", &(0..4).map(|n| row(n).to_string() + "\n").collect::<String>());
    for line in [
        "data {}/pairs.jsonl --model {}/model --json",
        "eval --model {}/model --data {}/pairs.jsonl --json",
        "align --model {}/model --data {}/pairs.jsonl --loss dpo --steps 1 --out {}/out --json",
    ] {
        let output = workplace.run(line);
        object(&output);
        let named: Vec<_> = warnings(&output).into_iter().filter(|line| line.contains("zzz")).collect();
        assert_eq!(named.len(), 1, "{line}: {named:?}");
        assert!(named[0].contains("pairs.jsonl: column \"zzz\" is not used (4 rows, first line 1)"), "{named:?}");
    }
}

#[test]
fn a_folder_without_a_tokenizer_has_no_text_and_runs_on_token_ids() {
    let workplace = Workplace::new();
    std::fs::remove_file(workplace.path("model/tokenizer.json")).unwrap();
    for line in [
        "generate --model {}/model --prompt Once --max-tokens 2",
        "score --model {}/model --text Once",
        "align --model {}/model --data {}/preferences.jsonl --loss dpo --steps 1 --out {}/out",
        "sft --model {}/model --data {}/completions.jsonl --steps 1 --out {}/out",
        "eval --model {}/model --data {}/text.txt",
        "data {}/preferences.jsonl --model {}/model",
    ] {
        let message = failure(&workplace.run(line), 1);
        assert!(message.contains("model: there is no tokenizer in this folder"), "{line}: {message}");
    }
    let generated = object(&workplace.run("generate --model {}/model --prompt-tokens 1,2 --max-tokens 3 --ignore-eos --json"));
    assert_eq!(generated["tokens"].as_array().unwrap().len(), 3);
    object(&workplace.run("score --model {}/model --tokens 1,2,3 --json"));
    object(&workplace.run("convert {}/model --out {}/copy --json"));
    assert!(!workplace.path("copy/tokenizer.json").exists(), "none is made up");
}

#[test]
fn texts_are_read_from_every_form_and_csv_from_none() {
    let workplace = Workplace::new();
    let text = "The cat sat on the mat.";
    let row = json!({"text": text}).to_string();
    let rows = vec![row.clone(); 40];
    workplace.write("a.jsonl", &rows.join("\n"));
    workplace.write("a.json", &format!("[{}]", rows.join(",\n")));
    workplace.write("a.txt", &rows.join("\r\n"));
    let first_loss = |name: &str| {
        let line = format!("train --data {{}}/{name} --out {{}}/{name}-out --steps 1 --batch-rows 1 --batch-tokens 8 --held-out 0 --json");
        object(&workplace.run(&line))["last"]["loss"].as_f64().unwrap()
    };
    let expected = first_loss("a.jsonl");
    assert!(expected.is_finite() && first_loss("a.json") == expected && first_loss("a.txt") == expected);
    let perplexity = |name: &str| object(&workplace.run(&format!("eval --model {{}}/model --data {{}}/{name} --json")));
    assert_eq!(perplexity("a.json"), perplexity("a.jsonl"));
    assert_eq!(perplexity("a.txt")["kind"], "text");

    for name in ["p.csv", "p.txt", "p.jsonl"] {
        workplace.write(name, "prompt,chosen,rejected\na,b,c\n");
        for line in [
            format!("train --data {{}}/{name} --out {{}}/out --steps 1"),
            format!("eval --model {{}}/model --data {{}}/{name}"),
            format!("align --model {{}}/model --data {{}}/{name} --loss dpo --out {{}}/out --steps 1"),
            format!("data {{}}/{name} --model {{}}/model"),
            format!("generate --model {{}}/model --prompts {{}}/{name}"),
        ] {
            let message = failure(&workplace.run(&line), 1);
            assert!(message.contains(name) && message.contains("CSV is not read"), "{line}: {message}");
        }
    }
}

#[test]
fn rows_of_another_command_are_sent_there() {
    let workplace = Workplace::new();
    for (line, expected) in [
        ("sft --model {}/model --data {}/preferences.jsonl --out {}/out", "`slpo align` learns from"),
        ("align --model {}/model --data {}/completions.jsonl --loss dpo --out {}/out", "`slpo sft` learns from"),
        ("train --data {}/preferences.jsonl --out {}/out", "`slpo align` learns from"),
    ] {
        let message = failure(&workplace.run(line), 1);
        assert!(message.contains(expected), "{message}");
    }
}

#[test]
fn the_way_of_cutting_is_a_flag_that_the_report_names() {
    let workplace = Workplace::new();
    let (prompt, answer) = ("x".repeat(60), "y".repeat(60));
    workplace.write(
        "long.jsonl",
        &format!("{}\n{}\n", json!({"prompt": prompt, "completion": answer}), json!({"prompt": "p", "completion": "c"})),
    );
    let report = |flags: &str| object(&workplace.run(&format!("data {{}}/long.jsonl --model {{}}/model --max-tokens 32{flags} --json")));
    let both = report("");
    assert_eq!((both["truncation"].as_str(), &both["truncated"]["lines"]), (Some("both"), &json!([1])));
    let shown =
        |report: &Value| [&report["examples"][0]["prompt"], &report["examples"][0]["completion"]].map(|text| text.as_str().unwrap().len());
    assert_eq!(shown(&both), ["<|bos|>".len() + 15, 16]);
    assert_eq!(shown(&report(" --truncation prompt-start")), ["<|bos|>".len(), 31]);
    let dropped = report(" --truncation drop");
    assert_eq!(dropped["dropped"], json!([{"reason": "too_long", "count": 1, "lines": [1]}]));
    assert_eq!(report(" --truncation end")["dropped"][0]["reason"], "prompt_fills_limit");
}

#[test]
fn a_conversation_that_ends_with_the_model_s_words_goes_on_with_them() {
    let workplace = with_template();
    let row = json!({"prompt": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "Well"}]});
    workplace.write("prompts.jsonl", &format!("{row}\n"));
    let run = |arguments: &[&str]| {
        let output = Command::new(binary())
            .args(arguments)
            .args(["--max-tokens", "4", "--temperature", "0", "--ignore-eos", "--json"])
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice::<Value>(&output.stdout).unwrap()
    };
    let (model, prompts) = (workplace.path("model"), workplace.path("prompts.jsonl"));
    let (model, prompts) = (model.to_str().unwrap(), prompts.to_str().unwrap());
    let of_row = run(&["generate", "--model", model, "--prompts", prompts]);
    let of_text = run(&["generate", "--model", model, "--prompt", "<user>a<|end|>\n<assistant>Well"]);
    assert_eq!(of_row[0]["tokens"], of_text["tokens"]);
}
