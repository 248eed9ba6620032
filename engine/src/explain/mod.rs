//! Explanations: of each op its formula, the derivation of its vjp in steps, and a worked example that is computed when it is asked for.
//!
//! The formulas are written once, as LaTeX, in `explain/text/NAME.md`. The op's documentation includes that file, and `slpo explain` reads
//! it.

mod example;
pub(crate) mod examples;
mod text;
mod worked;

pub use example::Example;
pub use text::Piece;
pub use worked::{Element, Graph, GraphValue, Worked};

use text::{pieces, section, steps};

/// What there is to say about an op or a loss.
#[derive(Clone, Copy)]
pub struct Explanation {
    /// The name in the registry.
    pub name: &'static str,
    /// The Rust source of the op, with its formula in its first lines.
    pub source: &'static str,
    text: &'static str,
    example: fn() -> Example,
}

impl Explanation {
    /// An explanation from the op's source, its text (headings `## Formula` and `## Derivation`, formulas as LaTeX in `math` blocks and in
    /// code between dollar signs, a numbered list of steps) and its example.
    pub const fn new(name: &'static str, source: &'static str, text: &'static str, example: fn() -> Example) -> Self {
        Self { name, source, text, example }
    }

    /// One line: the first sentence of the source's documentation, without what stands in parentheses.
    pub fn summary(&self) -> String {
        let lines = self.source.lines().map_while(|line| line.strip_prefix("//! ")).map(str::trim);
        let mut paragraph = lines.collect::<Vec<_>>().join(" ");
        while let Some((start, length)) = parenthesis(&paragraph) {
            paragraph.replace_range(start..start + length, "");
        }
        let sentence = paragraph.split(". ").next().unwrap_or_default();
        sentence.trim_end_matches('.').replace(['\\', '`'], "")
    }

    /// The formulas, as LaTeX.
    pub fn formulas(&self) -> Vec<&'static str> {
        let latex = |piece| match piece {
            Piece::Display(latex) => Some(latex),
            Piece::Text(_) | Piece::Inline(_) => None,
        };
        pieces(section(self.text, "Formula")).into_iter().filter_map(latex).collect()
    }

    /// The derivation, step by step.
    pub fn derivation(&self) -> Vec<Vec<Piece<'static>>> {
        steps(section(self.text, "Derivation")).into_iter().map(pieces).collect()
    }

    /// The example, computed now.
    pub fn work(&self) -> Worked {
        Worked::new(self.name, &(self.example)())
    }
}

/// Where the first remark in parentheses begins, with the space before it, and its length.
fn parenthesis(text: &str) -> Option<(usize, usize)> {
    let start = text.find(" (")?;
    let mut depth = 0;
    let end = text[start..].char_indices().skip(1).find(|&(_, c)| {
        depth += i32::from(c == '(') - i32::from(c == ')');
        depth == 0
    });
    end.map(|(end, _)| (start, end + 1))
}

#[cfg(test)]
mod tests {
    use crate::ops::explanations;

    #[test]
    fn every_op_has_a_summary_a_formula_and_a_derivation() {
        for explanation in explanations() {
            let name = explanation.name;
            assert!(!explanation.summary().is_empty() && !explanation.summary().contains(['(', '`']) || name == "log1mexp", "{name}");
            assert!(!explanation.formulas().is_empty(), "{name}");
            assert!(!explanation.derivation().is_empty() && explanation.derivation().iter().all(|step| !step.is_empty()), "{name}");
        }
    }

    #[test]
    fn every_text_belongs_to_an_op() {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src/explain/text");
        let mut texts: Vec<String> =
            std::fs::read_dir(folder).unwrap().map(|file| file.unwrap().path().file_stem().unwrap().to_str().unwrap().to_owned()).collect();
        let mut names: Vec<String> = explanations().iter().map(|explanation| explanation.name.to_owned()).collect();
        texts.sort();
        names.sort();
        assert_eq!(texts, names);
    }

    #[test]
    fn every_op_documents_its_text() {
        for explanation in explanations() {
            let included = format!("#![doc = include_str!(\"../explain/text/{}.md\")]", explanation.name);
            assert!(explanation.source.contains(&included), "{}: {included}", explanation.name);
        }
    }

    #[test]
    fn every_example_passes_the_gradient_suite() {
        for explanation in explanations() {
            explanation.work().report.assert();
        }
    }

    #[test]
    fn the_methods_agree_on_every_example() {
        for explanation in explanations() {
            for element in explanation.work().elements {
                // ten units in the last place of f64 at the size of the larger terms, which are at most some tens
                let close = |other: f64| (other - element.reverse).abs() <= 1e-13 * element.reverse.abs().max(10.0);
                assert!(close(element.forward) && close(element.reference), "{}: {element:?}", explanation.name);
                assert!(element.composed.is_none_or(close), "{}: {element:?}", explanation.name);
                let allowed = 10.0 * element.difference_error + 1e-10 * element.reverse.abs().max(1.0);
                assert!((element.difference - element.reverse).abs() <= allowed, "{}: {element:?}", explanation.name);
            }
        }
    }
}
