//! What one run was at some moments of its training, and what it was where it first reached a divergence.

/// A policy at one moment.
#[derive(Clone, Debug, PartialEq)]
pub struct Moment {
    /// Steps made.
    pub step: u64,
    /// KL(π‖ref), in nats.
    pub divergence: f64,
    /// What is measured beside it. The first is the outcome by which settings are chosen.
    pub values: Vec<f64>,
}

/// What a run was where it first reached a divergence, or at its end if it never did.
#[derive(Clone, Debug, PartialEq)]
pub struct Reached {
    /// True if the divergence was reached.
    pub is_reached: bool,
    /// As [`Moment::values`].
    pub values: Vec<f64>,
}

/// Returns the steps after which a run of `steps` steps is measured: some `count`, from 0 on, and denser at the start.
///
/// # Panics
/// If `count` is below 2.
pub fn moments(steps: u64, count: usize) -> Vec<u64> {
    let last = (count - 1) as f64;
    let mut all: Vec<u64> = (0..count).map(|i| (steps as f64).powf(i as f64 / last).round() as u64).collect();
    // Early moments fall together: the next steps take their places.
    for place in 1..all.len() {
        all[place] = all[place].max(all[place - 1] + 1).min(steps);
    }
    all.insert(0, 0);
    all.dedup();
    all
}

/// Interpolates between the first moment at or above `divergence` and the moment before it.
///
/// # Panics
/// If there is no moment.
pub fn at(path: &[Moment], divergence: f64) -> Reached {
    let Some(after) = path.iter().position(|moment| moment.divergence >= divergence) else {
        let last = path.last().expect("a run has moments");
        return Reached { is_reached: false, values: last.values.clone() };
    };
    let b = &path[after];
    let Some(a) = after.checked_sub(1).map(|before| &path[before]) else {
        return Reached { is_reached: true, values: b.values.clone() };
    };
    let share = (divergence - a.divergence) / (b.divergence - a.divergence);
    let values = a.values.iter().zip(&b.values).map(|(a, b)| a + share * (b - a)).collect();
    Reached { is_reached: true, values }
}

/// Returns the mean over runs of a value where they first reach `divergence`; `None` if not all runs do, or if there is none.
pub fn mean_at<'a>(paths: impl IntoIterator<Item = &'a [Moment]>, divergence: f64, value: usize) -> Option<f64> {
    let reached: Option<Vec<f64>> = paths
        .into_iter()
        .map(|path| Some(at(path, divergence)).filter(|reached| reached.is_reached).map(|reached| reached.values[value]))
        .collect();
    reached.filter(|values| !values.is_empty()).map(|values| values.iter().sum::<f64>() / values.len() as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn moment(step: u64, divergence: f64, reward: f64) -> Moment {
        Moment { step, divergence, values: vec![reward, 0.0] }
    }

    #[test]
    fn moments_begin_with_every_step_and_end_with_the_last() {
        for steps in [5, 60, 240, 2400] {
            let all = moments(steps, 40);
            assert!(all.windows(2).all(|pair| pair[0] < pair[1]) && all.len() <= 41, "{all:?}");
            assert_eq!((all[..4].to_vec(), all.last()), (vec![0, 1, 2, 3], Some(&steps)));
        }
        assert!(moments(240, 40).len() > 35);
    }

    #[test]
    fn the_first_crossing_counts_and_a_run_that_stays_below_has_its_last_value() {
        let path = [moment(0, 0.0, 0.0), moment(1, 0.2, 1.0), moment(2, 0.6, 2.0), moment(3, 0.3, 9.0), moment(4, 0.7, 5.0)];
        assert_eq!(at(&path, 0.5).values[0], 1.75);
        assert_eq!(at(&path, 0.2).values[0], 1.0);
        assert!(at(&path, 0.65).is_reached && (at(&path, 0.65).values[0] - (9.0 - 4.0 * 0.35 / 0.4)).abs() < 1e-12);
        assert_eq!(mean_at([path.as_slice(), &path[..3]], 0.5, 0), Some(1.75));
        assert_eq!((mean_at([path.as_slice(), &path[..2]], 0.5, 0), mean_at([], 0.5, 0)), (None, None));
        assert_eq!(at(&path, 1.0), Reached { is_reached: false, values: path[4].values.clone() });
    }
}
