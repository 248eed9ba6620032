//! Every op of the registry by every method, at random shapes and points; a failure shrinks to the smallest size that shows it.

use engine::gradcheck::{Entry, check_entry};
use engine::ops::registry;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

/// Samples drawn of each op.
const CASES: u32 = 16;

fn every_method_agrees(entry: &Entry) {
    let mut runner = TestRunner::new(Config { failure_persistence: None, ..Config::with_cases(CASES) });
    let sizes_and_seeds = (1usize..=5, any::<u64>().no_shrink());
    let outcome = runner.run(&sizes_and_seeds, |(size, seed)| {
        let report = check_entry(entry, [seed], size);
        prop_assert!(report.passed(), "{report}");
        Ok(())
    });
    outcome.unwrap_or_else(|failure| panic!("{}: {failure}", entry.name));
}

/// The registry in four parts, so that the test harness may run them side by side.
fn part(number: usize) {
    registry().iter().skip(number).step_by(4).for_each(every_method_agrees);
}

#[test]
fn ops_part_1() {
    part(0);
}
#[test]
fn ops_part_2() {
    part(1);
}
#[test]
fn ops_part_3() {
    part(2);
}
#[test]
fn ops_part_4() {
    part(3);
}
