//! `slpo verify` on files written here: exit codes, JSON and one line about what is wrong.

use crate::command::{failure, object, slpo};
use serde_json::{Value, json};
use std::path::Path;

const POLICY: ([f64; 2], [f64; 2]) = ([-11.0, -7.0], [-13.5, -6.0]);
const REFERENCE: ([f64; 2], [f64; 2]) = ([-12.0, -7.5], [-13.0, -8.0]);

/// Writes vectors of f64 as a safetensors file; `loss` and `kl` without axes.
pub fn write(path: &Path, tensors: &[(&str, Vec<f64>)]) {
    let (mut header, mut data) = (serde_json::Map::new(), Vec::new());
    for (name, values) in tensors {
        let start = data.len();
        data.extend(values.iter().flat_map(|x| x.to_le_bytes()));
        let shape = if ["loss", "kl"].contains(name) { json!([]) } else { json!([values.len()]) };
        header.insert((*name).to_owned(), json!({"dtype": "F64", "shape": shape, "data_offsets": [start, data.len()]}));
    }
    let header = Value::Object(header).to_string();
    let bytes = [&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), &data].concat();
    std::fs::write(path, bytes).unwrap();
}

/// DPO at β, its gradient multiplied by `factor`.
fn dump(beta: f64, factor: f64) -> Vec<(&'static str, Vec<f64>)> {
    let margin = |i: usize| beta * ((POLICY.0[i] - REFERENCE.0[i]) - (POLICY.1[i] - REFERENCE.1[i]));
    let loss = (0..2).map(|i| (-margin(i)).exp().ln_1p()).sum::<f64>() / 2.0;
    let slope = |sign: f64| (0..2).map(|i| sign * factor * beta / (1.0 + margin(i).exp()) / 2.0).collect();
    vec![
        ("policy_chosen_logps", POLICY.0.to_vec()),
        ("policy_rejected_logps", POLICY.1.to_vec()),
        ("reference_chosen_logps", REFERENCE.0.to_vec()),
        ("reference_rejected_logps", REFERENCE.1.to_vec()),
        ("loss", vec![loss]),
        ("grad_policy_chosen_logps", slope(-1.0)),
        ("grad_policy_rejected_logps", slope(1.0)),
    ]
}

#[test]
fn a_right_dump_passes_with_exit_code_0() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("right.safetensors");
    write(&file, &dump(0.1, 1.0));
    let report = object(&slpo("verify {file} --loss dpo --json", &[("file", &file)]));
    assert_eq!((&report["passed"], &report["explanation"]), (&json!(true), &Value::Null));
    assert!(report["loss"]["abs_error"].as_f64().unwrap() < 1e-14, "{report}");
    assert_eq!(report["gradients"].as_array().unwrap().len(), 2);
}

#[test]
fn a_wrong_dump_is_explained_with_exit_code_1() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("wrong.safetensors");
    for (contents, words) in [(dump(1.0, 1.0), "β is missing"), (dump(0.1, 10.0), "β is missing in the gradient")] {
        write(&file, &contents);
        let output = slpo("verify {file} --loss dpo --json", &[("file", &file)]);
        assert_eq!(output.status.code(), Some(1));
        let report: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(report["passed"], json!(false));
        assert!(report["explanation"].as_str().unwrap().contains(words), "{report}");
    }
}

#[test]
fn bad_files_and_usage_are_one_line() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("dump.safetensors");
    let paths = [("file", file.as_path())];
    assert!(failure(&slpo("verify {file} --loss dpo", &paths), 1).contains("there is no such file"));
    write(&file, &dump(0.1, 1.0)[1..]);
    let message = failure(&slpo("verify {file} --loss dpo", &paths), 1);
    assert!(message.contains("`policy_chosen_logps` is missing") && message.contains("reference_chosen_logps"), "{message}");
    write(&file, &dump(0.1, 1.0)[..4]);
    assert!(failure(&slpo("verify {file} --loss dpo", &paths), 1).contains("nothing to check"));
    write(&file, &dump(0.1, f64::NAN));
    assert!(failure(&slpo("verify {file} --loss dpo", &paths), 1).contains("grad_policy_chosen_logps[0] is NaN"));
    for arguments in ["--loss slpo-exact --alpha 0.7", "--loss dpo --beta 0", "--loss slpo --alpha 0.5"] {
        failure(&slpo(&format!("verify {{file}} {arguments}"), &paths), 2);
    }
}
