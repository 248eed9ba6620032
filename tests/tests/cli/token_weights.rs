//! Losses that weight tokens, through the binary: runs that stop go on to the same bits, and dumps are explained.

use crate::command::{Workplace, failure, slpo, text};
use serde_json::{Value, json};
use std::path::Path;

#[test]
fn a_stopped_run_of_a_loss_that_weights_tokens_goes_on_to_the_same_bits() {
    let workplace = Workplace::new();
    for (name, loss) in [
        ("both", "ld-dpo"),
        ("policy", "ld-dpo --tail-of policy --tail-weight 0.25"),
        ("wpo", "wpo"),
        ("tdpo1", "tdpo1"),
        ("tdpo2", "tdpo2 --divergence-weight 0.25"),
    ] {
        let align = format!(
            "align --model {{}}/model --data {{}}/preferences.jsonl --loss {loss} --steps 3 --batch 2 --dropout 0.1 --checkpoint-every 2"
        );
        for out in ["whole", "stopped"] {
            text(&workplace.run(&format!("{align} --out {{}}/{name}-{out}")));
        }
        std::fs::remove_dir_all(workplace.path(&format!("{name}-stopped/checkpoints/step-3"))).unwrap();
        text(&workplace.run(&format!("{align} --out {{}}/{name}-stopped --resume")));
        for file in ["model.safetensors", "metrics.jsonl", "checkpoints/step-3/optimizer.safetensors"] {
            let bytes = |out: &str| std::fs::read(workplace.path(&format!("{name}-{out}")).join(file)).unwrap();
            assert!(bytes("stopped") == bytes("whole"), "{loss}: {file}");
        }
        let has_cache = workplace.path(&format!("{name}-whole/reference-log-probs.json")).exists();
        let takes_sums = name == "policy" || name == "wpo";
        assert_eq!(has_cache, takes_sums, "{loss}: sums of the reference are no use where its tails or rows are read");
    }
}

#[test]
fn a_cache_that_holds_too_little_is_named() {
    let workplace = Workplace::new();
    let align = "align --model {}/model --data {}/preferences.jsonl --out {}/run --loss ld-dpo --steps 1 --reference-cache {}/cache.json";
    let output = workplace.run(align);
    let remarks = String::from_utf8(output.stderr.clone()).unwrap();
    assert!(remarks.contains("ld-dpo does not use --reference-cache"), "{remarks}");
    let output = workplace.run(&format!("{align}2 --tail-of policy").replace("/run", "/other"));
    let remarks = String::from_utf8(output.stderr.clone()).unwrap();
    assert!(output.status.success() && !remarks.contains("does not use"), "{remarks}");
}

/// Writes f64 tensors as a safetensors file.
fn write(path: &Path, tensors: &[(&str, &[usize], Vec<f64>)]) {
    let (mut header, mut data) = (serde_json::Map::new(), Vec::new());
    for (name, shape, values) in tensors {
        let start = data.len();
        data.extend(values.iter().flat_map(|x| x.to_le_bytes()));
        header.insert((*name).to_owned(), json!({"dtype": "F64", "shape": shape, "data_offsets": [start, data.len()]}));
    }
    let header = Value::Object(header).to_string();
    std::fs::write(path, [&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), &data].concat()).unwrap();
}

/// One pair of 3 and 2 tokens, with a loss and gradients of ld-dpo that weight the reference's tail by `reference`.
fn dump(reference: f64) -> Vec<(&'static str, &'static [usize], Vec<f64>)> {
    let margin = 0.1 * ((-3.25 - (-3.3 - 0.4 * reference)) - (-2.5 + 2.7));
    let slope = 0.1 / (1.0 + f64::exp(margin));
    vec![
        ("policy_chosen_token_logps", &[1, 3], vec![-1.0, -2.0, -0.5]),
        ("policy_rejected_token_logps", &[1, 3], vec![-1.5, -1.0, -9.0]),
        ("reference_chosen_token_logps", &[1, 3], vec![-1.2, -2.1, -0.4]),
        ("reference_rejected_token_logps", &[1, 3], vec![-1.4, -1.3, -9.0]),
        ("chosen_mask", &[1, 3], vec![1.0, 1.0, 1.0]),
        ("rejected_mask", &[1, 3], vec![1.0, 1.0, 0.0]),
        ("loss", &[], vec![(-margin).exp().ln_1p()]),
        ("grad_policy_chosen_token_logps", &[1, 3], vec![-slope, -slope, -slope / 2.0]),
        ("grad_policy_rejected_token_logps", &[1, 3], vec![slope, slope, 0.0]),
    ]
}

#[test]
fn a_dump_of_ld_dpo_is_verified_by_token_and_its_other_dialect_named() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("dump.safetensors");
    let paths = [("file", file.as_path())];
    write(&file, &dump(0.5));
    let shown = text(&slpo("verify {file} --loss ld-dpo", &paths));
    assert!(shown.contains("grad_policy_chosen_token_logps[0, ") && !shown.contains("WRONG"), "{shown}");
    write(&file, &dump(1.0));
    text(&slpo("verify {file} --loss ld-dpo --tail-of policy", &paths));
    let wrong = slpo("verify {file} --loss ld-dpo", &paths);
    assert_eq!(wrong.status.code(), Some(1));
    let message = String::from_utf8(wrong.stderr).unwrap();
    assert!(
        message.contains("this is LD-DPO as LLaMA-Factory computes it: the policy's tail is weighted, the reference's is not"),
        "{message}"
    );
    let message = failure(&slpo("verify {file} --loss ld-dpo,nll", &paths), 1);
    assert!(message.contains("ld-dpo is verified alone"), "{message}");
    write(&file, &dump(0.5)[1..]);
    let message = failure(&slpo("verify {file} --loss ld-dpo", &paths), 1);
    assert!(message.contains("`policy_chosen_token_logps` is missing"), "{message}");
}

#[test]
fn a_dump_of_wpo_needs_the_weights() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("dump.safetensors");
    let paths = [("file", file.as_path())];
    let slope = 0.75 * 0.5 * 0.1 / (1.0 + 0.15f64.exp());
    let tensors: Vec<(&str, &[usize], Vec<f64>)> = vec![
        ("policy_chosen_logps", &[1], vec![-11.0]),
        ("policy_rejected_logps", &[1], vec![-13.5]),
        ("reference_chosen_logps", &[1], vec![-12.0]),
        ("reference_rejected_logps", &[1], vec![-13.0]),
        ("loss", &[], vec![0.75 * 0.5 * (-0.15f64).exp().ln_1p()]),
        ("grad_policy_chosen_logps", &[1], vec![-slope]),
        ("grad_policy_rejected_logps", &[1], vec![slope]),
        ("chosen_weights", &[1], vec![0.75]),
        ("rejected_weights", &[1], vec![0.5]),
    ];
    write(&file, &tensors);
    text(&slpo("verify {file} --loss wpo", &paths));
    write(&file, &tensors[..8]);
    assert!(failure(&slpo("verify {file} --loss wpo", &paths), 1).contains("`rejected_weights` is missing"));
}
