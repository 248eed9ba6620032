//! The content of the charts.

/// How the points of a series are drawn.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Mark {
    Line,
    /// A pale line below the mean over this many neighbouring points.
    Smoothed(usize),
    Points,
}

#[derive(Debug, Clone)]
pub struct Series {
    pub name: String,
    pub points: Vec<(f64, f64)>,
    pub mark: Mark,
}

/// A line chart, a scatter chart, or both. Values that are not finite leave gaps. With [`log_x`](Self::log_x) and
/// [`log_y`](Self::log_y), values that are not positive also leave gaps.
#[derive(Debug, Clone)]
pub struct XyChart {
    pub x_label: String,
    pub y_label: String,
    pub log_x: bool,
    pub log_y: bool,
    pub series: Vec<Series>,
    pub references: Vec<(String, f64)>,
}

impl XyChart {
    /// Creates an empty chart. A label names the quantity and its unit, as in `loss (nats per token)`.
    pub fn new(x_label: impl Into<String>, y_label: impl Into<String>) -> Self {
        let (x_label, y_label) = (x_label.into(), y_label.into());
        Self { x_label, y_label, log_x: false, log_y: false, series: Vec::new(), references: Vec::new() }
    }

    /// Adds a line through (x, y) points in their order.
    #[must_use]
    pub fn line(self, name: impl Into<String>, points: impl Into<Vec<(f64, f64)>>) -> Self {
        self.with(name.into(), points.into(), Mark::Line)
    }

    /// Adds a noisy line, drawn pale, below its centred mean over `window` points.
    #[must_use]
    pub fn smoothed_line(self, name: impl Into<String>, points: impl Into<Vec<(f64, f64)>>, window: usize) -> Self {
        self.with(name.into(), points.into(), Mark::Smoothed(window))
    }

    /// Adds unconnected points.
    #[must_use]
    pub fn points(self, name: impl Into<String>, points: impl Into<Vec<(f64, f64)>>) -> Self {
        self.with(name.into(), points.into(), Mark::Points)
    }

    /// Makes the x axis logarithmic.
    #[must_use]
    pub fn log_x(mut self) -> Self {
        self.log_x = true;
        self
    }

    /// Makes the y axis logarithmic.
    #[must_use]
    pub fn log_y(mut self) -> Self {
        self.log_y = true;
        self
    }

    /// Adds a horizontal line at `y`, such as a bound or a known optimum.
    #[must_use]
    pub fn reference(mut self, label: impl Into<String>, y: f64) -> Self {
        self.references.push((label.into(), y));
        self
    }

    fn with(mut self, name: String, points: Vec<(f64, f64)>, mark: Mark) -> Self {
        self.series.push(Series { name, points, mark });
        self
    }
}

#[derive(Debug, Clone)]
pub struct Bar {
    pub name: String,
    pub value: f64,
    pub error: Option<f64>,
}

/// Horizontal bars from zero, each with its name to the left and its value to the right. If a value is not finite, it is written without a
/// bar.
#[derive(Debug, Clone)]
pub struct BarChart {
    pub label: String,
    pub bars: Vec<Bar>,
    pub references: Vec<(String, f64)>,
}

impl BarChart {
    /// Creates an empty chart. The label names the quantity and its unit.
    pub fn new(label: impl Into<String>) -> Self {
        Self { label: label.into(), bars: Vec::new(), references: Vec::new() }
    }

    /// Adds a bar.
    #[must_use]
    pub fn bar(self, name: impl Into<String>, value: f64) -> Self {
        self.with(name.into(), value, None)
    }

    /// Adds a bar with a whisker from `value − error` to `value + error`. The report's text says what the error is.
    #[must_use]
    pub fn bar_with_error(self, name: impl Into<String>, value: f64, error: f64) -> Self {
        self.with(name.into(), value, Some(error))
    }

    /// Adds a vertical line at `value`.
    #[must_use]
    pub fn reference(mut self, label: impl Into<String>, value: f64) -> Self {
        self.references.push((label.into(), value));
        self
    }

    fn with(mut self, name: String, value: f64, error: Option<f64>) -> Self {
        self.bars.push(Bar { name, value, error });
        self
    }
}

/// A function on a grid as bands of shade, the darkest where it is lowest, with a path over it.
#[derive(Debug, Clone)]
pub struct SurfaceChart {
    /// The horizontal quantity.
    pub x_label: String,
    /// The vertical quantity.
    pub y_label: String,
    /// The function.
    pub value_label: String,
    /// Increasing, equally spaced, at least two.
    pub x: Vec<f64>,
    /// Increasing, equally spaced, at least two.
    pub y: Vec<f64>,
    /// The value at (x_i, y_j) is `values[j·|x| + i]`. A value that is not finite is left blank.
    pub values: Vec<f64>,
    /// Points within the grid. The first is marked.
    pub path: Vec<(f64, f64)>,
}
