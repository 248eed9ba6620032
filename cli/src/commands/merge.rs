//! `slpo merge`: a model with a LoRA adapter's change in its weights.

use super::load::Loaded;
use crate::arguments::{Merge, Shared};
use crate::failure::Failure;
use crate::output::Output;
use model::model_folder::{self, ModelFolder};
use serde_json::json;

/// Merges an adapter into its model.
///
/// # Errors
/// Those of the files of both, and of standard output.
pub fn run(arguments: &Merge, shared: &Shared) -> Result<(), Failure> {
    let Loaded { decoder, tokenizer } = Loaded::open_with(&arguments.model, Some(&arguments.adapter))?;
    let trained = decoder.parameter_count();
    let merged = decoder.merged();
    for names in [model_folder::TOKENIZER_COMPANIONS.as_slice(), &model_folder::MODEL_COMPANIONS] {
        model_folder::carry(names, &arguments.model, &arguments.out)?;
    }
    ModelFolder::save(&arguments.out, merged.config(), &merged.to_tensors(), &tokenizer)?;
    let out = arguments.out.display().to_string();
    let result = json!({ "out": out, "adapter_parameters": trained, "parameters": merged.parameter_count() });
    Output::new(shared.json)
        .result(&result, |to| writeln!(to, "{trained} parameters merged into {}; written to {out}", merged.parameter_count()))
}
