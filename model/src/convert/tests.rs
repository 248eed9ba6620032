//! stories260K, as its author published it, compared to the same model in Hugging Face's layout, and damaged copies of it.

mod gguf_models;
mod gguf_tokenizers;
mod other_formats;
mod to_gguf;

use super::*;
use crate::config::huggingface;
use crate::safetensors_file::{self, SINGLE_FILE};
use crate::test_data::shared;
use serde_json::Value;
use std::fs;
use std::path::PathBuf;

struct Converted {
    _folder: tempfile::TempDir,
    out: PathBuf,
    source: PathBuf,
}

fn converted() -> Option<Converted> {
    let source = shared("data/stories260k")?;
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("new/model");
    let report = convert(&source.join("stories260K.bin"), Some(&source.join("tok512.bin")), &out).unwrap();
    assert_eq!((report.parameters, report.has_tokenizer), (260_032, true));
    Some(Converted { _folder: folder, out, source })
}

fn json(path: PathBuf) -> Value {
    serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap()
}

#[test]
fn weights_and_configuration_are_those_of_the_hugging_face_folder_bit_for_bit() {
    let Some(model) = converted() else { return };
    let reference = model.source.join("hf");
    assert_eq!(fs::read(model.out.join(SINGLE_FILE)).unwrap(), fs::read(reference.join(SINGLE_FILE)).unwrap());
    let config = |folder: &Path| Config::read(&folder.join(huggingface::FILE)).unwrap();
    assert_eq!(config(&model.out), config(&reference));
}

#[test]
fn the_tokenizer_gives_the_ids_and_texts_of_run_c() {
    let Some(model) = converted() else { return };
    let tokenizer = Tokenizer::from_folder(&model.out).unwrap();
    assert_eq!((tokenizer.bos(), tokenizer.eos(), tokenizer.vocab_size()), (Some(1), Some(2), 512));
    for case in json(model.source.join("golden_tokenizer.json"))["cases"].as_array().unwrap() {
        let text = case["text"].as_str().unwrap();
        let tokens = tokenizer.encode(text).unwrap();
        let with_bos: Vec<u32> = [1].into_iter().chain(tokens.iter().copied()).collect();
        assert_eq!(serde_json::json!(with_bos), case["tokens"], "{text:?}");
        assert_eq!(tokenizer.decode(&with_bos).unwrap(), case["decoded"].as_str().unwrap());
        let streamed = tokenizer.decode_after(&[1], &tokens).unwrap();
        assert_eq!(streamed, case["decoded"].as_str().unwrap());
    }
}

#[test]
fn the_author_s_text_comes_back_whole_and_in_pieces() {
    let Some(model) = converted() else { return };
    let tokenizer = Tokenizer::from_folder(&model.out).unwrap();
    let golden = json(model.source.join("golden_forward.json"));
    let published = golden["published_greedy_text"].as_str().unwrap();
    let tokens: Vec<u32> = serde_json::from_value(golden["greedy"][0]["new_tokens"].clone()).unwrap();
    let text = tokenizer.decode(&[&[1], tokens.as_slice()].concat()).unwrap();
    assert!(text.starts_with(published));
    for cut in [0, 1, 7, 100] {
        let before = [&[1], &tokens[..cut]].concat();
        let pieces = tokenizer.decode(&before).unwrap() + &tokenizer.decode_after(&before, &tokens[cut..]).unwrap();
        assert_eq!(pieces, text, "cut at {cut}");
    }
}

#[test]
fn bytes_of_one_character_are_shown_together() {
    let Some(model) = converted() else { return };
    let tokenizer = Tokenizer::from_folder(&model.out).unwrap();
    let text = "a 東京 🐻é東!";
    let tokens = tokenizer.encode(text).unwrap();
    let mut stream = tokenizer.stream(&[1]).unwrap();
    let pieces: Vec<String> = tokens.iter().map(|&token| stream.push(token).unwrap()).collect();
    assert!(pieces.iter().all(|piece| !piece.contains('\u{fffd}')), "{pieces:?}");
    assert_eq!(pieces.concat(), text);
}

#[test]
fn an_untied_head_is_read_after_the_tables_that_nothing_reads() {
    // dim 4, hidden 3, 1 layer, 2 heads, 1 kv head, vocab 2 untied, 3 positions; weight n has the value n.
    let header = [4, 3, 1, 2, 1, -2, 3];
    let weights = 8 + 4 + 16 + 8 + 8 + 16 + 4 + 3 * 12 + 4;
    let numbers = weights + 2 * 3 + 8;
    let mut bytes: Vec<u8> = header.iter().flat_map(|number: &i32| number.to_le_bytes()).collect();
    bytes.extend((0..numbers).flat_map(|number| (number as f32).to_le_bytes()));
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.bin");
    fs::write(&path, bytes).unwrap();
    let (config, tensors) = llama2c::read(&path).unwrap();
    assert!(!config.tied_head);
    assert_eq!(tensors["lm_head.weight"].data[0], (weights + 6) as f32);
    // A head of two components has the pair (0, 1) in both layouts, so nothing moves.
    assert_eq!(tensors["model.layers.0.self_attn.q_proj.weight"].data[..2], [12.0, 13.0]);
    let out = folder.path().join("out");
    convert(&path, None, &out).unwrap();
    assert_eq!(safetensors_file::read_folder(&out).unwrap().len(), tensors.len());
    assert!(!out.join("tokenizer.json").exists());
}

#[test]
fn a_damaged_model_is_reported_not_believed() {
    let Some(source) = shared("data/stories260k/stories260K.bin") else { return };
    let whole = fs::read(source).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.bin");
    let message = |bytes: &[u8]| {
        fs::write(&path, bytes).unwrap();
        convert(&path, None, &folder.path().join("out")).unwrap_err().to_string()
    };
    assert!(message(&whole[..whole.len() - 1]).contains("describes a file of 1056540 bytes, this one has 1056539"));
    assert!(message(&whole[..20]).contains("too few"));
    assert!(message(&[]).contains("too few"));
    let with = |index: usize, number: i32| {
        let mut bytes = whole.clone();
        bytes[4 * index..][..4].copy_from_slice(&number.to_le_bytes());
        bytes
    };
    assert!(message(&with(0, 0)).contains("not a llama2.c model of version 0"));
    assert!(message(&with(2, -5)).contains("not a llama2.c model of version 0"));
    assert!(message(&with(1, i32::MAX)).contains("not a llama2.c model of version 0"));
    assert!(message(&with(6, 1024)).contains("truncated or damaged"));
    let mut nan = whole.clone();
    nan[28..32].copy_from_slice(&f32::NAN.to_le_bytes());
    assert!(message(&nan).contains("model.embed_tokens.weight has NaN at element 0"));
    assert!(message(b"GGUF 3 and so on").contains("is GGUF of version"));
    assert!(!folder.path().join("out").exists());
}

#[test]
fn a_damaged_tokenizer_is_reported_not_believed() {
    let Some(source) = shared("data/stories260k") else { return };
    let whole = fs::read(source.join("tok512.bin")).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tok.bin");
    let message = |bytes: &[u8], vocab_size| {
        fs::write(&path, bytes).unwrap();
        llama2c_tokenizer::read(&path, vocab_size).unwrap_err().to_string()
    };
    assert!(message(&whole[..whole.len() - 1], 512).contains("tok.bin: ends in the middle of token 511"));
    assert!(message(&whole, 513).contains("has 512 tokens, the model 513"));
    assert!(message(&[], 512).contains("ends in the middle of token 0"));
    let mut wrong = whole.clone();
    wrong[12] = b'x';
    assert!(message(&wrong, 512).contains("token 0 should be \"<unk>\""));
}
