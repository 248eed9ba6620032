//! A folder written as GGUF and read again is the folder, to within the type that was asked for.

use super::*;
use crate::config::{Architecture, Llama3Scaling, MlpKind, PositionKind, RopeScaling};
use crate::convert::to_gguf;
use crate::decoder::Decoder;
use crate::generate::{Sampling, StopConditions, generate};
use crate::gguf::writer::Stored;
use crate::tokenizer::Tokenizer;
use engine::Device;

/// Models of every family that is written, with grouped queries where the family has them.
fn configs() -> Vec<Config> {
    let nano = Config { layers: 2, kv_heads: 2, eos: vec![257], bos: Some(256), ..Config::preset("nano").unwrap() };
    let scaling =
        Some(RopeScaling::Llama3(Llama3Scaling { factor: 8.0, low_freq_factor: 1.0, high_freq_factor: 4.0, original_max_positions: 128 }));
    let llama3 = PositionKind::Rope { theta: 5e5, rotary_dim: nano.head_dim, scaling };
    let linear = PositionKind::Rope { theta: 1e4, rotary_dim: nano.head_dim, scaling: Some(RopeScaling::Linear { factor: 2.0 }) };
    let gpt2 = Config {
        architecture: Architecture::Gpt2,
        position: PositionKind::Learned,
        mlp: MlpKind::Gelu { tanh: true },
        kv_heads: nano.heads,
        qkv_bias: true,
        attention_output_bias: true,
        mlp_bias: true,
        ..nano.clone()
    };
    let neox = Config {
        architecture: Architecture::GptNeoX,
        position: PositionKind::Rope { theta: 1e4, rotary_dim: nano.head_dim / 2, scaling: None },
        mlp: MlpKind::Gelu { tanh: false },
        parallel_residual: true,
        tied_head: false,
        ..gpt2.clone()
    };
    vec![
        gpt2,
        Config { parallel_residual: false, ..neox.clone() },
        neox,
        nano.clone(),
        Config { tied_head: false, position: llama3, ..nano.clone() },
        Config { position: linear, ..nano.clone() },
        Config { architecture: Architecture::Mistral, sliding_window: Some(16), ..nano.clone() },
        Config { architecture: Architecture::Qwen2, qkv_bias: true, ..nano.clone() },
        Config { architecture: Architecture::Qwen3, qk_norm: true, ..nano },
    ]
}

/// What is said of the byte tokenizer, which llama.cpp does not have.
const OF_BYTES: &str =
    "llama.cpp has no name for how this tokenizer cuts a text: other programs than slpo may find no tokenizer in the file";

const OF_WINDOW: &str = "its window of 16 tokens is in the file, and other readers ignore it: longer texts differ there";

/// Writes a random model, converts it to GGUF and back. Returns both folders' contents.
fn there_and_back(config: &Config, stored: Stored) -> (ModelFolder, ModelFolder, to_gguf::Written) {
    let folder = tempfile::tempdir().unwrap();
    let [source, file, back] = ["source", "model.gguf", "back"].map(|name| folder.path().join(name));
    let decoder = Decoder::random(&Device::default(), config, 3).unwrap();
    ModelFolder::save(&source, config, &decoder.to_tensors(), &Tokenizer::bytes()).unwrap();
    let written = to_gguf::write(&source, &file, stored).unwrap();
    let report = convert(&file, None, &back).unwrap();
    assert!(report.has_tokenizer && report.remarks.is_empty(), "{:?}", report.remarks);
    (ModelFolder::open(&source).unwrap(), ModelFolder::open(&back).unwrap(), written)
}

#[test]
fn every_family_comes_back_bit_for_bit_in_f32_with_its_tokenizer() {
    for config in configs() {
        let (source, back, written) = there_and_back(&config, Stored::F32);
        assert_eq!(back.config, source.config);
        assert_eq!(back.tensors.len(), source.tensors.len());
        for (name, tensor) in &source.tensors {
            assert_eq!((&back.tensors[name].shape, &back.tensors[name].data), (&tensor.shape, &tensor.data), "{name}");
        }
        assert_eq!(written.parameters, source.tensors.values().map(|tensor| tensor.data.len() as u64).sum::<u64>());
        let of_window = config.sliding_window.map(|_| OF_WINDOW);
        assert_eq!(written.remarks, std::iter::once(OF_BYTES).chain(of_window).collect::<Vec<_>>());
        let text = "Once upon a time, ünïcode";
        assert_eq!(back.tokenizer.encode(text).unwrap(), source.tokenizer.encode(text).unwrap());
    }
}

#[test]
fn narrow_types_round_the_matrices_and_leave_the_vectors() {
    for (stored, unit) in [(Stored::F16, 2f32.powi(-11)), (Stored::Bf16, 2f32.powi(-8)), (Stored::Q8, 0.0)] {
        let (source, back, written) = there_and_back(&configs()[3], stored);
        assert_eq!(written.remarks, [OF_BYTES]);
        let mut differing = 0;
        for (name, tensor) in &source.tensors {
            let found = &back.tensors[name].data;
            if tensor.shape.len() < 2 {
                assert_eq!(found, &tensor.data, "{name}");
                continue;
            }
            for (values, found) in tensor.data.chunks(32).zip(found.chunks(32)) {
                // Half of the step d of a block, and what rounding d to f16 moves the largest element by.
                let most = values.iter().fold(0f32, |most, value| most.max(value.abs()));
                let of_block =
                    if stored == Stored::Q8 { most / 127.0 * (0.5 + 127.0 * 2f32.powi(-11)) + 2f32.powi(-24) * 127.0 } else { 0.0 };
                for (value, found) in values.iter().zip(found) {
                    // Below 2⁻¹⁴ a half has steps of 2⁻²⁴.
                    let allowed = of_block + unit * value.abs() + 2f32.powi(-25);
                    assert!((value - found).abs() <= allowed * 1.001, "{name}: {value} became {found}");
                    differing += usize::from(value != found);
                }
            }
        }
        assert!(differing > 1000, "nothing was rounded");
    }
}

#[test]
fn a_file_that_is_opened_as_it_is_stored_writes_what_its_converted_folder_writes() {
    for (config, stored) in
        configs().into_iter().flat_map(|config| [Stored::F16, Stored::Bf16, Stored::Q8].map(|kind| (config.clone(), kind)))
    {
        let folder = tempfile::tempdir().unwrap();
        let [source, file, back] = ["source", "model.gguf", "back"].map(|name| folder.path().join(name));
        let device = Device::default();
        let decoder = Decoder::random(&device, &config, 3).unwrap();
        ModelFolder::save(&source, &config, &decoder.to_tensors(), &Tokenizer::bytes()).unwrap();
        to_gguf::write(&source, &file, stored).unwrap();
        convert(&file, None, &back).unwrap();
        assert!(is_gguf(&file).unwrap() && !is_gguf(&back).unwrap() && !is_gguf(&folder.path().join("none")).unwrap());
        let (opened, converted) = (open_gguf(&file).unwrap(), ModelFolder::open(&back).unwrap());
        assert_eq!(opened.config, converted.config);
        let is_gpt = matches!(config.architecture, Architecture::Gpt2 | Architecture::GptNeoX);
        assert_eq!(opened.tensors.matrices.is_empty(), is_gpt);
        assert_eq!(opened.tokenizer.encode("ünï").unwrap(), converted.tokenizer.encode("ünï").unwrap());
        let stored = Decoder::from_stored(&device, &opened.config, opened.tensors).unwrap();
        let widened = Decoder::from_tensors(&device, &converted.config, converted.tensors).unwrap();
        let (prompts, limits) = ([vec![1, 2, 3], vec![9]], StopConditions { max_tokens: 20, stop: &[] });
        let write = |decoder| generate(decoder, &prompts, &Sampling::PLAIN, limits, &engine::Generator::new(3), |_, _| true).unwrap();
        assert_eq!(write(&stored), write(&widened));
    }
}

#[test]
fn rows_that_are_no_whole_blocks_are_wider() {
    let odd = Config { intermediate_size: 80, ..configs()[3].clone() };
    let (_, _, written) = there_and_back(&odd, Stored::Q8);
    assert_eq!(written.remarks, [OF_BYTES, "2 matrices whose rows are no multiple of 32 are written in f16"]);
}

#[test]
fn published_tokenizers_get_llama_cpps_own_lists_with_the_same_tokens() {
    let Some(model) = converted() else { return };
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("model.gguf");
    to_gguf::write(&model.out, &file, Stored::F32).unwrap();
    let content = Content::open(&file).unwrap();
    let header = Header::read(&content).unwrap();
    let gguf = Gguf::new(&content, &header).unwrap();
    let text = |key: &str| gguf.get(key).and_then(crate::gguf::Value::text).map(str::to_owned);
    assert_eq!(text("tokenizer.ggml.model").as_deref(), Some("llama"));
    // Without the whole tokenizer.json, the lists alone give the same tokens.
    let bytes = fs::read(&file).unwrap();
    let key = b"tokenizer.huggingface.json";
    let at = bytes.windows(key.len()).position(|window| window == key).unwrap();
    let hidden = [&bytes[..at], b"tokenizer.huggingface.xxxx", &bytes[at + key.len()..]].concat();
    let other = folder.path().join("lists.gguf");
    fs::write(&other, hidden).unwrap();
    let back = folder.path().join("back");
    convert(&other, None, &back).unwrap();
    let [ours, theirs] = [&model.out, &back].map(|folder| Tokenizer::from_folder(folder).unwrap());
    for text in ["Once upon a time, there was a little girl named Lily.", "  two spaces\nand a line", "ünïcode ☃", ""] {
        assert_eq!(ours.encode(text).unwrap(), theirs.encode(text).unwrap(), "{text}");
    }
}
