//! An axis: its range, and the positions and labels of its ticks.

use std::ops::Range;

use plotters::coord::ranged1d::{KeyPointHint, NoDefaultFormatting, Ranged, ValueFormatter};

/// A linear or logarithmic axis. Positions are values on a linear axis and log₁₀ of them on a logarithmic one.
#[derive(Debug, Clone)]
pub(super) struct Axis {
    /// The positions of the two ends.
    pub range: (f64, f64),
    /// Positions with labels, from the low end to the high end.
    pub ticks: Vec<(f64, String)>,
    log: bool,
}

impl Axis {
    /// Creates an axis over `values`, widened on both sides by `margin` times their extent. Values without a position are skipped. Returns
    /// `None` if no value has a position.
    pub(super) fn over(values: impl Iterator<Item = f64>, log: bool, margin: f64, ticks: usize) -> Option<Self> {
        let positions = values.filter_map(|value| position(value, log));
        let (low, high) = positions.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| (low.min(value), high.max(value)));
        if low > high {
            return None;
        }
        let range = widened(low, high, margin);
        let ticks = if log { log_ticks(range, ticks) } else { linear_ticks(range, ticks) };
        Some(Self { range, ticks, log })
    }

    /// Creates a linear axis from `start` to `end`, without ticks. `end` may be smaller than `start`.
    pub(super) fn bare(start: f64, end: f64) -> Self {
        Self { range: (start, end), ticks: Vec::new(), log: false }
    }

    /// Returns the position of `value` on this axis, if it has one.
    pub(super) fn position(&self, value: f64) -> Option<f64> {
        position(value, self.log)
    }
}

/// Plotters' view of an axis: its values are positions.
impl Ranged for Axis {
    type FormatOption = NoDefaultFormatting;
    type ValueType = f64;

    fn map(&self, position: &f64, (start, end): (i32, i32)) -> i32 {
        let share = (position - self.range.0) / (self.range.1 - self.range.0);
        start + (share * f64::from(end - start)).round() as i32
    }

    fn key_points<Hint: KeyPointHint>(&self, hint: Hint) -> Vec<f64> {
        match hint.weight().allow_light_points() {
            true => Vec::new(),
            false => self.ticks.iter().map(|tick| tick.0).collect(),
        }
    }

    fn range(&self) -> Range<f64> {
        self.range.0..self.range.1
    }
}

impl ValueFormatter<f64> for Axis {
    fn format_ext(&self, position: &f64) -> String {
        let tick = self.ticks.iter().find(|tick| tick.0 == *position);
        tick.map(|tick| tick.1.clone()).unwrap_or_default()
    }
}

/// Returns the position of a value. Values beyond ±1e300 have none, so that extents and margins stay finite.
pub(super) fn position(value: f64, log: bool) -> Option<f64> {
    let position = if log { value.log10() } else { value };
    (position.abs() <= 1e300).then_some(position)
}

fn widened(low: f64, high: f64, margin: f64) -> (f64, f64) {
    let extent = high - low;
    let smallest = low.abs().max(high.abs()) * 1e-9;
    if extent > smallest {
        (low - extent * margin, high + extent * margin)
    } else {
        let half = if low == 0.0 { 1.0 } else { low.abs() * 0.1 };
        (low - half, high + half)
    }
}

/// Chooses at most about `count` round values, spaced by 1, 2 or 5 times a power of ten.
fn linear_ticks((low, high): (f64, f64), count: usize) -> Vec<(f64, String)> {
    let rough = (high - low) / count as f64;
    let power = 10f64.powf(rough.log10().floor());
    let step = [1.0, 2.0, 5.0, 10.0].map(|factor| factor * power).into_iter().find(|step| *step >= rough * 0.999);
    let step = step.unwrap_or(10.0 * power);
    let decimals = (-step.log10().floor()).max(0.0) as usize;
    let (first, last) = ((low / step - 1e-9).ceil(), (high / step + 1e-9).floor());
    let tick = |index: usize| {
        let value = (first + index as f64) * step;
        (value, tick_label(value, decimals, low.abs().max(high.abs())))
    };
    (0..=(last - first) as usize).map(tick).collect()
}

/// Chooses powers of ten. A short range also has 2 and 5 times each power, and a long range only every second, third … power.
fn log_ticks((low, high): (f64, f64), count: usize) -> Vec<(f64, String)> {
    let decades = high - low;
    if decades < 0.7 {
        let linear = linear_ticks((10f64.powf(low), 10f64.powf(high)), count);
        return linear.into_iter().filter(|tick| tick.0 > 0.0).map(|(v, label)| (v.log10(), label)).collect();
    }
    let factors: &[f64] = if decades < 3.0 { &[1.0, 2.0, 5.0] } else { &[1.0] };
    let stride = (decades / count as f64).ceil().max(1.0) as i64;
    let powers = (low.floor() as i64..=high.ceil() as i64).filter(|power| power.rem_euclid(stride) == 0);
    let values = powers.flat_map(|power| factors.iter().map(move |factor| (*factor, power)));
    values
        .map(|(factor, power)| (factor.log10() + power as f64, log_label(factor, power)))
        .filter(|tick| (low..=high).contains(&tick.0))
        .collect()
}

fn log_label(factor: f64, power: i64) -> String {
    match power {
        -3..=5 => number(factor * 10f64.powi(power as i32), (-power).max(0) as usize),
        _ => format!("{factor}e{}", power.to_string().replace('-', "−")),
    }
}

fn tick_label(value: f64, decimals: usize, largest: f64) -> String {
    if decimals > 5 || largest >= 1e7 { scientific(value) } else { number(value, decimals) }
}

fn scientific(value: f64) -> String {
    if value == 0.0 { "0".to_owned() } else { format!("{value:.3e}").replace('-', "−").replace(".000e", "e") }
}

/// Formats `value` with `decimals` digits after the point, a true minus sign and separated thousands.
pub(super) fn number(value: f64, decimals: usize) -> String {
    if !value.is_finite() {
        return value.to_string().replace('-', "−");
    }
    let digits = format!("{:.decimals$}", value.abs());
    let (whole, fraction) = digits.split_at(digits.find('.').unwrap_or(digits.len()));
    let is_zero = digits.bytes().all(|byte| matches!(byte, b'0' | b'.'));
    let mut text = String::from(if value < 0.0 && !is_zero { "−" } else { "" });
    for (index, digit) in whole.chars().enumerate() {
        if index > 0 && (whole.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text + fraction
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(values: &[f64], log: bool) -> Vec<String> {
        let axis = Axis::over(values.iter().copied(), log, 0.0, 5).unwrap();
        axis.ticks.into_iter().map(|tick| tick.1).collect()
    }

    #[test]
    fn ticks_are_round_numbers_within_the_range() {
        assert_eq!(labels(&[0.0, 1.0], false), ["0.0", "0.2", "0.4", "0.6", "0.8", "1.0"]);
        assert_eq!(labels(&[-1.3, 2.2], false), ["−1", "0", "1", "2"]);
        assert_eq!(labels(&[0.0, 20_000.0], false), ["0", "5,000", "10,000", "15,000", "20,000"]);
        let tiny = ["1e−9", "1.500e−9", "2e−9", "2.500e−9", "3e−9"];
        assert_eq!(labels(&[1e-9, 3e-9], false), tiny);
        assert_eq!(labels(&[0.01, 1000.0], true), ["0.01", "0.1", "1", "10", "100", "1,000"]);
        assert_eq!(labels(&[1.0, 20.0], true), ["1", "2", "5", "10", "20"]);
        let wide = ["1e−12", "1e−8", "1e−4", "1", "10,000", "1e8"];
        assert_eq!(labels(&[1e-12, 1e8], true), wide);
    }

    #[test]
    fn what_has_no_place_is_passed_over() {
        assert!(Axis::over([f64::NAN, f64::INFINITY].into_iter(), false, 0.1, 5).is_none());
        assert!(Axis::over([0.0, -1.0].into_iter(), true, 0.1, 5).is_none());
        assert_eq!(Axis::over([f64::NAN, 2.0, 3.0].into_iter(), false, 0.0, 5).unwrap().range, (2.0, 3.0));
    }

    #[test]
    fn a_single_value_has_room_around_it() {
        for value in [0.0, 1e-30, -5.0, 1e300] {
            let axis = Axis::over([value].into_iter(), false, 0.05, 5).unwrap();
            assert!(axis.range.0 < value && value < axis.range.1, "{axis:?}");
            assert!(axis.ticks.len() <= 12, "{axis:?}");
        }
    }

    #[test]
    fn numbers_are_grouped_and_signed() {
        assert_eq!(number(-1234567.891, 1), "−1,234,567.9");
        assert_eq!(number(1234.0, 0), "1,234");
        assert_eq!(number(-0.0001, 2), "0.00");
        assert_eq!(number(f64::NEG_INFINITY, 2), "−inf");
    }
}
