//! `generation_config.json`: the sampling that a model's makers recommend, and the tokens that end its texts.

use crate::error::{Error, Result};
use crate::generate::Sampling;
use crate::keys::{Account, Keys, Known, Neutral, unknown_remark};
use Neutral::{Empty, Flag, Number};
use serde_json::{Map, Value};
use std::path::Path;

/// The file's name in a model's folder.
pub const FILE: &str = "generation_config.json";

/// Keys that this program knows and does not use. transformers has more ways to change a model's distribution than this program.
const KNOWN: Known = Known {
    harmless: &[
        // Where the file comes from.
        "_from_model_config",
        "_commit_hash",
        "transformers_version",
        "trust_remote_code",
        "chat_format",
        "is_assistant",
        // Tokens that the tokenizer decides.
        "bos_token_id",
        "pad_token_id",
        "decoder_start_token_id",
        // Lengths, which the command line decides.
        "max_length",
        "max_new_tokens",
        "max_time",
        "max_window_size",
        "min_length",
        // How the same numbers are computed, and what is returned with them.
        "use_cache",
        "low_memory",
        "cache_*",
        "prefill_chunk_size",
        "compile_config",
        "disable_compile",
        "max_matching_ngram_size",
        "prompt_lookup_num_tokens",
        "num_assistant_tokens*",
        "assistant_*",
        "target_lookbehind",
        "output_*",
        "return_*",
        "renormalize_logits",
        "remove_invalid_values",
        "num_return_sequences",
        // Settings of searches with several beams, which `num_beams` switches on.
        "length_penalty",
        "early_stopping",
    ],
    neutral: &[
        ("num_beams", &[Number(1.0)]),
        ("num_beam_groups", &[Number(1.0)]),
        ("diversity_penalty", &[Number(0.0)]),
        ("penalty_alpha", &[Number(0.0)]),
        ("dola_layers", &[]),
        ("typical_p", &[Number(1.0)]),
        ("top_h", &[]),
        ("epsilon_cutoff", &[Number(0.0)]),
        ("eta_cutoff", &[Number(0.0)]),
        ("min_new_tokens", &[Number(0.0)]),
        ("no_repeat_ngram_size", &[Number(0.0)]),
        ("encoder_no_repeat_ngram_size", &[Number(0.0)]),
        ("encoder_repetition_penalty", &[Number(1.0)]),
        ("exponential_decay_length_penalty", &[]),
        ("bad_words_ids", &[Empty]),
        ("force_words_ids", &[Empty]),
        ("constraints", &[Empty]),
        ("sequence_bias", &[Empty]),
        ("suppress_tokens", &[Empty]),
        ("begin_suppress_tokens", &[Empty]),
        ("forced_bos_token_id", &[]),
        ("forced_eos_token_id", &[]),
        ("forced_decoder_ids", &[Empty]),
        ("guidance_scale", &[Number(1.0)]),
        ("token_healing", &[Flag(false)]),
        ("watermarking_config", &[Empty]),
    ],
};

/// The settings of the file that this program uses. Missing settings have the defaults of transformers.
#[derive(Debug, Clone, PartialEq)]
pub struct GenerationConfig {
    /// Tokens that end a text; empty where the file names none.
    pub eos: Vec<u32>,
    /// Strings that end a text that contains them.
    pub stop: Vec<String>,
    /// How tokens are drawn; `None` unless the file asks for drawing (`do_sample`).
    pub sampling: Option<Sampling>,
    /// Divisor of the logits of earlier tokens, with or without drawing; 1 leaves them unchanged.
    pub repetition_penalty: f64,
    /// Sentences about unsupported and unknown settings, naming file and key.
    pub remarks: Vec<String>,
}

impl Default for GenerationConfig {
    fn default() -> Self {
        Self { eos: Vec::new(), stop: Vec::new(), sampling: None, repetition_penalty: 1.0, remarks: Vec::new() }
    }
}

impl GenerationConfig {
    /// Reads the file of a model's folder. Without a file, returns the defaults.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::Json`]; [`Error::BadConfig`] naming the key.
    pub fn read(folder: &Path) -> Result<Self> {
        let path = folder.join(FILE);
        if !crate::files::is_there(&path)? {
            return Ok(Self::default());
        }
        let text = crate::files::read_text(&path, crate::files::SETTINGS)?;
        let map: Map<String, Value> = serde_json::from_str(&text).map_err(Error::json(&path))?;
        let (config, account) = Keys::read(&map, from_keys).map_err(|error| error.at(&path))?;
        let remarks = remarks(&account).into_iter().map(|remark| format!("{}: {remark}", path.display())).collect();
        Ok(Self { remarks, ..config })
    }
}

/// Returns a sentence about the unsupported settings of the file and one about its unknown keys.
fn remarks(account: &Account) -> Vec<String> {
    let asked: Vec<String> = account.unsupported.iter().map(|one| format!("{} {}", one.key, one.value)).collect();
    let asked = (!asked.is_empty()).then(|| format!("asks for {}, which is not supported: texts are generated without", asked.join(", ")));
    asked.into_iter().chain(unknown_remark(&account.unknown)).collect()
}

fn from_keys(keys: &Keys) -> Result<GenerationConfig> {
    keys.know(&KNOWN);
    let samples = keys.flag("do_sample")?.unwrap_or(false);
    // Read even without drawing, so that a bad value is reported at once.
    let settings = sampling(keys)?;
    Ok(GenerationConfig {
        eos: eos(keys)?,
        stop: stop(keys)?,
        sampling: samples.then_some(settings),
        repetition_penalty: settings.repetition_penalty,
        remarks: Vec::new(),
    })
}

/// Reads one id or a list of them.
fn eos(keys: &Keys) -> Result<Vec<u32>> {
    let id = |value: &Value| value.as_u64().and_then(|id| id.try_into().ok());
    let ids = keys.typed("eos_token_id", "a token id or a list of them", |value| match value {
        Value::Array(ids) => ids.iter().map(id).collect(),
        one => Some(vec![id(one)?]),
    })?;
    Ok(ids.unwrap_or_default())
}

/// Reads one text or a list of them.
fn stop(keys: &Keys) -> Result<Vec<String>> {
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let texts = keys.typed("stop_strings", "a text or a list of them", |value| match value {
        Value::Array(texts) => texts.iter().map(text).collect(),
        one => Some(vec![text(one)?]),
    })?;
    Ok(texts.unwrap_or_default().into_iter().filter(|text| !text.is_empty()).collect())
}

fn sampling(keys: &Keys) -> Result<Sampling> {
    let number = |key: &str, otherwise: f64| -> Result<f64> { Ok(keys.number(key)?.unwrap_or(otherwise)) };
    let sampling = Sampling {
        temperature: number("temperature", 1.0)?,
        top_k: number("top_k", 50.0)?.clamp(0.0, f64::from(u32::MAX)) as usize,
        top_p: number("top_p", 1.0)?,
        min_p: number("min_p", 0.0)?,
        repetition_penalty: number("repetition_penalty", 1.0)?,
    };
    sampling.validate()?;
    Ok(sampling)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<GenerationConfig> {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(FILE), text).unwrap();
        GenerationConfig::read(folder.path())
    }

    #[test]
    fn one_end_or_several() {
        assert_eq!(read("{\"eos_token_id\": 2}").unwrap().eos, [2]);
        assert_eq!(read("{\"eos_token_id\": [7, 9]}").unwrap().eos, [7, 9]);
        assert_eq!(read("{\"stop_strings\": [\"User:\"]}").unwrap().stop, ["User:"]);
        assert_eq!(read("{}").unwrap(), GenerationConfig::default());
        assert_eq!(GenerationConfig::read(Path::new("no/such/folder")).unwrap(), GenerationConfig::default());
    }

    #[test]
    fn sampling_counts_only_where_it_is_asked_for_and_the_penalty_always() {
        let greedy = read("{\"temperature\": 0.6, \"repetition_penalty\": 1.2}").unwrap();
        assert_eq!((greedy.sampling, greedy.repetition_penalty), (None, 1.2));
        let asked =
            read("{\"do_sample\": true, \"temperature\": 0.6, \"top_p\": 0.9, \"min_p\": 0.05, \"repetition_penalty\": 1.1}").unwrap();
        let wanted = Sampling { temperature: 0.6, top_k: 50, top_p: 0.9, min_p: 0.05, repetition_penalty: 1.1 };
        assert_eq!(asked.sampling, Some(wanted));
    }

    #[test]
    fn what_is_asked_for_and_not_done_is_named_once_with_the_file() {
        let harmless = "{\"_from_model_config\": true, \"num_beams\": 1, \"typical_p\": 1.0, \"bad_words_ids\": [], \"max_length\": 4096}";
        assert_eq!(read(harmless).unwrap().remarks, Vec::<String>::new());
        let asked =
            read("{\"num_beams\": 4, \"no_repeat_ngram_size\": 3, \"typical_p\": 0.9, \"mirostat\": 2, \"forced_eos_token_id\": 2}")
                .unwrap();
        assert_eq!(asked.remarks.len(), 2, "{:?}", asked.remarks);
        assert!(asked.remarks.iter().all(|remark| remark.contains(FILE)));
        for key in ["num_beams 4", "no_repeat_ngram_size 3", "typical_p 0.9", "forced_eos_token_id 2"] {
            assert!(asked.remarks[0].contains(key), "{}", asked.remarks[0]);
        }
        assert!(asked.remarks[1].contains("mirostat"));
    }

    #[test]
    fn a_bad_value_is_named_with_its_file() {
        for (text, expected) in [
            ("{\"eos_token_id\": \"</s>\"}", "eos_token_id must be a token id"),
            ("{\"eos_token_id\": -1}", "eos_token_id must be a token id"),
            ("{\"do_sample\": true, \"top_p\": 3}", "top-p 3 must be above 0"),
            ("{\"repetition_penalty\": 0}", "repetition penalty 0 must be above 0"),
            ("{\"min_p\": 1.5}", "min-p 1.5 must be from 0 to 1"),
            ("{\"stop_strings\": 3}", "stop_strings must be a text"),
            ("[]", "not valid JSON"),
        ] {
            let message = read(text).unwrap_err().to_string();
            assert!(message.contains(expected) && message.contains(FILE), "{message}");
        }
    }
}
