//! The table of losses: every loss of the registry by every method of the gradient suite, explained, and with settings that are checked.

use engine::gradcheck::check_entry;
use losses::{Hyperparameters, Loss, Setting, explanations, registry};

#[test]
fn every_loss_agrees_by_every_method() {
    for entry in registry() {
        check_entry(&entry, 0..40, 4).assert();
    }
}

#[test]
fn the_registry_names_every_loss() {
    let names: Vec<&str> = registry().iter().map(|entry| entry.name).collect();
    for loss in Loss::ALL {
        assert!(names.contains(&loss.name()), "{loss} is missing");
    }
}

#[test]
fn every_name_and_alias_means_one_loss() {
    for loss in Loss::ALL {
        for name in loss.aliases().iter().chain([&loss.name()]) {
            assert_eq!(name.parse(), Ok(loss), "{name}");
        }
    }
}

#[test]
fn every_loss_of_the_registry_is_explained_and_nothing_else() {
    let explained: Vec<&str> = explanations().iter().map(|explanation| explanation.name).collect();
    let registered: Vec<&str> = registry().iter().map(|entry| entry.name).collect();
    assert_eq!(explained, registered);
}

#[test]
fn every_loss_has_a_summary_a_formula_a_derivation_and_documents_them() {
    for explanation in explanations() {
        let name = explanation.name;
        assert!(!explanation.summary().is_empty() && !explanation.formulas().is_empty(), "{name}");
        assert!(explanation.derivation().len() >= 2, "{name}");
        let included = format!("#![doc = include_str!(\"{}.md\")]", name.replace('-', "_"));
        assert!(explanation.source.contains(&included), "{name}: {included}");
    }
}

#[test]
fn every_example_passes_the_gradient_suite() {
    for explanation in explanations() {
        explanation.work().report.assert();
    }
}

#[test]
fn what_makes_a_loss_meaningless_is_refused_where_the_loss_uses_it() {
    let usual = Hyperparameters::default();
    let cases = [
        (Hyperparameters { beta: 1e300, ..usual }, Setting::Beta),
        (Hyperparameters { beta: 1e-300, ..usual }, Setting::Beta),
        (Hyperparameters { beta: f64::NAN, ..usual }, Setting::Beta),
        (Hyperparameters { label_smoothing: 0.4999999, ..usual }, Setting::LabelSmoothing),
        (Hyperparameters { label_smoothing: -0.1, ..usual }, Setting::LabelSmoothing),
        (Hyperparameters { alpha: 0.3, ..usual }, Setting::Alpha),
    ];
    for loss in Loss::ALL {
        assert_eq!(loss.validate(&usual), Ok(()), "{loss}");
        for (hyper, setting) in cases {
            let refused = loss.validate(&hyper).is_err();
            let counts = loss.uses().contains(&setting);
            assert_eq!(refused, counts, "{loss} with {hyper:?}");
        }
    }
}

#[test]
fn every_setting_is_used_by_a_loss_and_named_as_its_flag() {
    for setting in Setting::ALL {
        assert!(Loss::ALL.iter().any(|loss| loss.uses().contains(&setting)), "{}", setting.name());
    }
    assert_eq!(Loss::listed(|loss| loss.uses().contains(&Setting::LabelSmoothing)), "cdpo, robust, exo, aot and aot-unpaired");
}
