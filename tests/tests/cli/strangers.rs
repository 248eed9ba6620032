//! Tokenizers of strangers on the real binary: what makes much of little is refused in one line, in little memory.
#![cfg(target_os = "linux")]

use crate::command::{Workplace, binary};
use serde_json::{Value, json};
use std::process::Command;

/// A model's folder whose tokenizer has one part of its own.
fn with(workplace: &Workplace, part: &str, value: &Value) {
    let characters = (0..128_u8).map(|byte| (char::from(byte).to_string(), json!(byte)));
    let vocab: serde_json::Map<String, Value> = characters.collect();
    let mut tokenizer = json!({
        "version": "1.0", "truncation": null, "padding": null, "added_tokens": [], "normalizer": null, "pre_tokenizer": null,
        "post_processor": null, "decoder": null, "model": {"type": "BPE", "unk_token": null, "vocab": vocab, "merges": []},
    });
    match part.strip_prefix("model.") {
        Some(key) => tokenizer["model"][key] = value.clone(),
        None => tokenizer[part] = value.clone(),
    }
    workplace.write("model/tokenizer.json", &tokenizer.to_string());
}

/// Scores a text in 2 GB of address space; the exit code and standard error.
fn score(workplace: &Workplace) -> (Option<i32>, String) {
    let script = format!("ulimit -v 2000000; exec {} score --model {} --text 'a a'", binary().display(), workplace.path("model").display());
    let output = Command::new("timeout").args(["60", "sh", "-c", &script]).output().unwrap();
    (output.status.code(), String::from_utf8(output.stderr).unwrap())
}

#[test]
fn a_tokenizer_that_makes_much_of_little_is_refused_in_one_line() {
    let workplace = Workplace::new();
    with(&workplace, "normalizer", &Value::Null);
    assert_eq!(score(&workplace), (Some(0), String::new()));
    let replace = |content: String| json!({"type": "Replace", "pattern": {"String": "a"}, "content": content});
    let split = |regex: &str| json!({"type": "Split", "pattern": {"Regex": regex}, "behavior": "Isolated", "invert": false});
    let added =
        json!([{"id": 1, "content": "a", "single_word": false, "lstrip": false, "rstrip": false, "normalized": true, "special": false}]);
    let deep = (0..100).fold(json!({"type": "NFC"}), |inner, _| json!({"type": "Sequence", "normalizers": [inner]}));
    let cases = [
        ("normalizer", json!({"type": "Sequence", "normalizers": vec![replace("a".repeat(10)); 9]})),
        ("normalizer", deep),
        ("normalizer", json!({"type": "Precompiled", "precompiled_charsmap": "//////8="})),
        ("decoder", json!({"type": "Sequence", "decoders": vec![replace("a".repeat(10)); 9]})),
        ("pre_tokenizer", split("(a{1000}){1000}")),
        ("pre_tokenizer", split("((?=a)a{1000}){1000}")),
        ("pre_tokenizer", json!({"type": "FixedLength", "length": 0})),
        ("model.vocab", json!({"a": 0, " ": u32::MAX})),
        ("model.merges", json!([["a", "zz"]])),
        ("model.unk_token", json!("x".repeat(100_000))),
    ];
    for (part, value) in cases {
        with(&workplace, part, &value);
        let (code, said) = score(&workplace);
        let shown: String = said.chars().take(300).collect();
        assert!(code == Some(1) && said.contains("tokenizer") && !said.contains("out of memory"), "{part}: {code:?} {shown}");
        assert_eq!(said.lines().count(), 1, "{part}: {shown}");
    }
    // What the library normalizes as it reads: an added token, through a normalizer that is fine for most texts.
    with(&workplace, "normalizer", &json!({"type": "Sequence", "normalizers": vec![replace("a".repeat(10)); 9]}));
    let mut tokenizer: Value = serde_json::from_str(&std::fs::read_to_string(workplace.path("model/tokenizer.json")).unwrap()).unwrap();
    tokenizer["added_tokens"] = added;
    workplace.write("model/tokenizer.json", &tokenizer.to_string());
    let (code, said) = score(&workplace);
    assert!(code == Some(1) && said.contains("of its normalizer (Replace) can make"), "{said}");
}

#[test]
fn regular_expressions_that_backtrack_end() {
    let workplace = Workplace::new();
    // Without a look-around there is no backtracking; with one, the library's own limit ends it.
    for regex in ["(a+)+$", "(?=(a+)+b)c|(a|a)*(?!a)x"] {
        with(&workplace, "pre_tokenizer", &json!({"type": "Split", "pattern": {"Regex": regex}, "behavior": "Isolated", "invert": false}));
        let script = format!("exec {} score --model {} --text {}", binary().display(), workplace.path("model").display(), "a".repeat(2000));
        let output = Command::new("timeout").args(["120", "sh", "-c", &script]).output().unwrap();
        assert!(matches!(output.status.code(), Some(0 | 1)), "{regex}: {}", String::from_utf8_lossy(&output.stderr));
    }
}
