//! `slpo data`: the report before any training, for a person and for a program.

use crate::command::{Workplace, binary, failure, object, slpo, text};
use crate::shared;
use serde_json::{Value, json};
use std::path::Path;
use std::process::Command;

/// The workplace's model, and rows of every fate with a limit of 24 tokens.
fn workplace() -> Workplace {
    let workplace = Workplace::new();
    let long = "a very long prompt that has to be cut";
    let rows =
        [("2 is", " even", " odd"), (long, " yes", " no"), ("p", "", "b"), ("p", "same", "same"), ("p", "c", " "), ("q", " x", " y")];
    let row =
        |(prompt, chosen, rejected): &(&str, &str, &str)| json!({"prompt": prompt, "chosen": chosen, "rejected": rejected}).to_string();
    workplace.write("rows.jsonl", &rows.iter().map(|r| row(r) + "\n").collect::<String>());
    workplace
}

#[test]
fn every_row_is_accounted_for_with_its_line() {
    let report = object(&workplace().run("data {}/rows.jsonl --model {}/model --max-length 24 --json"));
    assert_eq!((report["form"].as_str(), report["rows"].as_u64(), report["kept"].as_u64()), (Some("preferences"), Some(6), Some(3)));
    let expected = json!([
        {"reason": "empty_completion", "count": 2, "lines": [3, 5]},
        {"reason": "equal_completions", "count": 1, "lines": [4]},
    ]);
    assert_eq!(report["dropped"], expected);
    assert_eq!(report["truncated"], json!({"count": 1, "lines": [2]}));
    assert_eq!(report["merged"], json!({"count": 0, "lines": []}));
    // BOS, 37 bytes, " yes", EOS.
    assert_eq!(report["lengths"]["row"]["max"], 1 + 37 + 4 + 1);
    assert_eq!(report["lengths"]["prompt"]["min"], 2);
    assert_eq!(report["chat_template"], false);
    let first = &report["examples"][0];
    assert_eq!(first, &json!({"line": 1, "sequence": "chosen", "prompt": "<|bos|>2 is", "completion": " even<|eos|>"}));
}

#[test]
fn the_report_is_what_training_then_says() {
    let workplace = workplace();
    let report = object(&workplace.run("data {}/rows.jsonl --model {}/model --max-length 24 --json"));
    let output = workplace.run("align --model {}/model --data {}/rows.jsonl --out {}/out --steps 1 --max-tokens 24");
    let line = String::from_utf8(output.stderr.clone()).unwrap();
    assert!(output.status.success(), "{line}");
    let kept = report["kept"].as_u64().unwrap();
    assert!(
        line.contains(&format!(
            "6 rows, {kept} kept, 3 dropped (2 empty completion: line 3, 5; 1 chosen equal to rejected: line 4), 1 cut"
        )),
        "{line}"
    );
}

#[test]
fn a_person_sees_lengths_and_marks_without_escapes() {
    let shown = text(&workplace().run("data {}/rows.jsonl --model {}/model --max-length 24"));
    for part in [
        "6 rows, 3 kept, 3 dropped",
        "2  dropped, empty completion: line 3, 5",
        "median",
        "rows by tokens",
        "█",
        "over the limit",
        "<|bos|>2 is⟦ even<|eos|>⟧",
    ] {
        assert!(shown.contains(part), "{part:?} is not in {shown}");
    }
    assert!(!shown.contains('\u{1b}'), "a pipe is no terminal: {shown}");
}

#[test]
fn conversations_go_through_the_model_s_own_template() {
    let workplace = Workplace::new();
    let template = "{% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}{% if add_generation_prompt %}<assistant>{% endif %}";
    workplace.write("model/chat_template.jinja", template);
    let row = json!({"messages": [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "yes"}]});
    workplace.write("chats.jsonl", &format!("{row}\n"));
    let report = object(&workplace.run("data {}/chats.jsonl --model {}/model --json"));
    assert_eq!((report["form"].as_str(), report["chat_template"].as_bool()), (Some("completions"), Some(true)));
    let example = &report["examples"][0];
    assert_eq!(example["prompt"], "<|bos|><user>hi<assistant>");
    assert_eq!(example["completion"], "yes<|eos|>");

    workplace.write("model/chat_template.jinja", "{{ raise_exception('no conversations here') }}");
    let line = failure(&workplace.run("data {}/chats.jsonl --model {}/model --json"), 1);
    assert!(line.contains("chats.jsonl:1: the chat template refuses the conversation: no conversations here"), "{line}");
}

/// A real tokenizer with `<s>` and `</s>`, and a template that writes both: none is there twice.
#[test]
fn bos_and_eos_are_there_once_though_the_template_writes_them_too() {
    let Some(source) = shared::shared("data/stories260k") else { return };
    let workplace = Workplace::new();
    let stories = workplace.path("stories");
    let paths = [("source", source.as_path()), ("out", stories.as_path())];
    object(&slpo("convert {source}/stories260K.bin --tokenizer {source}/tok512.bin --out {out} --json", &paths));
    let template = "{{ bos_token }}{% for m in messages %}{{ '\n' + m.role + ': ' + m.content }}{% if m.role == 'assistant' %}{{ eos_token }}{% endif %}\
                    {% endfor %}{% if add_generation_prompt %}{{ '\nassistant:' }}{% endif %}";
    let row = json!({"prompt": [{"role": "user", "content": "hi"}], "chosen": [{"role": "assistant", "content": "yes"}], "rejected": [{"role": "assistant", "content": "no"}]});
    workplace.write("chats.jsonl", &format!("{row}\n"));
    workplace.write("texts.jsonl", "{\"prompt\": \"once\", \"chosen\": \" upon\", \"rejected\": \" more\"}\n");
    for (file, with_template) in [("texts", false), ("chats", false), ("chats", true)] {
        if with_template {
            workplace.write("stories/chat_template.jinja", template);
        }
        let report = object(&workplace.run(&format!("data {{}}/{file}.jsonl --model {{}}/stories --json")));
        assert_eq!(report["chat_template"].as_bool(), Some(with_template));
        for example in report["examples"].as_array().unwrap() {
            let [prompt, completion] = ["prompt", "completion"].map(|key| example[key].as_str().unwrap());
            assert!(prompt.starts_with("<s>") && prompt.matches("<s>").count() == 1, "{example}");
            assert!(completion.ends_with("</s>") && completion.matches("</s>").count() == 1, "{example}");
            assert!(!prompt.contains("</s>") && !completion.contains("<s>"), "{example}");
        }
    }
}

/// Lines of a JSON-lines file whose answers are empty, and how many rows it has: counted here, not by the reader.
fn empty_answers(path: &Path) -> (usize, Vec<usize>) {
    let text = std::fs::read_to_string(path).unwrap();
    let rows: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let empty = |row: &Value| ["chosen", "rejected"].iter().any(|key| row[key].as_str().unwrap().trim().is_empty());
    (rows.len(), (1..).zip(&rows).filter(|(_, row)| empty(row)).map(|(line, _)| line).collect())
}

#[test]
fn real_files_are_accounted_for_to_the_last_row() {
    let Some(data) = shared::shared("data") else { return };
    let workplace = Workplace::new();
    let stories = workplace.path("stories");
    let paths = [("data", data.as_path()), ("stories", stories.as_path())];
    object(&slpo("convert {data}/stories260k/stories260K.bin --tokenizer {data}/stories260k/tok512.bin --out {stories} --json", &paths));
    let report = |file: &str, options: &str| object(&slpo(&format!("data {{data}}/{file} --model {{stories}} --json{options}"), &paths));
    for (file, rows) in [
        ("blimp-pairs/dev.jsonl", 1000),
        ("polite-preferences/dev.jsonl", 114),
        ("pandalm-human/preferences.jsonl", 888),
        ("hh-rlhf-harmless/train.jsonl", 1749),
        ("dpo-en-demo/dpo_en_demo.json", 300),
    ] {
        let report = report(file, "");
        let dropped: u64 = report["dropped"].as_array().unwrap().iter().map(|reason| reason["count"].as_u64().unwrap()).sum();
        assert_eq!((report["rows"].as_u64(), report["kept"].as_u64()), (Some(rows), Some(rows - dropped)), "{file}");
        let cut = report["truncated"]["count"].as_u64().unwrap();
        assert_eq!(cut > 0, report["lengths"]["row"]["max"].as_u64() > Some(512), "{file}: what is longer than the model allows is cut");
    }
    let (rows, empty) = empty_answers(&data.join("pandalm-human/preferences.jsonl"));
    let pandalm = report("pandalm-human/preferences.jsonl", "");
    assert_eq!((rows, &pandalm["dropped"]), (888, &json!([{"reason": "empty_completion", "count": empty.len(), "lines": empty}])));
    let short = report("hh-rlhf-harmless/dev.jsonl", " --max-length 8 --examples 221");
    let (kept, dropped) = (short["kept"].as_u64().unwrap(), short["dropped"].as_array().unwrap());
    assert!(dropped.iter().all(|reason| reason["reason"] == "equal_tokens"), "a completion keeps a token however short the limit is");
    assert!(kept > 200 && short["truncated"]["count"] == kept, "{kept}");
    for example in short["examples"].as_array().unwrap() {
        assert!(example["prompt"].as_str().unwrap().starts_with("<s>") && !example["completion"].as_str().unwrap().is_empty(), "{example}");
    }
}

#[test]
fn a_merge_across_the_boundary_is_counted_and_belongs_to_the_completion() {
    let Some(source) = shared::shared("data/gpt2-tokenizer") else { return };
    let workplace = Workplace::new();
    for name in ["encoder.json", "vocab.bpe"] {
        std::fs::copy(source.join(name), workplace.path("model").join(name)).unwrap();
    }
    ["tokenizer.json", "tokenizer_config.json"].iter().for_each(|name| std::fs::remove_file(workplace.path("model").join(name)).unwrap());
    let mut config = shared::json(&workplace.path("model/config.json"));
    (config["vocab_size"], config["bos_token_id"], config["eos_token_id"]) = (json!(50257), json!(null), json!(50256));
    workplace.write("model/config.json", &config.to_string());
    let rows = ["Once upon a ti", "Once upon a"].map(|prompt| json!({"prompt": prompt, "chosen": "me", "rejected": " day"}).to_string());
    workplace.write("merged.jsonl", &rows.join("\n"));
    let report = object(&workplace.run("data {}/merged.jsonl --model {}/model --json"));
    // "ti" + "me" is " time", "a" + "me" is " ame"; " day" begins a token of its own.
    assert_eq!(report["merged"], json!({"count": 2, "lines": [1, 2]}));
    let first = &report["examples"][0];
    assert_eq!((first["prompt"].as_str(), first["completion"].as_str()), (Some("Once upon a"), Some(" time<|endoftext|>")));
}

#[test]
fn bad_data_is_one_message() {
    let workplace = workplace();
    workplace.write("bad.jsonl", "{\"prompt\": \"p\", \"chosen\": \"a\", \"rejected\": \"b\"}\n{oops\n");
    let line = failure(&workplace.run("data {}/bad.jsonl --model {}/model"), 1);
    assert!(line.contains("bad.jsonl:2: not valid JSON"), "{line}");
    workplace.write("bad.parquet", "PAR1 and then nothing of the kind");
    let line = failure(&workplace.run("data {}/bad.parquet --model {}/model"), 1);
    assert!(line.contains("bad.parquet: "), "{line}");
    let line = failure(&workplace.run("data {}/rows.jsonl --model {}/model --max-length 1"), 2);
    assert!(line.contains("max-tokens"), "{line}");
}

/// On a terminal (which `script` makes) the mask is in colour, unless NO_COLOR is set.
#[test]
fn colour_is_for_terminals_that_want_it() {
    if Command::new("script").arg("--version").output().is_err() {
        println!("skipped: there is no script(1) to make a terminal with");
        return;
    }
    let workplace = workplace();
    let words = [
        binary().to_str().unwrap(),
        "data",
        &workplace.path("rows.jsonl").display().to_string(),
        "--model",
        &workplace.path("model").display().to_string(),
    ]
    .join(" ");
    let shown = |no_color: &str| {
        let output =
            Command::new("script").args(["-qec", &words, "/dev/null"]).env("NO_COLOR", no_color).env("TERM", "xterm").output().unwrap();
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    assert!(shown("").contains("\u{1b}[32m even<|eos|>\u{1b}[0m"), "{}", shown(""));
    assert!(!shown("1").contains('\u{1b}') && shown("1").contains("⟦ even"), "{}", shown("1"));
    let _: Value = object(&workplace.run("data {}/rows.jsonl --model {}/model --json"));
}
