//! `slpo eval`: measures how well a model predicts text, completions or preferences.

use super::load::{Loaded, longest_sequence};
use super::notices;
use crate::arguments::{Eval, Shared};
use crate::failure::Failure;
use crate::output::{Number, Output};
use model::boundary::Limits;
use model::data::{ChatTemplate, CompletionSet, DataReport, DropReason, PreferenceSet, Source, TextData, jsonl, text};
use model::evaluate;
use serde::Serialize;
use std::collections::BTreeMap;
use std::path::Path;

/// Rows that run at once.
const BATCH: usize = 8;

/// Measures by the form of the data.
///
/// # Errors
/// The errors of the model's files, of the data and of standard output.
pub fn run(arguments: &Eval, shared: &Shared) -> Result<(), Failure> {
    let kind = Kind::of(&arguments.data)?;
    if arguments.reference.is_some() && kind != Kind::Preferences {
        let reason = format!("--reference is for preferences, and {} holds none", arguments.data.display());
        return Err(Failure::Usage(reason));
    }
    let unused = match kind {
        Kind::Text => arguments.max_tokens.map(|_| "--max-tokens is for rows, and this is text: --window does the same for text"),
        _ => arguments.window.map(|_| "--window is for text, and these are rows: --max-tokens does the same for rows"),
    };
    if let Some(reason) = unused {
        return Err(Failure::Usage(format!("{}: {reason}", arguments.data.display())));
    }
    let loaded = Loaded::open_with(&arguments.model, arguments.adapter.as_deref())?;
    let output = Output::new(shared.json);
    match kind {
        Kind::Text => text_cost(arguments, &loaded, output),
        Kind::Completions => completions(arguments, &loaded, output),
        Kind::Preferences => preferences(arguments, &loaded, output),
    }
}

/// The form of a file's data.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Text,
    Completions,
    Preferences,
}

impl Kind {
    /// Returns the form of the first row. A file that does not consist of rows is text.
    fn of(path: &Path) -> Result<Self, Failure> {
        let Source::Rows(rows) = Source::read(path)? else { return Ok(Self::Text) };
        let holds = |row: &jsonl::Row, names: &[&str]| names.iter().any(|name| row.has(name));
        Ok(match rows.first() {
            Some(row) if holds(row, &["chosen", "rejected"]) => Self::Preferences,
            Some(row) if row.has("text") && !holds(row, &["prompt", "messages", "conversations", "instruction"]) => Self::Text,
            _ => Self::Completions,
        })
    }
}

#[derive(Serialize)]
struct TextResult {
    kind: &'static str,
    tokens: usize,
    bytes: usize,
    window: usize,
    nats_per_token: Number,
    perplexity: Number,
    bits_per_byte: Number,
}

fn text_cost(arguments: &Eval, loaded: &Loaded, output: Output) -> Result<(), Failure> {
    let path = &arguments.data;
    let data = TextData::load(path, &loaded.tokenizer, 0.0)?;
    let asked = arguments.window.or_else(|| trained_window(&arguments.model));
    let window = longest_sequence(loaded.config(), asked);
    let score = evaluate::text(&loaded.decoder, text::windows(data.train(), window), &evaluate::to_the_end)?;
    if score.tokens == 0 {
        return Err(Failure::Failed(format!("{}: the text is a single token, and nothing comes before it", path.display())));
    }
    notices::of_file(path, &data.remarks);
    let bytes = data.bytes;
    let [nats, perplexity, bits] = [score.nats_per_token(), score.perplexity(), score.bits_per_byte(bytes)];
    let result = TextResult {
        kind: "text",
        tokens: score.tokens,
        bytes,
        window,
        nats_per_token: Number(nats),
        perplexity: Number(perplexity),
        bits_per_byte: Number(bits),
    };
    output.result(&result, |to| {
        writeln!(to, "perplexity     {perplexity:.4}")?;
        writeln!(to, "nats per token {nats:.4}")?;
        writeln!(to, "bits per byte  {bits:.4}")?;
        writeln!(to, "{} tokens for {bytes} bytes, each with up to {window} tokens before it", score.tokens)
    })
}

/// Returns the window with which the model was trained, if the config.toml of its run is in its folder.
fn trained_window(model: &Path) -> Option<usize> {
    let settings: toml::Table = model::files::read_text(&model.join("config.toml"), model::files::FLAGS).ok()?.parse().ok()?;
    settings.get("batch_tokens")?.as_integer()?.try_into().ok()
}

#[derive(Serialize)]
struct Rows {
    rows: usize,
    kept: usize,
    truncated: usize,
    dropped: BTreeMap<DropReason, usize>,
}

impl From<&DataReport> for Rows {
    fn from(report: &DataReport) -> Self {
        Self { rows: report.rows, kept: report.kept, truncated: report.truncated, dropped: report.drop_counts() }
    }
}

#[derive(Serialize)]
struct CompletionResult {
    kind: &'static str,
    sequences: usize,
    tokens: usize,
    nats_per_token: Number,
    perplexity: Number,
    data: Rows,
}

fn limits(arguments: &Eval, loaded: &Loaded) -> Limits {
    let longest = longest_sequence(loaded.config(), arguments.max_tokens);
    Limits { truncation: arguments.cut.truncation(), ..Limits::new(longest) }
}

fn completions(arguments: &Eval, loaded: &Loaded, output: Output) -> Result<(), Failure> {
    let limits = limits(arguments, loaded);
    let set =
        CompletionSet::load(&arguments.data, &loaded.tokenizer, &ChatTemplate::of(&loaded.tokenizer)?, arguments.turns.turns(), &limits)?;
    notices::of_rows(&set.report, true);
    let score = evaluate::completions(&loaded.decoder, &set.sequences, BATCH, &evaluate::to_the_end)?;
    let result = CompletionResult {
        kind: "completions",
        sequences: set.sequences.len(),
        tokens: score.tokens,
        nats_per_token: Number(score.nats_per_token()),
        perplexity: Number(score.perplexity()),
        data: Rows::from(&set.report),
    };
    output.result(&result, |to| {
        writeln!(to, "perplexity     {:.4}", score.perplexity())?;
        writeln!(to, "nats per token {:.4}", score.nats_per_token())?;
        writeln!(to, "{} tokens of {} completions; {}", score.tokens, set.sequences.len(), set.report)
    })
}

#[derive(Serialize)]
struct PreferenceResult {
    kind: &'static str,
    pairs: usize,
    accuracy: Number,
    accuracy_unreferenced: Number,
    margin: Number,
    chosen_log_prob: Number,
    rejected_log_prob: Number,
    kl: Option<Number>,
    data: Rows,
}

fn preferences(arguments: &Eval, loaded: &Loaded, output: Output) -> Result<(), Failure> {
    let reference = arguments.reference.as_deref().map(Loaded::open).transpose()?;
    let mut limits = limits(arguments, loaded);
    if let Some(reference) = &reference {
        limits.max_tokens = limits.max_tokens.min(longest_sequence(reference.config(), arguments.max_tokens));
    }
    let set = PreferenceSet::load(&arguments.data, &loaded.tokenizer, &ChatTemplate::of(&loaded.tokenizer)?, &limits)?;
    notices::of_rows(&set.report, true);
    let reference = reference.as_ref().map(|reference| &reference.decoder);
    let score = evaluate::pairs(&loaded.decoder, reference, &set.pairs, BATCH, &evaluate::to_the_end)?;
    let result = PreferenceResult {
        kind: "preferences",
        pairs: score.pairs,
        accuracy: Number(score.accuracy),
        accuracy_unreferenced: Number(score.accuracy_unreferenced),
        margin: Number(score.margin),
        chosen_log_prob: Number(score.chosen_log_prob),
        rejected_log_prob: Number(score.rejected_log_prob),
        kl: score.kl.map(Number),
        data: Rows::from(&set.report),
    };
    output.result(&result, |to| {
        let from = if reference.is_some() { "log-ratio to the reference" } else { "log-probability" };
        writeln!(to, "accuracy           {:.4}  (the chosen one has the larger {from})", score.accuracy)?;
        if reference.is_some() {
            writeln!(to, "                   {:.4}  (the chosen one has the larger log-probability)", score.accuracy_unreferenced)?;
        }
        writeln!(to, "margin             {:.4} nats", score.margin)?;
        writeln!(to, "chosen log-prob    {:.4} nats", score.chosen_log_prob)?;
        writeln!(to, "rejected log-prob  {:.4} nats", score.rejected_log_prob)?;
        if let Some(kl) = score.kl {
            writeln!(to, "KL from reference  {kl:.6} nats a token")?;
        }
        writeln!(to, "{}", set.report)
    })
}
