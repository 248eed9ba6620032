//! `slpo merge`: adds a LoRA adapter's change to the weights of its model.

use super::load::Loaded;
use super::model_out::ModelOut;
use crate::arguments::{Merge, Shared};
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
    folder.fill(|folder| {
        for names in [model_folder::TOKENIZER_COMPANIONS.as_slice(), &model_folder::MODEL_COMPANIONS] {
            model_folder::carry(names, &arguments.model, folder)?;
        }
        ModelFolder::save(folder, merged.config(), &merged.to_tensors(), &tokenizer)
    })?;
    let out = arguments.out.display().to_string();
    let result = json!({ "out": out, "adapter_parameters": trained, "parameters": merged.parameter_count() });
    Output::new(shared.json)
        .result(&result, |to| writeln!(to, "{trained} parameters merged into {}; written to {out}", merged.parameter_count()))
}
