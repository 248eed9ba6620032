//! A graph as an inline SVG picture that a page can show at any width.
//!
//! There are two layouts:
//! - Columns: inputs on the left, the result on the right, and one column for each distance from the inputs.
//! - A stack: one box below the other in the order of the tape, for narrow screens and for graphs with too many columns.

use super::mathml::escaped;
use super::numbers::list;
use engine::explain::{Graph, GraphValue};
use std::fmt::Write;

/// Sizes in pixels.
const HEIGHT: usize = 62;
const GAP: usize = 22;
const BETWEEN: usize = 56;
const CHARACTER: usize = 7;
const PADDING: usize = 12;
/// Largest width of the column layout. A wider picture would shrink until its text cannot be read.
const WIDEST: usize = 1100;
/// Width that edges take at the left of a stack, and the distance between its boxes.
const GUTTER: usize = 60;
const STACKED: usize = 14;

/// A box: its position, size and text.
struct Node {
    x: usize,
    y: usize,
    width: usize,
    lines: [String; 3],
    is_input: bool,
}

/// The picture in both layouts; the style sheet shows the one that fits. A graph that is too wide for columns has the stack only.
pub fn svg(graph: &Graph) -> String {
    let (columns, width, height) = columns(graph);
    let is_too_wide = width > WIDEST;
    let (stack, stack_width, stack_height) = stack(graph);
    let stack = drawn(graph, &stack, (stack_width, stack_height), if is_too_wide { "graph" } else { "graph narrow" }, edge_of_stack);
    if is_too_wide { stack } else { drawn(graph, &columns, (width, height), "graph wide", edge_of_columns) + &stack }
}

/// The boxes with the edges between them.
fn drawn(graph: &Graph, nodes: &[Node], (width, height): (usize, usize), class: &str, edge: fn(&Node, &Node) -> String) -> String {
    let mut out = format!(
        "<svg class=\"{class}\" viewBox=\"0 0 {width} {height}\" style=\"max-width:{width}px\" role=\"img\" aria-label=\"graph {}\">",
        graph.title
    );
    for value in &graph.values {
        for &parent in &value.parents {
            let _ = write!(out, "<path class=\"edge\" d=\"{}\"/>", edge(&nodes[parent], &nodes[value.id]));
        }
    }
    for node in nodes {
        let class = if node.is_input { "input" } else { "op" };
        let _ = write!(
            out,
            "<rect class=\"{class}\" x=\"{}\" y=\"{}\" width=\"{}\" height=\"{HEIGHT}\" rx=\"8\"/>",
            node.x, node.y, node.width
        );
        for (i, (line, class)) in node.lines.iter().zip(["name", "value", "gradient"]).enumerate() {
            let (x, y) = (node.x + PADDING, node.y + 20 + 17 * i);
            let _ = write!(out, "<text class=\"{class}\" x=\"{x}\" y=\"{y}\">{}</text>", escaped(line));
        }
    }
    out.push_str("</svg>");
    out
}

/// An edge from the right side of a box to the left side of another.
fn edge_of_columns(from: &Node, to: &Node) -> String {
    let (x1, y1, x2, y2) = (from.x + from.width, from.y + HEIGHT / 2, to.x, to.y + HEIGHT / 2);
    let middle = x1.midpoint(x2);
    format!("M{x1} {y1} C{middle} {y1} {middle} {y2} {x2} {y2}")
}

/// An edge from the left side of a box to the left side of one below. It bulges more for boxes that are further apart.
fn edge_of_stack(from: &Node, to: &Node) -> String {
    let (y1, y2) = (from.y + HEIGHT / 2, to.y + HEIGHT / 2);
    let boxes = y1.abs_diff(y2) / (HEIGHT + STACKED);
    let swing = (14 + 10 * boxes).min(GUTTER);
    let (x, out) = (from.x, from.x - swing);
    format!("M{x} {y1} C{out} {y1} {out} {y2} {x} {y2}")
}

/// Stacked layout: the box of each value, and the size of the picture.
fn stack(graph: &Graph) -> (Vec<Node>, usize, usize) {
    let mut nodes: Vec<Node> = graph.values.iter().map(node).collect();
    for (row, node) in nodes.iter_mut().enumerate() {
        (node.x, node.y) = (GUTTER, 1 + row * (HEIGHT + STACKED));
    }
    let widest = nodes.iter().map(|node| node.width).max().unwrap_or(0);
    let height = nodes.len() * (HEIGHT + STACKED);
    (nodes, GUTTER + widest + 1, height)
}

/// Column layout: the box of each value, and the size of the picture.
fn columns(graph: &Graph) -> (Vec<Node>, usize, usize) {
    let mut depth = vec![0; graph.values.len()];
    for value in &graph.values {
        depth[value.id] = value.parents.iter().map(|&parent| depth[parent] + 1).max().unwrap_or(0);
    }
    let columns = depth.iter().max().map_or(0, |deepest| deepest + 1);
    let mut nodes: Vec<Node> = graph.values.iter().map(node).collect();
    let members = |column: usize| depth.iter().enumerate().filter(move |&(_, &d)| d == column).map(|(id, _)| id);
    let tallest = (0..columns).map(|column| members(column).count()).max().unwrap_or(0);
    let height = tallest * (HEIGHT + GAP);
    let mut x = 1;
    for column in 0..columns {
        let ids: Vec<usize> = members(column).collect();
        let widest = ids.iter().map(|&id| nodes[id].width).max().unwrap_or(0);
        let start = (height - ids.len() * (HEIGHT + GAP)) / 2 + GAP / 2;
        for (row, id) in ids.into_iter().enumerate() {
            (nodes[id].x, nodes[id].y) = (x, start + row * (HEIGHT + GAP));
        }
        x += widest + BETWEEN;
    }
    (nodes, (x + 1).saturating_sub(BETWEEN), height)
}

fn node(value: &GraphValue) -> Node {
    let numbers = |x: &Option<Vec<f64>>| x.as_ref().map_or(String::new(), |x| list(x, 4));
    let gradient = numbers(&value.gradient);
    let lines = [
        format!("{} {:?}", value.label, value.shape),
        numbers(&value.value),
        if gradient.is_empty() { gradient } else { format!("∂ {gradient}") },
    ];
    let longest = lines.iter().map(|line| line.chars().count()).max().unwrap_or(0);
    Node { x: 0, y: 0, width: longest * CHARACTER + 2 * PADDING, lines, is_input: value.is_input }
}
