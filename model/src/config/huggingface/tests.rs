//! `config.json` files of real models and of transformers itself, and what is refused.

use super::*;
use crate::config::{Llama3Scaling, MlpKind, NormKind, PositionKind, RopeScaling};
use crate::test_data::shared;

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

fn read(folder: &str) -> Option<Config> {
    Some(Config::read(&shared(&format!("data/{folder}/config.json"))?).unwrap())
}

fn llama() -> Value {
    Config::preset("nano").unwrap().to_json()
}

fn with(key: &str, value: Value) -> Result<Config> {
    let mut map = object(llama());
    map.insert(key.to_owned(), value);
    Config::from_json(&Value::Object(map))
}

#[test]
fn every_real_configuration_survives_being_written_and_read_again() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(FILE);
    for name in FOLDERS {
        let Some(config) = read(name) else { return };
        config.write(&path).unwrap();
        assert_eq!(Config::read(&path).unwrap(), config, "{name}");
    }
}

#[test]
fn every_real_configuration_has_as_many_parameters_as_its_weights_file() {
    for name in FOLDERS {
        let Some(config) = read(name) else { return };
        let Some(weights) = shared(&format!("data/{name}/model.safetensors")) else { return };
        let tensors = crate::safetensors_file::read(&weights).unwrap();
        let elements: usize = tensors.values().map(|tensor| tensor.data.len()).sum();
        assert_eq!(config.parameter_count(), elements as u64, "{name}");
    }
}

#[test]
fn what_sets_each_architecture_apart_is_read() {
    let Some(gqa) = read("tiny-random/llama-gqa-untied") else { return };
    assert_eq!((gqa.heads, gqa.kv_heads, gqa.head_dim, gqa.tied_head), (4, 2, 8, false));
    assert_eq!((gqa.bos, gqa.eos), (Some(1), vec![2]));

    let scaling = Llama3Scaling { factor: 8.0, low_freq_factor: 1.0, high_freq_factor: 4.0, original_max_positions: 64 };
    let scaling = Some(RopeScaling::Llama3(scaling));
    let position = PositionKind::Rope { theta: 500_000.0, rotary_dim: 8, scaling };
    assert_eq!(read("tiny-random/llama3-rope-scaling").unwrap().position, position);

    assert_eq!(read("tiny-random/mistral-sliding-window").unwrap().sliding_window, Some(7));

    let qwen2 = read("tiny-random/qwen2-qkv-bias").unwrap();
    assert!(qwen2.qkv_bias && !qwen2.attention_output_bias && qwen2.sliding_window.is_none());

    let qwen3 = read("tiny-random/qwen3-qk-norm").unwrap();
    assert!(qwen3.qk_norm && qwen3.query_size() == 64 && qwen3.hidden_size == 32);

    let gpt2 = read("tiny-random/gpt2").unwrap();
    assert_eq!(gpt2.mlp, MlpKind::Gelu { tanh: true });
    assert_eq!((gpt2.norm(), gpt2.position), (NormKind::Layer, PositionKind::Learned));
    assert_eq!((gpt2.intermediate_size, gpt2.tied_head, gpt2.bos), (128, true, None));

    let neox = read("tiny-random/gptneox-parallel-partial-rotary").unwrap();
    let position = PositionKind::Rope { theta: 1e4, rotary_dim: 2, scaling: None };
    assert_eq!((neox.position, neox.mlp), (position, MlpKind::Gelu { tanh: false }));
    assert!(neox.parallel_residual);
}

#[test]
fn both_key_styles_of_rope_say_the_same() {
    let nested = json!({"rope_type": "llama3", "rope_theta": 5e5, "factor": 8.0, "low_freq_factor": 1.0,
        "high_freq_factor": 4.0, "original_max_position_embeddings": 64});
    let mut version_5 = object(llama());
    version_5.remove("rope_theta");
    version_5.remove("rope_scaling");
    version_5.insert("rope_parameters".to_owned(), nested.clone());
    let mut version_4 = object(llama());
    version_4.insert("rope_theta".to_owned(), json!(5e5));
    let mut scaling = object(nested);
    scaling.remove("rope_theta");
    version_4.insert("rope_scaling".to_owned(), Value::Object(scaling));
    let read = |map| Config::from_json(&Value::Object(map)).unwrap();
    assert_eq!(read(version_4), read(version_5));
}

#[test]
fn several_end_tokens_are_kept() {
    assert_eq!(with("eos_token_id", json!([2, 5])).unwrap().eos, [2, 5]);
    assert!(with("eos_token_id", json!(-1)).unwrap().eos.is_empty());
}

#[test]
fn an_impossible_value_is_refused_in_the_words_of_its_key() {
    let cases = [
        ("vocab_size", json!(0), "vocab_size must be from 1"),
        ("hidden_size", json!(u64::MAX), "hidden_size must be"),
        ("hidden_size", json!("big"), "hidden_size must be a whole number, not \"big\""),
        ("hidden_size", json!(null), "hidden_size is missing"),
        ("num_attention_heads", json!(0), "num_attention_heads must be from 1"),
        ("num_key_value_heads", json!(3), "multiple of num_key_value_heads (3)"),
        ("head_dim", json!(7), "even number of dimensions"),
        ("head_dim", json!(null), ""),
        ("num_hidden_layers", json!(100_000), "num_hidden_layers must be"),
        ("rope_theta", json!(0.0), "rope_theta must be"),
        ("rms_norm_eps", json!(0), "rms_norm_eps must be"),
        ("hidden_act", json!("relu"), "hidden_act \"relu\" is not supported; supported: silu"),
        ("rope_scaling", json!({"type": "yarn"}), "rope_type \"yarn\" is not supported"),
        ("model_type", json!("mamba"), "model_type \"mamba\" is not supported; supported: llama"),
        ("quantization_config", json!({}), "quantization_config is not supported"),
        ("tie_word_embeddings", json!(1), "tie_word_embeddings must be true or false"),
    ];
    for (key, value, expected) in cases {
        match with(key, value) {
            Err(error) => {
                let message = error.to_string();
                assert!(!expected.is_empty() && message.contains(expected), "{key}: {message}");
            }
            Ok(_) => assert!(expected.is_empty(), "{key} was accepted"),
        }
    }
}

#[test]
fn a_damaged_file_is_named_with_its_line() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(FILE);
    std::fs::write(&path, "{\n \"model_type\": \"llama\",\n}").unwrap();
    let message = Config::read(&path).unwrap_err().to_string();
    assert!(message.contains("config.json:3: not valid JSON"), "{message}");
    let message = Config::read(&folder.path().join("none")).unwrap_err().to_string();
    assert!(message.contains("none"), "{message}");
}
