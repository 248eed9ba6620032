//! Every op of the registry by every method, at random shapes and points; a failure shrinks to the smallest size that shows it.

use engine::gradcheck::{Entry, Method, Settings, check_entry};
use engine::ops::registry;
use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use slpo_tests::everyday;

/// Samples drawn of each op.
const CASES: u32 = 100;

fn every_method_agrees(entry: &Entry) {
    let sizes_and_seeds = (1usize..=5, any::<u64>().no_shrink());
    let outcome = TestRunner::new(everyday(CASES)).run(&sizes_and_seeds, |(size, seed)| {
        let report = check_entry(entry, [seed], size);
        prop_assert!(report.passed(), "{report}");
        Ok(())
    });
    outcome.unwrap_or_else(|failure| panic!("{}: {failure}", entry.name));
}

/// Every second op of the registry, so that the test harness may run the two halves side by side.
fn half(first: usize) {
    registry().iter().skip(first).step_by(2).for_each(every_method_agrees);
}

#[test]
fn every_method_agrees_on_every_op_with_an_even_number() {
    half(0);
}

#[test]
fn every_method_agrees_on_every_op_with_an_odd_number() {
    half(1);
}

/// Samples too large for element by element are checked in random directions, as whole models are.
#[test]
fn every_method_agrees_on_every_op_in_random_directions() {
    let limit = Settings::default().element_limit;
    let mut large = 0;
    for entry in registry() {
        let elements = |seed: &u64| entry.sample(*seed, 14).inputs.iter().map(|input| input.data.len()).sum::<usize>();
        let seeds: Vec<u64> = (0..12).filter(|seed| elements(seed) > limit).collect();
        large += seeds.len();
        check_entry(&entry, seeds, 14).assert();
    }
    assert!(large > 100, "only {large} large samples");
}

/// A tolerance that swallows the derivative itself would pass anything.
#[test]
fn tolerances_are_a_few_hundred_roundings() {
    for entry in registry() {
        for check in check_entry(&entry, 0..4, 4).checks {
            let unit = if check.method == Method::Precision { 2f64.powi(-24) } else { 2f64.powi(-53) };
            assert!(check.tolerance < 200.0 * unit, "{check}");
        }
    }
}

#[test]
fn the_registry_names_each_op_once() {
    let mut names: Vec<&str> = registry().iter().map(|entry| entry.name).collect();
    let count = names.len();
    names.sort_unstable();
    names.dedup();
    assert!(count == names.len() && count >= 44, "{count} entries, {} names", names.len());
}
