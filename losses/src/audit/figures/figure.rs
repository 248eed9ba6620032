//! A figure as plain data.

/// A figure, with the claims that it supports.
#[derive(Clone, Debug, PartialEq)]
pub struct Figure {
    /// A short name, different for each figure.
    pub name: &'static str,
    /// The ids of the claims that it supports; empty for the paper's own figures.
    pub claims: &'static [&'static str],
    /// What it shows, in a few words.
    pub title: String,
    /// What to look for, with this instance's numbers.
    pub caption: String,
    /// The data.
    pub drawing: Drawing,
}

/// A figure's data.
#[derive(Clone, Debug, PartialEq)]
pub enum Drawing {
    /// Lines and points.
    Curves(Curves),
    /// A function of two numbers.
    Surface(Surface),
}

/// Lines and points over two axes. A value that is not finite, or not positive on a logarithmic axis, is a gap.
#[derive(Clone, Debug, PartialEq)]
pub struct Curves {
    /// The horizontal quantity.
    pub x_label: &'static str,
    /// The vertical quantity.
    pub y_label: &'static str,
    /// True for a logarithmic vertical axis.
    pub log_y: bool,
    /// The series, each with its own name.
    pub curves: Vec<Curve>,
    /// Horizontal lines, such as a bound.
    pub levels: Vec<(String, f64)>,
}

/// A series.
#[derive(Clone, Debug, PartialEq)]
pub struct Curve {
    /// The name of the series.
    pub name: String,
    /// (x, y).
    pub points: Vec<(f64, f64)>,
    /// True for unconnected points instead of a line.
    pub marks: bool,
}

/// A function on a grid, with a path over it.
#[derive(Clone, Debug, PartialEq)]
pub struct Surface {
    /// The horizontal quantity.
    pub x_label: &'static str,
    /// The vertical quantity.
    pub y_label: &'static str,
    /// The function's name.
    pub value_label: String,
    /// Grid values, increasing by equal steps.
    pub x: Vec<f64>,
    /// Grid values, increasing by equal steps.
    pub y: Vec<f64>,
    /// The function at (x_i, y_j) is `values[j·|x| + i]`.
    pub values: Vec<f64>,
    /// The path of gradient descent from the reference, within the grid.
    pub path: Vec<(f64, f64)>,
}

impl Curve {
    pub(super) fn line(name: impl Into<String>, points: Vec<(f64, f64)>) -> Self {
        Self { name: name.into(), points, marks: false }
    }

    pub(super) fn marks(name: impl Into<String>, points: Vec<(f64, f64)>) -> Self {
        Self { name: name.into(), points, marks: true }
    }
}

impl Curves {
    pub(super) fn new(x_label: &'static str, y_label: &'static str, curves: Vec<Curve>) -> Self {
        Self { x_label, y_label, log_y: false, curves, levels: Vec::new() }
    }

    pub(super) fn log_y(self) -> Self {
        Self { log_y: true, ..self }
    }

    pub(super) fn level(mut self, name: impl Into<String>, y: f64) -> Self {
        self.levels.push((name.into(), y));
        self
    }
}

impl Figure {
    pub(super) fn new(name: &'static str, claims: &'static [&'static str], title: &str, caption: String, drawing: Drawing) -> Self {
        Self { name, claims, title: title.to_owned(), caption, drawing }
    }
}

/// Returns n numbers from `low` to `high`, both included, at equal distances.
pub(super) fn steps(low: f64, high: f64, n: usize) -> impl Iterator<Item = f64> + Clone {
    (0..n).map(move |i| low + (high - low) * i as f64 / (n - 1) as f64)
}
