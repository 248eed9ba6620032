//! Explanations of the losses: formula, derivation and a worked example on two pairs or a few logits.
//!
//! The formulas are written once, as LaTeX, in `explain/text/`; each loss's documentation includes its own.

mod examples;

use engine::explain::Explanation;

macro_rules! losses {
    ($($name:literal => $module:ident),* $(,)?) => {
        /// Every loss of the registry explained, in its order.
        pub fn explanations() -> Vec<Explanation> {
            vec![$(Explanation::new(
                $name,
                include_str!(concat!("../", stringify!($module), ".rs")),
                include_str!(concat!("text/", stringify!($module), ".md")),
                examples::$module,
            )),*]
        }
    };
}

losses! {
    "dpo" => dpo,
    "cdpo" => cdpo,
    "ipo" => ipo,
    "hinge" => hinge,
    "robust" => robust,
    "slpo" => slpo,
    "slpo-gkl" => slpo_gkl,
    "slpo-token" => slpo_token,
    "slpo-literal" => slpo_literal,
    "slpo-exact" => slpo_exact,
    "soft-cross-entropy" => soft_cross_entropy,
}

#[cfg(test)]
mod tests {
    use super::explanations;

    #[test]
    fn every_loss_of_the_registry_is_explained_and_nothing_else() {
        let explained: Vec<&str> = explanations().iter().map(|explanation| explanation.name).collect();
        let registered: Vec<&str> = crate::registry().iter().map(|entry| entry.name).collect();
        assert_eq!(explained, registered);
    }

    #[test]
    fn every_loss_has_a_summary_a_formula_a_derivation_and_documents_them() {
        for explanation in explanations() {
            let name = explanation.name;
            assert!(!explanation.summary().is_empty() && !explanation.formulas().is_empty(), "{name}");
            assert!(explanation.derivation().len() >= 2, "{name}");
            let included = format!("#![doc = include_str!(\"explain/text/{}.md\")]", name.replace('-', "_"));
            assert!(explanation.source.contains(&included), "{name}: {included}");
        }
    }

    #[test]
    fn every_example_passes_the_gradient_suite() {
        for explanation in explanations() {
            explanation.work().report.assert();
        }
    }
}
