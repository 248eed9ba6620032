//! Untrusted text on its way to a terminal: control characters are shown, not obeyed.
//!
//! A model's folder, a dataset, a path or another process may contain any characters. Printed as they are, they could move the cursor,
//! change the window's title, type for the user, or hide text. So every error, warning, progress line, report and table passes through
//! here. These characters are shown in the form `\u{1b}`:
//!
//! - control characters (C0, DEL, C1), but for line breaks and tabs where the layout allows them;
//! - characters that change the direction of writing (U+202A to U+202E, U+2066 to U+2069 and the marks);
//! - invisible characters: zero-width characters, fillers, tags, and variation selectors that select nothing.
//!
//! Joiners and variation selectors after a non-ASCII character stay: emoji, Persian and Hindi need them.

use std::io::{self, Write};

/// Largest number of characters shown of one line, half from each end.
const LONGEST_LINE: usize = 4000;

/// Shows every control character of `text` except line breaks and tabs.
pub fn shown(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut before = ' ';
    for character in text.chars() {
        push(&mut out, character, before);
        before = character;
    }
    out
}

/// Formats `text` as one line of bounded length. Runs of white space become one space. "(os error N)" in messages of libraries is removed.
pub fn line(text: &str) -> String {
    let mut text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    while let Some(start) = text.find(" (os error ")
        && let Some(length) = text[start..].find(')')
    {
        text.replace_range(start..=start + length, "");
    }
    let line = shown(&text);
    let count = line.chars().count();
    if count <= LONGEST_LINE {
        return line;
    }
    let head: String = line.chars().take(LONGEST_LINE / 2).collect();
    let tail: String = line.chars().skip(count - LONGEST_LINE / 2).collect();
    format!("{head} … ({} characters) … {tail}", count - LONGEST_LINE)
}

/// Prepares a page for a browser: control characters are written as text. Invisible characters stay, because formulas need them.
pub fn page(html: &str) -> String {
    let mut out = String::with_capacity(html.len());
    for character in html.chars() {
        match is_obeyed(character) {
            true => out.extend(character.escape_unicode()),
            false => out.push(character),
        }
    }
    out
}

/// Writes a line to standard error. A closed standard error is ignored.
pub fn say(text: &str) {
    let _ = io::stderr().lock().write_all(format!("{}\n", shown(text)).as_bytes());
}

/// Colour codes that this program itself writes: plain, dim, red, green.
const COLOURS: [&str; 4] = ["\u{1b}[0m", "\u{1b}[2m", "\u{1b}[31m", "\u{1b}[32m"];

/// A writer that shows control characters and passes all other text through.
pub struct Shown<W> {
    to: W,
    before: char,
    /// True if this program's own colour codes pass.
    painted: bool,
}

impl<W: Write> Shown<W> {
    /// Creates a writer that shows every control character.
    pub fn new(to: W) -> Self {
        Self { to, before: ' ', painted: false }
    }

    /// Creates a writer that lets this program's colours through. Untrusted text must go through [`shown`] before it is coloured.
    pub fn painted(to: W) -> Self {
        Self { painted: true, ..Self::new(to) }
    }

    fn push_text(&mut self, out: &mut String, mut text: &str) {
        while let Some(character) = text.chars().next() {
            let colour = COLOURS.into_iter().find(|colour| self.painted && text.starts_with(colour));
            match colour {
                Some(colour) => *out += colour,
                None => push(out, character, self.before),
            }
            self.before = character;
            text = &text[colour.map_or(character.len_utf8(), str::len)..];
        }
    }
}

impl<W: Write> Write for Shown<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut out = String::with_capacity(bytes.len());
        for part in bytes.utf8_chunks() {
            self.push_text(&mut out, part.valid());
            part.invalid().iter().for_each(|byte| out += &format!("\\x{byte:02x}"));
        }
        self.to.write_all(out.as_bytes())?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}

fn push(out: &mut String, character: char, before: char) {
    if is_obeyed(character) || is_unseen(character, before) {
        out.extend(character.escape_unicode());
    } else {
        out.push(character);
    }
}

/// True for characters that change their surroundings: control characters, and marks of the direction of writing.
fn is_obeyed(character: char) -> bool {
    match character {
        '\n' | '\t' => false,
        '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}' | '\u{2029}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => true,
        other => other.is_control(),
    }
}

/// True for invisible characters.
fn is_unseen(character: char, before: char) -> bool {
    match character {
        // Joiners and selectors of variants, where they have something to join or to vary.
        '\u{200c}' | '\u{200d}' | '\u{fe00}'..='\u{fe0f}' => before.is_ascii(),
        '\u{ad}' | '\u{34f}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' | '\u{180b}'..='\u{180f}' | '\u{200b}' => true,
        '\u{2060}'..='\u{2065}' | '\u{206a}'..='\u{206f}' | '\u{3164}' | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}' => true,
        '\u{13430}'..='\u{1343f}' | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}' => true,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_obeys_is_shown() {
        assert_eq!(shown("a\u{1b}]0;x\u{7}\r\u{7f}\u{9b}2J"), "a\\u{1b}]0;x\\u{7}\\u{d}\\u{7f}\\u{9b}2J");
        assert_eq!(shown("x\u{202e}gnp.exe\u{2066}"), "x\\u{202e}gnp.exe\\u{2066}");
        assert_eq!(shown("a\u{200b}b\u{feff}\u{e0041}"), "a\\u{200b}b\\u{feff}\\u{e0041}");
        assert_eq!(shown("one\n\ttwo äöü 你好 ⟦→⟧"), "one\n\ttwo äöü 你好 ⟦→⟧");
    }

    #[test]
    fn joiners_stay_where_they_join() {
        for text in ["👩\u{200d}🔬", "❤\u{fe0f}", "می\u{200c}خواهم", "क्\u{200d}ष"] {
            assert_eq!(shown(text), text);
        }
        assert_eq!(shown("pass\u{200d}word\u{fe0f}"), "pass\\u{200d}word\\u{fe0f}");
    }

    #[test]
    fn no_character_of_unicode_gets_through_that_should_not() {
        let all: String = (char::MIN..=char::MAX).collect();
        let shown = shown(&all);
        assert!(shown.chars().all(|c| !c.is_control() || matches!(c, '\n' | '\t')));
        assert!(shown.chars().all(|c| !('\u{202a}'..='\u{202e}').contains(&c) && !('\u{2066}'..='\u{2069}').contains(&c)));
    }

    #[test]
    fn a_line_is_one_and_bounded() {
        assert_eq!(line(" a\r\nb\u{85}c\td\u{1b} "), "a b c d\\u{1b}");
        let long = line(&format!("begin{}end", "\u{1}".repeat(1 << 20)));
        assert!(long.starts_with("begin") && long.ends_with("end") && long.chars().count() < LONGEST_LINE + 40, "{long}");
    }

    #[test]
    fn a_writer_shows_what_is_written_in_pieces() {
        let mut shown = Shown::new(Vec::new());
        ["👩", "\u{200d}🔬", "\u{1b}[2J"].iter().for_each(|part| shown.write_all(part.as_bytes()).unwrap());
        shown.write_all(b"\xff\n").unwrap();
        assert_eq!(String::from_utf8(shown.to).unwrap(), "👩\u{200d}🔬\\u{1b}[2J\\xff\n");
    }

    #[test]
    fn colours_of_ours_pass_where_text_is_painted() {
        let mut painted = Shown::painted(Vec::new());
        write!(painted, "\u{1b}[32mgreen\u{1b}[0m {} \u{1b}[8mhidden\u{1b}[3", shown("\u{1b}[31m")).unwrap();
        let text = String::from_utf8(painted.to).unwrap();
        assert_eq!(text, "\u{1b}[32mgreen\u{1b}[0m \\u{1b}[31m \\u{1b}[8mhidden\\u{1b}[3");
    }

    #[test]
    fn a_page_keeps_what_formulas_need() {
        assert_eq!(page("f\u{2061}(x)\n\u{1b}\u{202e}\0"), "f\u{2061}(x)\n\\u{1b}\\u{202e}\\u{0}");
    }
}
