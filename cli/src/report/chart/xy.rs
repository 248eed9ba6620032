//! Lines and points over two numeric axes. Each name is to the right of the plot, at the height where its series ends. It is beside a
//! sample of its line or marker, so no separate legend is needed. On a narrow screen the names are below the plot.

use plotters::prelude::*;
use plotters::style::text_anchor::HPos;

use super::axis::{Axis, position};
use super::canvas::{self, DrawError, FONT_SIZE, LINE_HEIGHT, Screen, Surface, pixels, units};
use super::data::{Mark, Series, XyChart};
use super::labels::{estimated_width, spread, wrapped};
use super::series::{Point, runs, smoothed, thinned};
use super::style::{GRID, INK, LINE_WIDTH, MUTED, Style, Styles};

const TOP: f64 = 40.0;
const BOTTOM: f64 = 52.0;
const PLOT_HEIGHT: f64 = 310.0;
const NARROW_PLOT_HEIGHT: f64 = 250.0;
/// From the plot's edge to the sample of a label beside it.
const LABEL_GAP: f64 = 12.0;
/// From the start of a label's sample to its text.
const LABEL_INDENT: f64 = 34.0;
const SAMPLE_LENGTH: f64 = 26.0;

type Context<'a, 'b> = ChartContext<'a, SVGBackend<'b>, Cartesian2d<Axis, Axis>>;

/// A series ready to be drawn.
struct Drawn<'a> {
    series: &'a Series,
    style: Style,
    runs: Vec<Vec<Point>>,
}

/// The mark beside a label, which shows its series or reference.
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

/// Positions, in shown pixels.
struct Layout {
    screen: Screen,
    x_label: Vec<String>,
    y_label: Vec<String>,
    top: f64,
    /// Room at the right of the plot.
    right: f64,
    plot_height: f64,
    /// Room below the plot for the axis, and below that for names.
    bottom: f64,
    names: f64,
}

impl Layout {
    fn of(chart: &XyChart, labels: &[Label], screen: Screen) -> Self {
        let (x_label, y_label) = (wrapped(&chart.x_label, screen.characters()), wrapped(&chart.y_label, screen.characters()));
        let more_than_one = |lines: &[String]| (lines.len() - 1) as f64 * LINE_HEIGHT;
        let label_width = labels.iter().map(|label| estimated_width(&label.lines, FONT_SIZE)).fold(0.0, f64::max);
        let needed: f64 = labels.iter().map(height).sum();
        Self {
            screen,
            top: TOP + more_than_one(&y_label),
            right: screen.pick(LABEL_GAP + LABEL_INDENT + label_width + 4.0, 20.0),
            plot_height: screen.pick(f64::max(PLOT_HEIGHT, needed), NARROW_PLOT_HEIGHT),
            bottom: BOTTOM + more_than_one(&x_label),
            names: screen.pick(0.0, needed + 10.0),
            x_label,
            y_label,
        }
    }

    fn height(&self) -> f64 {
        self.top + self.plot_height + self.bottom + self.names
    }

    /// Returns where each label's sample begins, in the middle of its first line. `heights` are the heights at which the labels' series
    /// end.
    fn label_starts(&self, labels: &[Label], heights: &[f64], right: f64) -> Vec<(f64, f64)> {
        match self.screen {
            Screen::Wide => {
                let boxes: Vec<_> = labels.iter().zip(heights).map(|(label, y)| (y - self.top, height(label))).collect();
                let centres = spread(&boxes, self.plot_height);
                let first = |(label, centre): (&Label, f64)| self.top + centre - (label.lines.len() - 1) as f64 * LINE_HEIGHT / 2.0;
                labels.iter().zip(centres).map(first).map(|y| (right + LABEL_GAP, y)).collect()
            }
            Screen::Narrow => {
                let mut free = self.height() - self.names + 10.0;
                let mut start = |label: &Label| {
                    let y = free + LINE_HEIGHT / 2.0;
                    free += height(label);
                    (4.0, y)
                };
                labels.iter().map(&mut start).collect()
            }
        }
    }
}

pub(super) fn svg(chart: &XyChart, title: &str, screen: Screen, styles: &mut Styles) -> Result<Option<String>, DrawError> {
    let drawn: Vec<Drawn> = chart.series.iter().map(|series| ready(series, chart, styles)).collect();
    let Some((x, y)) = axes(chart, screen) else { return Ok(None) };
    let labels = labels(chart, &drawn, &y, screen.pick(24, 40));
    let layout = Layout::of(chart, &labels, screen);
    let page = |surface: &Surface| {
        let mut context = frame(surface, &x, &y, &layout)?;
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
        canvas::x_name(surface, screen, &layout.x_label, (left.midpoint(right), layout.top + layout.plot_height))?;
        draw_labels(surface, &labels, &layout.label_starts(&labels, &heights, right))
    };
    canvas::svg(title, screen, layout.height(), page).map(Some)
}

/// Computes the positions of the points, cut at gaps. The drawing smooths them later.
fn ready<'a>(series: &'a Series, chart: &XyChart, styles: &mut Styles) -> Drawn<'a> {
    let placed = series.points.iter().map(|&(x, y)| Some((position(x, chart.log_x)?, position(y, chart.log_y)?)));
    Drawn { series, style: styles.of(&series.name), runs: runs(placed) }
}

/// Chooses the axes. Returns `None` if no point has a position on both.
fn axes(chart: &XyChart, screen: Screen) -> Option<(Axis, Axis)> {
    let placed = |point: &&Point| position(point.0, chart.log_x).and(position(point.1, chart.log_y)).is_some();
    let points = || chart.series.iter().flat_map(|series| &series.points).filter(placed);
    points().next()?;
    let only_lines = chart.series.iter().all(|series| series.mark != Mark::Points);
    let x_margin = if only_lines { 0.0 } else { 0.04 };
    let references = chart.references.iter().map(|reference| reference.1);
    let x = Axis::over(points().map(|point| point.0), chart.log_x, x_margin, screen.pick(8, 4))?;
    let y = Axis::over(points().map(|point| point.1).chain(references), chart.log_y, 0.05, 6)?;
    Some((x, y))
}

/// Breaks the names of series and references into lines of at most `characters`.
fn labels(chart: &XyChart, drawn: &[Drawn], y: &Axis, characters: usize) -> Vec<Label> {
    let of_series = drawn.iter().filter_map(|drawn| {
        let sample = match drawn.series.mark {
            Mark::Points => Sample::Marker(drawn.style),
            _ => Sample::Line(drawn.style.color),
        };
        let lines = wrapped(&drawn.series.name, characters);
        let at = end(drawn.runs.last()?, drawn.series.mark)?;
        Some(Label { lines, sample, at })
    });
    let of_references = chart.references.iter().filter_map(|(label, value)| {
        let lines = wrapped(label, characters);
        Some(Label { lines, sample: Sample::Reference, at: y.position(*value)? })
    });
    of_series.chain(of_references).collect()
}

/// Returns the y of a run's last point as it is drawn.
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

/// Draws grid, axes and the y axis' label. The label is above the plot, so that it reads horizontally.
fn frame<'a, 'b: 'a>(surface: &Surface<'b>, x: &Axis, y: &Axis, layout: &Layout) -> Result<Context<'a, 'b>, DrawError> {
    let tick_labels: Vec<String> = y.ticks.iter().map(|tick| tick.1.clone()).collect();
    let left = estimated_width(&tick_labels, FONT_SIZE) + 16.0;
    let mut context = ChartBuilder::on(surface)
        .margin_top(units(layout.top))
        .margin_right(units(layout.right))
        .margin_bottom(units(layout.names))
        .x_label_area_size(units(layout.bottom))
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
        .draw()?;
    canvas::lines(surface, (0.0, 14.0), &layout.y_label, INK, HPos::Left)?;
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

/// Draws a line, or a dot if the run is a single point.
fn draw_line(context: &mut Context, run: Vec<Point>, color: RGBColor) -> Result<(), DrawError> {
    if let [point] = run[..] {
        context.draw_series([Circle::new(point, units(2.5), color.filled())])?;
    } else {
        context.draw_series(LineSeries::new(thinned(run), color.stroke_width(LINE_WIDTH)))?;
    }
    Ok(())
}

fn draw_labels(surface: &Surface, labels: &[Label], starts: &[(f64, f64)]) -> Result<(), DrawError> {
    for (label, &start) in labels.iter().zip(starts) {
        let color = match label.sample {
            Sample::Line(color) => {
                canvas::sample_line(surface, start, SAMPLE_LENGTH, color)?;
                INK
            }
            Sample::Marker(style) => {
                let middle = (start.0 + SAMPLE_LENGTH / 2.0, start.1);
                canvas::marker(surface, middle, style.marker, style.color)?;
                INK
            }
            Sample::Reference => {
                canvas::reference_line(surface, start, (start.0 + SAMPLE_LENGTH, start.1), MUTED)?;
                MUTED
            }
        };
        canvas::lines(surface, (start.0 + LABEL_INDENT, start.1), &label.lines, color, HPos::Left)?;
    }
    Ok(())
}
