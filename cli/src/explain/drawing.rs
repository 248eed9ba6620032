//! A graph as an inline SVG picture: inputs on the left, the result on the right, a column for each distance from the inputs.

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

/// A box: where it stands and what it says.
struct Node {
    x: usize,
    y: usize,
    width: usize,
    lines: [String; 3],
    is_input: bool,
}

/// The picture.
pub fn svg(graph: &Graph) -> String {
    let (nodes, width, height) = layout(graph);
    let mut out = format!("<svg viewBox=\"0 0 {width} {height}\" width=\"{width}\" role=\"img\" aria-label=\"graph {}\">", graph.title);
    for value in &graph.values {
        let to = &nodes[value.id];
        for &parent in &value.parents {
            let from = &nodes[parent];
            let (x1, y1, x2, y2) = (from.x + from.width, from.y + HEIGHT / 2, to.x, to.y + HEIGHT / 2);
            let middle = x1.midpoint(x2);
            let _ = write!(out, "<path class=\"edge\" d=\"M{x1} {y1} C{middle} {y1} {middle} {y2} {x2} {y2}\"/>");
        }
    }
    for node in &nodes {
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

/// The boxes by value, and the size of the picture.
fn layout(graph: &Graph) -> (Vec<Node>, usize, usize) {
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
