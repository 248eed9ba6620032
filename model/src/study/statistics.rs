//! Means over seeds with bootstrap intervals, and Holm's correction for many comparisons.

use engine::Generator;

/// Resamples of a bootstrap.
pub const RESAMPLES: usize = 10_000;
/// The least error of a resample beside that of the numbers: below it, the resample's numbers are equal but for round-off.
const LEAST_SPREAD: f64 = 1e-9;
/// The probability that an interval misses the mean.
const MISSES: f64 = 0.05;

/// What is known of the mean of some numbers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Summary {
    /// The mean.
    pub mean: f64,
    /// The median.
    pub median: f64,
    /// The ends of the 95 % interval of the mean.
    pub interval: (f64, f64),
    /// The probability of a mean as far from 0, if the true one is 0.
    pub p: f64,
}

/// Returns the median; NaN for no numbers.
pub fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    match sorted.len() {
        0 => f64::NAN,
        n => (sorted[(n - 1) / 2] + sorted[n / 2]) / 2.0,
    }
}

/// Computes the mean and its standard error; the error of a single number is 0.
pub fn mean_and_error(values: &[f64]) -> (f64, f64) {
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
    (mean, (squares / (n - 1.0).max(1.0) / n).sqrt())
}

/// Summarises numbers by the studentised bootstrap (Efron and Tibshirani 1993, section 12.5): t* = (mean* − mean)/error* over resamples.
/// The interval is mean − t*·error at the quantiles of t*; p is the share of |t*| at or above |mean|/error. Resamples whose numbers are all
/// equal have no error and are drawn again.
///
/// Numbers that are not all finite have an interval without ends and p 1. Numbers that are all equal have an interval of no width, and p 1
/// if they are 0, else the least that this number of resamples can show.
///
/// # Panics
/// For fewer than two numbers.
pub fn summary(values: &[f64], generator: &Generator) -> Summary {
    of_resamples(values, generator, RESAMPLES)
}

/// [`summary`] with this number of resamples.
fn of_resamples(values: &[f64], generator: &Generator, resamples: usize) -> Summary {
    assert!(values.len() > 1, "summary: {} numbers have no spread", values.len());
    let (mean, error) = mean_and_error(values);
    let median = median(values);
    if !error.is_finite() {
        return Summary { mean, median, interval: (f64::NEG_INFINITY, f64::INFINITY), p: 1.0 };
    }
    if error == 0.0 {
        let p = if mean == 0.0 { 1.0 } else { 1.0 / (resamples + 1) as f64 };
        return Summary { mean, median, interval: (mean, mean), p };
    }
    let mut generator = *generator;
    let mut ratios = Vec::with_capacity(resamples);
    while ratios.len() < resamples {
        let resample: Vec<f64> = values.iter().map(|_| values[generator.below(values.len())]).collect();
        let (resampled, spread) = mean_and_error(&resample);
        if spread > LEAST_SPREAD * error {
            ratios.push((resampled - mean) / spread);
        }
    }
    ratios.sort_by(f64::total_cmp);
    let quantile = |q: f64| ratios[((q * resamples as f64) as usize).min(resamples - 1)];
    let interval = (mean - quantile(1.0 - MISSES / 2.0) * error, mean - quantile(MISSES / 2.0) * error);
    let beyond = ratios.iter().filter(|ratio| ratio.abs() >= (mean / error).abs()).count();
    Summary { mean, median, interval, p: (1 + beyond) as f64 / (1 + resamples) as f64 }
}

/// Corrects probabilities for their number (Holm 1979): the k-th smallest of m, counted from 0, times m − k, at least that of the one
/// before it and at most 1.
pub fn holm(probabilities: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..probabilities.len()).collect();
    order.sort_by(|&a, &b| probabilities[a].total_cmp(&probabilities[b]));
    let mut corrected = vec![0.0; probabilities.len()];
    let mut least: f64 = 0.0;
    for (k, &place) in order.iter().enumerate() {
        least = least.max(((probabilities.len() - k) as f64 * probabilities[place]).min(1.0));
        corrected[place] = least;
    }
    corrected
}

/// a − b, number by number, as far as both go.
pub fn differences(a: &[f64], b: &[f64]) -> Vec<f64> {
    a.iter().zip(b).map(|(a, b)| a - b).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The binomial error of 500 intervals of 95 % is 0.01; the studentised bootstrap of ten numbers misses by up to 0.02 itself.
    #[test]
    fn intervals_of_ten_numbers_contain_the_mean_19_times_in_20() {
        for (skewed, seed) in [(false, 1), (true, 2)] {
            let mut generator = Generator::new(seed);
            let mut draw = |_| {
                let normal = generator.normal();
                if skewed { (0.5 * normal).exp() } else { 3.0 + 2.0 * normal }
            };
            let truth = if skewed { 0.125_f64.exp() } else { 3.0 };
            let contains = (0..500).filter(|&i| {
                let values: Vec<f64> = (0..10).map(&mut draw).collect();
                let (low, high) = of_resamples(&values, &Generator::new(i), 1000).interval;
                low <= truth && truth <= high
            });
            let share = contains.count() as f64 / 500.0;
            assert!((0.91..0.985).contains(&share), "{share} of the intervals, skewed: {skewed}");
        }
    }

    #[test]
    fn probabilities_are_uniform_where_the_mean_is_0_and_small_where_it_is_not() {
        let mut generator = Generator::new(4);
        let mut p =
            |shift: f64| of_resamples(&(0..10).map(|_| shift + generator.normal()).collect::<Vec<f64>>(), &Generator::new(1), 1000).p;
        let small = (0..400).filter(|_| p(0.0) < 0.05).count() as f64 / 400.0;
        assert!((0.015..0.1).contains(&small), "{small}");
        assert!(p(3.0) < 0.01);
    }

    /// Four probabilities of Holm's own kind of example: the second and third are both corrected to 0.06.
    #[test]
    fn holm_corrects_the_textbook_example() {
        let corrected = holm(&[0.01, 0.04, 0.03, 0.005]);
        let expected = [0.03, 0.06, 0.06, 0.02];
        assert!(corrected.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-12), "{corrected:?}");
        assert_eq!(holm(&[0.9, 0.8]), [1.0, 1.0]);
        assert!(holm(&[]).is_empty());
    }

    #[test]
    fn equal_numbers_have_no_spread() {
        let of = |value: f64| summary(&[value; 5], &Generator::new(1));
        assert_eq!((of(0.0).p, of(2.0).interval), (1.0, (2.0, 2.0)));
        assert!(of(2.0).p < 1e-3);
        let infinite = summary(&[1.0, f64::INFINITY], &Generator::new(1));
        assert_eq!((infinite.interval, infinite.p), ((f64::NEG_INFINITY, f64::INFINITY), 1.0));
        assert_eq!((median(&[3.0, 1.0, 2.0]), median(&[4.0, 1.0])), (2.0, 2.5));
    }
}
