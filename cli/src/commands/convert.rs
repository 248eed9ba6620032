//! `slpo convert`: converts other formats to a Hugging Face folder, and such a folder to a GGUF file.

use super::model_out::ModelOut;
use super::notices::warn;
use crate::arguments::{Convert, Shared};
use crate::card::{self, Card, How};
use crate::failure::Failure;
use crate::output::Output;
use model::convert::to_gguf;
use model::files::is_there;
use model::gguf::writer::Stored;
use serde::Serialize;
use serde_json::json;
use std::path::Path;

#[derive(Serialize)]
struct Converted<'a> {
    format: &'a str,
    out: &'a str,
    parameters: u64,
    tensors: usize,
    layers: usize,
    hidden_size: usize,
    vocab_size: usize,
    tokenizer: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    note: Option<&'a str>,
}

/// Converts a model, and reports its format.
///
/// # Errors
/// The errors of [`ModelOut`], of [`model::convert::convert`] and of standard output.
pub fn run(arguments: &Convert, shared: &Shared) -> Result<(), Failure> {
    if arguments.to == "gguf" {
        return gguf(arguments, shared);
    }
    if arguments.stored.is_some() {
        return Err(Failure::Usage("--type is of GGUF files: give --to gguf, or leave it out".to_owned()));
    }
    let folder = ModelOut::begin(&arguments.out, arguments.force)?;
    let (report, has_card) = folder.fill(|folder| {
        let report = model::convert::convert(&arguments.source, arguments.tokenizer.as_deref(), folder)?;
        let warnings: Vec<String> =
            report.remarks.iter().chain(&report.note).map(|remark| without_folders(remark, &arguments.source)).collect();
        let (base, parameters) = (Some(arguments.source.as_path()), format!("{} parameters", report.parameters));
        let how = How::Files(format!("{}, {} tensors", report.format, report.tensors));
        let card = Card { base, is_adapter: false, command: "convert", parameters, how, warnings: &warnings };
        let has_card = card.write(folder, &arguments.out)?;
        Ok((report, has_card))
    })?;
    warn(&report.remarks);
    if !has_card {
        warn(&[card::not_written(&arguments.out)]);
    }
    let out = arguments.out.to_string_lossy();
    let converted = Converted {
        format: report.format,
        out: &out,
        parameters: report.parameters,
        tensors: report.tensors,
        layers: report.config.layers,
        hidden_size: report.config.hidden_size,
        vocab_size: report.config.vocab_size,
        tokenizer: report.has_tokenizer,
        note: report.note.as_deref(),
    };
    Output::new(shared.json).result(&converted, |to| {
        let Converted { format, parameters, tensors, layers, hidden_size, vocab_size, .. } = &converted;
        writeln!(
            to,
            "{format}: {parameters} parameters in {tensors} tensors; {layers} layers of width {hidden_size}, {vocab_size} tokens"
        )?;
        let tokenizer = if report.has_tokenizer { "with its tokenizer" } else { "without a tokenizer (--tokenizer gives one)" };
        writeln!(to, "written to {out}, {tokenizer}")?;
        report.note.as_deref().map_or(Ok(()), |note| writeln!(to, "{note}"))
    })
}

/// A remark without the folders of the source: they tell of a person's machine, and a card is for others.
fn without_folders(remark: &str, source: &Path) -> String {
    remark.replace(&source.display().to_string(), &source.file_name().unwrap_or(source.as_os_str()).to_string_lossy())
}

fn gguf(arguments: &Convert, shared: &Shared) -> Result<(), Failure> {
    let (out, stored) = (arguments.out.as_path(), arguments.stored.as_deref().unwrap_or("f16"));
    if arguments.tokenizer.is_some() {
        return Err(Failure::Usage("--tokenizer is of sources without one: with --to gguf the folder's own is written".to_owned()));
    }
    if is_there(out)? && !arguments.force {
        return Err(Failure::Failed(format!("{} is there already: choose another --out, or give --force to replace it", out.display())));
    }
    let kind = Stored::named(stored).ok_or_else(|| Failure::Usage(format!("there is no type {stored:?}")))?;
    let written = to_gguf::write(&arguments.source, out, kind)?;
    warn(&written.remarks);
    let result = json!({ "format": "gguf", "out": out, "type": stored, "parameters": written.parameters, "tensors": written.tensors });
    Output::new(shared.json).result(&result, |to| {
        writeln!(to, "{} parameters in {} tensors, matrices in {stored}; written to {}", written.parameters, written.tensors, out.display())
    })
}
