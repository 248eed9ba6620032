//! Softmax from its formula to the kernel: each step is checked against the one before, and timed.
//!
//! It prints:
//! ```text
//! 4096 rows of 512 numbers, around 0 and around 200
//!                                      error near 0   around 200     time
//! formula  e^x / Σ e^x                 1e-6           NaN            … ms
//! shifted  e^(x − m) / Σ e^(x − m)     1e-6           1e-6           … ms
//! fused    exp(x − m − ln Σ e^(x − m)) 1e-6           1e-6           … ms
//! engine   the same, on vectors        3e-7           3e-7           … ms
//! ```

use engine::{Cpu, Generator, Tensor};
use std::time::Instant;

const ROWS: usize = 4096;
const WIDTH: usize = 512;

/// The formula as it is printed. e^x is infinite from x = 89 on in f32, and ∞/∞ is NaN.
fn formula(x: &[f32], y: &mut [f32]) {
    let sum: f32 = x.iter().map(|x| x.exp()).sum();
    y.iter_mut().zip(x).for_each(|(y, x)| *y = x.exp() / sum);
}

fn largest(x: &[f32]) -> f32 {
    x.iter().copied().fold(f32::NEG_INFINITY, f32::max)
}

/// A constant can be taken off every x: it cancels. With the largest one, no exponential is above 1.
fn shifted(x: &[f32], y: &mut [f32]) {
    let m = largest(x);
    let sum: f32 = x.iter().map(|x| (x - m).exp()).sum();
    y.iter_mut().zip(x).for_each(|(y, x)| *y = (x - m).exp() / sum);
}

/// In log-space: ln y = (x − m) − ln Σ e^{x − m}, which is finite even where y is 0.
fn fused(x: &[f32], y: &mut [f32]) {
    let m = largest(x);
    let log_sum = x.iter().map(|x| (x - m).exp()).sum::<f32>().ln();
    y.iter_mut().zip(x).for_each(|(y, x)| *y = ((x - m) - log_sum).exp());
}

fn by_rows(x: &[f32], kernel: fn(&[f32], &mut [f32])) -> Vec<f32> {
    let mut y = vec![0.0; x.len()];
    y.chunks_exact_mut(WIDTH).zip(x.chunks_exact(WIDTH)).for_each(|(y, x)| kernel(x, y));
    y
}

/// The largest difference from the values in f64, relative to the largest value of a row; `None` where a value is NaN.
fn error(x: &[f32], y: &[f32]) -> Option<f64> {
    let of_row = |(x, y): (&[f32], &[f32])| {
        let m = f64::from(largest(x));
        let e: Vec<f64> = x.iter().map(|&x| (f64::from(x) - m).exp()).collect();
        let sum: f64 = e.iter().sum();
        y.iter().zip(&e).map(|(&y, e)| (f64::from(y) - e / sum).abs() * sum).fold(0.0, |a, b| if b > a || b.is_nan() { b } else { a })
    };
    let errors = x.chunks_exact(WIDTH).zip(y.chunks_exact(WIDTH)).map(of_row);
    errors.into_iter().try_fold(0.0, |worst: f64, error| (!error.is_nan()).then_some(worst.max(error)))
}

fn main() {
    let mut generator = Generator::new(1);
    let near: Vec<f32> = (0..ROWS * WIDTH).map(|_| 2.0 * generator.normal() as f32).collect();
    let far: Vec<f32> = near.iter().map(|x| x + 200.0).collect();

    println!("{ROWS} rows of {WIDTH} numbers, around 0 and around 200");
    println!("{:<36} error near 0   around 200     time", "");
    let line = |name: &str, kernel: &dyn Fn(&[f32]) -> Vec<f32>, may_be_nan: bool| {
        // The second run is timed: the first finds its memory not there yet.
        let _ = kernel(&near);
        let started = Instant::now();
        let y = kernel(&near);
        let time = started.elapsed().as_secs_f64() * 1e3;
        let errors = [error(&near, &y), error(&far, &kernel(&far))];
        // An exponential, a sum of 512 terms and a quotient: some ten roundings of 6e-8, and those of the sum.
        assert!(errors[0].is_some_and(|error| error < 1e-5) && (may_be_nan || errors[1].is_some_and(|error| error < 1e-5)), "{errors:?}");
        let [near, far] = errors.map(|error| error.map_or_else(|| "NaN".to_owned(), |error| format!("{error:.0e}")));
        println!("{name:<36} {near:<14} {far:<14} {time:.1} ms");
    };
    line("formula  e^x / Σ e^x", &|x| by_rows(x, formula), true);
    line("shifted  e^(x − m) / Σ e^(x − m)", &|x| by_rows(x, shifted), false);
    line("fused    exp(x − m − ln Σ e^(x − m))", &|x| by_rows(x, fused), false);
    let cpu = Cpu::<f32>::new();
    line("engine   the same, on vectors", &|x| Tensor::from_vec(&cpu, x.to_vec(), &[ROWS, WIDTH]).softmax().to_vec(), false);
}
