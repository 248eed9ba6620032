//! Heat maps of the errors: one cell for every element that a method compared. Its colour shows the error relative to the allowed error.

use engine::gradcheck::{Check, Comparison, Input};
use serde::Serialize;
use std::fmt::Write;

/// The classes of an error relative to the allowed error: the lower end, the colour's name in the style sheet, and the text of the legend.
/// From 0.001% on, each lower end is ten times the one before. Above 1 the check fails.
pub const CLASSES: [(f64, &str, &str); 7] = [
    (0.0, "e0", "below 0.001%"),
    (1e-5, "e1", "from 0.001%"),
    (1e-4, "e2", "0.01%"),
    (1e-3, "e3", "0.1%"),
    (1e-2, "e4", "1%"),
    (1e-1, "e5", "10%"),
    (1.0 + f64::EPSILON, "ex", "failed"),
];

/// Pixels of a cell's side.
const CELL: usize = 16;

/// The most cells in a row of a tensor of two axes or more.
const WIDEST: usize = 32;

/// One heat map: a tensor under one method.
#[derive(Debug, Serialize)]
pub struct HeatMap {
    /// The content of the map, such as `gradient of input 0 [2, 3]`.
    label: String,
    svg: String,
}

/// Draws the heat maps of a check: one for each tensor whose elements were compared, and a row of cells for numbers about whole tensors.
pub fn heat_maps(check: &Check, inputs: &[Input]) -> Vec<HeatMap> {
    let mut groups: Vec<(Group, Vec<&Comparison>)> = Vec::new();
    for comparison in &check.comparisons {
        let group = Group::of(comparison, inputs);
        match groups.iter_mut().find(|(known, _)| *known == group) {
            Some((_, cells)) => cells.push(comparison),
            None => groups.push((group, vec![comparison])),
        }
    }
    groups.into_iter().map(|(group, cells)| HeatMap { label: group.label(&cells, inputs), svg: svg(&group, &cells, inputs) }).collect()
}

/// The kind of cells in a heat map.
#[derive(Clone, Copy, PartialEq)]
enum Group {
    /// The elements of an input.
    Input(&'static str, usize),
    /// The elements of the output.
    Output(&'static str),
    /// Numbers about whole tensors.
    Whole(&'static str),
}

impl Group {
    fn of(comparison: &Comparison, inputs: &[Input]) -> Self {
        let Comparison { quantity, input, index, .. } = comparison;
        match input {
            Some(input) if index.len() == inputs[*input].shape.len() => Self::Input(quantity, *input),
            None if *quantity == "value" => Self::Output(quantity),
            _ => Self::Whole(quantity),
        }
    }

    fn label(self, cells: &[&Comparison], inputs: &[Input]) -> String {
        match self {
            Self::Input(quantity, input) => format!("{quantity} of input {input} {:?}", inputs[input].shape),
            Self::Output(quantity) => format!("{quantity} {:?}", extents(cells)),
            Self::Whole(quantity) if cells.iter().any(|cell| cell.input.is_some()) => format!("{quantity} in one direction for each input"),
            Self::Whole(quantity) => format!("{quantity} in random directions"),
        }
    }

    /// The number of cells in a row.
    fn width(self, cells: &[&Comparison]) -> usize {
        match self {
            Self::Whole(_) => cells.len(),
            _ => match extents(cells)[..] {
                [] | [_] => cells.len(),
                [first, ..] if cells.len() / first <= WIDEST => cells.len() / first,
                [.., last] => last,
            },
        }
        .max(1)
    }
}

/// Returns the extents of the tensor whose elements the cells show.
fn extents(cells: &[&Comparison]) -> Vec<usize> {
    cells.last().map_or(Vec::new(), |last| last.index.iter().map(|i| i + 1).collect())
}

/// Draws cells in row-major order. A row holds one index of the first axis. If that is too wide, it holds one index of all axes but the
/// last.
fn svg(group: &Group, cells: &[&Comparison], inputs: &[Input]) -> String {
    let columns = group.width(cells);
    let (width, height) = (CELL * columns, CELL * cells.len().div_ceil(columns));
    let mut svg = format!("<svg class=\"heat\" viewBox=\"0 0 {width} {height}\" style=\"width:{width}px\" role=\"img\">");
    for (i, cell) in cells.iter().enumerate() {
        let (x, y, side) = (CELL * (i % columns), CELL * (i / columns), CELL - 1);
        let _ = write!(svg, "<rect x=\"{x}\" y=\"{y}\" width=\"{side}\" height=\"{side}\" class=\"{}\">", class(cell.of_allowed));
        let _ = write!(svg, "<title>{}</title></rect>", tooltip(cell, inputs));
    }
    svg + "</svg>"
}

/// Returns the class of an error relative to the allowed error.
pub fn class(of_allowed: f64) -> &'static str {
    CLASSES.iter().rev().find(|(from, _, _)| of_allowed >= *from).map_or("ex", |(_, class, _)| class)
}

fn tooltip(cell: &Comparison, inputs: &[Input]) -> String {
    let input = cell.input.and_then(|input| inputs.get(input).filter(|input| input.shape.len() == cell.index.len()));
    let at = input.and_then(|input| {
        let position = cell.index.iter().zip(&input.shape).fold(0, |position, (i, extent)| position * extent + i);
        input.data.get(position).map(|x| format!("input {x:.6}\n"))
    });
    let place = match (cell.input, cell.index.is_empty()) {
        (Some(input), true) => format!("input {input}\n"),
        _ => format!("{:?}\n", cell.index),
    };
    let (expected, got) = (cell.expected, cell.got);
    format!("{place}{}expected {expected:.6e}\ngot {got:.6e}\n{}", at.unwrap_or_default(), part(cell.of_allowed))
}

/// Formats an error relative to the allowed error, for a person.
pub fn part(of_allowed: f64) -> String {
    match of_allowed {
        0.0 => "no error".to_owned(),
        p if p < 1e-5 => format!("{:.1e}% of allowed", 100.0 * p),
        p if p <= 1.0 => format!("{:.3}% of allowed", 100.0 * p),
        p => format!("{p:.3e} times what is allowed"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use engine::gradcheck::{Method, Sample, Settings, check_with};
    use engine::{Tensor, function};

    #[test]
    fn every_element_has_a_cell_and_a_wrong_one_is_in_the_failures_colour() {
        let inputs = [Input::new((1..=6).map(f64::from).collect(), &[2, 3]), Input::new(vec![2.0], &[])];
        let spot = function!(|x| {
            let mask = Tensor::constant(x[0].backend(), &[0.0, 0.0, 0.0, 0.0, 1.0, 0.0], &[2, 3]);
            x[0].mul(&x[1]).add(&x[0].mul(&mask))
        });
        let sample = Sample::new(spot, inputs.clone()).with_twin(function!(|x| x[0].mul(&x[1])));
        let settings = Settings { methods: vec![Method::Twin], comparisons: true, ..Settings::default() };
        let report = check_with("spot", &sample, &settings);
        let maps = heat_maps(&report.checks[0], &inputs);
        let labels: Vec<&str> = maps.iter().map(|map| map.label.as_str()).collect();
        assert_eq!(labels, ["value [2, 3]", "gradient of input 0 [2, 3]", "gradient of input 1 []"]);
        let cells: Vec<usize> = maps.iter().map(|map| map.svg.matches("<rect").count()).collect();
        let wrong: Vec<usize> = maps.iter().map(|map| map.svg.matches("class=\"ex\"").count()).collect();
        assert_eq!((cells, wrong), (vec![6, 6, 1], vec![1, 1, 0]));
        assert!(maps[1].svg.contains("<title>[1, 1]\ninput 5.000000\nexpected "), "{}", maps[1].svg);
    }

    #[test]
    fn what_passes_and_what_fails_never_share_a_colour() {
        assert_eq!((class(0.0), class(0.5), class(1.0)), ("e0", "e5", "e5"));
        assert_eq!((class(1.001), class(f64::INFINITY), class(f64::NAN)), ("ex", "ex", "ex"));
    }
}
