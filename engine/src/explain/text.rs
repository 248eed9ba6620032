//! Reading an explanation's text: sections, steps, and the formulas in them.

/// A piece of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Piece<'a> {
    /// Words.
    Text(&'a str),
    /// LaTeX inside a line.
    Inline(&'a str),
    /// LaTeX on a line of its own.
    Display(&'a str),
}

const BLOCK: &str = "```math\n";
const BLOCK_END: &str = "```";
const INLINE: &str = "$`";
const INLINE_END: &str = "`$";

/// What stands under a heading `## name`; nothing where there is no such heading.
pub(super) fn section<'a>(text: &'a str, name: &str) -> &'a str {
    let heading = format!("## {name}\n");
    let Some(start) = text.find(&heading) else { return "" };
    let rest = &text[start + heading.len()..];
    rest.find("\n## ").map_or(rest, |end| &rest[..end]).trim()
}

/// The items of a numbered list, without their numbers.
pub(super) fn steps(list: &str) -> Vec<&str> {
    let mut starts: Vec<usize> = Vec::new();
    let mut position = 0;
    for line in list.split_inclusive('\n') {
        if numbered(line).is_some() {
            starts.push(position);
        }
        position += line.len();
    }
    let ends = starts.iter().skip(1).copied().chain([list.len()]);
    starts.iter().zip(ends).filter_map(|(&start, end)| numbered(&list[start..end])).map(str::trim).collect()
}

/// What follows `1. ` at the start.
fn numbered(text: &str) -> Option<&str> {
    let (number, rest) = text.split_once(". ")?;
    (!number.is_empty() && number.bytes().all(|b| b.is_ascii_digit())).then_some(rest)
}

/// Words and formulas in their order.
pub(super) fn pieces(mut text: &str) -> Vec<Piece<'_>> {
    let mut pieces = Vec::new();
    while !text.is_empty() {
        let (block, inline) = (text.find(BLOCK), text.find(INLINE));
        let is_block = block.is_some_and(|block| inline.is_none_or(|inline| block < inline));
        let (start, open, close) = match (block, inline) {
            (Some(start), _) if is_block => (start, BLOCK, BLOCK_END),
            (_, Some(start)) => (start, INLINE, INLINE_END),
            _ => (text.len(), "", ""),
        };
        if !text[..start].trim().is_empty() {
            pieces.push(Piece::Text(&text[..start]));
        }
        let formula = &text[start + open.len()..];
        if formula.is_empty() {
            break;
        }
        let end = formula.find(close).unwrap_or(formula.len());
        let latex = formula[..end].trim();
        pieces.push(if is_block { Piece::Display(latex) } else { Piece::Inline(latex) });
        text = formula.get(end + close.len()..).unwrap_or_default();
    }
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str =
        "## Formula\n\n```math\ny = x\n```\n\n## Derivation\n\n1. As $`x`$ is,\n\n   ```math\n   a\n   ```\n\n   so it is.\n2. Done.\n";

    #[test]
    fn sections_steps_and_formulas_are_found() {
        assert_eq!(pieces(section(TEXT, "Formula")), [Piece::Display("y = x")]);
        let steps: Vec<Vec<Piece<'_>>> = steps(section(TEXT, "Derivation")).into_iter().map(pieces).collect();
        assert_eq!(steps.len(), 2);
        let expected =
            [Piece::Text("As "), Piece::Inline("x"), Piece::Text(" is,\n\n   "), Piece::Display("a"), Piece::Text("\n\n   so it is.")];
        assert_eq!(steps[0], expected);
        assert_eq!(steps[1], [Piece::Text("Done.")]);
    }

    #[test]
    fn a_missing_section_is_empty() {
        assert_eq!(section(TEXT, "History"), "");
    }
}
