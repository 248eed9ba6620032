//! Converts LaTeX to MathML, which browsers draw without a script, a font or a network.

use crate::explain::MathMl;

/// Returns the formula as a `<math>` element. Source that is not LaTeX is shown unchanged.
pub(super) fn mathml(latex: &str) -> String {
    MathMl::new().display(latex)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_formula_is_one_math_element() {
        let page = mathml(r"\frac{e^{z_1}}{e^{z_1} + C} \neq \sigma(\beta h)");
        assert!(page.starts_with("<math") && page.trim_end().ends_with("</math>"), "{page}");
        assert!(page.contains("<mfrac>") && page.contains('β'), "{page}");
        assert_eq!(mathml(r"\frac{1}{"), r"<code>\frac{1}{</code>", "what cannot be set is shown");
        assert!(!mathml("a < b").contains("a < b"), "signs are escaped");
    }
}
