//! Every loss of the registry by every method of the gradient suite.

use engine::gradcheck::check_entry;
use losses::{Loss, registry};

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
