//! The keys of a GGUF file as JSON objects, and the keys that are known without being computed with.
//!
//! Keys of the architecture (`llama.context_length`) form one object, keys of the tokenizer a second, and all others a third. Each object
//! has a reader that accounts for every key.

use crate::error::Result;
use crate::gguf::{Gguf, Value};
use crate::keys::{Account, Keys, Known, Neutral, unknown_remark};
use Neutral::{Flag, Number, Text};
use serde_json::{Map, Value as Json};

/// Keys that every architecture may have.
pub const ARCHITECTURE: Known = Known {
    harmless: &[
        "tensor_data_layout",
        "decoder_start_token_id",
        "expert_used_count",
        // The first key belongs to YaRN, which `rope.scaling.type` switches on. The second says how a model was made.
        "rope.scaling.original_context_length",
        "rope.scaling.finetuned",
    ],
    neutral: &[
        ("rope.scaling.attn_factor", &[Number(1.0)]),
        ("rope.scaling.yarn_*", &[]),
        ("rope.dimension_sections", &[]),
        ("rope.freq_base_swa", &[]),
        ("rope.scale*", &[]),
        ("logit_scale", &[Number(0.0), Number(1.0)]),
        ("residual_scale", &[Number(0.0), Number(1.0)]),
        ("embedding_scale", &[Number(0.0), Number(1.0)]),
        ("attn_logit_softcapping", &[Number(0.0)]),
        ("final_logit_softcapping", &[Number(0.0)]),
        ("attention.max_alibi_bias", &[Number(0.0)]),
        ("attention.clamp_kqv", &[Number(0.0)]),
        ("attention.causal", &[Flag(true)]),
        ("attention.sliding_window", &[Number(0.0)]),
        ("attention.sliding_window_pattern", &[]),
        ("attention.temperature_*", &[]),
        ("attention.output_scale", &[]),
        ("pooling_type", &[Number(0.0)]),
        ("leading_dense_block_count", &[Number(0.0)]),
        ("nextn_predict_layers", &[Number(0.0)]),
        ("expert_*", &[Number(0.0), Flag(false)]),
        ("swin_norm", &[Flag(false)]),
    ],
};

/// Keys that belong to no architecture: what the file is, who made it, and from what.
pub const GENERAL: Known = Known {
    harmless: &[
        "general.alignment",
        "general.quantization_version",
        "general.file_type",
        "general.name",
        "general.author",
        "general.version",
        "general.organization",
        "general.finetune",
        "general.basename",
        "general.description",
        "general.quantized_by",
        "general.size_label",
        "general.license*",
        "general.url",
        "general.doi",
        "general.uuid",
        "general.repo_url",
        "general.source.*",
        "general.base_model.*",
        "general.dataset.*",
        "general.datasets",
        "general.tags",
        "general.languages",
        "split.tensors.count",
        "split.no",
        "quantize.imatrix.*",
    ],
    neutral: &[("general.type", &[Text("model")]), ("split.count", &[Number(0.0), Number(1.0)])],
};

/// Keys of the tokenizer that its reader uses, and keys that do not change how a text becomes tokens.
const TOKENIZER: Known = Known {
    harmless: &[
        "huggingface.json",
        "chat_template",
        "ggml.model",
        "ggml.pre",
        "ggml.tokens",
        "ggml.token_type",
        "ggml.token_type_count",
        "ggml.scores",
        "ggml.merges",
        "ggml.add_bos_token",
        "ggml.add_space_prefix",
        // llama.cpp ignores this key for the kinds of tokenizer that are read.
        "ggml.remove_extra_whitespaces",
        "ggml.bos_token_id",
        "ggml.eos_token_id",
        "ggml.eot_token_id",
        "ggml.eom_token_id",
        "ggml.unknown_token_id",
        "ggml.padding_token_id",
        "ggml.seperator_token_id",
        "ggml.separator_token_id",
        "ggml.cls_token_id",
        "ggml.mask_token_id",
        "ggml.prefix_token_id",
        "ggml.suffix_token_id",
        "ggml.middle_token_id",
        "ggml.fim_*",
    ],
    neutral: &[("ggml.add_eos_token", &[Flag(false)]), ("ggml.add_sep_token", &[Flag(false)]), ("ggml.precompiled_charsmap", &[])],
};

/// The longest list that is copied. A longer list is a table of a vocabulary, and a short text replaces it.
const LONGEST: u64 = 1 << 14;

/// Returns the keys that begin with `prefix`, without the prefix, as a JSON object.
pub fn beginning_with(file: &Gguf, prefix: &str) -> Map<String, Json> {
    file.keys().filter_map(|(key, value)| Some((key.strip_prefix(prefix)?.to_owned(), json(value)))).collect()
}

/// Returns the keys that begin with none of `prefixes`, as a JSON object.
pub fn others(file: &Gguf, prefixes: &[&str]) -> Map<String, Json> {
    let others = file.keys().filter(|(key, _)| !prefixes.iter().any(|prefix| key.starts_with(prefix)));
    others.map(|(key, value)| (key.to_owned(), json(value))).collect()
}

/// Converts a value to JSON. A number that JSON does not have becomes its name.
fn json(value: &Value) -> Json {
    match value {
        Value::Unsigned(number) => (*number).into(),
        Value::Signed(number) => (*number).into(),
        Value::Float(number) => serde_json::Number::from_f64(*number).map_or_else(|| number.to_string().into(), Json::Number),
        Value::Bool(flag) => (*flag).into(),
        Value::String(text) => (*text).into(),
        Value::Array(array) if array.len() > LONGEST => format!("a list of {} values", array.len()).into(),
        Value::Array(array) => array.iter().map(|value| json(&value)).collect(),
    }
}

/// Returns sentences about keys of the tokenizer that were not used.
///
/// # Errors
/// None of its own.
pub fn tokenizer_remarks(file: &Gguf) -> Result<Vec<String>> {
    let keys = beginning_with(file, "tokenizer.");
    let ((), Account { unknown, unsupported }) = Keys::read_within(&keys, "tokenizer.".to_owned(), |keys| {
        keys.know(&TOKENIZER);
        Ok(())
    })?;
    let not_written = unsupported.iter().map(|one| format!("{} {} has no place in the tokenizer.json that is written", one.key, one.value));
    Ok(not_written.chain(unknown_remark(&unknown)).collect())
}
