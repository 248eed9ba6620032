//! Every column and key of a row is used, known not to matter, or named. Each form of row gets something unknown in each place.

use super::*;
use serde_json::{Value, json};

/// Returns a row of each form, and whether it is a pair.
fn forms() -> Vec<(Value, bool)> {
    let user = json!({"role": "user", "content": "hi"});
    let own = |text: &str| json!({"role": "assistant", "content": text});
    vec![
        (json!({"prompt": "hi", "chosen": "yes", "rejected": "no"}), true),
        (json!({"prompt": [user], "chosen": [own("yes")], "rejected": [own("no")]}), true),
        (json!({"chosen": [user, own("yes")], "rejected": [user, own("no")]}), true),
        (json!({"chosen": "x\n\nAssistant: yes", "rejected": "x\n\nAssistant: no"}), true),
        (json!({"instruction": "do", "chosen": "yes", "rejected": "no"}), true),
        (json!({"question": "hi", "chosen": "yes", "rejected": "no"}), true),
        (json!({"conversations": [user], "chosen": own("yes"), "rejected": own("no")}), true),
        (json!({"prompt": "hi", "completion": "yes"}), false),
        (json!({"prompt": [user], "completion": [own("yes")]}), false),
        (json!({"messages": [user, own("yes")]}), false),
        (json!({"conversations": [{"from": "human", "value": "hi"}, {"from": "gpt", "value": "yes"}]}), false),
        (json!({"instruction": "do", "output": "yes"}), false),
        (json!({"text": "yes"}), false),
    ]
}

fn read(row: &Value, is_pair: bool) -> Result<DataReport> {
    let text = row.to_string();
    if is_pair { pairs(&text).map(|read| read.1) } else { rows(&text).map(|read| read.1) }
}

fn with(row: &Value, key: &str, value: Value) -> Value {
    let mut row = row.clone();
    row[key] = value;
    row
}

#[test]
fn an_unknown_column_is_named_once_with_its_line_in_every_form() {
    for (row, is_pair) in forms() {
        let plain = read(&row, is_pair).unwrap().remarks;
        let report = read(&with(&row, "zzz", json!("something")), is_pair).unwrap();
        let named: Vec<_> = report.remarks.iter().filter(|remark| remark.contains("column \"zzz\" is not used (line 1)")).collect();
        assert_eq!((named.len(), report.remarks.len()), (1, plain.len() + 1), "{row}: {:?}", report.remarks);
    }
}

#[test]
fn columns_that_say_nothing_and_columns_that_do_not_matter_are_passed_over() {
    for (row, is_pair) in forms() {
        let plain = read(&row, is_pair).unwrap().remarks;
        for (key, value) in [
            ("id", json!(7)),
            ("source", json!("web")),
            ("zzz", json!(null)),
            ("system", json!("")),
            ("tools", json!([])),
            ("weight", json!(1)),
        ] {
            assert_eq!(read(&with(&row, key, value), is_pair).unwrap().remarks, plain, "{row}: {key}");
        }
    }
}

/// A column that usually holds part of the prompt is used or refused by its name. Beside a text that is learned whole, it is named.
#[test]
fn no_part_of_a_prompt_is_left_out_silently() {
    let parts = [
        ("system", json!("Answer in rhyme.")),
        ("history", json!([["before", "then"]])),
        ("question", json!("Why?")),
        ("input", json!("Given.")),
        ("context", json!("A passage.")),
    ];
    for (row, is_pair) in forms() {
        for (key, value) in &parts {
            if row.get(*key).is_some() {
                continue;
            }
            match read(&with(&row, key, value.clone()), is_pair) {
                Err(error) => assert!(error.to_string().contains(key), "{row}: {error}"),
                Ok(report) if row.get("text").is_some() => assert!(report.remarks.iter().any(|remark| remark.contains(key)), "{row} {key}"),
                Ok(_) => {
                    let text = with(&row, key, value.clone()).to_string();
                    let used = if is_pair { pairs(&text).unwrap().0[0].prompt.clone() } else { rows(&text).unwrap().0[0].prompt.clone() };
                    let word = value.as_str().unwrap_or("before");
                    assert!(used.contains(word), "{row}: {key} is neither used nor refused: {used:?}");
                }
            }
        }
    }
}

#[test]
fn a_text_that_the_prompt_holds_already_is_no_second_one() {
    let (rows, report) = pairs(r#"{"prompt":"Q: Why? A:","question":"Why?","chosen":"a","rejected":"b"}"#).unwrap();
    assert_eq!((rows[0].prompt.as_str(), report.remarks.len()), ("Q: Why? A:", 0));
}

#[test]
fn a_key_of_a_message_is_named_where_nothing_reads_it() {
    let report =
        rows(r#"{"messages":[{"role":"user","content":"hi","mood":"good"},{"role":"assistant","content":"yes","id":3}]}"#).unwrap().1;
    assert!(report.remarks.len() == 1 && report.remarks[0].contains("key \"mood\" of messages"), "{:?}", report.remarks);
    let refused = |text: &str| rows(text).unwrap_err().to_string();
    let calls =
        r#"{"messages":[{"role":"user","content":"hi"},{"role":"assistant","content":"","tool_calls":[{"function":{"name":"f"}}]}]}"#;
    assert!(refused(calls).contains("has \"tool_calls\""), "{}", refused(calls));
    let tools = r#"{"tools":[{"name":"f"}],"messages":[{"role":"user","content":"hi"},{"role":"assistant","content":"yes"}]}"#;
    assert!(refused(tools).contains("\"tools\""), "{}", refused(tools));
}

#[test]
fn rows_of_another_command_are_sent_there() {
    let message = rows(r#"{"prompt":"p","chosen":"a","rejected":"b"}"#).unwrap_err().to_string();
    assert!(message.contains("these are preferences, which `slpo align` learns from"), "{message}");
    let message = pairs(r#"{"prompt":"p","completion":"a"}"#).unwrap_err().to_string();
    assert!(message.contains("these are completions, which `slpo sft` learns from"), "{message}");
}
