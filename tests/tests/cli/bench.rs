//! `slpo bench` through the binary: what its figures count, in the presets' shapes and others. How fast a machine is, is not tested.

use crate::command::{failure, object, slpo, text};
use serde_json::Value;

fn step(arguments: &str) -> Value {
    object(&slpo(&format!("bench step --preset nano --steps 1 --rows 2 --tokens 16 --json {arguments}"), &[]))
}

fn number(result: &Value, key: &str) -> f64 {
    result[key].as_f64().unwrap_or_else(|| panic!("{key} in {result}"))
}

#[test]
fn a_step_says_what_it_measured() {
    let result = step("--task dpo");
    assert_eq!((&result["preset"], &result["task"], &result["device"]), (&"nano".into(), &"dpo".into(), &"cpu".into()));
    // Llama with tied embeddings: 512·64, and in each of 4 layers 4·64² + 3·64·192 + 2·64, and the last norm's 64.
    assert_eq!(number(&result, "params"), (512 * 64 + 4 * (4 * 64 * 64 + 3 * 64 * 192 + 2 * 64) + 64) as f64);
    assert!(number(&result, "ms") >= number(&result, "fastest_ms") && number(&result, "fastest_ms") > 0.0);
    let tokens = number(&result, "tok_s") * number(&result, "ms") / 1e3;
    assert!((tokens - 64.0).abs() < 1e-6, "2 pairs of 2 · 16 tokens, not {tokens}");
    let line = text(&slpo("bench step --preset nano --steps 1 --rows 1 --tokens 4", &[]));
    assert!(line.starts_with("nano ") && line.contains("ms a step") && line.contains("peak memory"), "{line}");
}

#[test]
fn width_and_vocabulary_change_the_shape_and_keep_its_proportions() {
    let result = step("--width 128 --vocabulary 1000");
    assert_eq!(number(&result, "params"), (1000 * 128 + 4 * (4 * 128 * 128 + 3 * 128 * 384 + 2 * 128) + 128) as f64);
    let message = failure(&slpo("bench step --preset nano --width 40", &[]), 2);
    assert!(message.contains("--width 40") && message.contains("16"), "{message}");
}

/// Operations: gflop_s·ms is what a step counts.
#[test]
fn a_prompt_that_both_completions_share_is_counted_once() {
    let operations = |result: &Value| number(result, "gflop_s") * number(result, "ms") * 1e6;
    let (apart, shared) = (step("--task dpo"), step("--task dpo --prompt 8"));
    let tokens = |result: &Value| (number(result, "tok_s") * number(result, "ms") / 1e3).round();
    assert_eq!(tokens(&shared), tokens(&apart), "the tokens of the pairs are the same");
    // Of 2 · 16 tokens in each of 2 pairs 8 are gone; of the keys that queries see, those that the 8 saw: 8·8/2.
    let (weights, layers, width) = (512 * 64 + 4 * (4 * 64 * 64 + 3 * 64 * 192), 4, 64);
    let expected = 2.0 * 4.0 * (2 * 8 * weights + 2 * 2 * (8 * 8 / 2) * layers * width) as f64;
    let saved = operations(&apart) - operations(&shared);
    assert!((saved / expected - 1.0).abs() < 1e-9, "{saved} and {expected}");
    for wrong in ["--prompt 8", "--task dpo --prompt 17"] {
        let message = failure(&slpo(&format!("bench step --preset nano --rows 2 --tokens 16 {wrong}"), &[]), 2);
        assert!(message.contains("--prompt"), "{message}");
    }
}

#[test]
fn the_profile_goes_to_standard_error_by_op() {
    let output = slpo("bench step --preset nano --steps 1 --rows 1 --tokens 8 --profile --json", &[]);
    let table = String::from_utf8(output.stderr.clone()).unwrap();
    for op in ["linear", "attention", "linear_cross_entropy", "optimizer"] {
        assert!(table.contains(op), "{op} in {table}");
    }
    object(&output);
}

#[test]
fn the_peak_is_a_loop_a_product_and_reading() {
    let result = object(&slpo("bench peak --extent 64 --json", &[]));
    assert!(number(&result, "fma_gflop_s") > 0.0 && number(&result, "gemm_gflop_s") > 0.0 && number(&result, "read_gb_s") > 0.0);
}

#[test]
fn generating_says_what_it_measured() {
    let result = object(&slpo("bench generate --preset nano --prompts 3 --prompt 2 --tokens 5 --rounds 1 --json", &[]));
    // nano's embedding is its head: a step reads every parameter.
    let bytes = 4.0 * (512 * 64 + 4 * (4 * 64 * 64 + 3 * 64 * 192 + 2 * 64) + 64) as f64;
    assert_eq!(number(&result, "weight_bytes"), bytes);
    let steps = number(&result, "tok_s") / 3.0;
    assert!((number(&result, "gb_s") * 1e9 / (bytes * steps) - 1.0).abs() < 1e-9, "{result}");
    assert!(number(&result, "first_token_ms") > 0.0 && number(&result, "peak_mib") > 0.0);
    let line = text(&slpo("bench generate --preset nano --tokens 2 --rounds 1", &[]));
    assert!(line.starts_with("nano ") && line.contains("GB/s of weights") && line.contains("first token after"), "{line}");
}
