//! GGUF files: the header, every tensor, the model and the tokenizer.

use model::convert::{gguf, gguf_tokenizer};
use model::files::Content;
use model::gguf::{Gguf, Header};
use std::path::Path;

/// Reads all of a file.
pub fn fuzz(data: &[u8]) {
    let path = Path::new("x.gguf");
    let content = Content::of_bytes(path, data);
    let Ok(header) = Header::read(&content) else { return };
    let file = Gguf::new(&content, &header).expect("a header that was read");
    for (name, info) in file.tensors() {
        let _ = file.widen(name, info);
    }
    let _ = gguf::read(path, &file);
    let _ = gguf_tokenizer::read(&file);
}

/// What llama.cpp's own package wrote, and a tiny model with a tokenizer.
pub fn seeds() -> Vec<Vec<u8>> {
    vec![include_bytes!("../../../../model/src/gguf/blocks.gguf").to_vec(), tiny("llama", "llama"), tiny("qwen2", "gpt2")]
}

fn text(text: &str) -> Vec<u8> {
    [&(text.len() as u64).to_le_bytes(), text.as_bytes()].concat()
}

fn key(name: &str, kind: u32, value: &[u8]) -> Vec<u8> {
    [text(name), kind.to_le_bytes().to_vec(), value.to_vec()].concat()
}

fn array(kind: u32, length: u64, values: &[u8]) -> Vec<u8> {
    [kind.to_le_bytes().as_slice(), &length.to_le_bytes(), values].concat()
}

/// One layer of width 2, three tokens.
fn tiny(architecture: &str, tokenizer: &str) -> Vec<u8> {
    let number = |name: &str, value: u32| key(&format!("{architecture}.{name}"), 4, &value.to_le_bytes());
    let keys = [
        key("general.architecture", 8, &text(architecture)),
        number("context_length", 8),
        number("embedding_length", 2),
        number("block_count", 1),
        number("feed_forward_length", 2),
        number("attention.head_count", 1),
        number("attention.head_count_kv", 1),
        key(&format!("{architecture}.attention.layer_norm_rms_epsilon"), 6, &1e-5f32.to_le_bytes()),
        key("tokenizer.ggml.model", 8, &text(tokenizer)),
        key("tokenizer.ggml.pre", 8, &text("llama-bpe")),
        key("tokenizer.ggml.tokens", 9, &array(8, 3, &["a", "b", "ab"].map(text).concat())),
        key("tokenizer.ggml.scores", 9, &array(6, 3, &[0f32, -1.0, -2.0].map(f32::to_le_bytes).concat())),
        key("tokenizer.ggml.token_type", 9, &array(5, 3, &[3i32, 1, 1].map(i32::to_le_bytes).concat())),
        key("tokenizer.ggml.merges", 9, &array(8, 1, &text("a b"))),
        key("tokenizer.ggml.bos_token_id", 4, &0u32.to_le_bytes()),
    ];
    let matrices = ["attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down"]
        .map(|name| (format!("blk.0.{name}.weight"), vec![2, 2]));
    let norms = ["attn_norm", "ffn_norm"].map(|name| (format!("blk.0.{name}.weight"), vec![2]));
    let outer = [("token_embd.weight".to_owned(), vec![2, 3]), ("output_norm.weight".to_owned(), vec![2])];
    let tensors: Vec<(String, Vec<u64>)> = matrices.into_iter().chain(norms).chain(outer).collect();
    let mut bytes =
        [b"GGUF".as_slice(), &3u32.to_le_bytes(), &(tensors.len() as u64).to_le_bytes(), &(keys.len() as u64).to_le_bytes()].concat();
    bytes.extend(keys.concat());
    for (place, (name, extents)) in tensors.iter().enumerate() {
        bytes.extend([text(name), (extents.len() as u32).to_le_bytes().to_vec()].concat());
        extents.iter().for_each(|extent| bytes.extend(extent.to_le_bytes()));
        bytes.extend([0u32.to_le_bytes().to_vec(), (32 * place as u64).to_le_bytes().to_vec()].concat());
    }
    bytes.resize(bytes.len().next_multiple_of(32) + 32 * tensors.len(), 0);
    bytes
}
