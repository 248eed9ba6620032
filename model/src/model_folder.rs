//! A model in Hugging Face's layout: `config.json`, `model.safetensors` and, if it has one, `tokenizer.json`.

use crate::atomic::{atomic_write, make_folder};
use crate::chat_template::{self, JinjaTemplate};
use crate::config::{Config, huggingface};
use crate::decoder::layout;
use crate::error::{Error, Result};
use crate::files::{self, entries, is_folder, is_there};
use crate::safetensors_file::{self, INDEX_FILE, NamedTensors, SINGLE_FILE, StoredWeights};
use crate::tokenizer::Tokenizer;
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::path::Path;

/// The file of settings in an adapter's folder.
pub const ADAPTER_SETTINGS_FILE: &str = "adapter_config.json";
/// The file of parameters in an adapter's folder.
pub const ADAPTER_WEIGHTS_FILE: &str = "adapter_model.safetensors";

/// The contents of a model's folder, with its weights in f32 or, for a model that is read and not trained, as they are stored.
#[derive(Debug, Clone)]
pub struct ModelFolder<W = NamedTensors> {
    /// The configuration of the decoder.
    pub config: Config,
    /// The weights, under the file's own names and in its own layout (GPT-2's matrices are `[in, out]`).
    pub tensors: W,
    /// The folder's tokenizer, or one that refuses text. It has no BOS or EOS outside the model's vocabulary.
    pub tokenizer: Tokenizer,
    /// A sentence about each thing in the folder that was not used, naming file and key.
    pub remarks: Vec<String>,
}

impl ModelFolder {
    /// Reads a folder. The decoder checks later that the tensors are those of the configuration.
    ///
    /// # Errors
    /// [`Error::Io`] naming the missing file, and the errors of [`Config::read`], [`Tokenizer::from_folder`] and
    /// [`safetensors_file::read_folder`].
    pub fn open(path: &Path) -> Result<Self> {
        Self::with_weights(path, |_| safetensors_file::read_folder(path))
    }

    /// Writes a folder, and makes it if it is missing. Each file is replaced in one step, the weights last.
    ///
    /// # Errors
    /// [`Error::Io`]. [`Error::NonFinite`] if a weight is NaN or infinite.
    pub fn save(path: &Path, config: &Config, tensors: &NamedTensors, tokenizer: &Tokenizer) -> Result<()> {
        tokenizer.save(path)?;
        Self::save_without_tokenizer(path, config, tensors)
    }

    /// Writes a folder for a model whose tokenizer is not known.
    ///
    /// # Errors
    /// As [`ModelFolder::save`].
    pub fn save_without_tokenizer(path: &Path, config: &Config, tensors: &NamedTensors) -> Result<()> {
        make_folder(path)?;
        config.write(&path.join(huggingface::FILE))?;
        safetensors_file::write(&path.join(SINGLE_FILE), tensors)
    }
}

impl ModelFolder<StoredWeights> {
    /// As [`ModelFolder::open`], for a model that is read and not trained: matrices that the folder holds in bfloat16 or f16 stay so, where
    /// its layout is the decoder's.
    ///
    /// # Errors
    /// As [`ModelFolder::open`].
    pub fn open_as_stored(path: &Path) -> Result<Self> {
        Self::with_weights(path, |config| {
            if layout::is_the_decoders_own(config) {
                return safetensors_file::read_folder_as_stored(path);
            }
            Ok(StoredWeights { tensors: safetensors_file::read_folder(path)?, ..StoredWeights::default() })
        })
    }
}

impl<W> ModelFolder<W> {
    fn with_weights(path: &Path, weights: impl FnOnce(&Config) -> Result<W>) -> Result<Self> {
        let (config, mut remarks) = read_config(path)?;
        let tokenizer = Tokenizer::from_folder(path)?.for_vocabulary(config.vocab_size);
        let tensors = weights(&config)?;
        remarks.extend(tokenizer.remarks().iter().cloned());
        remarks.extend(safetensors_file::folder_remarks(path)?);
        if is_there(&path.join(ADAPTER_SETTINGS_FILE))? {
            let path = path.display();
            remarks.push(format!("{path}: the adapter in this folder is not used; give the folder with --adapter to use it"));
        }
        Ok(Self { config, tensors, tokenizer, remarks })
    }
}

/// Reads the configuration of a model's folder, with the remarks of [`Config::read_with_remarks`]. If the path is not a model's folder, the
/// error says what it is.
///
/// # Errors
/// [`Error::BadFile`] for a path that is not a model's folder, and the errors of [`Config::read_with_remarks`].
pub fn read_config(folder: &Path) -> Result<(Config, Vec<String>)> {
    check_folder(folder, "model", "config.json and model.safetensors")?;
    if !is_there(&folder.join(huggingface::FILE))? {
        return Err(Error::bad_file(folder, what_it_is_instead(folder)?));
    }
    Config::read_with_remarks(&folder.join(huggingface::FILE))
}

/// Refuses a path that is not an adapter's folder. The error says what it is.
///
/// # Errors
/// [`Error::BadFile`].
pub fn check_adapter(folder: &Path) -> Result<()> {
    check_folder(folder, "LoRA adapter", "adapter_config.json and adapter_model.safetensors")?;
    let has = |name: &str| is_there(&folder.join(name));
    let reason = match (has(ADAPTER_SETTINGS_FILE)?, has(ADAPTER_WEIGHTS_FILE)?) {
        (true, true) => return Ok(()),
        (true, false) if has("adapter_model.bin")? => {
            "adapter_model.bin is not read: save the adapter in peft with safe_serialization=True, which writes adapter_model.safetensors"
        }
        (true, false) => "adapter_model.safetensors is missing",
        (false, _) if has(huggingface::FILE)? => {
            "this is a model, not a LoRA adapter (there is no adapter_config.json): give it with --model"
        }
        (false, _) if has(CHECKPOINTS)? => STOPPED,
        (false, _) => "adapter_config.json is missing: a LoRA adapter is a folder with adapter_config.json and adapter_model.safetensors",
    };
    Err(Error::bad_file(folder, reason))
}

/// The folder in which a run keeps its checkpoints.
const CHECKPOINTS: &str = "checkpoints";
const STOPPED: &str = "this run was stopped before it wrote its result: go on with the same command and --resume";

/// Refuses a path that is not a folder.
fn check_folder(path: &Path, what: &str, files: &str) -> Result<()> {
    if is_folder(path)? {
        return Ok(());
    }
    if is_there(path)? {
        let reason = format!("a {what} is a folder with {files}, this is a file; `slpo convert` makes a model's folder from other formats");
        return Err(Error::bad_file(path, reason));
    }
    // A name on the hub is `owner/name`, or a name alone.
    let name = path.to_string_lossy();
    let is_hub_id =
        path.is_relative() && name.split('/').count() <= 2 && !name.starts_with('.') && !name.ends_with('/') && !name.ends_with(".gguf");
    let hint = if is_hub_id {
        let folder = path.file_name().unwrap_or_default().to_string_lossy();
        format!(": download it first, for example with `hf download {name} --local-dir {folder}`")
    } else {
        String::new()
    };
    Err(Error::bad_file(path, format!("there is no such folder; a {what} is a folder on this machine{hint}")))
}

/// Says why a folder without `config.json` is not a model's folder.
fn what_it_is_instead(folder: &Path) -> Result<String> {
    let names: Vec<String> = entries(folder)?.iter().filter_map(|path| Some(path.file_name()?.to_string_lossy().into_owned())).collect();
    let has = |name: &str| names.iter().any(|other| other == name);
    let gguf = names.iter().find(|name| name.ends_with(".gguf"));
    Ok(if has(ADAPTER_SETTINGS_FILE) {
        "this is a LoRA adapter, not a model: give its base with --model and this folder with --adapter, or merge them with slpo merge"
            .to_owned()
    } else if has(CHECKPOINTS) {
        STOPPED.to_owned()
    } else if has("params.json") {
        "config.json is missing; params.json holds Meta's names: slpo convert makes a model's folder from this one".to_owned()
    } else if let Some(gguf) = gguf {
        format!("config.json is missing; slpo convert makes a model's folder from {gguf}")
    } else {
        "config.json is missing: a model is a folder with config.json and model.safetensors".to_owned()
    })
}

/// Files that complete a tokenizer. Its own files, `tokenizer.json` and `tokenizer_config.json`, are written with the tokenizer.
pub const TOKENIZER_COMPANIONS: [&str; 3] = ["special_tokens_map.json", "added_tokens.json", chat_template::FILE];
/// Files beside a model's weights that say how it is used.
pub const MODEL_COMPANIONS: [&str; 1] = [crate::generation_config::FILE];

/// Copies the files `names` from the folder `from` into the folder `to`, and makes `to` if it is missing. Missing files are skipped. Each
/// file is parsed before it is copied.
///
/// # Errors
/// [`Error::Io`]; [`Error::Json`] and [`Error::ChatTemplate`] for a file that is not what its name says.
pub fn carry(names: &[&str], from: &Path, to: &Path) -> Result<()> {
    make_folder(to)?;
    for name in names {
        let path = from.join(name);
        if !is_there(&path)? {
            continue;
        }
        let text = match *name {
            chat_template::FILE => template(&path)?,
            _ => json_object(&path)?,
        };
        atomic_write(&to.join(name), text.as_bytes())?;
    }
    Ok(())
}

/// Reads the text of a file that holds one JSON object.
fn json_object(path: &Path) -> Result<String> {
    let text = files::read_text(path, files::SETTINGS)?;
    serde_json::from_str::<Map<String, Value>>(&text).map_err(Error::json(path))?;
    Ok(text)
}

/// Reads the text of a file that holds a chat template.
fn template(path: &Path) -> Result<String> {
    let text = files::read_text(path, files::TEMPLATE)?;
    JinjaTemplate::new(&text, BTreeMap::new(), path)?;
    Ok(text)
}

/// Files of a model, an adapter or a tokenizer, in whatever form. A new model is never mixed with them. Files of weights are named in
/// [`is_model_file`].
const OF_A_MODEL: [&str; 22] = [
    "adapter_config.json",
    "added_tokens.json",
    chat_template::FILE,
    "config.json",
    "encoder.json",
    "generation_config.json",
    "merges.txt",
    "params.json",
    "pytorch_model.bin.index.json",
    "qwen.tiktoken",
    "sentencepiece.bpe.model",
    "special_tokens_map.json",
    "spiece.model",
    "tekken.json",
    "tf_model.h5",
    "tokenizer.json",
    "tokenizer.model",
    "tokenizer_config.json",
    "vocab.bpe",
    "vocab.json",
    "vocab.txt",
    INDEX_FILE,
];

/// Files that show what a folder holds, the clearest sign first.
const SIGNS: [(&str, &str); 6] = [
    (SINGLE_FILE, "a model"),
    (huggingface::FILE, "a model"),
    (ADAPTER_SETTINGS_FILE, "an adapter"),
    ("metrics.jsonl", "a run"),
    ("config.toml", "a run"),
    ("checkpoints", "a run"),
];

/// True if a file of this name is part of a model, an adapter or a tokenizer. Another model in the same folder then replaces it.
pub fn is_model_file(name: &str) -> bool {
    let is_weights = |start: &str, end: &str| name.starts_with(start) && name.ends_with(end);
    OF_A_MODEL.contains(&name)
        || is_weights("model", ".safetensors")
        || is_weights("adapter_model", ".safetensors")
        || is_weights("pytorch_model", ".bin")
}

/// Returns what a folder holds that must not be mixed with a new model, and the file that shows it.
///
/// # Errors
/// [`Error::Io`].
pub fn what_is_in(folder: &Path) -> Result<Option<(&'static str, String)>> {
    let sign = SIGNS.into_iter().find(|(name, _)| folder.join(name).symlink_metadata().is_ok());
    if let Some((name, what)) = sign {
        return Ok(Some((what, name.to_owned())));
    }
    let names = entries(folder)?.into_iter().filter_map(|path| path.file_name()?.to_str().map(str::to_owned));
    Ok(names.filter(|name| is_model_file(name)).min().map(|name| ("files of a model", name)))
}

impl Config {
    /// Sets the BOS and EOS of `tokenizer`, for a model that is to be trained with it.
    ///
    /// # Errors
    /// [`Error::BadConfig`] if the tokenizer has more tokens than `vocab_size`.
    pub fn for_tokenizer(mut self, tokenizer: &Tokenizer) -> Result<Self> {
        if tokenizer.vocab_size() > self.vocab_size {
            return Err(Error::bad_config(format!(
                "vocab_size {} is too small for a tokenizer of {} tokens",
                self.vocab_size,
                tokenizer.vocab_size()
            )));
        }
        self.bos = tokenizer.bos();
        self.eos = tokenizer.eos().into_iter().collect();
        Ok(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decoder::{Decoder, Packed};
    use crate::generate::{Sampling, StopConditions, generate};
    use crate::test_data::shared;
    use half::{bf16, f16};
    use safetensors::tensor::{Dtype, TensorView};

    const FOLDERS: [&str; 10] = [
        "tiny-random/gpt2",
        "tiny-random/gptneox-parallel-partial-rotary",
        "tiny-random/llama-gqa-untied",
        "tiny-random/llama3-rope-scaling",
        "tiny-random/mistral-sliding-window",
        "tiny-random/qwen2-qkv-bias",
        "tiny-random/qwen3-qk-norm",
        "stories260k/hf",
        "glassllm-en/hf",
        "gpt-nano-sort/hf",
    ];

    #[test]
    fn every_real_model_is_the_same_after_being_saved_and_opened() {
        let folder = tempfile::tempdir().unwrap();
        for name in FOLDERS {
            let Some(path) = shared(&format!("data/{name}")) else { return };
            let model = ModelFolder::open(&path).unwrap();
            let copy = folder.path().join(name);
            ModelFolder::save(&copy, &model.config, &model.tensors, &model.tokenizer).unwrap();
            let again = ModelFolder::open(&copy).unwrap();
            assert_eq!(again.config, model.config, "{name}");
            assert_eq!(again.tokenizer.is_bytes(), model.tokenizer.is_bytes());
            assert_eq!(again.tokenizer.bos(), model.tokenizer.bos());
            // The tensors are written sorted by name.
            let mut tensors = model.tensors;
            tensors.sort_keys();
            assert_eq!(again.tensors, tensors, "{name}");
        }
    }

    /// Writes tensors in bfloat16 or f16, rounded.
    fn write_as(dtype: Dtype, path: &Path, tensors: &NamedTensors) {
        let rounded = |x: &f32| if dtype == Dtype::BF16 { bf16::from_f32(*x).to_le_bytes() } else { f16::from_f32(*x).to_le_bytes() };
        let bytes = |data: &[f32]| data.iter().flat_map(rounded).collect::<Vec<u8>>();
        let parts: Vec<_> = tensors.iter().map(|(name, tensor)| (name, tensor.shape.clone(), bytes(&tensor.data))).collect();
        let views = parts.iter().map(|(name, shape, bytes)| (name, TensorView::new(dtype, shape.clone(), bytes).unwrap()));
        safetensors::serialize_to_file(views, None, path).unwrap();
    }

    #[test]
    fn a_model_that_stays_as_it_is_stored_writes_what_the_same_numbers_in_f32_write() {
        let device = engine::Device::default();
        let cases =
            [(true, "llama", Dtype::BF16), (false, "llama", Dtype::BF16), (false, "llama", Dtype::F16), (false, "gpt2", Dtype::BF16)];
        for (tied_head, architecture, dtype) in cases {
            let preset = Config::preset("nano").unwrap();
            let config = match architecture {
                "gpt2" => Config { vocab_size: 700, max_positions: 128, ..crate::gradcheck::gpt2() },
                _ => Config { vocab_size: 700, layers: 2, tied_head, ..preset },
            };
            let decoder = Decoder::random(&device, &config, 5).unwrap();
            let folder = tempfile::tempdir().unwrap();
            ModelFolder::save_without_tokenizer(folder.path(), &config, &decoder.to_tensors()).unwrap();
            write_as(dtype, &folder.path().join(SINGLE_FILE), &decoder.to_tensors());
            let widened = ModelFolder::open(folder.path()).unwrap();
            let stored = ModelFolder::open_as_stored(folder.path()).unwrap();
            let matrices = stored.tensors.matrices.len();
            assert_eq!(matrices, if architecture == "gpt2" { 0 } else { 2 * 7 + 1 + usize::from(!tied_head) });
            let widened = Decoder::from_tensors(&device, &widened.config, widened.tensors).unwrap();
            let stored = Decoder::from_stored(&device, &stored.config, stored.tensors).unwrap();
            let (prompts, limits) = ([vec![1, 2, 3], (0..40).collect()], StopConditions { max_tokens: 20, stop: &[] });
            let write = |decoder| generate(decoder, &prompts, &Sampling::PLAIN, limits, &engine::Generator::new(3), |_, _| true).unwrap();
            assert_eq!(write(&stored), write(&widened));
            let logits = |decoder: &Decoder<_>| decoder.logits(&Packed::new([[5u32, 6, 7].as_slice()])).to_f64();
            assert!(logits(&stored) == logits(&widened), "{architecture}, {tied_head}, {dtype}");
        }
    }

    #[test]
    fn matrices_in_bfloat16_must_be_those_of_the_configuration() {
        let (device, config) = (engine::Device::default(), Config { layers: 1, ..Config::preset("nano").unwrap() });
        let tensors = Decoder::random(&device, &config, 5).unwrap().to_tensors();
        let refused = |change: &dyn Fn(&mut NamedTensors)| {
            let folder = tempfile::tempdir().unwrap();
            let mut tensors = tensors.clone();
            change(&mut tensors);
            config.write(&folder.path().join(huggingface::FILE)).unwrap();
            write_as(Dtype::BF16, &folder.path().join(SINGLE_FILE), &tensors);
            let opened = ModelFolder::open_as_stored(folder.path())?;
            Decoder::from_stored(&device, &opened.config, opened.tensors).map(drop)
        };
        let message = |change: &dyn Fn(&mut NamedTensors)| refused(change).unwrap_err().to_string();
        let name = "model.layers.0.mlp.up_proj.weight";
        refused(&|_| ()).unwrap();
        assert!(message(&|tensors| drop(tensors.swap_remove(name))).contains(name));
        assert!(message(&|tensors| tensors[name].shape.swap(0, 1)).contains("asks for"));
        assert!(message(&|tensors| drop(tensors.insert("spare".to_owned(), tensors[name].clone()))).contains("no place"));
        assert!(message(&|tensors| tensors[name].data[3] = f32::INFINITY).contains(name));
        let with_head = |change: f32| {
            refused(&move |tensors| {
                let mut head = tensors["model.embed_tokens.weight"].clone();
                head.data[7] += change;
                tensors.insert("lm_head.weight".to_owned(), head);
            })
        };
        assert!(config.tied_head);
        with_head(0.0).unwrap();
        assert!(with_head(1.0).unwrap_err().to_string().contains("tie_word_embeddings"));
    }

    #[test]
    fn what_a_folder_holds_is_told_by_its_files() {
        let folder = tempfile::tempdir().unwrap();
        let holds = || what_is_in(folder.path()).unwrap();
        std::fs::write(folder.path().join("notes.txt"), "").unwrap();
        std::fs::write(folder.path().join("other.safetensors"), "").unwrap();
        assert_eq!(holds(), None, "notes are no model");
        for (name, what) in [
            ("vocab.bpe", "files of a model"),
            ("model-00001-of-00002.safetensors", "files of a model"),
            ("metrics.jsonl", "a run"),
            ("adapter_config.json", "an adapter"),
            ("config.json", "a model"),
        ] {
            std::fs::write(folder.path().join(name), "").unwrap();
            assert_eq!(holds().unwrap().0, what, "{name}");
        }
    }

    #[test]
    fn what_is_carried_is_what_its_name_says() {
        let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let names = [TOKENIZER_COMPANIONS.as_slice(), &MODEL_COMPANIONS].concat();
        for name in &names {
            let path = from.path().join(name);
            for bad in [&b"{% if %}"[..], b"\xff", b"{{{"] {
                std::fs::write(&path, bad).unwrap();
                let message = carry(&[name], from.path(), to.path()).unwrap_err().to_string();
                assert!(message.contains(name), "{message}");
                assert!(!to.path().join(name).exists(), "{name}");
            }
            std::fs::write(&path, "{}").unwrap();
        }
        carry(&names, from.path(), to.path()).unwrap();
        assert!(names.iter().all(|name| std::fs::read(to.path().join(name)).unwrap() == b"{}"));
    }

    #[test]
    fn what_is_missing_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let message = |path: &Path| ModelFolder::open(path).unwrap_err().to_string();
        assert!(message(folder.path()).contains("config.json"));
        let config = Config::preset("nano").unwrap();
        config.write(&folder.path().join("config.json")).unwrap();
        assert!(message(folder.path()).contains("model.safetensors"));
        assert!(message(&folder.path().join("config.json")).contains("a model is a folder"));
    }

    #[test]
    fn a_model_takes_the_tokens_of_a_tokenizer_that_fits() {
        let config = Config::preset("nano").unwrap().for_tokenizer(&Tokenizer::bytes()).unwrap();
        assert_eq!((config.bos, config.eos.as_slice()), (Some(256), &[257][..]));
        let small = Config { vocab_size: 98, ..Config::preset("nano").unwrap() };
        let message = small.for_tokenizer(&Tokenizer::bytes()).unwrap_err().to_string();
        assert!(message.contains("vocab_size 98 is too small for a tokenizer of 258"), "{message}");
    }

    #[test]
    fn a_path_that_is_no_model_says_what_it_is_and_what_to_do() {
        let folder = tempfile::tempdir().unwrap();
        let message = |path: &Path| ModelFolder::open(path).unwrap_err().to_string();
        let hub = message(Path::new("meta-llama/Llama-3.2-1B"));
        assert!(hub.starts_with("meta-llama/Llama-3.2-1B: there is no such folder; a model is a folder on this machine"), "{hub}");
        assert!(hub.contains("hf download meta-llama/Llama-3.2-1B") && !hub.contains("os error"), "{hub}");
        assert!(!message(&folder.path().join("no/such")).contains("hf download"));
        let with = |name: &str| {
            let inside = tempfile::tempdir_in(folder.path()).unwrap();
            match name.strip_suffix('/') {
                Some(name) => std::fs::create_dir(inside.path().join(name)).unwrap(),
                None => std::fs::write(inside.path().join(name), "{}").unwrap(),
            }
            (message(inside.path()), check_adapter(inside.path()).unwrap_err().to_string())
        };
        assert!(with("adapter_config.json").0.contains("this is a LoRA adapter, not a model"));
        assert!(with("checkpoints/").0.contains("--resume") && with("checkpoints/").1.contains("--resume"));
        assert!(with("params.json").0.contains("slpo convert"));
        assert!(with("m-q4.gguf").0.contains("slpo convert makes a model's folder from m-q4.gguf"));
        assert!(with("notes.txt").0.contains("config.json is missing") && with("notes.txt").1.contains("adapter_config.json is missing"));
        assert!(with("config.json").1.contains("this is a model, not a LoRA adapter"));
        assert!(with("adapter_config.json").1.contains("adapter_model.safetensors is missing"));
    }

    #[test]
    fn weights_and_adapters_beside_the_model_are_remarked_on() {
        let Some(path) = shared("data/tiny-random/llama-gqa-untied") else { return };
        let folder = tempfile::tempdir().unwrap();
        let put = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
        for name in [huggingface::FILE, SINGLE_FILE] {
            std::fs::copy(path.join(name), folder.path().join(name)).unwrap();
        }
        let remarks = || ModelFolder::open(folder.path()).unwrap().remarks;
        assert!(remarks().is_empty());
        put("model.safetensors.index.json", "{\"weight_map\": {\"lm_head.weight\": \"model-00001-of-00001.safetensors\"}}");
        assert!(remarks().is_empty(), "the file that it names is not there");
        put("model-00001-of-00001.safetensors", "");
        put("adapter_config.json", "{}");
        let remarks = remarks();
        assert!(remarks.len() == 2 && remarks[0].contains("index.json") && remarks[1].contains("--adapter"), "{remarks:?}");
    }

    #[test]
    fn a_tensor_that_is_there_under_two_names_is_refused() {
        let Some(path) = shared("data/tiny-random/gpt2") else { return };
        let mut model = ModelFolder::open(&path).unwrap();
        let tensor = model.tensors["transformer.h.0.attn.c_attn.bias"].clone();
        model.tensors.insert("h.0.attn.c_attn.bias".to_owned(), tensor);
        let decoder = Decoder::from_tensors(&engine::Device::default(), &model.config, model.tensors);
        let message = decoder.err().unwrap().to_string();
        assert!(message.contains("two tensors") && message.contains("layers.0.self_attn.q_proj.bias"), "{message}");
    }

    #[test]
    fn a_head_under_a_tied_one_must_be_the_embedding() {
        for (name, embedding, head) in
            [("llama3-rope-scaling", "model.embed_tokens.weight", "lm_head.weight"), ("gpt2", "transformer.wte.weight", "lm_head.weight")]
        {
            let Some(path) = shared(&format!("data/tiny-random/{name}")) else { return };
            let mut model = ModelFolder::open(&path).unwrap();
            assert!(model.config.tied_head);
            let decoder =
                |model: &ModelFolder| Decoder::from_tensors(&engine::Device::default(), &model.config, model.tensors.clone()).map(|_| ());
            let tensor = model.tensors[embedding].clone();
            model.tensors.insert(head.to_owned(), tensor);
            decoder(&model).unwrap();
            model.tensors[head].data[7] += 1.0;
            let message = decoder(&model).unwrap_err().to_string();
            assert!(message.contains("lm_head.weight") && message.contains("tie_word_embeddings"), "{message}");
        }
    }
}
