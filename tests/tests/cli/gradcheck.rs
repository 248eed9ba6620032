//! `slpo gradcheck` on the real binary: what it checks, what it says of each check, and the page it writes.

use crate::command::{failure, object, slpo, text};
use losses::Loss;
use serde_json::Value;
use std::collections::BTreeSet;
use std::path::Path;
use std::time::Instant;

fn checks(arguments: &str) -> Vec<Value> {
    let result = object(&slpo(&format!("gradcheck {arguments} --json"), &[]));
    assert_eq!(result["passed"], true, "{result}");
    result["checks"].as_array().unwrap().clone()
}

fn names(checks: &[Value]) -> BTreeSet<&str> {
    checks.iter().map(|check| check["name"].as_str().unwrap()).collect()
}

fn methods(checks: &[Value], name: &str) -> BTreeSet<String> {
    let own = checks.iter().filter(|check| check["name"] == name);
    own.map(|check| check["method"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn every_op_loss_block_and_decoder_with_losses_is_checked_by_every_method_in_seconds() {
    let start = Instant::now();
    let checks = checks("--quick");
    let seconds = start.elapsed().as_secs_f64();
    let names = names(&checks);
    for (decoder, losses) in [("decoder-llama", Loss::ALL.to_vec()), ("decoder-gpt2", Loss::one_of_each_input())] {
        assert!(names.contains(decoder));
        for loss in losses.into_iter().map(Loss::name).chain(["cross-entropy"]) {
            let name = format!("{decoder}-{loss}");
            assert_eq!(methods(&checks, &name).len(), 7, "{name}");
        }
    }
    for name in ["softmax", "attention", "slpo-exact", "block-llama", "block-gpt2", "decoder-qwen3", "decoder-gptneox"] {
        assert!(names.contains(name), "{name}");
    }
    for name in &names {
        let methods = methods(&checks, name);
        assert!(methods.len() == 7 || (methods.len() == 6 && !methods.contains("twin")), "{name}: {methods:?}");
    }
    // 10 s are promised for a release build on two free cores; here they are shared, and the build is a test's.
    assert!(seconds < 60.0, "--quick took {seconds} s");
}

#[test]
fn a_check_says_its_error_its_tolerance_with_the_reason_its_time_and_its_worst_element() {
    for check in checks("softmax matmul --seed 3") {
        let number = |value: &Value| value.as_f64().unwrap_or_else(|| panic!("{value} in {check}"));
        assert!(number(&check["max_rel_error"]) <= number(&check["tolerance"]) && number(&check["max_abs_error"]) >= 0.0);
        assert!(number(&check["tolerance"]) < 1e-4 && number(&check["seconds"]) > 0.0 && check["passed"] == true);
        assert!(check["tolerance_reason"].as_str().unwrap().contains('Σ'), "{check}");
        let worst = &check["worst"];
        assert!((3..15).contains(&worst["seed"].as_u64().unwrap()), "one of 12 seeds from 3 on: {check}");
        let difference = (number(&worst["expected"]) - number(&worst["got"])).abs();
        assert!(difference <= number(&check["max_abs_error"]), "{check}");
        let index: Vec<u64> = worst["index"].as_array().unwrap().iter().map(|i| i.as_u64().unwrap()).collect();
        if let (Some(input), false) = (worst["input"].as_u64(), index.is_empty()) {
            let shape = worst["shapes"][input as usize].as_array().unwrap();
            assert!(index.len() == shape.len() && index.iter().zip(shape).all(|(i, n)| *i < n.as_u64().unwrap()), "{check}");
            number(&worst["input_value"]);
        }
    }
}

#[test]
fn the_seed_of_the_worst_element_with_one_sample_shows_it_again() {
    let all = checks("layer_norm");
    let check = all.iter().find(|check| check["method"] == "forward_mode").unwrap();
    let again = checks(&format!("layer_norm --samples 1 --seed {}", check["worst"]["seed"]));
    let again = again.iter().find(|check| check["method"] == "forward_mode").unwrap();
    assert_eq!((&again["worst"], &again["max_rel_error"]), (&check["worst"], &check["max_rel_error"]));
}

#[test]
fn results_do_not_depend_on_the_threads() {
    let with = |threads: u32| -> Vec<Value> {
        let without_time = |mut check: Value| {
            check.as_object_mut().unwrap().remove("seconds");
            check
        };
        checks(&format!("losses --quick --threads {threads}")).into_iter().map(without_time).collect()
    };
    assert_eq!(with(1), with(3));
}

#[test]
fn names_may_be_families_parts_and_patterns() {
    let of = |arguments: &str| checks(&format!("{arguments} --samples 1"));
    assert_eq!(names(&of("block")), ["block-gpt2", "block-gptneox", "block-llama", "block-qwen3"].into());
    assert_eq!(names(&of("decoder-*2-dpo dpo")), ["decoder-gpt2-dpo", "dpo"].into());
    assert!(names(&of("losses")).contains("slpo-gkl"));
}

#[test]
fn a_name_that_nothing_has_is_bad_usage_in_one_line() {
    let message = failure(&slpo("gradcheck add sofmax --json", &[]), 2);
    assert!(message.contains("nothing to check is called \"sofmax\"") && message.contains("softmax, log_softmax"), "{message}");
    assert!(failure(&slpo("gradcheck add --samples 0", &[]), 2).contains("--samples"));
    assert!(failure(&slpo("gradcheck add --samples 3 --quick", &[]), 2).contains("--quick"));
}

#[test]
fn a_person_sees_a_line_for_each_function_and_the_count() {
    let shown = text(&slpo("gradcheck softmax dpo --quick", &[]));
    let lines: Vec<&str> = shown.lines().collect();
    assert!(lines.len() == 4 && lines[1].starts_with("softmax ") && lines[2].starts_with("dpo "), "{shown}");
    assert_eq!(lines[3], "14 of 14 checks passed");
}

#[test]
fn the_page_has_every_check_as_a_bar_and_the_elements_as_heat_maps_and_needs_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let page = folder.path().join("gradients.html");
    let result = object(&slpo("gradcheck softmax embedding decoder-llama-dpo --quick --json --html {page}", &[("page", &page)]));
    assert_eq!(result["html"].as_str(), page.to_str());
    let html = std::fs::read_to_string(&page).unwrap();
    let checks = result["checks"].as_array().unwrap().len();
    assert_eq!(html.matches("class=\"track\"").count(), checks);
    for name in ["softmax", "embedding", "decoder-llama-dpo"] {
        assert!(html.contains(&format!("href=\"#elements-{name}\"")) && html.contains(&format!("id=\"elements-{name}\"")), "{name}");
    }
    assert!(html.contains("gradient of input 0 [") && html.contains("Hessian-vector product of input 0 ["));
    assert!(html.matches("<rect").count() > 500 && html.contains("expected "), "cells with their numbers");
    for outside in ["http://", "https://", "src=", "@import", "<script"] {
        assert!(!html.contains(outside), "the page asks for {outside}");
    }
}

#[test]
fn a_page_that_cannot_be_written_is_said_with_its_path() {
    let here = Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml/page.html");
    let output = slpo("gradcheck add --samples 1 --json --html {page}", &[("page", &here)]);
    assert!(failure(&output, 1).contains("Cargo.toml/page.html"));
}
