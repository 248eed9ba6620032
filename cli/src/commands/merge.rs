//! `slpo merge`: adds a LoRA adapter's change to the weights of its model.

use super::load::Loaded;
use super::model_out::ModelOut;
use super::notices::warn;
use crate::arguments::{Merge, Shared};
use crate::card::{self, Card, How};
use crate::failure::Failure;
use crate::output::Output;
use model::model_folder::{self, ModelFolder};
use serde_json::json;
use std::fs::canonicalize;

/// Merges an adapter into its model.
///
/// # Errors
/// [`Failure::Usage`] if the output would overwrite the adapter's own folder; the errors of both folders, of [`ModelOut`] and of standard
/// output.
pub fn run(arguments: &Merge, shared: &Shared) -> Result<(), Failure> {
    if canonicalize(&arguments.out).is_ok_and(|out| canonicalize(&arguments.adapter).is_ok_and(|adapter| adapter == out)) {
        let reason = "--out is the adapter's own folder, which the merged model would replace: choose another --out";
        return Err(Failure::Usage(reason.to_owned()));
    }
    let folder = ModelOut::begin(&arguments.out, arguments.force)?;
    let Loaded { decoder, tokenizer } = Loaded::open_with(&arguments.model, Some(&arguments.adapter))?;
    let trained = decoder.parameter_count();
    let merged = decoder.merged();
    let parameters = merged.parameter_count();
    let has_card = folder.fill(|folder| {
        for names in [model_folder::TOKENIZER_COMPANIONS.as_slice(), &model_folder::MODEL_COMPANIONS] {
            model_folder::carry(names, &arguments.model, folder)?;
        }
        ModelFolder::save(folder, merged.config(), &merged.to_tensors(), &tokenizer)?;
        let adapter = arguments.adapter.file_name().unwrap_or_default().to_string_lossy();
        let how = How::Files(format!("the adapter {adapter}, with {trained} parameters, was added to the weights"));
        let (base, parameters) = (Some(arguments.model.as_path()), format!("{parameters} parameters"));
        Card { base, is_adapter: false, command: "merge", parameters, how, warnings: &[] }.write(folder, &arguments.out)
    })?;
    if !has_card {
        warn(&[card::not_written(&arguments.out)]);
    }
    let out = arguments.out.display().to_string();
    let result = json!({ "out": out, "adapter_parameters": trained, "parameters": parameters });
    Output::new(shared.json).result(&result, |to| writeln!(to, "{trained} parameters merged into {parameters}; written to {out}"))
}
