//! `slpo explain` on the real binary: the list, the text, the JSON and the page.

use crate::command::{failure, object, slpo, text};

/// Names of the explanations that `slpo explain` lists.
fn names() -> Vec<String> {
    let list = object(&slpo("explain --json", &[]));
    list["explanations"].as_array().unwrap().iter().map(|line| line["name"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn the_list_names_every_op_and_loss_of_the_registries_in_one_line_each() {
    let registered = engine::ops::registry().into_iter().chain(losses::registry()).map(|entry| entry.name);
    assert_eq!(names(), registered.collect::<Vec<_>>());
    let lines = text(&slpo("explain", &[]));
    for name in names() {
        let words: Vec<&str> = lines.lines().filter(|line| line.split_whitespace().next() == Some(&name)).collect();
        assert!(words.len() == 1 && words[0].split_whitespace().count() > 1, "{name}: {words:?}");
    }
    for part in ["Arithmetic\n  add ", "Losses with a reference\n  dpo ", "If you begin, read in this order: mul, exp,"] {
        assert!(lines.contains(part), "{part}: {lines}");
    }
}

#[test]
fn an_explanation_has_formula_derivation_example_gradient_and_graph() {
    let softmax = text(&slpo("explain softmax", &[]));
    for part in ["FORMULA", "DERIVATION", "EXAMPLE  x.softmax()", "GRADIENT of L = ⟨v, y⟩", "adjoint identity", "GRAPH as recorded"] {
        assert!(softmax.contains(part), "{part}: {softmax}");
    }
    assert!(softmax.contains("m = maxⱼ xⱼ") && softmax.contains("└─ x [3] = 1 2 0.5"), "{softmax}");
    assert!(!softmax.contains('\\') && !softmax.contains("WRONG"), "{softmax}");
}

#[test]
fn every_explanation_is_worked_through_and_its_methods_agree() {
    for name in names() {
        let explained = object(&slpo(&format!("explain {name} --json"), &[]));
        assert_eq!(explained["gradient"]["passed"], serde_json::json!(true), "{name}");
        for element in explained["gradient"]["elements"].as_array().unwrap() {
            let number = |method: &str| element[method].as_f64().unwrap();
            let difference = (number("reverse") - number("forward")).abs();
            // rounding of sums of numbers of order 10 at most
            assert!(difference <= 1e-13 * number("reverse").abs().max(10.0), "{name}: {element}");
        }
    }
}

#[test]
fn a_page_typesets_the_formulas_draws_the_graph_and_needs_no_network() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["attention", "slpo-gkl", "gelu"] {
        let file = folder.path().join("page.html");
        let said = text(&slpo(&format!("explain {name} --html {{file}}"), &[("file", &file)]));
        assert!(said.starts_with("wrote "), "{said}");
        let page = std::fs::read_to_string(&file).unwrap();
        assert!(page.contains("<math") && page.contains("<svg"), "{name}");
        let addresses = page.replace("http://www.w3.org/", "");
        assert!(!addresses.contains("http://") && !addresses.contains("https://") && !page.contains("<script"), "{name}");
    }
}

#[test]
fn unknown_names_and_places_are_one_line() {
    let message = failure(&slpo("explain sofmax", &[]), 2);
    assert!(message.contains("\"sofmax\": did you mean softmax? slpo explain lists all names"), "{message}");
    assert_eq!(text(&slpo("explain DPO", &[])), text(&slpo("explain dpo", &[])));
    assert_eq!(text(&slpo("explain Log-Softmax", &[])), text(&slpo("explain log_softmax", &[])));
    failure(&slpo("explain --html page.html", &[]), 2);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    std::fs::write(&file, "").unwrap();
    let message = failure(&slpo("explain add --html {file}/page.html", &[("file", &file)]), 1);
    assert!(message.contains("page.html"), "{message}");
}
