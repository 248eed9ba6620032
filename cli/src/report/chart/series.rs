//! Points of a series before they are drawn: gaps, smoothing, thinning.

/// A point in the positions of its axes.
pub(super) type Point = (f64, f64);

/// A segment is thinned to about twice this many points, which is finer than a page can show.
const BUCKETS: usize = 700;

/// Cuts a series at missing values. Each run that results is one line.
pub(super) fn runs(points: impl Iterator<Item = Option<Point>>) -> Vec<Vec<Point>> {
    let mut runs = vec![Vec::new()];
    for point in points {
        match (point, runs.last_mut()) {
            (Some(point), Some(run)) => run.push(point),
            (None, Some(run)) if !run.is_empty() => runs.push(Vec::new()),
            _ => {}
        }
    }
    runs.retain(|run| !run.is_empty());
    runs
}

/// Computes the mean of y over up to `window` points around each point. A `window` of 0 or 1 changes nothing. Near the start the window
/// shrinks on both sides, so that a steep start is not flattened. Near the end only its far side is cut, so that the line does not end in
/// noise.
pub(super) fn smoothed(run: &[Point], window: usize) -> Vec<Point> {
    let mut sums = vec![0.0];
    for point in run {
        sums.push(sums[sums.len() - 1] + point.1);
    }
    let mean = |index: usize| {
        let reach = (window / 2).min(index);
        let (from, to) = (index - reach, (index + reach + 1).min(run.len()));
        (run[index].0, (sums[to] - sums[from]) / (to - from) as f64)
    };
    (0..run.len()).map(mean).collect()
}

/// Keeps the first, the lowest, the highest and the last point of each of [`BUCKETS`] stretches. The drawn shape stays the same.
pub(super) fn thinned(run: Vec<Point>) -> Vec<Point> {
    if run.len() <= 4 * BUCKETS {
        return run;
    }
    let mut kept = Vec::with_capacity(4 * BUCKETS);
    for stretch in run.chunks(run.len().div_ceil(BUCKETS)) {
        let by_y = |a: &usize, b: &usize| stretch[*a].1.total_cmp(&stretch[*b].1);
        let lowest = (0..stretch.len()).min_by(by_y).unwrap_or(0);
        let highest = (0..stretch.len()).max_by(by_y).unwrap_or(0);
        let mut indices = [0, lowest, highest, stretch.len() - 1];
        indices.sort_unstable();
        let mut last = None;
        for index in indices {
            if last != Some(index) {
                kept.push(stretch[index]);
                last = Some(index);
            }
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_values_part_the_runs() {
        let points = [None, Some((1.0, 1.0)), None, None, Some((3.0, 1.0)), Some((4.0, 1.0)), None];
        let runs = runs(points.into_iter());
        assert_eq!(runs, [vec![(1.0, 1.0)], vec![(3.0, 1.0), (4.0, 1.0)]]);
    }

    #[test]
    fn the_mean_is_centred_up_to_the_last_half_window() {
        let line: Vec<Point> = (0..50).map(|i| (f64::from(i), 2.0 * f64::from(i) + 1.0)).collect();
        for (smooth, point) in smoothed(&line, 9).iter().zip(&line).take(46) {
            assert!((smooth.1 - point.1).abs() < 1e-9);
        }
        let spike = [(0.0, 0.0), (1.0, 3.0), (2.0, 0.0)];
        assert_eq!(smoothed(&spike, 3), [(0.0, 0.0), (1.0, 1.0), (2.0, 1.5)]);
        assert_eq!(smoothed(&spike, 0), spike);
    }

    #[test]
    fn thinning_keeps_ends_and_extremes() {
        let mut run: Vec<Point> = (0..100_000).map(|i| (f64::from(i), (f64::from(i) * 0.1).sin())).collect();
        run[12_345].1 = 9.0;
        run[54_321].1 = -9.0;
        let thin = thinned(run.clone());
        assert!(thin.len() <= 4 * BUCKETS);
        assert!(thin.contains(&(12_345.0, 9.0)) && thin.contains(&(54_321.0, -9.0)));
        assert_eq!((thin[0], thin[thin.len() - 1]), (run[0], run[99_999]));
        assert!(thin.is_sorted_by_key(|point| point.0));
    }
}
