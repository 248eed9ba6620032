//! `slpo verify` on dumps in every floating-point type, with token log-probabilities, of slpo-exact, and made by PyTorch.

use crate::command::{failure, object, slpo};
use serde_json::{Value, json};
use std::path::Path;

/// A tensor as a safetensors file has it.
struct Dumped {
    name: &'static str,
    dtype: &'static str,
    shape: Vec<usize>,
    bytes: Vec<u8>,
}

/// A number's bytes in a type. F16 for normal numbers only.
fn bytes(dtype: &str, x: f64) -> Vec<u8> {
    match dtype {
        "F64" => x.to_le_bytes().to_vec(),
        "F32" => (x as f32).to_le_bytes().to_vec(),
        "BF16" => (((x as f32).to_bits() + 0x8000) >> 16).to_le_bytes()[..2].to_vec(),
        "F16" => {
            let (sign, exponent) = (if x < 0.0 { 0x8000 } else { 0 }, if x == 0.0 { -15 } else { x.abs().log2().floor() as i32 });
            let significand = if x == 0.0 { 0 } else { (1024.0 * (x.abs() / 2f64.powi(exponent) - 1.0)).round() as u32 };
            ((sign + (((exponent + 15) as u32) << 10) + significand) as u16).to_le_bytes().to_vec()
        }
        "I64" => (x as i64).to_le_bytes().to_vec(),
        other => panic!("{other}"),
    }
}

fn tensor(name: &'static str, dtype: &'static str, shape: &[usize], values: &[f64]) -> Dumped {
    Dumped { name, dtype, shape: shape.to_vec(), bytes: values.iter().flat_map(|&x| bytes(dtype, x)).collect() }
}

fn write(path: &Path, tensors: &[Dumped]) {
    let (mut header, mut data) = (serde_json::Map::new(), Vec::new());
    for tensor in tensors {
        let start = data.len();
        data.extend(&tensor.bytes);
        let entry = json!({"dtype": tensor.dtype, "shape": tensor.shape, "data_offsets": [start, data.len()]});
        header.insert(tensor.name.to_owned(), entry);
    }
    let header = Value::Object(header).to_string();
    std::fs::write(path, [&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), &data].concat()).unwrap();
}

/// DPO of one pair with margin 2.5 at β = 0.5, in a type; its gradient times `factor`.
fn dpo(dtype: &'static str, factor: f64) -> Vec<Dumped> {
    let slope = 0.5 / (1.0 + 1.25f64.exp());
    vec![
        tensor("policy_chosen_logps", dtype, &[1], &[-6.0]),
        tensor("policy_rejected_logps", dtype, &[1], &[-9.5]),
        tensor("reference_chosen_logps", dtype, &[1], &[-7.0]),
        tensor("reference_rejected_logps", dtype, &[1], &[-8.0]),
        tensor("loss", dtype, &[], &[(-1.25f64).exp().ln_1p()]),
        tensor("grad_policy_chosen_logps", dtype, &[1], &[-slope * factor]),
        tensor("grad_policy_rejected_logps", dtype, &[1], &[slope * factor]),
    ]
}

#[test]
fn a_dump_in_any_type_is_held_to_that_types_rounding() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("dump.safetensors");
    // relative errors that are far above the rounding that each type is granted
    for (dtype, wrong) in [("F64", 1e-12), ("F32", 1e-3), ("F16", 0.2), ("BF16", 1.0)] {
        write(&file, &dpo(dtype, 1.0));
        assert_eq!(object(&slpo("verify {file} --loss dpo --beta 0.5 --json", &[("file", &file)]))["passed"], json!(true), "{dtype}");
        write(&file, &dpo(dtype, 1.0 + wrong));
        assert_eq!(slpo("verify {file} --loss dpo --beta 0.5", &[("file", &file)]).status.code(), Some(1), "{dtype}");
    }
}

#[test]
fn sums_over_the_prompt_are_found_where_token_log_probabilities_are_given() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("dump.safetensors");
    let paths = [("file", file.as_path())];
    for (tokens, words) in [([-4.0, -1.0, -5.0], None), ([-2.0, -1.0, -3.0], Some("prompt tokens are not masked"))] {
        let mut dump = dpo("F64", 1.0);
        dump.push(tensor("policy_chosen_token_logps", "F64", &[1, 3], &tokens));
        dump.push(tensor("chosen_mask", "I64", &[1, 3], &[0.0, 1.0, 1.0]));
        write(&file, &dump);
        let output = slpo("verify {file} --loss dpo --beta 0.5 --json", &paths);
        let report: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!((output.status.code(), &report["passed"]), (Some(i32::from(words.is_some())), &json!(words.is_none())));
        assert_eq!(report["log_probs"][0]["name"], "policy_chosen_logps");
        let explanation = report["explanation"].as_str().unwrap_or_default();
        assert!(explanation.contains(words.unwrap_or_default()), "{report}");
    }
    let mut dump = dpo("F64", 1.0);
    dump.push(tensor("policy_chosen_token_logps", "F64", &[1, 3], &[-4.0, -1.0, -5.0]));
    write(&file, &dump);
    assert!(failure(&slpo("verify {file} --loss dpo --beta 0.5", &paths), 1).contains("`chosen_mask` is missing"));
}

/// One pair whose completions part at once, over two tokens: Q* gives the chosen one everything, so L = −ln p(0) and ∂L/∂z = p − (1, 0).
fn exact(loss_factor: f64) -> Vec<Dumped> {
    let p = 1.0 / (1.0 + 1f64.exp());
    vec![
        tensor("logits", "F64", &[2, 1, 2], &[0.0, 1.0, 0.0, 1.0]),
        tensor("reference_logits", "F64", &[2, 1, 2], &[0.5, 0.5, 0.5, 0.5]),
        tensor("y_w", "I64", &[1, 1], &[0.0]),
        tensor("y_l", "I64", &[1, 1], &[1.0]),
        tensor("loss", "F64", &[], &[-p.ln() * loss_factor]),
        tensor("grad_logits", "F64", &[2, 1, 2], &[(p - 1.0) * loss_factor, (1.0 - p) * loss_factor, 0.0, 0.0]),
    ]
}

#[test]
fn slpo_exact_is_verified_and_its_mistakes_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("dump.safetensors");
    let paths = [("file", file.as_path())];
    write(&file, &exact(1.0));
    let report = object(&slpo("verify {file} --loss slpo-exact --json", &paths));
    assert_eq!((&report["passed"], report["gradients"][0]["name"].as_str()), (&json!(true), Some("grad_logits")));
    for (factor, words) in [(-1.0, "the sign is wrong"), (0.5, "2B completions")] {
        write(&file, &exact(factor));
        let output = slpo("verify {file} --loss slpo-exact --json", &paths);
        let report: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(output.status.code(), Some(1));
        assert!(report["explanation"].as_str().unwrap().contains(words), "{report}");
    }
}

#[test]
fn dumps_of_pytorch_pass_and_its_unmasked_sums_are_explained() {
    let Some(python) = std::env::var_os("SLPO_PEERS_PYTHON") else {
        return println!("skipped: SLPO_PEERS_PYTHON names no python that has torch and safetensors");
    };
    let folder = tempfile::tempdir().unwrap();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("peers/verify_dump.py");
    let made = std::process::Command::new(&python).arg(script).arg(folder.path()).output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    for dtype in ["F64", "F32", "F16", "BF16"] {
        let file = folder.path().join(format!("dpo-{dtype}.safetensors"));
        let report = object(&slpo("verify {file} --loss dpo --json", &[("file", &file)]));
        assert_eq!((&report["passed"], report["log_probs"].as_array().unwrap().len()), (&json!(true), 4), "{dtype}: {report}");
    }
    let exact = folder.path().join("exact.safetensors");
    assert_eq!(object(&slpo("verify {file} --loss slpo-exact --json", &[("file", &exact)]))["passed"], json!(true));
    let unmasked = folder.path().join("dpo-unmasked.safetensors");
    let output = slpo("verify {file} --loss dpo --json", &[("file", &unmasked)]);
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(report["explanation"].as_str().unwrap().contains("prompt tokens are not masked"), "{report}");
}
