//! `slpo audit` on the real binary: its JSON contract, its page, and what it says when the page cannot be written.

use crate::command::{failure, object, slpo, text};
use serde_json::Value;
use std::path::Path;

/// The ids of the audit's table, in the order of the paper and of its revision.
const IDS: [&str; 43] = [
    "E1", "E2", "E3", "E4", "E5", "A1", "K1", "K2a", "K2b", "K3a", "K3b", "K4a", "K4b", "B1", "B2", "B3", "P1", "S1", "S2", "S3", "S4",
    "S5", "S6", "S7", "I1", "I2", "I3", "I4", "I5", "I6", "I7", "I8", "C1", "G1", "R1", "R2", "R3", "R4", "R5", "R6", "R7", "R8", "R9",
];

fn claims(seed: u64) -> Vec<Value> {
    let audited = object(&slpo(&format!("audit --json --seed {seed}"), &[]));
    audited["claims"].as_array().unwrap().clone()
}

fn named<'a>(claims: &'a [Value], id: &str) -> &'a Value {
    claims.iter().find(|claim| claim["id"] == id).unwrap()
}

/// The page that `--html` writes for a seed.
fn page(folder: &Path, seed: u64) -> String {
    let file = folder.join(format!("new/folder/audit-{seed}.html"));
    text(&slpo(&format!("audit --seed {seed} --html {{file}}"), &[("file", &file)]));
    // The template engine escapes slashes.
    std::fs::read_to_string(file).unwrap().replace("&#x2f;", "/")
}

#[test]
fn every_claim_has_the_fields_of_the_contract() {
    let claims = claims(0);
    assert_eq!(claims.iter().map(|claim| claim["id"].as_str().unwrap()).collect::<Vec<_>>(), IDS);
    for claim in &claims {
        for field in ["claim", "verdict", "evidence", "formula", "file", "function"] {
            assert!(claim[field].as_str().is_some_and(|text| !text.is_empty()), "{field}: {claim}");
        }
        let (value, expected, tolerance) = (&claim["value"], &claim["expected"], &claim["tolerance"]);
        let distance = (value.as_f64().unwrap() - expected.as_f64().unwrap()).abs();
        assert!(distance <= tolerance.as_f64().unwrap(), "{claim}");
        assert!(claim["holds"].is_boolean() && claim["agrees"] == true, "{claim}");
        let checks = claim["checks"].as_array().unwrap();
        assert_eq!((&checks[0]["value"], &checks[0]["expected"]), (value, expected), "the first comparison leads");
    }
}

#[test]
fn the_file_and_the_function_that_compute_a_claim_exist() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    for claim in claims(0) {
        let [file, function] = ["file", "function"].map(|field| claim[field].as_str().unwrap());
        let source = std::fs::read_to_string(root.join(file)).unwrap();
        assert!(source.contains(&format!("fn {function}(generator")), "{file} has no {function}");
        assert!(claim["id"].as_str().unwrap().eq_ignore_ascii_case(function));
    }
}

#[test]
fn another_seed_has_other_numbers_and_the_same_verdicts() {
    let (one, other) = (claims(1), claims(2));
    for (a, b) in one.iter().zip(&other) {
        assert_eq!((&a["verdict"], &a["holds"]), (&b["verdict"], &b["holds"]), "{}", a["id"]);
        assert_ne!(a["evidence"], b["evidence"], "{}", a["id"]);
    }
    assert_eq!(one, claims(1));
}

#[test]
fn the_objective_is_no_bowl_by_its_smallest_eigenvalues() {
    let claims = claims(3);
    let bowl = named(&claims, "C1");
    let value = |what: &str| {
        let check = bowl["checks"].as_array().unwrap().iter().find(|check| check["what"] == what).unwrap();
        check["value"].as_f64().unwrap()
    };
    assert_eq!(bowl["holds"], false);
    assert!(value("Eq 6's smallest eigenvalue") < -1e-3 && value("Eq 7's") < -1e-3 && value("the token form's") < -1e-3);
    assert!(value("DPO's smallest eigenvalue").abs() < 1e-13 && value("the smallest towards Q*").abs() < 1e-13);
    assert!(value("SLPO-GKL's smallest in (l_w, l_l)") > 0.1);
}

#[test]
fn the_page_has_every_claim_with_its_formula_and_needs_nothing_from_outside() {
    let folder = tempfile::tempdir().unwrap();
    let page = page(folder.path(), 0);
    for id in IDS {
        assert!(page.contains(&format!("<article id=\"{id}\">")) && page.contains(&format!("href=\"#{id}\"")), "{id}");
    }
    assert_eq!(page.matches("<math").count(), IDS.len());
    assert!(!page.contains("merror"), "every formula is understood");
    assert!(page.contains("prefers-color-scheme: dark") && page.contains("name=\"viewport\""));
    let without_names = page.replace("xmlns=\"http://www.w3.org/2000/svg\"", "").replace("href=\"#", "").replace("url(\"data:", "");
    for outside in ["http", "src=", "href=", "<script", "@import", "url("] {
        assert!(!without_names.contains(outside), "{outside}");
    }
    for claim in claims(0) {
        let function = claim["function"].as_str().unwrap();
        assert!(page.contains(&format!("<code>{function}</code> in <code>{}</code>", claim["file"].as_str().unwrap())), "{function}");
    }
}

#[test]
fn the_page_has_the_figures_a_person_would_look_for() {
    let folder = tempfile::tempdir().unwrap();
    let page = page(folder.path(), 5);
    for title in [
        "Start gradient of Eq 6 against DPO",
        "Softmax of a sum against the mean of cold softmaxes",
        "Appendix B&#x27;s two sides",
        "The listing is unbounded where the tokens collide",
        "The mass inside y_o, sequence by sequence",
        "DPO: a slope",
        "Eq 6: a valley open below",
        "Eq 7: a bowl in three classes",
        "SLPO-GKL",
        "Spectra of the Hessians in all logits",
        "The paper&#x27;s Figure 1, redrawn",
        "The paper&#x27;s Figure 2, redrawn",
    ] {
        assert!(page.contains(&format!("<div class=\"heading\">{title}")), "{title}");
    }
    assert_eq!(page.matches("<svg").count(), 2 * 19, "each figure is drawn for a wide and for a narrow screen");
    assert!(!page.contains("There is nothing to draw"));
}

#[test]
fn the_same_seed_writes_the_same_bytes_and_another_seed_another_page() {
    let folder = tempfile::tempdir().unwrap();
    let [first, again, other] = [7, 7, 8].map(|seed| page(folder.path(), seed));
    assert!(first == again);
    assert!(first != other);
}

#[test]
fn a_page_that_cannot_be_written_is_one_clear_message() {
    let folder = tempfile::tempdir().unwrap();
    let blocked = folder.path().join("file");
    std::fs::write(&blocked, "").unwrap();
    let path = blocked.join("audit.html");
    for json in ["", " --json"] {
        let line = failure(&slpo(&format!("audit --html {{path}}{json}"), &[("path", &path)]), 1);
        assert!(line.contains("cannot write the report") && line.contains(path.to_str().unwrap()), "{line}");
    }
}
