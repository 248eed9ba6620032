//! Lines and points over two numeric axes. Names stand to the right of the plot at the height where their series ends, each
//! beside a sample of its line or marker, so that no separate legend has to be read.

use plotters::prelude::*;
use plotters::style::text_anchor::HPos;

use super::axis::{Axis, position};
use super::canvas::{self, DrawError, FONT_SIZE, Surface, pixels, units};
use super::labels::{estimated_width, spread, wrapped};
use super::series::{Point, runs, smoothed, thinned};
use super::style::{GRID, INK, LINE_WIDTH, MUTED, Style, Styles};
use super::{Mark, Series, XyChart};

const TOP: f64 = 40.0;
const BOTTOM: f64 = 52.0;
const PLOT_HEIGHT: f64 = 310.0;
const LINE_HEIGHT: f64 = 17.0;
/// From the plot's edge to the text of a label: the sample stands between.
const LABEL_INDENT: f64 = 46.0;
const SAMPLE_LENGTH: f64 = 26.0;
const LABEL_CHARACTERS: usize = 24;

type Context<'a, 'b> = ChartContext<'a, SVGBackend<'b>, Cartesian2d<Axis, Axis>>;

/// A series ready to be drawn.
struct Drawn<'a> {
    series: &'a Series,
    style: Style,
    runs: Vec<Vec<Point>>,
}

/// What a label stands for.
enum Sample {
    Line(RGBColor),
    Marker(Style),
    Reference,
}

struct Label {
    lines: Vec<String>,
    sample: Sample,
    /// The position on the y axis that the label belongs to.
    at: f64,
}

pub(super) fn svg(chart: &XyChart, title: &str, styles: &mut Styles) -> Result<Option<String>, DrawError> {
    let drawn: Vec<Drawn> = chart.series.iter().map(|series| ready(series, chart.log_y, styles)).collect();
    let Some((x, y)) = axes(chart) else { return Ok(None) };
    let labels = labels(chart, &drawn, &y);
    let label_width = labels.iter().map(|label| estimated_width(&label.lines, FONT_SIZE)).fold(0.0, f64::max);
    let needed: f64 = labels.iter().map(height).sum();
    let plot_height = f64::max(PLOT_HEIGHT, needed);
    let page = |surface: &Surface| {
        let mut context = frame(surface, chart, &x, &y, LABEL_INDENT + label_width + 4.0)?;
        let right = pixels(context.backend_coord(&(x.range.1, y.range.0)).0);
        let left = pixels(context.backend_coord(&(x.range.0, y.range.0)).0);
        let heights: Vec<f64> = labels.iter().map(|label| pixels(context.backend_coord(&(x.range.0, label.at)).1)).collect();
        for (label, height) in labels.iter().zip(&heights) {
            if matches!(label.sample, Sample::Reference) {
                canvas::reference_line(surface, (left, *height), (right, *height), MUTED)?;
            }
        }
        for series in &drawn {
            draw_series(surface, &mut context, series)?;
        }
        draw_labels(surface, &labels, &heights, right, plot_height)
    };
    canvas::svg(title, TOP + plot_height + BOTTOM, page).map(Some)
}

/// Positions of the points, cut at gaps; smoothing is left to the drawing.
fn ready<'a>(series: &'a Series, log_y: bool, styles: &mut Styles) -> Drawn<'a> {
    let placed = series.points.iter().map(|&(x, y)| Some((position(x, false)?, position(y, log_y)?)));
    Drawn { series, style: styles.of(&series.name), runs: runs(placed) }
}

/// The axes; `None` where no point has a place on both.
fn axes(chart: &XyChart) -> Option<(Axis, Axis)> {
    let placed = |point: &&Point| position(point.0, false).and(position(point.1, chart.log_y)).is_some();
    let points = || chart.series.iter().flat_map(|series| &series.points).filter(placed);
    points().next()?;
    let only_lines = chart.series.iter().all(|series| series.mark != Mark::Points);
    let x_margin = if only_lines { 0.0 } else { 0.04 };
    let references = chart.references.iter().map(|reference| reference.1);
    let x = Axis::over(points().map(|point| point.0), false, x_margin, 8)?;
    let y = Axis::over(points().map(|point| point.1).chain(references), chart.log_y, 0.05, 6)?;
    Some((x, y))
}

fn labels(chart: &XyChart, drawn: &[Drawn], y: &Axis) -> Vec<Label> {
    let of_series = drawn.iter().filter_map(|drawn| {
        let sample = match drawn.series.mark {
            Mark::Points => Sample::Marker(drawn.style),
            _ => Sample::Line(drawn.style.color),
        };
        let lines = wrapped(&drawn.series.name, LABEL_CHARACTERS);
        let at = end(drawn.runs.last()?, drawn.series.mark)?;
        Some(Label { lines, sample, at })
    });
    let of_references = chart.references.iter().filter_map(|(label, value)| {
        let lines = wrapped(label, LABEL_CHARACTERS);
        Some(Label { lines, sample: Sample::Reference, at: y.position(*value)? })
    });
    of_series.chain(of_references).collect()
}

/// The y of a run's last point as it is drawn.
fn end(run: &[Point], mark: Mark) -> Option<f64> {
    let tail = match mark {
        Mark::Smoothed(window) => smoothed(&run[run.len().saturating_sub(window + 1)..], window),
        _ => run.to_vec(),
    };
    tail.last().map(|point| point.1)
}

fn height(label: &Label) -> f64 {
    label.lines.len() as f64 * LINE_HEIGHT + 5.0
}

/// Draws grid, axes and axis labels. The y axis' label stands above the plot, where it needs no turned head.
fn frame<'a, 'b: 'a>(surface: &Surface<'b>, chart: &XyChart, x: &Axis, y: &Axis, right: f64) -> Result<Context<'a, 'b>, DrawError> {
    let tick_labels: Vec<String> = y.ticks.iter().map(|tick| tick.1.clone()).collect();
    let left = estimated_width(&tick_labels, FONT_SIZE) + 16.0;
    let mut context = ChartBuilder::on(surface)
        .margin_top(units(TOP))
        .margin_right(units(right))
        .x_label_area_size(units(BOTTOM))
        .y_label_area_size(units(left))
        .build_cartesian_2d(x.clone(), y.clone())?;
    context
        .configure_mesh()
        .disable_x_mesh()
        .bold_line_style(GRID.stroke_width(4))
        .light_line_style(TRANSPARENT)
        .axis_style(MUTED.stroke_width(4))
        .set_all_tick_mark_size(units(4.0))
        .label_style(canvas::font(MUTED))
        .axis_desc_style(canvas::font(INK))
        .x_desc(&chart.x_label)
        .draw()?;
    canvas::text(surface, (0.0, 14.0), &chart.y_label, INK, HPos::Left)?;
    Ok(context)
}

fn draw_series(surface: &Surface, context: &mut Context, drawn: &Drawn) -> Result<(), DrawError> {
    let Style { color, marker } = drawn.style;
    for run in &drawn.runs {
        match drawn.series.mark {
            Mark::Points => {
                for point in run {
                    let (x, y) = context.backend_coord(point);
                    canvas::marker(surface, (pixels(x), pixels(y)), marker, color)?;
                }
            }
            Mark::Line => draw_line(context, run.clone(), color)?,
            Mark::Smoothed(window) => {
                let pale = color.mix(0.35).stroke_width(4);
                context.draw_series(LineSeries::new(thinned(run.clone()), pale))?;
                draw_line(context, smoothed(run, window), color)?;
            }
        }
    }
    Ok(())
}

/// A line, or a dot where the run is a single point.
fn draw_line(context: &mut Context, run: Vec<Point>, color: RGBColor) -> Result<(), DrawError> {
    if let [point] = run[..] {
        context.draw_series([Circle::new(point, units(2.5), color.filled())])?;
    } else {
        context.draw_series(LineSeries::new(thinned(run), color.stroke_width(LINE_WIDTH)))?;
    }
    Ok(())
}

fn draw_labels(surface: &Surface, labels: &[Label], heights: &[f64], right: f64, plot_height: f64) -> Result<(), DrawError> {
    let boxes: Vec<_> = labels.iter().zip(heights).map(|(label, y)| (y - TOP, height(label))).collect();
    for (label, centre) in labels.iter().zip(spread(&boxes, plot_height)) {
        let first = TOP + centre - (label.lines.len() - 1) as f64 * LINE_HEIGHT / 2.0;
        let start = (right + 12.0, first);
        let color = match label.sample {
            Sample::Line(color) => {
                canvas::sample_line(surface, start, SAMPLE_LENGTH, color)?;
                INK
            }
            Sample::Marker(style) => {
                let middle = (start.0 + SAMPLE_LENGTH / 2.0, first);
                canvas::marker(surface, middle, style.marker, style.color)?;
                INK
            }
            Sample::Reference => {
                canvas::reference_line(surface, start, (start.0 + SAMPLE_LENGTH, first), MUTED)?;
                MUTED
            }
        };
        for (index, line) in label.lines.iter().enumerate() {
            let at = (right + LABEL_INDENT, first + index as f64 * LINE_HEIGHT);
            canvas::text(surface, at, line, color, HPos::Left)?;
        }
    }
    Ok(())
}
