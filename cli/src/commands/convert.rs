//! `slpo convert`: converts other formats to a Hugging Face folder.

use super::model_out::ModelOut;
use super::notices::warn;
use crate::arguments::{Convert, Shared};
use crate::failure::Failure;
use crate::output::Output;
use serde::Serialize;

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
    let folder = ModelOut::begin(&arguments.out, arguments.force)?;
    let report = folder.fill(|folder| model::convert::convert(&arguments.source, arguments.tokenizer.as_deref(), folder))?;
    warn(&report.remarks);
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
