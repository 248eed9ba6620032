//! A function of two numbers: bands of shade, each over an equal share of the grid, and a path. The values of the bands are beside the
//! plot, or below it on a narrow screen.

use std::ops::Range;

use plotters::prelude::*;
use plotters::style::text_anchor::HPos;

use super::axis::{Axis, number};
use super::canvas::{self, DrawError, FONT_SIZE, LINE_HEIGHT, Screen, Surface, pixels, units};
use super::data::SurfaceChart;
use super::labels::{estimated_width, wrapped};
use super::style::{INK, MUTED, Marker, PATH, SHADE};

const TOP: f64 = 40.0;
const BOTTOM: f64 = 52.0;
const PLOT_HEIGHT: f64 = 420.0;
const NARROW_PLOT_HEIGHT: f64 = 320.0;
const LEGEND: f64 = 150.0;
/// Thickness of the legend's column or row of shades.
const SHADES: f64 = 18.0;
/// From each end of the legend's row to the edge of a narrow drawing. Half of a value's text must fit into this gap.
const ROW_INSET: f64 = 32.0;
const BANDS: usize = 12;

pub(super) fn svg(chart: &SurfaceChart, title: &str, screen: Screen) -> Result<Option<String>, DrawError> {
    let axis = |values: &[f64], ticks: usize| Axis::over(values.iter().copied(), false, 0.0, ticks);
    let (Some(x), Some(y)) = (axis(&chart.x, screen.pick(6, 5)), axis(&chart.y, 6)) else { return Ok(None) };
    let edges = band_edges(&chart.values);
    if edges.is_empty() {
        return Ok(None);
    }
    let lines = |text: &str| wrapped(text, screen.characters());
    let (x_label, y_label, value_label) = (lines(&chart.x_label), lines(&chart.y_label), lines(&chart.value_label));
    let more_than_one = |lines: &[String]| (lines.len() - 1) as f64 * LINE_HEIGHT;
    let (top, bottom) = (TOP + more_than_one(&y_label), BOTTOM + more_than_one(&x_label));
    let plot_height = screen.pick(PLOT_HEIGHT, NARROW_PLOT_HEIGHT);
    let below = screen.pick(0.0, 64.0 + more_than_one(&value_label));
    let page = |surface: &Surface| {
        let tick_labels: Vec<String> = y.ticks.iter().map(|tick| tick.1.clone()).collect();
        let mut context = ChartBuilder::on(surface)
            .margin_top(units(top))
            .margin_right(units(screen.pick(LEGEND, 20.0)))
            .margin_bottom(units(below))
            .x_label_area_size(units(bottom))
            .y_label_area_size(units(estimated_width(&tick_labels, FONT_SIZE) + 16.0))
            .build_cartesian_2d(x.clone(), y.clone())?;
        context
            .configure_mesh()
            .disable_mesh()
            .axis_style(MUTED.stroke_width(4))
            .set_all_tick_mark_size(units(4.0))
            .label_style(canvas::font(MUTED))
            .draw()?;
        canvas::lines(surface, (0.0, 14.0), &y_label, INK, HPos::Left)?;
        context.draw_series(cells(chart, &edges, &x.range, &y.range))?;
        context.draw_series([PathElement::new(chart.path.clone(), PATH.stroke_width(10))])?;
        if let Some(start) = chart.path.first() {
            let (x, y) = context.backend_coord(start);
            canvas::marker(surface, (pixels(x), pixels(y)), Marker::Circle, PATH)?;
        }
        let right = pixels(context.backend_coord(&(x.range.1, y.range.0)).0);
        let left = pixels(context.backend_coord(&(x.range.0, y.range.0)).0);
        canvas::x_name(surface, screen, &x_label, (left.midpoint(right), top + plot_height))?;
        match screen {
            Screen::Wide => legend_column(surface, &chart.value_label, &edges, (right + 24.0, top)),
            Screen::Narrow => legend_row(surface, &value_label, &edges, top + plot_height + bottom),
        }
    };
    canvas::svg(title, screen, top + plot_height + bottom + below, page).map(Some)
}

/// Returns the values between the bands, one more than there are bands: quantiles of the finite values. Empty if no value is finite.
fn band_edges(values: &[f64]) -> Vec<f64> {
    let mut sorted: Vec<f64> = values.iter().copied().filter(|value| value.is_finite()).collect();
    sorted.sort_by(f64::total_cmp);
    let Some(last) = sorted.len().checked_sub(1) else { return Vec::new() };
    (0..=BANDS).map(|band| sorted[last * band / BANDS]).collect()
}

/// Returns the band of a value.
fn band(edges: &[f64], value: f64) -> Option<usize> {
    value.is_finite().then(|| edges[1..BANDS].partition_point(|&edge| edge < value))
}

fn shade(band: usize) -> ShapeStyle {
    SHADE.mix(0.92 - 0.86 * band as f64 / (BANDS - 1) as f64).filled()
}

/// Draws one rectangle for each run of cells in a row that belong to one band, around the grid's points.
fn cells(chart: &SurfaceChart, edges: &[f64], x_range: &(f64, f64), y_range: &(f64, f64)) -> Vec<Rectangle<(f64, f64)>> {
    let side = |points: &[f64], run: Range<usize>, range: &(f64, f64)| {
        let half = 0.5 * (points[1] - points[0]);
        ((points[run.start] - half).max(range.0), (points[run.end - 1] + half).min(range.1))
    };
    let mut cells = Vec::new();
    for (j, row) in chart.values.chunks(chart.x.len()).enumerate() {
        let (low, high) = side(&chart.y, j..j + 1, y_range);
        let mut start = 0;
        while start < row.len() {
            let of = band(edges, row[start]);
            let length = row[start..].iter().take_while(|&&value| band(edges, value) == of).count();
            let (left, right) = side(&chart.x, start..start + length, x_range);
            cells.extend(of.map(|of| Rectangle::new([(left, low), (right, high)], shade(of))));
            start += length;
        }
    }
    cells
}

/// Draws a column of the bands' shades, the highest at the top, with the values between them.
fn legend_column(surface: &Surface, label: &str, edges: &[f64], (left, top): (f64, f64)) -> Result<(), DrawError> {
    let height = PLOT_HEIGHT / BANDS as f64;
    canvas::text(surface, (left, 14.0), label, INK, HPos::Left)?;
    for (index, edge) in edges.iter().enumerate() {
        let bottom = top + PLOT_HEIGHT - index as f64 * height;
        if index < BANDS {
            let corners = [(units(left), units(bottom - height)), (units(left + SHADES), units(bottom))];
            surface.draw(&Rectangle::new(corners, shade(index)))?;
        }
        if index % 3 == 0 {
            canvas::text(surface, (left + 26.0, bottom), &number(*edge, decimals(edges)), MUTED, HPos::Left)?;
        }
    }
    Ok(())
}

/// Draws a row of the bands' shades below `top`, the lowest at the left, with the values between them.
fn legend_row(surface: &Surface, label: &[String], edges: &[f64], top: f64) -> Result<(), DrawError> {
    let width = (Screen::Narrow.width() - 2.0 * ROW_INSET) / BANDS as f64;
    canvas::lines(surface, (0.0, top + 10.0), label, INK, HPos::Left)?;
    let upper = top + 6.0 + label.len() as f64 * LINE_HEIGHT;
    for (index, edge) in edges.iter().enumerate() {
        let left = ROW_INSET + index as f64 * width;
        if index < BANDS {
            let corners = [(units(left), units(upper)), (units(left + width), units(upper + SHADES))];
            surface.draw(&Rectangle::new(corners, shade(index)))?;
        }
        if index % 3 == 0 {
            canvas::text(surface, (left, upper + SHADES + 11.0), &number(*edge, decimals(edges)), MUTED, HPos::Center)?;
        }
    }
    Ok(())
}

/// Chooses the digits after the point for the legend's values.
fn decimals(edges: &[f64]) -> usize {
    if edges[BANDS] - edges[0] < 0.5 { 3 } else { 2 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bands_cover_equal_shares_from_lowest_to_highest() {
        let values: Vec<f64> = (0..1200).map(|i| f64::from(i * 7 % 1200).powi(3)).collect();
        let edges = band_edges(&values);
        let mut shares = [0; BANDS];
        values.iter().for_each(|&value| shares[band(&edges, value).unwrap()] += 1);
        assert!(shares.iter().all(|share| (98..=102).contains(share)), "{shares:?}");
        assert_eq!((band(&edges, edges[0]), band(&edges, edges[BANDS])), (Some(0), Some(BANDS - 1)));
        assert_eq!(band(&edges, f64::NAN), None);
        assert!(band_edges(&[f64::NAN]).is_empty());
    }
}
