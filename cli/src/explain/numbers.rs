//! Numbers and element names as the explanations print them.

use engine::explain::{Element, Worked};

/// Formats a number in about eleven characters: six digits after the point, or scientific notation if six digits would hide the number.
pub fn short(x: f64) -> String {
    if x == 0.0 || x.is_nan() || x.is_infinite() {
        return x.to_string();
    }
    if !(1e-4..1e6).contains(&x.abs()) {
        return format!("{x:.4e}");
    }
    let digits = format!("{x:.6}");
    digits.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// Formats a number with twelve digits, so that methods can be compared.
pub fn long(x: f64) -> String {
    if x == 0.0 || (1e-4..1e6).contains(&x.abs()) { format!("{x:.12}") } else { format!("{x:.9e}") }
}

/// Lists at most `most` numbers, followed by an ellipsis if there are more.
pub fn list(values: &[f64], most: usize) -> String {
    let shown: Vec<String> = values.iter().take(most).map(|&x| short(x)).collect();
    format!("{}{}", shown.join(" "), if values.len() > most { " …" } else { "" })
}

/// A tensor: its shape and its elements.
pub fn tensor(shape: &[usize], data: &[f64]) -> String {
    format!("{shape:?}  {}", list(data, 16))
}

/// An element by its input's name and index.
pub fn place(worked: &Worked, element: &Element) -> String {
    let name = worked.inputs[element.input].0;
    if element.index.is_empty() { name.to_owned() } else { format!("{name}{:?}", element.index) }
}
