//! The drawing surface: an SVG written by plotters, and the few shapes that the charts share.
//!
//! Plotters places everything at whole pixels. The SVG is therefore [`SCALE`] times as large as the chart is shown, and the page shrinks
//! it. Sizes in this module's functions and in the charts' layout are in shown pixels.

use std::io;

use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::labels::estimated_width;
use super::style::{INK, LINE_WIDTH, Marker, REFERENCE_WIDTH};

/// SVG pixels per shown pixel.
const SCALE: f64 = 4.0;
/// Font size of labels in shown pixels.
pub(super) const FONT_SIZE: f64 = 14.0;
/// Distance between the lines of a text in shown pixels.
pub(super) const LINE_HEIGHT: f64 = 17.0;
/// From the plot's edge to the middle of the x axis' name. The tick labels are between them.
const AXIS_NAME: f64 = 43.0;

/// The screen for which a drawing is laid out. A page contains one drawing for each screen, and its style sheet shows the one that fits.
/// Text thus has the same size on both.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Screen {
    /// A wide screen. Names are beside the plot.
    Wide,
    /// A phone. Names are above and below the plot.
    Narrow,
}

impl Screen {
    pub(super) const ALL: [Self; 2] = [Self::Wide, Self::Narrow];

    /// Width of a drawing in shown pixels.
    pub(super) fn width(self) -> f64 {
        self.pick(960.0, 380.0)
    }

    /// Most characters of average width in a line.
    pub(super) fn characters(self) -> usize {
        self.pick(110, 44)
    }

    /// Chooses the value for this screen.
    pub(super) fn pick<T>(self, wide: T, narrow: T) -> T {
        match self {
            Self::Wide => wide,
            Self::Narrow => narrow,
        }
    }
}

/// An error of the chart library.
pub type DrawError = DrawingAreaErrorKind<io::Error>;
/// The whole surface, in SVG pixels.
pub(super) type Surface<'a> = DrawingArea<SVGBackend<'a>, Shift>;

/// Converts shown pixels to SVG pixels.
pub(super) fn units(pixels: f64) -> i32 {
    (pixels * SCALE).round() as i32
}

/// Converts SVG pixels to shown pixels.
pub(super) fn pixels(units: i32) -> f64 {
    f64::from(units) / SCALE
}

/// Draws an SVG of the screen's width × `height` that a page can show at any width, with `title` as its name.
pub(super) fn svg(
    title: &str,
    screen: Screen,
    height: f64,
    draw: impl FnOnce(&Surface) -> Result<(), DrawError>,
) -> Result<String, DrawError> {
    let size = (units(screen.width()) as u32, units(height) as u32);
    let mut text = String::new();
    {
        let surface = SVGBackend::with_string(&mut text, size).into_drawing_area();
        draw(&surface)?;
        surface.present()?;
    }
    let fixed_size = format!("<svg width=\"{}\" height=\"{}\"", size.0, size.1);
    let named = format!("<svg role=\"img\" class=\"{}\" aria-label=\"{}\"", screen.pick("wide", "narrow"), escaped(title));
    Ok(text.replacen(&fixed_size, &named, 1))
}

fn escaped(text: &str) -> String {
    [('&', "&amp;"), ('<', "&lt;"), ('>', "&gt;"), ('"', "&quot;"), ('\'', "&#39;")]
        .into_iter()
        .fold(text.to_owned(), |text, (character, entity)| text.replace(character, entity))
}

/// Creates a text style. Plotters divides a font's size by 1.24 before it writes it.
pub(super) fn font(color: RGBColor) -> TextStyle<'static> {
    ("sans-serif", FONT_SIZE * SCALE * 1.24).into_font().color(&color)
}

/// Writes text whose left end, centre or right end is at the given point. The point is at half the text's height.
pub(super) fn text(surface: &Surface, (x, y): (f64, f64), text: &str, color: RGBColor, side: HPos) -> Result<(), DrawError> {
    let style = font(color).pos(Pos::new(side, VPos::Center));
    surface.draw(&Text::new(text.to_owned(), (units(x), units(y)), style))
}

/// Writes lines below one another. The middle of the first line is at `y`.
pub(super) fn lines(surface: &Surface, (x, y): (f64, f64), lines: &[String], color: RGBColor, side: HPos) -> Result<(), DrawError> {
    for (index, line) in lines.iter().enumerate() {
        text(surface, (x, y + index as f64 * LINE_HEIGHT), line, color, side)?;
    }
    Ok(())
}

/// Names the x axis at the lower edge of a plot, `bottom`. The name is centred on the plot at `middle`, or moved inwards so that it stays
/// in the drawing.
pub(super) fn x_name(surface: &Surface, screen: Screen, name: &[String], (middle, bottom): (f64, f64)) -> Result<(), DrawError> {
    let half = estimated_width(name, FONT_SIZE) / 2.0;
    let x = middle.min(screen.width() - half).max(half);
    lines(surface, (x, bottom + AXIS_NAME), name, INK, HPos::Center)
}

/// Draws a series' line between two points, with its dash.
pub(super) fn sample_line(surface: &Surface, from: (f64, f64), length: f64, color: RGBColor) -> Result<(), DrawError> {
    let (x, y) = (units(from.0), units(from.1));
    let points = vec![(x, y), (x + units(length), y)];
    surface.draw(&PathElement::new(points, color.stroke_width(LINE_WIDTH)))
}

/// Draws a reference's line between two points.
pub(super) fn reference_line(surface: &Surface, from: (f64, f64), to: (f64, f64), color: RGBColor) -> Result<(), DrawError> {
    let points = [from, to].map(|(x, y)| (units(x), units(y)));
    surface.draw(&PathElement::new(points, color.stroke_width(REFERENCE_WIDTH)))
}

/// Draws a marker around a point, about 10 pixels wide.
pub(super) fn marker(surface: &Surface, (x, y): (f64, f64), shape: Marker, color: RGBColor) -> Result<(), DrawError> {
    let corners: &[(f64, f64)] = match shape {
        Marker::Circle => return surface.draw(&Circle::new((units(x), units(y)), units(5.0), color.filled())),
        Marker::Square => &[(-4.5, -4.5), (4.5, -4.5), (4.5, 4.5), (-4.5, 4.5)],
        Marker::Triangle => &[(0.0, -5.8), (5.6, 4.2), (-5.6, 4.2)],
        Marker::Diamond => &[(0.0, -6.5), (5.8, 0.0), (0.0, 6.5), (-5.8, 0.0)],
        Marker::TriangleDown => &[(0.0, 5.8), (5.6, -4.2), (-5.6, -4.2)],
    };
    let corners: Vec<_> = corners.iter().map(|(dx, dy)| (units(x + dx), units(y + dy))).collect();
    surface.draw(&Polygon::new(corners, color.filled()))
}
