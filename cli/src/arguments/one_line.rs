//! What is wrong with a command line, in one line.

use clap::error::{ContextKind, ContextValue};

/// The parser's message in one line: what is wrong, its tips, and where to read on.
pub fn of(error: &clap::Error) -> String {
    let text = error.render().to_string();
    let mut paragraphs = text.split("\n\n").map(|paragraph| paragraph.split_whitespace().collect::<Vec<_>>().join(" "));
    let what = paragraphs.next().unwrap_or_default();
    let tips: Vec<String> = paragraphs.filter(|paragraph| paragraph.starts_with("tip: ")).collect();
    let what = what.strip_prefix("error: ").unwrap_or(&what);
    let tips: String = tips.iter().map(|tip| format!("; {tip}")).collect();
    format!("{what}{tips}; see {} --help", command(error))
}

/// The command that was being read, from the usage line.
fn command(error: &clap::Error) -> String {
    let usage = match error.get(ContextKind::Usage) {
        Some(ContextValue::StyledStr(usage)) => usage.to_string(),
        _ => String::new(),
    };
    let words = usage.split_whitespace().skip_while(|word| *word != "slpo");
    let words: Vec<&str> = words.take_while(|word| word.starts_with(|c: char| c.is_ascii_lowercase())).collect();
    if words.is_empty() { "slpo".to_owned() } else { words.join(" ") }
}
