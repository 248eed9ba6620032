//! LaTeX as MathML, which browsers draw without a script or a network.

use math_core::{LatexToMathML, MathCoreConfig, MathDisplay};

/// Turns formulas into MathML.
pub struct MathMl {
    converter: Option<LatexToMathML>,
}

impl MathMl {
    /// A converter without macros.
    pub fn new() -> Self {
        Self { converter: LatexToMathML::new(MathCoreConfig::default()).ok() }
    }

    /// A formula on a line of its own.
    pub fn display(&self, latex: &str) -> String {
        self.convert(latex, MathDisplay::Block).unwrap_or_else(|| as_code(latex))
    }

    /// A formula inside a line.
    pub fn inline(&self, latex: &str) -> String {
        self.convert(latex, MathDisplay::Inline).unwrap_or_else(|| as_code(latex))
    }

    fn convert(&self, latex: &str, display: MathDisplay) -> Option<String> {
        Some(self.converter.as_ref()?.convert_with_local_state(latex, display).ok()?.mathml)
    }
}

/// The LaTeX source itself, for what cannot be converted.
fn as_code(latex: &str) -> String {
    format!("<code>{}</code>", escaped(latex))
}

/// Text escaped for HTML.
pub fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::MathMl;
    use engine::explain::Piece;

    #[test]
    fn every_formula_becomes_mathml() {
        let math = MathMl::new();
        for explanation in crate::explain::all() {
            let steps = explanation.derivation().into_iter().flatten();
            let formulas = explanation.formulas().into_iter().map(Piece::Display).chain(steps);
            for piece in formulas {
                let drawn = match piece {
                    Piece::Display(latex) => math.display(latex),
                    Piece::Inline(latex) => math.inline(latex),
                    Piece::Text(_) => continue,
                };
                assert!(drawn.starts_with("<math") && !drawn.contains("merror"), "{}: {piece:?}: {drawn}", explanation.name);
            }
        }
    }
}
