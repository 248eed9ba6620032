//! Formulas: LaTeX as MathML, which browsers set without script, font or network.

use pulldown_latex::config::DisplayMode;
use pulldown_latex::{Parser, RenderConfig, Storage, push_mathml};

/// The formula as a `<math>` element; what is not LaTeX is shown in it as an error.
pub(super) fn mathml(latex: &str) -> String {
    let (storage, mut page) = (Storage::new(), String::new());
    let config = RenderConfig { display_mode: DisplayMode::Block, ..RenderConfig::default() };
    // Writing to a string does not fail.
    let _ = push_mathml(&mut page, Parser::new(latex, &storage), config);
    page
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_formula_is_one_math_element() {
        let page = mathml(r"\frac{e^{z_1}}{e^{z_1} + C} \neq \sigma(\beta h)");
        assert!(page.starts_with("<math") && page.trim_end().ends_with("</math>"), "{page}");
        assert!(page.contains("<mfrac>") && page.contains('β') && !page.contains("merror"), "{page}");
        assert!(mathml(r"\frac{1}{").contains("merror"));
        assert!(!mathml("a < b").contains("a < b"), "signs are escaped");
    }
}
