//! Horizontal bars from zero: names to the left, values with their errors to the right, references above.

use plotters::prelude::*;
use plotters::style::text_anchor::HPos;

use super::axis::{Axis, number, position};
use super::canvas::{self, DrawError, FONT_SIZE, Surface, WIDTH, pixels, units};
use super::labels::{estimated_width, wrapped};
use super::style::{GRID, INK, MUTED, Styles};
use super::{Bar, BarChart};

const ROW: f64 = 42.0;
const REFERENCE_ROW: f64 = 20.0;
const BOTTOM: f64 = 52.0;
const NAME_CHARACTERS: usize = 26;
const LINE_HEIGHT: f64 = 16.0;

type Context<'a, 'b> = ChartContext<'a, SVGBackend<'b>, Cartesian2d<Axis, Axis>>;

/// Where things are, in shown pixels.
struct Layout {
    left: f64,
    right: f64,
    top: f64,
    /// The lower edge of the last bar's row.
    bottom: f64,
}

pub(super) fn svg(chart: &BarChart, title: &str, styles: &mut Styles) -> Result<Option<String>, DrawError> {
    let Some(axis) = axis(chart) else { return Ok(None) };
    let names: Vec<_> = chart.bars.iter().map(|bar| wrapped(&bar.name, NAME_CHARACTERS)).collect();
    let values = values(&chart.bars);
    let top = 10.0 + REFERENCE_ROW * chart.references.len() as f64;
    let layout = Layout {
        left: names.iter().map(|lines| estimated_width(lines, FONT_SIZE)).fold(40.0, f64::max) + 16.0,
        right: estimated_width(&values, FONT_SIZE) + 20.0,
        top,
        bottom: top + ROW * chart.bars.len() as f64,
    };
    let page = |surface: &Surface| {
        let mut context = frame(surface, chart, axis, &layout)?;
        draw_bars(&mut context, &chart.bars, styles)?;
        draw_names(surface, &names, &values, &layout)?;
        draw_references(surface, &context, &chart.references, &layout)
    };
    canvas::svg(title, layout.bottom + BOTTOM, page).map(Some)
}

/// Draws grid and axis; bar i lies around i + ½ on the y axis, which points down.
fn frame<'a, 'b: 'a>(surface: &Surface<'b>, chart: &BarChart, axis: Axis, layout: &Layout) -> Result<Context<'a, 'b>, DrawError> {
    let mut context = ChartBuilder::on(surface)
        .margin_top(units(layout.top))
        .margin_right(units(layout.right))
        .x_label_area_size(units(BOTTOM))
        .y_label_area_size(units(layout.left))
        .build_cartesian_2d(axis, Axis::bare(chart.bars.len() as f64, 0.0))?;
    context
        .configure_mesh()
        .disable_y_mesh()
        .disable_y_axis()
        .bold_line_style(GRID.stroke_width(4))
        .light_line_style(TRANSPARENT)
        .axis_style(MUTED.stroke_width(4))
        .set_all_tick_mark_size(units(4.0))
        .label_style(canvas::font(MUTED))
        .axis_desc_style(canvas::font(INK))
        .x_desc(&chart.label)
        .draw()?;
    Ok(context)
}

fn draw_bars(context: &mut Context, bars: &[Bar], styles: &mut Styles) -> Result<(), DrawError> {
    for (row, bar) in bars.iter().enumerate() {
        let color = styles.of(&bar.name).color;
        let middle = row as f64 + 0.5;
        if position(bar.value, false).is_some() {
            let corners = [(0.0, middle - 0.3), (bar.value, middle + 0.3)];
            context.draw_series([Rectangle::new(corners, color.filled())])?;
        }
        for stroke in whisker(bar, middle) {
            context.draw_series([PathElement::new(stroke, INK.stroke_width(5))])?;
        }
    }
    let zero = vec![(0.0, 0.0), (0.0, bars.len() as f64)];
    context.draw_series([PathElement::new(zero, MUTED.stroke_width(4))])?;
    Ok(())
}

/// The axis over zero, the bars, their errors and the references; `None` where no bar has a place.
fn axis(chart: &BarChart) -> Option<Axis> {
    let placed: Vec<&Bar> = chart.bars.iter().filter(|bar| position(bar.value, false).is_some()).collect();
    placed.first()?;
    let ends = placed.iter().flat_map(|bar| {
        let error = bar.error.filter(|error| error.is_finite()).unwrap_or(0.0);
        [bar.value - error, bar.value + error]
    });
    let references = chart.references.iter().map(|reference| reference.1);
    let values: Vec<f64> = ends.chain(references).chain([0.0]).collect();
    let mut axis = Axis::over(values.iter().copied(), false, 0.04, 7)?;
    if values.iter().all(|value| *value >= 0.0) {
        axis.range.0 = 0.0;
    } else if values.iter().all(|value| *value <= 0.0) {
        axis.range.1 = 0.0;
    }
    axis.ticks.retain(|tick| (axis.range.0..=axis.range.1).contains(&tick.0));
    Some(axis)
}

/// Values with as many decimals as the smallest error has two digits, or three significant digits without errors.
fn values(bars: &[Bar]) -> Vec<String> {
    let decimals = |value: f64, digits: f64| (digits - 1.0 - value.log10().floor()).clamp(0.0, 6.0) as usize;
    let errors = bars.iter().filter_map(|bar| bar.error).filter(|error| error.is_finite() && *error > 0.0);
    let largest = bars.iter().map(|bar| bar.value.abs()).filter(|value| value.is_finite()).fold(0.0, f64::max);
    let decimals = match errors.reduce(f64::min) {
        Some(error) => decimals(error, 2.0),
        None if largest > 0.0 => decimals(largest, 3.0),
        None => 0,
    };
    let written = |bar: &Bar| match bar.error {
        Some(error) => format!("{} ± {}", number(bar.value, decimals), number(error, decimals)),
        None => number(bar.value, decimals),
    };
    bars.iter().map(written).collect()
}

/// The strokes of a bar's error; none where it has no finite one.
fn whisker(bar: &Bar, middle: f64) -> Vec<Vec<(f64, f64)>> {
    let error = bar.error.filter(|error| error.is_finite() && bar.value.is_finite());
    let Some(error) = error else { return Vec::new() };
    let (low, high) = (bar.value - error, bar.value + error);
    let cap = |x: f64| vec![(x, middle - 0.12), (x, middle + 0.12)];
    vec![vec![(low, middle), (high, middle)], cap(low), cap(high)]
}

fn draw_names(surface: &Surface, names: &[Vec<String>], values: &[String], layout: &Layout) -> Result<(), DrawError> {
    for (row, (name, value)) in names.iter().zip(values).enumerate() {
        let middle = layout.top + (row as f64 + 0.5) * ROW;
        let first = middle - (name.len() - 1) as f64 * LINE_HEIGHT / 2.0;
        for (index, line) in name.iter().enumerate() {
            let at = (layout.left - 10.0, first + index as f64 * LINE_HEIGHT);
            canvas::text(surface, at, line, INK, HPos::Right)?;
        }
        canvas::text(surface, (WIDTH - 2.0, middle), value, INK, HPos::Right)?;
    }
    Ok(())
}

/// Vertical lines, each with its label in a row of its own above the bars, on the side where there is more room.
fn draw_references(surface: &Surface, context: &Context, references: &[(String, f64)], layout: &Layout) -> Result<(), DrawError> {
    for (row, (label, value)) in references.iter().enumerate() {
        if position(*value, false).is_none() {
            continue;
        }
        let (x, y) = (pixels(context.backend_coord(&(*value, 0.0)).0), layout.top - REFERENCE_ROW * (row as f64 + 0.5) - 2.0);
        canvas::reference_line(surface, (x, y - 8.0), (x, layout.bottom), MUTED)?;
        let (at, side) = if x > WIDTH / 2.0 { ((x - 8.0, y), HPos::Right) } else { ((x + 8.0, y), HPos::Left) };
        canvas::text(surface, at, label, MUTED, side)?;
    }
    Ok(())
}
