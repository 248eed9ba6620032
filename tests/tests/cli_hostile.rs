//! Models that are damaged or made to do damage: each is one clear message of the real binary, and little memory.

mod command;

use command::{Workplace, failure, object};
use model::safetensors_file::{self, NamedTensor, NamedTensors};
use serde_json::{Map, Value};
use std::path::Path;

fn weights(folder: &Path, header: &str, data: &[u8]) {
    let bytes = [&(header.len() as u64).to_le_bytes(), header.as_bytes(), data].concat();
    std::fs::write(folder.join("model.safetensors"), bytes).unwrap();
}

/// The message for a workplace whose model was changed.
fn refused(change: impl FnOnce(&Path)) -> String {
    let workplace = Workplace::new();
    change(&workplace.path("model"));
    failure(&workplace.run("score --model {}/model --tokens 1,2,3"), 1)
}

/// Writes the model again with its tensors changed.
fn rewritten(folder: &Path, change: impl FnOnce(&mut NamedTensors)) {
    let path = folder.join("model.safetensors");
    let mut tensors = safetensors_file::read(&path).unwrap();
    change(&mut tensors);
    safetensors_file::write(&path, &tensors).unwrap();
}

fn reconfigured(folder: &Path, key: &str, value: impl Into<Value>) {
    let path = folder.join("config.json");
    let mut keys: Map<String, Value> = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    keys.insert(key.to_owned(), value.into());
    std::fs::write(path, Value::Object(keys).to_string()).unwrap();
}

const NORM: &str = "model.norm.weight";

#[test]
fn weights_that_promise_more_than_the_file_has() {
    let huge = r#"{"w":{"dtype":"F32","shape":[4611686018427387904,64],"data_offsets":[0,8]}}"#;
    let large = r#"{"w":{"dtype":"F32","shape":[1099511627776],"data_offsets":[0,4398046511104]}}"#;
    let overlapping = r#"{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"b":{"dtype":"F32","shape":[2],"data_offsets":[4,12]}}"#;
    for header in [huge, large, overlapping, "{", "[]"] {
        let line = refused(|model| weights(model, header, &[0; 12]));
        assert!(line.contains("model.safetensors: "), "{header}: {line}");
    }
    let line = refused(|model| std::fs::write(model.join("model.safetensors"), u64::MAX.to_le_bytes()).unwrap());
    assert!(line.contains("announces a header of 18446744073709551615 bytes"), "{line}");
    let line = refused(|model| {
        let path = model.join("model.safetensors");
        let bytes = std::fs::read(&path).unwrap();
        std::fs::write(path, &bytes[..bytes.len() / 2]).unwrap();
    });
    assert!(line.contains("truncated or damaged"), "{line}");
}

#[test]
fn weights_that_are_not_numbers() {
    let line = refused(|model| {
        let path = model.join("model.safetensors");
        let mut bytes = std::fs::read(&path).unwrap();
        let end = bytes.len();
        bytes[end - 4..].copy_from_slice(&f32::NAN.to_le_bytes());
        std::fs::write(path, bytes).unwrap();
    });
    assert!(line.contains("has NaN at element") && line.contains("every weight must be finite"), "{line}");
}

#[test]
fn weights_and_a_configuration_that_do_not_belong_together() {
    let line = refused(|model| rewritten(model, |tensors| drop(tensors.shift_remove(NORM))));
    assert!(line.contains(&format!("tensor {NORM} is missing: the weights do not belong to this config.json")), "{line}");
    let line = refused(|model| rewritten(model, |tensors| drop(tensors.insert("spare".to_owned(), NamedTensor::new(vec![1], vec![0.0])))));
    assert!(line.contains("spare"), "{line}");
    for (key, value, expected) in [
        ("vocab_size", 300, "has shape [258, 64], the configuration asks for [300, 64]"),
        ("num_hidden_layers", 3, "is missing"),
        ("intermediate_size", 1_000_000_000, "intermediate_size must be from 1 to 16777216, not 1000000000"),
        ("intermediate_size", 16_000_000, "the configuration asks for [16000000, 64]"),
        ("num_hidden_layers", 1, "model.layers.1"),
        ("hidden_size", -1, "hidden_size"),
        ("num_key_value_heads", 3, "num_key_value_heads"),
    ] {
        let line = refused(|model| reconfigured(model, key, value));
        assert!(line.contains(expected), "{key} {value}: {line}");
    }
    let line = refused(|model| reconfigured(model, "model_type", "bert"));
    assert!(line.contains("config.json") && line.contains("bert") && line.contains("llama"), "{line}");
}

#[test]
fn an_index_that_leads_elsewhere() {
    let line = refused(|model| {
        std::fs::remove_file(model.join("model.safetensors")).unwrap();
        std::fs::write(model.join("model.safetensors.index.json"), r#"{"weight_map":{"a":"../../../etc/passwd"}}"#).unwrap();
    });
    assert!(line.contains("must be the name of a file in the same folder"), "{line}");
}

#[test]
fn a_damaged_tokenizer_is_no_defect_of_this_program() {
    for text in ["", "{", "{\"version\":\"1.0\",\"added_tokens\":[],\"decoder\":{\"type\":\"ByteLevel\"x"] {
        let line = refused(|model| std::fs::write(model.join("tokenizer.json"), text).unwrap());
        assert!(line.contains("tokenizer.json: not a usable tokenizer.json"), "{line}");
    }
}

/// The start of a llama in GGUF whose one tensor, an embedding of two tokens, is of a type.
fn gguf(kind: u32) -> Vec<u8> {
    let text = |text: &str| [&(text.len() as u64).to_le_bytes(), text.as_bytes()].concat();
    let key = |name: &str, kind: u32, value: &[u8]| [text(name), kind.to_le_bytes().to_vec(), value.to_vec()].concat();
    let size = |name: &str, value: u32| key(&format!("llama.{name}"), 4, &value.to_le_bytes());
    let keys = [
        key("general.architecture", 8, &text("llama")),
        size("context_length", 8),
        size("embedding_length", 256),
        size("block_count", 1),
        size("feed_forward_length", 256),
        size("attention.head_count", 4),
        key("llama.attention.layer_norm_rms_epsilon", 6, &1e-5f32.to_le_bytes()),
    ];
    let extents = [2u32.to_le_bytes().to_vec(), 256u64.to_le_bytes().to_vec(), 2u64.to_le_bytes().to_vec()].concat();
    let tensor = [text("token_embd.weight"), extents, kind.to_le_bytes().to_vec(), 0u64.to_le_bytes().to_vec()];
    let mut bytes = [b"GGUF".as_slice(), &3u32.to_le_bytes(), &1u64.to_le_bytes(), &(keys.len() as u64).to_le_bytes()].concat();
    bytes.extend(keys.concat());
    bytes.extend(tensor.concat());
    bytes.resize(bytes.len().next_multiple_of(32) + 512, 0);
    bytes
}

#[test]
fn k_quants_are_named_with_what_can_be_read() {
    let workplace = Workplace::new();
    for (kind, name) in [(10, "Q2_K"), (11, "Q3_K"), (12, "Q4_K"), (13, "Q5_K"), (14, "Q6_K")] {
        std::fs::write(workplace.path("model.gguf"), gguf(kind)).unwrap();
        let line = failure(&workplace.run("convert {}/model.gguf --out {}/out"), 1);
        let expected = format!("model.gguf: the type {name} of tensor token_embd.weight is not supported; supported: F32, F16");
        assert!(line.contains(&expected), "{line}");
        assert!(!workplace.path("out/model.safetensors").exists());
    }
}

#[test]
fn the_folder_as_it_was_is_no_such_model() {
    let workplace = Workplace::new();
    rewritten(&workplace.path("model"), |_| ());
    reconfigured(&workplace.path("model"), "something_else", 1);
    object(&workplace.run("score --model {}/model --tokens 1,2,3 --json"));
}
