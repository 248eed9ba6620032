//! Numbers as a person reads them.

/// Formats a number with this many digits after the point. A number that rounds to zero has no sign.
pub fn fixed(value: f64, digits: usize) -> String {
    without_negative_zero(format!("{value:.digits$}"))
}

/// As [`fixed`], with a sign for every number except zero.
pub fn signed(value: f64, digits: usize) -> String {
    let text = format!("{value:+.digits$}");
    if is_zero(&text) { text.trim_start_matches(['+', '-']).to_owned() } else { text }
}

/// Formats a number with this many significant digits, without zeros at its end.
pub fn significant(value: f64, digits: usize) -> String {
    format!("{}", format!("{value:.*e}", digits - 1).parse::<f64>().unwrap_or(value))
}

fn without_negative_zero(text: String) -> String {
    if is_zero(&text) { text.trim_start_matches('-').to_owned() } else { text }
}

fn is_zero(text: &str) -> bool {
    text.chars().all(|c| "+-0.".contains(c))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zero_has_no_sign_and_nothing_else_loses_its_own() {
        assert_eq!([fixed(-0.0, 4), fixed(-0.00001, 4), fixed(-0.0001, 4)], ["0.0000", "0.0000", "-0.0001"]);
        assert_eq!([signed(-0.001, 2), signed(0.001, 2), signed(0.01, 2), signed(-3.0, 2)], ["0.00", "0.00", "+0.01", "-3.00"]);
        assert_eq!([significant(-82.624_93, 5), significant(1e-4, 5), significant(0.0, 5)], ["-82.625", "0.0001", "0"]);
        assert_eq!([fixed(f64::NAN, 2), fixed(f64::NEG_INFINITY, 2)], ["NaN", "-inf"]);
    }
}
