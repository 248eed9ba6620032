//! A row as text that shows which part is learned: by colour on a terminal, by brackets elsewhere.

use crate::failure::Failure;
use crate::terminal;
use model::boundary::Sequence;
use model::tokenizer::Tokenizer;
use std::io::IsTerminal;

/// The most characters of a prompt or a completion that are shown, half from each end.
const LONGEST: usize = 600;

/// Returns the context and the completion as text. Special tokens are shown by their names.
///
/// # Errors
/// The errors of the tokenizer.
pub fn split_text(tokenizer: &Tokenizer, sequence: &Sequence) -> Result<[String; 2], Failure> {
    let whole = tokenizer.decode_with_special(&sequence.tokens)?;
    let prompt = tokenizer.decode_with_special(sequence.prompt())?;
    // A character may be split between both. Then each part is decoded alone.
    let completion = match whole.strip_prefix(&prompt) {
        Some(rest) => rest.to_owned(),
        None => tokenizer.decode_with_special(sequence.completion())?,
    };
    Ok([prompt, completion])
}

/// How the completion is marked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    /// The prompt is dim. The completion is green, or red if it was rejected or is undesirable.
    Colour,
    /// The completion is in brackets.
    Brackets,
}

impl Style {
    /// Chooses colour if standard output is a terminal that supports it. Any text in `NO_COLOR` turns colour off.
    pub fn of_standard_output() -> Self {
        let refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let plain = std::env::var_os("TERM").is_some_and(|value| value == "dumb");
        if std::io::stdout().is_terminal() && !refused && !plain { Self::Colour } else { Self::Brackets }
    }

    /// Explains the marks.
    pub fn legend(self) -> &'static str {
        match self {
            Self::Colour => "in green (chosen, desirable) or red (rejected, undesirable):",
            Self::Brackets => "in ⟦brackets⟧:",
        }
    }

    /// Formats one sequence so that it is safe to print.
    pub fn paint(self, prompt: &str, completion: &str, rejected: bool) -> String {
        let [prompt, completion] = [prompt, completion].map(|text| terminal::shown(&shortened(text)));
        match self {
            Self::Colour => {
                let colour = if rejected { 31 } else { 32 };
                format!("\u{1b}[2m{prompt}\u{1b}[0m\u{1b}[{colour}m{completion}\u{1b}[0m")
            }
            Self::Brackets => format!("{prompt}⟦{completion}⟧"),
        }
    }
}

fn shortened(text: &str) -> String {
    let count = text.chars().count();
    if count <= LONGEST {
        return text.to_owned();
    }
    let head: String = text.chars().take(LONGEST / 2).collect();
    let tail: String = text.chars().skip(count - LONGEST / 2).collect();
    format!("{head} … {tail}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_learned_is_in_colour_or_in_brackets() {
        assert_eq!(Style::Brackets.paint("a ", "b", false), "a ⟦b⟧");
        assert_eq!(Style::Colour.paint("a ", "b", false), "\u{1b}[2ma \u{1b}[0m\u{1b}[32mb\u{1b}[0m");
        assert!(Style::Colour.paint("a ", "b", true).contains("\u{1b}[31mb"));
    }

    #[test]
    fn data_cannot_steer_the_terminal() {
        assert_eq!(Style::Brackets.paint("\u{1b}[2J\n", "\u{7}", false), "\\u{1b}[2J\n⟦\\u{7}⟧");
    }

    #[test]
    fn long_texts_keep_both_ends() {
        let text = format!("begin{}end", "x".repeat(2000));
        let shown = shortened(&text);
        assert!(shown.starts_with("begin") && shown.ends_with("end") && shown.chars().count() <= LONGEST + 3);
    }

    #[test]
    fn special_tokens_are_shown_by_name() {
        let sequence = Sequence::new(vec![256, 104, 105, 33, 257], 3);
        assert_eq!(split_text(&Tokenizer::bytes(), &sequence).unwrap(), ["<|bos|>hi", "!<|eos|>"]);
    }
}
