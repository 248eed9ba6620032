//! Loads a model to run it, and converts text to its tokens.

use super::notices::warn;
use crate::failure::Failure;
use engine::Device;
use model::Error;
use model::adapter::Adapter;
use model::config::{Config, PositionKind};
use model::convert;
use model::data::ChatTemplate;
use model::decoder::Decoder;
use model::generation_config::GenerationConfig;
use model::model_folder::ModelFolder;
use model::tokenizer::Tokenizer;
use std::path::Path;

/// The longest sequence in tokens if the command line gives none.
const USUAL_LONGEST: usize = 1024;

/// A model on the device of the command.
pub struct Loaded {
    /// The decoder with its weights.
    pub decoder: Decoder<Device>,
    /// The folder's tokenizer, or the byte tokenizer.
    pub tokenizer: Tokenizer,
}

impl Loaded {
    /// Opens a model's folder.
    ///
    /// # Errors
    /// [`Failure::Model`] and [`Failure::Failed`], with the name of the file.
    pub fn open(path: &Path) -> Result<Self, Failure> {
        let ModelFolder { config, tensors, tokenizer, remarks } = ModelFolder::open(path)?;
        warn(&remarks);
        let decoder = Decoder::from_tensors(&crate::device::current(), &config, tensors).map_err(in_folder(path))?;
        Ok(Self { decoder, tokenizer })
    }

    /// Opens a model's folder, or a GGUF file, to generate with it. On the processor, matrices in bfloat16, f16 and Q8_0 stay so.
    ///
    /// # Errors
    /// As [`Loaded::open`], and those of [`convert::open_gguf`].
    pub fn open_to_generate(path: &Path) -> Result<Self, Failure> {
        let is_gguf = convert::is_gguf(path)?;
        let device = crate::device::current();
        if !(is_gguf || matches!(device, Device::Cpu(_))) {
            return Self::open(path);
        }
        let opened = if is_gguf { convert::open_gguf(path)? } else { ModelFolder::open_as_stored(path)? };
        let ModelFolder { config, tensors, tokenizer, remarks } = opened;
        warn(&remarks);
        let decoder = match device {
            Device::Cpu(_) => Decoder::from_stored(&device, &config, tensors),
            Device::Cuda(_) => Decoder::from_tensors(&device, &config, tensors.all_widened()),
        };
        Ok(Self { decoder: decoder.map_err(in_folder(path))?, tokenizer })
    }

    /// Puts a LoRA adapter on the model of a folder, if one is given.
    ///
    /// # Errors
    /// The errors of [`Adapter::open`] and [`Adapter::onto`].
    pub fn with_adapter(mut self, path: &Path, adapter: Option<&Path>) -> Result<Self, Failure> {
        if let Some(adapter) = adapter {
            let adapter = Adapter::open(adapter)?;
            warn(&adapter.remarks);
            warn(adapter.base_remark(path).as_slice());
            self.decoder = adapter.onto(&self.decoder)?;
        }
        Ok(self)
    }

    /// Opens a model's folder, and puts a LoRA adapter on it if one is given.
    ///
    /// # Errors
    /// As [`Loaded::open`] and [`Loaded::with_adapter`].
    pub fn open_with(path: &Path, adapter: Option<&Path>) -> Result<Self, Failure> {
        Self::open(path)?.with_adapter(path, adapter)
    }

    /// The decoder's configuration.
    pub fn config(&self) -> &Config {
        self.decoder.config()
    }
}

/// Names the folder in an error of building its decoder.
fn in_folder(path: &Path) -> impl FnOnce(Error) -> Failure {
    let path = path.to_owned();
    move |error| match error {
        Error::MissingTensor { .. } | Error::ShapeMismatch { .. } => Failure::Failed(format!("{}: {error}", path.display())),
        other => Failure::Model(other.at(&path)),
    }
}

/// Returns the tokens of `text`. If the tokenizer has a BOS token and the text does not begin with it, puts it first.
///
/// # Errors
/// [`Error::Tokenizer`].
pub fn encode_with_bos(tokenizer: &Tokenizer, text: &str) -> model::Result<Vec<u32>> {
    let mut tokens = if text.is_empty() { Vec::new() } else { tokenizer.encode(text)? };
    if let Some(bos) = tokenizer.bos()
        && tokens.first() != Some(&bos)
    {
        tokens.insert(0, bos);
    }
    Ok(tokens)
}

/// Returns the tokens of a text that a chat template wrote, without adding BOS. The byte tokenizer's BOS has no text, so it is put first.
///
/// # Errors
/// [`Error::Tokenizer`].
pub fn encode_framed(tokenizer: &Tokenizer, text: &str) -> model::Result<Vec<u32>> {
    if tokenizer.is_bytes() { encode_with_bos(tokenizer, text) } else { tokenizer.encode(text) }
}

/// Reads what the makers of a model recommend, which a folder may hold and a GGUF file does not.
///
/// # Errors
/// Those of [`GenerationConfig::read`].
pub fn recommended(model: &Path) -> model::Result<GenerationConfig> {
    if convert::is_gguf(model)? { Ok(GenerationConfig::default()) } else { GenerationConfig::read(model) }
}

/// Returns the tokens that end a text:
///
/// - those of the folder's `generation_config.json`, else those of the configuration,
/// - the tokenizer's own,
/// - the token with which the chat template ends the model's turn.
///
/// # Errors
/// The errors of reading `generation_config.json`.
pub fn ends(folder: &Path, loaded: &Loaded) -> model::Result<Vec<u32>> {
    let mut ends = recommended(folder)?.eos;
    if ends.is_empty() {
        ends.clone_from(&loaded.config().eos);
    }
    ends.extend(loaded.tokenizer.eos());
    ends.extend(end_of_turn(&loaded.tokenizer)?);
    Ok(ends)
}

/// Returns the first token of the text with which the chat template ends the model's turn, if it is an added token.
fn end_of_turn(tokenizer: &Tokenizer) -> model::Result<Option<u32>> {
    let Some(end) = ChatTemplate::of(tokenizer)?.end_of_turn() else { return Ok(None) };
    let tokens = if tokenizer.is_bytes() || tokenizer.is_absent() { Vec::new() } else { tokenizer.encode(&end)? };
    Ok(tokens.first().copied().filter(|&token| tokenizer.is_added(token)))
}

/// Returns the most tokens of a sequence: the number that was asked for, or the configuration's limit up to 1024. A model with learned
/// positions is never given more than its limit.
pub fn longest_sequence(config: &Config, asked: Option<usize>) -> usize {
    let longest = asked.unwrap_or_else(|| config.max_positions.min(USUAL_LONGEST));
    match config.position {
        PositionKind::Learned => longest.min(config.max_positions),
        PositionKind::Rope { .. } => longest,
    }
}
