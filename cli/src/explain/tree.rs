//! A graph as a tree of text, from the result down to the inputs.

use super::numbers::list;
use engine::explain::{Graph, GraphValue};

/// The number of elements that are shown of each value.
const ELEMENTS: usize = 6;

/// Writes the tree, one line for each value. A value with several users is expanded only at its first place.
pub fn tree(graph: &Graph) -> String {
    let mut out = String::new();
    if let Some(root) = graph.values.last() {
        branch(graph, root, "", "", &mut vec![false; graph.values.len()], &mut out);
    }
    out
}

fn branch(graph: &Graph, value: &GraphValue, first: &str, rest: &str, seen: &mut [bool], out: &mut String) {
    if std::mem::replace(&mut seen[value.id], true) && !value.is_input {
        out.push_str(&format!("{first}{} (as above)\n", value.label));
        return;
    }
    out.push_str(&format!("{first}{}\n", line(value)));
    for (i, &parent) in value.parents.iter().enumerate() {
        let last = i + 1 == value.parents.len();
        let (own, below) = if last { ("└─ ", "   ") } else { ("├─ ", "│  ") };
        branch(graph, &graph.values[parent], &format!("{rest}{own}"), &format!("{rest}{below}"), seen, out);
    }
}

fn line(value: &GraphValue) -> String {
    let numbers = value.value.as_ref().map_or(String::new(), |x| format!(" = {}", list(x, ELEMENTS)));
    let gradient = value.gradient.as_ref().map_or(String::new(), |g| format!("   ∂ {}", list(g, ELEMENTS)));
    format!("{} {:?}{numbers}{gradient}", value.label, value.shape)
}
