//! `slpo data`: shows how a training run would use a dataset, before the run.

mod ches;
mod example;

use super::load::longest_sequence;
use super::notices;
use crate::arguments::{Data, Shared};
use crate::failure::Failure;
use crate::output::Output;
use example::Style;
use model::boundary::Limits;
use model::data::inspect::{Form, Inspection, Lengths, Reading, inspect};
use model::data::{Balance, ChatTemplate, Dropped};
use model::tokenizer::Tokenizer;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::io::{self, Write};

/// Quantiles that are shown, with their names.
const QUANTILES: [(&str, f64); 6] = [("min", 0.0), ("p25", 0.25), ("median", 0.5), ("p75", 0.75), ("p95", 0.95), ("max", 1.0)];

/// The most lines that are named before "…".
const LINES: usize = 12;

/// Prints the report.
///
/// # Errors
/// The errors of the model's files, of the data and of standard output.
pub fn run(arguments: &Data, shared: &Shared) -> Result<(), Failure> {
    let (config, remarks) = model::model_folder::read_config(&arguments.model)?;
    notices::warn(&remarks);
    let tokenizer = Tokenizer::from_folder(&arguments.model)?.for_vocabulary(config.vocab_size);
    notices::warn(tokenizer.remarks());
    let chat = ChatTemplate::of(&tokenizer)?;
    let longest = longest_sequence(&config, arguments.max_length);
    let limits = Limits { truncation: arguments.cut.truncation(), ..Limits::new(longest) };
    let reading = Reading { tokenizer: &tokenizer, chat: &chat, turns: arguments.turns.turns(), limits };
    let seen = inspect(&arguments.data, &reading, arguments.examples)?;
    notices::of_file(&arguments.data, &seen.report.remarks);
    let examples = examples(&seen, &tokenizer)?;
    let mut values = as_json(&seen, &chat, &examples);
    let ches = if arguments.ches { Some(ches::Summary::of(arguments, &chat, &limits)?) } else { None };
    if let Some(ches) = &ches {
        values["ches"] = ches.to_json();
    }
    Output::new(shared.json).painted(&values, |to| {
        show(to, &seen, &chat, &examples)?;
        ches.as_ref().map_or(Ok(()), |ches| ches.show(to))
    })
}

/// The text of an example's sequence: the context, and the part that is learned.
struct Shown {
    line: usize,
    name: &'static str,
    prompt: String,
    completion: String,
}

fn examples(seen: &Inspection, tokenizer: &Tokenizer) -> Result<Vec<Shown>, Failure> {
    let mut shown = Vec::new();
    for example in &seen.examples {
        for (name, sequence) in &example.sequences {
            let [prompt, completion] = example::split_text(tokenizer, sequence)?;
            shown.push(Shown { line: example.line, name, prompt, completion });
        }
    }
    Ok(shown)
}

fn template_name(chat: &ChatTemplate) -> &'static str {
    match chat {
        ChatTemplate::Jinja(_) => "the model's chat template",
        ChatTemplate::Transcript => "Human/Assistant transcripts (the model has no chat template)",
    }
}

/// Groups the dropped lines by reason, in the order of the reasons.
fn drops(dropped: &[Dropped]) -> BTreeMap<model::data::DropReason, Vec<usize>> {
    let mut lines: BTreeMap<_, Vec<usize>> = BTreeMap::new();
    for row in dropped {
        lines.entry(row.reason).or_default().push(row.line);
    }
    lines
}

fn as_json(seen: &Inspection, chat: &ChatTemplate, examples: &[Shown]) -> Value {
    let lengths = seen.lengths.iter().map(|lengths| {
        let mut values: Map<String, Value> = QUANTILES.map(|(name, q)| (name.to_owned(), json!(lengths.quantile(q)))).into_iter().collect();
        values.insert("mean".to_owned(), json!(lengths.mean()));
        (lengths.name.to_owned(), Value::Object(values))
    });
    let examples = examples.iter().map(|shown| {
        let Shown { line, name, prompt, completion } = shown;
        json!({"line": line, "sequence": name, "prompt": prompt, "completion": completion})
    });
    let mut object = json!({
        "path": seen.report.path,
        "form": seen.form,
        "rows": seen.report.rows,
        "kept": seen.report.kept,
        "max_length": seen.max_tokens,
        "chat_template": matches!(chat, ChatTemplate::Jinja(_)),
        "dropped": drops(&seen.report.dropped)
            .iter()
            .map(|(reason, lines)| json!({"reason": reason, "count": lines.len(), "lines": lines}))
            .collect::<Vec<_>>(),
        "truncated": {"count": seen.truncated_lines.len(), "lines": seen.truncated_lines},
        "truncation": seen.report.truncation,
        "turns": seen.report.turns,
        "remarks": seen.report.remarks,
        "merged": {"count": seen.report.merged_boundaries, "lines": seen.merged_lines},
        "lengths": lengths.collect::<Map<_, _>>(),
        "examples": examples.collect::<Vec<_>>(),
    });
    if let Some(labels) = seen.labels {
        object["labels"] = json!(labels);
    }
    object
}

fn show(to: &mut dyn Write, seen: &Inspection, chat: &ChatTemplate, examples: &[Shown]) -> io::Result<()> {
    let form = match seen.form {
        Form::Preferences => "preferences",
        Form::Completions => "completions",
        Form::Unpaired => "labelled rows",
    };
    let report = &seen.report;
    writeln!(to, "{}: {form}, {} rows, {} kept, {} dropped", report.path.display(), report.rows, report.kept, report.dropped.len())?;
    writeln!(to, "conversations as {}; at most {} tokens a sequence\n", template_name(chat), seen.max_tokens)?;
    show_rows(to, seen)?;
    show_lengths(to, seen)?;
    if let Some(lengths) = seen.lengths.last() {
        show_histogram(to, lengths, seen.max_tokens)?;
    }
    let style = Style::of_standard_output();
    if !examples.is_empty() {
        writeln!(to, "\nwhat is learned, {}", style.legend())?;
    }
    for shown in examples {
        writeln!(to, "\nline {}, {}", shown.line, shown.name)?;
        writeln!(to, "{}", style.paint(&shown.prompt, &shown.completion, ["rejected", "undesirable"].contains(&shown.name)))?;
    }
    Ok(())
}

fn show_rows(to: &mut dyn Write, seen: &Inspection) -> io::Result<()> {
    let mut line = |what: &str, count: usize, lines: &[usize]| match count {
        0 => writeln!(to, "{count:>8}  {what}"),
        _ => writeln!(to, "{count:>8}  {what}: line {}", first_lines(lines)),
    };
    for (reason, lines) in drops(&seen.report.dropped) {
        line(&format!("dropped, {reason}"), lines.len(), &lines)?;
    }
    if let Some(Balance { desirable, undesirable }) = seen.labels {
        let share = 100.0 * desirable as f64 / (desirable + undesirable) as f64;
        writeln!(to, "{desirable:>8}  desirable rows ({share:.0} %)\n{undesirable:>8}  undesirable rows ({:.0} %)", 100.0 - share)?;
    }
    if seen.report.turns > 0 {
        writeln!(to, "{:>8}  turns of the assistant are learned", seen.report.turns)?;
    }
    let mut line = |what: &str, count: usize, lines: &[usize]| match count {
        0 => writeln!(to, "{count:>8}  {what}"),
        _ => writeln!(to, "{count:>8}  {what}: line {}", first_lines(lines)),
    };
    line(&format!("cut to length ({})", seen.report.truncation), seen.truncated_lines.len(), &seen.truncated_lines)?;
    line("completions that begin inside a token of their prompt", seen.report.merged_boundaries, &seen.merged_lines)
}

fn first_lines(lines: &[usize]) -> String {
    let mut shown: Vec<String> = lines.iter().take(LINES).map(usize::to_string).collect();
    if lines.len() > LINES {
        shown.push("…".to_owned());
    }
    shown.join(", ")
}

fn show_lengths(to: &mut dyn Write, seen: &Inspection) -> io::Result<()> {
    write!(to, "\n{:<12}", "tokens")?;
    for (name, _) in QUANTILES {
        write!(to, "{name:>8}")?;
    }
    writeln!(to, "{:>10}", "mean")?;
    for lengths in &seen.lengths {
        write!(to, "{:<12}", lengths.name)?;
        for (_, q) in QUANTILES {
            write!(to, "{:>8}", lengths.quantile(q))?;
        }
        writeln!(to, "{:>10.1}", lengths.mean())?;
    }
    Ok(())
}

fn show_histogram(to: &mut dyn Write, lengths: &Lengths, limit: usize) -> io::Result<()> {
    const BINS: usize = 10;
    const WIDTH: usize = 40;
    let bins = lengths.histogram(BINS);
    let most = bins.iter().map(|bin| bin.2).max().unwrap_or(0).max(1);
    writeln!(to, "\nrows by tokens (before cutting)")?;
    for (first, last, rows) in bins {
        let bar = "█".repeat((rows * WIDTH).div_ceil(most));
        let over = if last > limit { "  over the limit" } else { "" };
        writeln!(to, "{first:>7}–{last:<7} {rows:>7} {bar}{over}")?;
    }
    Ok(())
}
