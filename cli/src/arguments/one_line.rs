//! What is wrong with a command line, in one line.

/// The parser's message in one line: what is wrong, its tips, and which `command`'s help to read.
pub fn of(error: &clap::Error, command: Option<&clap::Command>) -> String {
    let text = error.render().to_string();
    let mut paragraphs = text.split("\n\n").map(|paragraph| paragraph.split_whitespace().collect::<Vec<_>>().join(" "));
    let what = paragraphs.next().unwrap_or_default();
    let tips: Vec<String> = paragraphs.filter(|paragraph| paragraph.starts_with("tip: ")).collect();
    let what = what.strip_prefix("error: ").unwrap_or(&what);
    let tips: String = tips.iter().map(|tip| format!("; {tip}")).collect();
    let command = command.map_or(String::new(), |command| format!(" {}", command.get_name()));
    format!("{what}{tips}; see slpo{command} --help")
}
