//! Charts. [`data`] describes what is drawn, and the other submodules draw it.

mod axis;
mod bars;
mod canvas;
mod data;
mod labels;
mod series;
pub(super) mod style;
mod surface;
mod xy;

pub use data::{BarChart, SurfaceChart, XyChart};

use canvas::{DrawError, Screen};
use style::Styles;

/// A chart of any kind.
#[derive(Debug, Clone)]
pub enum Chart {
    /// Lines and points over two numeric axes.
    Xy(XyChart),
    /// One bar for each category.
    Bars(BarChart),
    /// A function of two numbers.
    Surface(SurfaceChart),
}

impl From<SurfaceChart> for Chart {
    fn from(chart: SurfaceChart) -> Self {
        Self::Surface(chart)
    }
}

impl From<XyChart> for Chart {
    fn from(chart: XyChart) -> Self {
        Self::Xy(chart)
    }
}

impl From<BarChart> for Chart {
    fn from(chart: BarChart) -> Self {
        Self::Bars(chart)
    }
}

impl Chart {
    /// Draws the chart as two `<svg>` elements, for wide and narrow screens. `title` names it for people who cannot see it. Returns `None`
    /// if no value is finite.
    pub(super) fn svg(&self, title: &str, styles: &mut Styles) -> Result<Option<String>, DrawError> {
        let drawings = Screen::ALL.into_iter().map(|screen| self.svg_of(title, screen, styles));
        drawings.collect()
    }

    /// Draws the chart as one `<svg>` element for wide screens.
    pub(super) fn wide_svg(&self, title: &str) -> Result<Option<String>, DrawError> {
        self.svg_of(title, Screen::Wide, &mut Styles::default())
    }

    fn svg_of(&self, title: &str, screen: Screen, styles: &mut Styles) -> Result<Option<String>, DrawError> {
        match self {
            Self::Xy(chart) => xy::svg(chart, title, screen, styles),
            Self::Bars(chart) => bars::svg(chart, title, screen, styles),
            Self::Surface(chart) => surface::svg(chart, title, screen),
        }
    }
}
