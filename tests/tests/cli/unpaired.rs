//! Labelled rows through the binary: training, going on where a run stopped, pairs as rows, what `slpo data` and `slpo verify` say of them,
//! and what is refused.

use crate::command::{Workplace, failure, object, text};
use crate::verify::write;
use serde_json::{Value, json};
use std::path::Path;

const LOSSES: [&str; 3] = ["kto", "apo-zero-unpaired", "bco-unpaired"];

/// The workplace with `labelled.jsonl`: 8 desirable and 4 undesirable rows, texts and chats.
fn workplace() -> Workplace {
    let workplace = Workplace::new();
    let row = |i: usize| match i % 3 {
        0 => json!({"prompt": format!("{i} is"), "completion": " no number!", "label": false}),
        1 => json!({"prompt": format!("{i} is"), "completion": " a number.", "label": true}),
        _ => {
            json!({"prompt": [{"role": "user", "content": format!("{i}?")}], "completion": [{"role": "assistant", "content": "yes"}], "label": 1})
        }
    };
    workplace.write("labelled.jsonl", &(0..12).map(|i| format!("{}\n", row(i))).collect::<String>());
    workplace
}

fn bytes(path: &Path) -> Vec<u8> {
    std::fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The values of one metric over the steps.
fn series(folder: &Path, name: &str) -> Vec<f64> {
    let text = String::from_utf8(bytes(&folder.join("metrics.jsonl"))).unwrap();
    let records = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    records.filter_map(|record| record.get(name).and_then(Value::as_f64)).collect()
}

fn align(loss: &str, data: &str, rest: &str) -> String {
    format!("align --model {{}}/model --data {{}}/{data} --loss {loss} --learning-rate 1e-3 --warmup 0 {rest}")
}

#[test]
fn a_run_learns_logs_and_goes_on_to_the_same_bits() {
    let workplace = workplace();
    for (loss, start) in LOSSES.into_iter().zip([0.5, 0.5, std::f64::consts::LN_2]) {
        let settings = "--eval-data {}/labelled.jsonl --eval-every 2 --checkpoint-every 2 --batch 4 --accumulate 2 --steps 3 --dropout 0.1";
        let train = |out: &str, rest: &str| workplace.run(&align(loss, "labelled.jsonl", &format!("{settings} --out {{}}/{out}{rest}")));
        let (whole, stopped) = (format!("{loss}-whole"), format!("{loss}-stopped"));
        let output = train(&whole, "");
        text(&output);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(!said.contains("before the first step") && !said.contains("every row is"), "{loss}: {said}");
        // The same run as it was when it had been stopped after step 2.
        text(&train(&stopped, ""));
        std::fs::remove_dir_all(workplace.path(&stopped).join("checkpoints/step-3")).unwrap();
        std::fs::remove_file(workplace.path(&stopped).join("model.safetensors")).unwrap();
        text(&train(&stopped, " --resume"));
        for file in ["model.safetensors", "metrics.jsonl", "checkpoints/step-3/optimizer.safetensors", "checkpoints/step-3/state.json"] {
            assert!(bytes(&workplace.path(&whole).join(file)) == bytes(&workplace.path(&stopped).join(file)), "{loss}: {file} differs");
        }
        let run = workplace.path(&whole);
        let losses = series(&run, "loss");
        assert!(losses.len() == 3 && (losses[0] - start).abs() < 0.02, "{loss}: {losses:?}");
        for (name, count) in [
            ("desirable_log_ratio", 3),
            ("undesirable_log_ratio", 3),
            ("accuracy", 3),
            ("mismatched_kl", if loss == "kto" { 3 } else { 0 }),
            ("held_out_desirable_log_ratio", 3),
            ("held_out_undesirable_log_ratio", 3),
            ("held_out_accuracy", 3),
        ] {
            let found = series(&run, name);
            assert!(found.len() == count && found.iter().all(|x| x.is_finite()), "{loss}: {name} is {found:?}");
        }
        let gain = |name: &str| *series(&run, name).last().unwrap();
        assert!(gain("held_out_desirable_log_ratio") > gain("held_out_undesirable_log_ratio"), "{loss} tells them apart");
        let report = String::from_utf8(bytes(&run.join("report.html"))).unwrap();
        assert!(report.contains("Log-ratios of the completions") && report.contains(&format!("Alignment with {loss}")));
        assert!(!run.join("reference-log-probs.json").exists(), "the reference is run at every step");
    }
}

#[test]
fn a_pair_is_two_rows() {
    let workplace = workplace();
    let pairs = String::from_utf8(bytes(&workplace.path("preferences.jsonl"))).unwrap();
    let rows = pairs.lines().flat_map(|line| {
        let pair: Value = serde_json::from_str(line).unwrap();
        let row =
            |completion: &str, label: bool| json!({"prompt": pair["prompt"], "completion": pair[completion], "label": label}).to_string();
        [row("chosen", true) + "\n", row("rejected", false) + "\n"]
    });
    workplace.write("rows.jsonl", &rows.collect::<String>());
    for data in ["preferences", "rows"] {
        text(&workplace.run(&align("kto", &format!("{data}.jsonl"), &format!("--batch 4 --steps 3 --out {{}}/of-{data}"))));
    }
    for file in ["model.safetensors", "metrics.jsonl"] {
        assert!(bytes(&workplace.path("of-preferences").join(file)) == bytes(&workplace.path("of-rows").join(file)), "{file} differs");
    }
    let epoch = object(&workplace.run(&align("kto", "preferences.jsonl", "--batch 4 --out {}/epoch --json")));
    assert_eq!(epoch["steps"], 10, "20 pairs are 40 rows");
}

#[test]
fn micro_batches_change_a_step_by_rounding_only() {
    let workplace = workplace();
    for loss in LOSSES {
        let losses = [("whole", "--batch 6"), ("parts", "--batch 2 --accumulate 3")].map(|(name, split)| {
            let out = format!("{loss}-{name}");
            text(&workplace.run(&align(loss, "labelled.jsonl", &format!("{split} --steps 3 --out {{}}/{out}"))));
            series(&workplace.path(&out), "loss")
        });
        assert_eq!(losses[0].len(), 3);
        assert!(losses[0].iter().zip(&losses[1]).all(|(whole, parts)| (whole - parts).abs() < 1e-5), "{loss}: {losses:?}");
    }
}

#[test]
fn data_tells_the_balance_of_the_labels() {
    let workplace = workplace();
    let report = object(&workplace.run("data {}/labelled.jsonl --model {}/model --json"));
    assert_eq!((report["form"].as_str(), report["kept"].as_u64()), (Some("unpaired"), Some(12)));
    assert_eq!(report["labels"], json!({"desirable": 8, "undesirable": 4}));
    assert_eq!(
        (report["examples"][0]["sequence"].as_str(), report["examples"][1]["sequence"].as_str()),
        (Some("undesirable"), Some("desirable"))
    );
    let shown = text(&workplace.run("data {}/labelled.jsonl --model {}/model"));
    for part in ["labelled rows, 12 rows, 12 kept", "8  desirable rows (67 %)", "4  undesirable rows (33 %)"] {
        assert!(shown.contains(part), "{part:?} is not in {shown}");
    }
    let pairs = object(&workplace.run("data {}/preferences.jsonl --model {}/model --json"));
    assert_eq!(pairs.get("labels"), None);
}

#[test]
fn what_does_not_fit_is_one_line() {
    let workplace = workplace();
    let run = |loss: &str, data: &str, rest: &str| workplace.run(&align(loss, data, &format!("--steps 1 --out {{}}/out{rest}")));
    let line = failure(&run("dpo", "labelled.jsonl", ""), 1);
    let takers = "these are labelled rows, which `slpo align` learns from with the losses kto, apo-zero-unpaired and bco-unpaired";
    assert!(line.contains("labelled.jsonl:1: ") && line.contains(takers), "{line}");
    let line = failure(&run("kto", "completions.jsonl", ""), 1);
    assert!(line.contains("completions.jsonl:1: a row needs \"prompt\", \"completion\" and \"label\""), "{line}");
    for (loss, rest, words) in [
        ("kto", " --batch 1", "kto joins each row's prompt to the next row's completion: give --batch 2 or more"),
        ("kto", " --delta 0.1", "kto does not use --delta"),
        ("bco-unpaired", " --desirable-weight 2", "bco-unpaired does not use --desirable-weight; kto does"),
        ("apo-zero-unpaired", " --label-smoothing 0.2", "apo-zero-unpaired does not use --label-smoothing"),
        ("kto", " --nll 0.5", "kto does not use --nll"),
        ("kto", " --undesirable-weight -1", "undesirable-weight is -1, but must be at least 0"),
        ("kto", " --reference-cache {}/cache.json", "kto does not use --reference-cache: the reference is run at every step"),
        ("dpo,kto", "", "kto cannot be added to a loss of pairs"),
    ] {
        let line = failure(&run(loss, "labelled.jsonl", rest), 2);
        assert!(line.contains(words), "{loss}{rest}: {line}");
    }
    text(&run("kto", "labelled.jsonl", " --reference-cache off"));
    workplace.write("one-sided.jsonl", &"{\"prompt\": \"p\", \"completion\": \" c\", \"label\": true}\n".repeat(4));
    let output = workplace.run(&align("bco-unpaired", "one-sided.jsonl", "--steps 1 --out {}/one-sided"));
    text(&output);
    assert!(String::from_utf8_lossy(&output.stderr).contains("every row is desirable"), "{output:?}");
}

/// KTO of three rows with z = `kl`, its weights λ and its gradient times `factor`.
fn dump(weights: [f64; 2], factor: f64) -> Vec<(&'static str, Vec<f64>)> {
    let (policy, reference, labels, kl, beta) = ([-11.0, -7.0, -6.0], [-12.0, -7.5, -4.5], [1.0, 0.0, 1.0], 0.3, 0.1);
    let x = |i: usize| beta * (policy[i] - reference[i] - kl);
    let sigmoid = |x: f64| 1.0 / (1.0 + (-x).exp());
    let (sign, weight) = (|i: usize| 1.0 - 2.0 * labels[i], |i: usize| if labels[i] == 1.0 { weights[0] } else { weights[1] });
    let loss = (0..3).map(|i| weight(i) * sigmoid(sign(i) * x(i))).sum::<f64>() / 3.0;
    let slope = |i: usize| factor * sign(i) * weight(i) * beta * sigmoid(x(i)) * sigmoid(-x(i)) / 3.0;
    vec![
        ("policy_logps", policy.to_vec()),
        ("reference_logps", reference.to_vec()),
        ("label", labels.to_vec()),
        ("kl", vec![kl]),
        ("loss", vec![loss]),
        ("grad_policy_logps", (0..3).map(slope).collect()),
    ]
}

#[test]
fn verify_passes_a_right_dump_and_names_what_is_wrong() {
    let workplace = workplace();
    let file = workplace.path("dump.safetensors");
    let verify = |rest: &str| workplace.run(&format!("verify {{}}/dump.safetensors --loss kto{rest}"));
    write(&file, &dump([1.5, 1.0], 1.0));
    let report = object(&verify(" --desirable-weight 1.5 --json"));
    assert_eq!((&report["passed"], report["gradients"][0]["name"].as_str()), (&json!(true), Some("grad_policy_logps")));
    assert!(failure_of(&verify("")).contains("this is not kto"));
    for (contents, words) in [
        (dump([1.0, 1.5], 1.0), "the weights of desirable and undesirable rows are swapped"),
        (dump([1.5, 1.0], -1.0), "the gradient has the wrong sign"),
        (dump([1.5, 1.0], 10.0), "the factor β is missing in the gradient"),
    ] {
        write(&file, &contents);
        let line = failure_of(&verify(" --desirable-weight 1.5"));
        assert!(line.contains(words), "{line}");
    }
    write(&file, &dump([1.0, 1.0], 1.0)[..3]);
    assert!(failure(&verify(""), 1).contains("tensor `kl` is missing"));
    let help = text(&workplace.run("verify --help"));
    for name in ["policy_logps, reference_logps, label [N]", "kl []", "grad_policy_logps [N]"] {
        assert!(help.split_whitespace().collect::<Vec<_>>().join(" ").contains(name), "{name} is not in {help}");
    }
}

/// The last line on standard error of a check that failed.
#[track_caller]
fn failure_of(output: &std::process::Output) -> String {
    assert_eq!(output.status.code(), Some(1));
    String::from_utf8_lossy(&output.stderr).into_owned()
}
