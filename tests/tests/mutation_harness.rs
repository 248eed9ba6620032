//! Mutation testing of the gradient suite: every kind of mistake, in copies of seven vector-Jacobian products and in every op and loss of
//! the registries, is reported by name; and the same harness without a mistake passes.
//!
//! `cargo test -p slpo-tests --test mutation_harness -- --nocapture` prints who saw what.

mod mutation;

use engine::gradcheck::mutation::{Mistake, Plant, own_operation};
use engine::gradcheck::{Entry, Method, Report};
use mutation::copies::{self, Op};
use mutation::{SAMPLES, line, report, report_of, seen_by};
use std::num::NonZero;
use std::panic::resume_unwind;
use std::thread;

fn registries() -> Vec<Entry> {
    engine::ops::registry().into_iter().chain(losses::registry()).collect()
}

/// The entry of a registry by its name, made anew: an entry is used up by a rewrite.
fn entry(name: &str) -> Entry {
    let models = model::gradcheck::registry();
    registries().into_iter().chain(models).find(|entry| entry.name == name).expect("an entry of a registry")
}

/// The methods that see a mutant in any sample, which its report calls by name; none where it passes.
fn seen(name: &str, op: &str, mistake: Mistake, entry: &Entry) -> Vec<Method> {
    seen_in(&report(entry), name, op, mistake)
}

/// The methods that see a mutant in the first sample in which any does; none where it passes.
fn seen_first(name: &str, op: &str, mistake: Mistake, entry: &Entry) -> Vec<Method> {
    let by_sample = (0..SAMPLES).map(|sample| seen_in(&report_of(entry, sample), name, op, mistake));
    by_sample.into_iter().find(|seen| !seen.is_empty()).unwrap_or_default()
}

fn seen_in(report: &Report, name: &str, op: &str, mistake: Mistake) -> Vec<Method> {
    println!("{}", line(name, op, mistake, report));
    let seen = seen_by(report);
    let text = report.to_string();
    for method in &seen {
        assert!(text.contains(&format!("{name} by {method}: FAILED")), "{text}");
    }
    seen
}

/// Plants every kind of mistake in each op of these entries: all of them must be seen.
fn every_mistake_is_seen<'a>(mutated: impl IntoIterator<Item = (&'a str, &'static str)>) -> usize {
    let of_op = |(name, op)| Mistake::ALL.map(|mistake| (name, op, mistake));
    let mutants: Vec<(&str, &str, Mistake)> = mutated.into_iter().flat_map(of_op).collect();
    let unseen = in_threads(&mutants, |&(name, op, mistake)| {
        let is_seen = !seen_first(name, op, mistake, &entry(name).rewritten(Plant { op, mistake })).is_empty();
        (!is_seen).then(|| format!("{mistake:?} in {op} of {name}"))
    });
    let unseen: Vec<String> = unseen.into_iter().flatten().collect();
    assert!(unseen.is_empty(), "{} of {} mutants are not seen: {unseen:?}", unseen.len(), mutants.len());
    mutants.len()
}

/// `f` of every item, in no order, in a thread for each core. (Those of rayon's pool would take up a mutant in the middle of another.)
fn in_threads<T: Sync, R: Send>(items: &[T], f: impl Fn(&T) -> R + Sync) -> Vec<R> {
    let (threads, f) = (thread::available_parallelism().map_or(1, NonZero::get), &f);
    thread::scope(|scope| {
        let every = |first| scope.spawn(move || items.iter().skip(first).step_by(threads).map(f).collect::<Vec<R>>());
        let running: Vec<_> = (0..threads).map(every).collect();
        running.into_iter().flat_map(|thread| thread.join().unwrap_or_else(|panic| resume_unwind(panic))).collect()
    })
}

#[test]
fn copies_of_vector_jacobian_products_without_a_mistake_pass() {
    for op in Op::ALL {
        report(&copies::entry(op, Mistake::Nothing)).assert();
    }
}

#[test]
fn every_mistake_in_a_copied_formula_is_seen_by_every_method_that_differentiates_forwards_and_by_the_twin() {
    for op in Op::ALL {
        for mistake in Mistake::ALL {
            let seen = seen(op.name(), op.name(), mistake, &copies::entry(op, mistake));
            for method in [Method::FiniteDifference, Method::ForwardMode, Method::Adjoint, Method::Twin] {
                assert!(seen.contains(&method), "{mistake:?} in {op:?} is not seen by {method}");
            }
        }
    }
}

#[test]
fn every_op_and_loss_passes_where_its_operation_is_replaced_by_itself() {
    for name in registries().iter().map(|entry| entry.name) {
        let op = own_operation(entry(name));
        report(&entry(name).rewritten(Plant { op, mistake: Mistake::Nothing })).assert();
    }
}

#[test]
fn every_mistake_in_any_op_or_loss_of_the_registries_is_reported_by_name() {
    let names: Vec<&str> = registries().iter().map(|entry| entry.name).collect();
    let mutants = every_mistake_is_seen(names.iter().map(|name| (*name, own_operation(entry(name)))));
    assert!(mutants >= 5 * 50, "only {mutants} mutants");
}

#[test]
fn a_mistake_in_one_op_is_seen_through_a_whole_decoder() {
    every_mistake_is_seen(["linear", "linears", "rms_norm", "rope"].map(|op| ("decoder-llama", op)));
    every_mistake_is_seen([("decoder-lora", "swiglu")]);
}

#[test]
fn a_mistake_in_another_op_is_seen_through_a_whole_decoder() {
    every_mistake_is_seen(["attention", "gated_mlp", "embedding", "linear_log_prob"].map(|op| ("decoder-llama", op)));
    every_mistake_is_seen(["layer_norm", "gelu_tanh", "add"].map(|op| ("decoder-gpt2", op)));
}
