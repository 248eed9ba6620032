//! Horizontal bars from zero: names to the left, values with their errors to the right, references above. On a narrow screen name
//! and value stand above their bar.

use plotters::prelude::*;
use plotters::style::text_anchor::HPos;

use super::axis::{Axis, number, position};
use super::canvas::{self, DrawError, FONT_SIZE, LINE_HEIGHT, Screen, Surface, pixels, units};
use super::data::{Bar, BarChart};
use super::labels::{estimated_width, wrapped};
use super::style::{GRID, INK, MUTED, Styles};

const ROW: f64 = 42.0;
const REFERENCE_ROW: f64 = 20.0;
const BOTTOM: f64 = 52.0;
const NAME_CHARACTERS: usize = 26;
/// Width of an average character in shown pixels, rounded up.
const AVERAGE_CHARACTER: f64 = 8.5;
/// Most characters in a line of a reference's label on a narrow screen: half the screen's width.
const REFERENCE_CHARACTERS: usize = 20;
/// Height of a bar on a narrow screen, and of the gaps around it together.
const NARROW_BAR: f64 = 16.0;
const NARROW_GAPS: f64 = 20.0;

type Context<'a, 'b> = ChartContext<'a, SVGBackend<'b>, Cartesian2d<Axis, Axis>>;

/// Positions, in shown pixels.
struct Layout {
    screen: Screen,
    left: f64,
    right: f64,
    top: f64,
    /// The lower edge of the last bar's row.
    bottom: f64,
    /// Height of a bar's row.
    row: f64,
    /// A bar's upper and lower edge, in rows from the upper edge of its row.
    edges: (f64, f64),
    /// The middle of a name's last line and of its value, from the upper edge of the row.
    name: f64,
    x_label: Vec<String>,
}

impl Layout {
    fn of(chart: &BarChart, names: &[Vec<String>], values: &[String], references: f64, screen: Screen) -> Self {
        let x_label = wrapped(&chart.label, screen.characters());
        let top = 10.0 + references;
        let name_lines = names.iter().map(Vec::len).max().unwrap_or(1) as f64 * LINE_HEIGHT;
        let row = screen.pick(ROW, name_lines + NARROW_BAR + NARROW_GAPS);
        Self {
            screen,
            left: screen.pick(names.iter().map(|lines| estimated_width(lines, FONT_SIZE)).fold(40.0, f64::max) + 16.0, 14.0),
            right: screen.pick(estimated_width(values, FONT_SIZE) + 20.0, 20.0),
            top,
            bottom: top + row * chart.bars.len() as f64,
            row,
            edges: screen.pick((0.2, 0.8), ((name_lines + 8.0) / row, (name_lines + 8.0 + NARROW_BAR) / row)),
            name: screen.pick(row / 2.0, name_lines - 4.0),
            x_label,
        }
    }

    /// Room below the last row.
    fn below(&self) -> f64 {
        BOTTOM + (self.x_label.len() - 1) as f64 * LINE_HEIGHT
    }
}

/// Breaks a reference's label into lines.
fn reference_lines(label: &str, screen: Screen) -> Vec<String> {
    wrapped(label, screen.pick(screen.characters(), REFERENCE_CHARACTERS))
}

/// Returns the height of a reference's label above the bars.
fn reference_room(lines: &[String]) -> f64 {
    REFERENCE_ROW + (lines.len() - 1) as f64 * LINE_HEIGHT
}

pub(super) fn svg(chart: &BarChart, title: &str, screen: Screen, styles: &mut Styles) -> Result<Option<String>, DrawError> {
    let Some(axis) = axis(chart, screen.pick(7, 4)) else { return Ok(None) };
    let values = values(&chart.bars);
    // On a narrow screen a name shares its line with the value.
    let beside_value = (screen.width() - estimated_width(&values, FONT_SIZE) - 30.0) / AVERAGE_CHARACTER;
    let name_characters = screen.pick(NAME_CHARACTERS, f64::max(beside_value, 12.0) as usize);
    let names: Vec<_> = chart.bars.iter().map(|bar| wrapped(&bar.name, name_characters)).collect();
    let references: f64 = chart.references.iter().map(|(label, _)| reference_room(&reference_lines(label, screen))).sum();
    let layout = Layout::of(chart, &names, &values, references, screen);
    let page = |surface: &Surface| {
        let mut context = frame(surface, chart, axis, &layout)?;
        draw_bars(&mut context, &chart.bars, &layout, styles)?;
        draw_names(surface, &names, &values, &layout)?;
        let middle = layout.left.midpoint(screen.width() - layout.right);
        canvas::x_name(surface, screen, &layout.x_label, (middle, layout.bottom))?;
        draw_references(surface, &context, &chart.references, &layout)
    };
    canvas::svg(title, screen, layout.bottom + layout.below(), page).map(Some)
}

/// Draws grid and axis. Bar i is between i and i + 1 on the y axis, which points down.
fn frame<'a, 'b: 'a>(surface: &Surface<'b>, chart: &BarChart, axis: Axis, layout: &Layout) -> Result<Context<'a, 'b>, DrawError> {
    let mut context = ChartBuilder::on(surface)
        .margin_top(units(layout.top))
        .margin_right(units(layout.right))
        .x_label_area_size(units(layout.below()))
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
        .draw()?;
    Ok(context)
}

fn draw_bars(context: &mut Context, bars: &[Bar], layout: &Layout, styles: &mut Styles) -> Result<(), DrawError> {
    for (row, bar) in bars.iter().enumerate() {
        let color = styles.of(&bar.name).color;
        let (upper, lower) = (row as f64 + layout.edges.0, row as f64 + layout.edges.1);
        if position(bar.value, false).is_some() {
            let corners = [(0.0, upper), (bar.value, lower)];
            context.draw_series([Rectangle::new(corners, color.filled())])?;
        }
        for stroke in whisker(bar, upper, lower) {
            context.draw_series([PathElement::new(stroke, INK.stroke_width(5))])?;
        }
    }
    let zero = vec![(0.0, 0.0), (0.0, bars.len() as f64)];
    context.draw_series([PathElement::new(zero, MUTED.stroke_width(4))])?;
    Ok(())
}

/// Chooses the axis for zero, the bars, their errors and the references. Returns `None` if no bar has a finite value.
fn axis(chart: &BarChart, ticks: usize) -> Option<Axis> {
    let placed: Vec<&Bar> = chart.bars.iter().filter(|bar| position(bar.value, false).is_some()).collect();
    placed.first()?;
    let ends = placed.iter().flat_map(|bar| {
        let error = bar.error.filter(|error| error.is_finite()).unwrap_or(0.0);
        [bar.value - error, bar.value + error]
    });
    let references = chart.references.iter().map(|reference| reference.1);
    let values: Vec<f64> = ends.chain(references).chain([0.0]).collect();
    let mut axis = Axis::over(values.iter().copied(), false, 0.04, ticks)?;
    if values.iter().all(|value| *value >= 0.0) {
        axis.range.0 = 0.0;
    } else if values.iter().all(|value| *value <= 0.0) {
        axis.range.1 = 0.0;
    }
    axis.ticks.retain(|tick| (axis.range.0..=axis.range.1).contains(&tick.0));
    Some(axis)
}

/// Formats values with enough decimals for two digits of the smallest error, or with three significant digits without errors.
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

/// Returns the strokes of a bar's whisker between these edges. There are none if the error is not finite.
fn whisker(bar: &Bar, upper: f64, lower: f64) -> Vec<Vec<(f64, f64)>> {
    let error = bar.error.filter(|error| error.is_finite() && bar.value.is_finite());
    let Some(error) = error else { return Vec::new() };
    let (low, high) = (bar.value - error, bar.value + error);
    let (middle, reach) = (upper.midpoint(lower), 0.2 * (lower - upper));
    let cap = |x: f64| vec![(x, middle - reach), (x, middle + reach)];
    vec![vec![(low, middle), (high, middle)], cap(low), cap(high)]
}

fn draw_names(surface: &Surface, names: &[Vec<String>], values: &[String], layout: &Layout) -> Result<(), DrawError> {
    for (row, (name, value)) in names.iter().zip(values).enumerate() {
        let middle = layout.top + row as f64 * layout.row + layout.name;
        let above = (name.len() - 1) as f64 * LINE_HEIGHT;
        match layout.screen {
            Screen::Wide => canvas::lines(surface, (layout.left - 10.0, middle - above / 2.0), name, INK, HPos::Right)?,
            Screen::Narrow => canvas::lines(surface, (layout.left, middle - above), name, INK, HPos::Left)?,
        }
        canvas::text(surface, (layout.screen.width() - 2.0, middle), value, INK, HPos::Right)?;
    }
    Ok(())
}

/// Draws vertical lines. The label of each has a row of its own above the bars, on the side with more room.
fn draw_references(surface: &Surface, context: &Context, references: &[(String, f64)], layout: &Layout) -> Result<(), DrawError> {
    let mut free = layout.top - 2.0;
    for (label, value) in references {
        let lines = reference_lines(label, layout.screen);
        free -= reference_room(&lines);
        if position(*value, false).is_none() {
            continue;
        }
        let (x, y) = (pixels(context.backend_coord(&(*value, 0.0)).0), free + REFERENCE_ROW / 2.0);
        canvas::reference_line(surface, (x, y - 8.0), (x, layout.bottom), MUTED)?;
        let (at, side) = if x > layout.screen.width() / 2.0 { ((x - 8.0, y), HPos::Right) } else { ((x + 8.0, y), HPos::Left) };
        canvas::lines(surface, at, &lines, MUTED, side)?;
    }
    Ok(())
}
