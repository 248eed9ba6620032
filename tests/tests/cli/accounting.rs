//! Accounting on the real binary: what a step logs and does is the same however its rows are split into micro-batches.

use crate::command::{Workplace, text};
use serde_json::Value;

/// Sums of f32 log-probabilities in another order, relative to the size of what is summed.
const REORDERED: f64 = 1e-5;

/// A run's records, each with all that it holds.
fn records(workplace: &Workplace, out: &str) -> Vec<Value> {
    let lines = std::fs::read_to_string(workplace.path(out).join("metrics.jsonl")).unwrap();
    lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[track_caller]
fn assert_close(records: &[Value], others: &[Value], what: &str) {
    assert_eq!(records.len(), others.len());
    for (record, other) in records.iter().zip(others) {
        let (record, other) = (record.as_object().unwrap(), other.as_object().unwrap());
        assert_eq!(record.keys().collect::<Vec<_>>(), other.keys().collect::<Vec<_>>());
        for (name, value) in record {
            // How many weights a step changes is a count of roundings, not a sum.
            let tolerance = if name == "weights_changed" { 1e-2 } else { REORDERED };
            let (value, other) = (value.as_f64().unwrap(), other[name].as_f64().unwrap());
            assert!((value - other).abs() <= tolerance * other.abs().max(10.0), "{what}: {name} is {value} and {other}");
        }
    }
}

#[test]
fn metrics_do_not_change_with_the_split_into_micro_batches() {
    let workplace = Workplace::new();
    workplace.write_uneven_rows();
    let kinds = [
        ("train", "train --data {}/text.txt --batch-tokens 16 --batch-rows"),
        ("sft", "sft --model {}/model --data {}/rows.jsonl --eval-data {}/rows.jsonl --batch"),
        ("dpo", "align --model {}/model --data {}/pairs.jsonl --eval-data {}/pairs.jsonl --loss dpo --batch"),
        ("slpo-gkl", "align --model {}/model --data {}/pairs.jsonl --loss slpo-gkl --batch"),
    ];
    for (name, command) in kinds {
        for (rows, accumulate) in [(6, 1), (3, 2), (2, 3), (1, 6)] {
            let out = format!("{name}-{rows}");
            text(&workplace.run(&format!("{command} {rows} --accumulate {accumulate} --steps 2 --learning-rate 1e-4 --out {{}}/{out}")));
            assert_close(&records(&workplace, &out), &records(&workplace, &format!("{name}-6")), &out);
        }
    }
}
