//! A device in f32 against the processor in f64, at inputs that f32 holds exactly: its kernels' values and gradients.

use super::Method;
use super::problem::Problem;
use super::report::{Arithmetic, Check, Tally};
use super::sample::Sample;
use super::scales::Analysis;
use super::{Entry, Report, Settings};
use crate::Cpu;
use crate::backend::device::Device;

const REASON: &str = "of a value |f_k| + m + Σ_j |J_kj||x_j|; of a gradient Σ_k |v_k||J_kj| + Σ_l |H_jl||x_l| + max_k |v_k|(|f_k| + m)";

/// Checks a function at a sample's inputs on a device: value and gradient against `Cpu<f64>`, to the tolerance of
/// [`Method::Precision`], by whose name the check goes.
pub fn check_on(device: &Device, name: &str, sample: &Sample) -> Report {
    Report { name: name.to_owned(), checks: vec![check(device, &Problem::new(name, None, sample, &Settings::default()))] }
}

/// Checks the samples of an entry for each seed on a device, with extents of at most `size`: the worst of all seeds.
pub fn check_entry_on(device: &Device, entry: &Entry, seeds: impl IntoIterator<Item = u64>, size: usize) -> Report {
    let mut report = Report { name: entry.name.to_string(), checks: Vec::new() };
    for seed in seeds {
        let sample = entry.sample(seed, size);
        let checked = check(device, &Problem::new(entry.name, Some(seed), &sample, &Settings::default()));
        report.merge(Report { name: entry.name.to_string(), checks: vec![checked] });
    }
    report
}

fn check(device: &Device, problem: &Problem<'_>) -> Check {
    let analysis = Analysis::new(problem);
    let mut tally = Tally::new(problem, Arithmetic::of(device));
    let rounded: Vec<f32> = problem.x.iter().map(|&x| x as f32).collect();
    let exact: Vec<f64> = rounded.iter().map(|&x| x as f64).collect();
    let (value, gradient) = problem.differentiate::<Cpu<f64>>(problem.function, &exact);
    let on_device = problem.differentiate_on(device, problem.function, &rounded);
    let [value_on, gradient_on] = [on_device.0, on_device.1].map(|x| x.iter().map(|&x| x as f64).collect::<Vec<_>>());
    tally.compare_all((&value, &gradient), (&value_on, &gradient_on), (&analysis.value, &analysis.gradient));
    tally.finish(Method::Precision, REASON, Default::default())
}
