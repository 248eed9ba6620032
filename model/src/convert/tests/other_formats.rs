//! The same real models from other formats: Meta's and minGPT's names, and GGUF laid out as llama.cpp does it.

use super::*;
use crate::safetensors_file::{NamedTensor, read};

/// Folders under Meta's or minGPT's names; the same model in Hugging Face's layout lies in `hf/`.
const META: [&str; 3] = ["stories260k", "glassllm-en", "gpt-nano-sort"];

#[track_caller]
fn same_tensors(ours: &ModelFolder, theirs: &ModelFolder) {
    assert_eq!(ours.tensors.len(), theirs.tensors.len());
    for (name, tensor) in &theirs.tensors {
        assert!(ours.tensors.get(name) == Some(tensor), "{name} differs");
    }
}

#[test]
fn weights_under_meta_s_and_mingpt_s_names_are_those_of_the_hugging_face_folder_bit_for_bit() {
    for name in META {
        let Some(source) = shared(&format!("data/{name}")) else { return };
        let out = tempfile::tempdir().unwrap();
        let report = convert(&source, None, out.path()).unwrap();
        assert_eq!(report.format, "safetensors under Meta's names");
        let [ours, theirs] = [out.path(), &source.join("hf")].map(|folder| ModelFolder::open(folder).unwrap());
        same_tensors(&ours, &theirs);
        let plain = |config: &Config| Config { bos: None, eos: Vec::new(), ..config.clone() };
        assert_eq!(plain(&ours.config), plain(&theirs.config), "{name}");
    }
}

#[test]
fn settings_that_disagree_with_the_weights_are_one_message() {
    let Some(source) = shared("data/stories260k") else { return };
    let folder = tempfile::tempdir().unwrap();
    fs::copy(source.join(SINGLE_FILE), folder.path().join(SINGLE_FILE)).unwrap();
    let settings = fs::read_to_string(source.join("config.json")).unwrap();
    let message = |from: &str, to: &str| {
        fs::write(folder.path().join("config.json"), settings.replace(from, to)).unwrap();
        convert(folder.path(), None, &folder.path().join("out")).unwrap_err().to_string()
    };
    assert!(message("\"dim\": 64", "\"dim\": 128").contains("tensor model.embed_tokens.weight has shape [512, 64]"));
    assert!(message("\"n_layers\": 5", "\"n_layers\": 6").contains("model.layers.5.input_layernorm.weight is missing"));
    assert!(message("\"n_layers\": 5", "\"n_layers\": 4").contains("no place for"));
    assert!(message("\"n_heads\": 8", "\"n_heads\": 7").contains("multiple of n_heads"));
    assert!(message("interleaved", "sideways").contains("rope_pairs"));
}

/// A GGUF file of stories260k. Meta's order of the rows of q and k, which its weights are in, is also llama.cpp's.
fn stories_gguf(source: &Path, architecture: &str, extra: &[u8], extra_keys: u64) -> Vec<u8> {
    let text = |text: &str| [&(text.len() as u64).to_le_bytes(), text.as_bytes()].concat();
    let number = |key: &str, value: u32| [text(&format!("llama.{key}")), vec![4, 0, 0, 0], value.to_le_bytes().to_vec()].concat();
    let keys = [
        [text("general.architecture"), vec![8, 0, 0, 0], text(architecture)].concat(),
        number("context_length", 512),
        number("embedding_length", 64),
        number("block_count", 5),
        number("feed_forward_length", 172),
        number("attention.head_count", 8),
        number("attention.head_count_kv", 4),
        [text("llama.attention.layer_norm_rms_epsilon"), vec![6, 0, 0, 0], 1e-5f32.to_le_bytes().to_vec()].concat(),
    ];
    let tensors = read(&source.join(SINGLE_FILE)).unwrap();
    let mut head = [b"GGUF".as_slice(), &[3, 0, 0, 0]].concat();
    head.extend((tensors.len() as u64).to_le_bytes());
    head.extend((keys.len() as u64 + extra_keys).to_le_bytes());
    head.extend(keys.concat());
    head.extend(extra);
    let mut data = Vec::new();
    for (name, NamedTensor { shape, data: values, .. }) in &tensors {
        head.extend(text(&llama_cpp_name(name)));
        head.extend((shape.len() as u32).to_le_bytes());
        shape.iter().rev().for_each(|&extent| head.extend((extent as u64).to_le_bytes()));
        head.extend(0u32.to_le_bytes());
        data.resize(data.len().next_multiple_of(32), 0);
        head.extend((data.len() as u64).to_le_bytes());
        values.iter().for_each(|value| data.extend(value.to_le_bytes()));
    }
    head.resize(head.len().next_multiple_of(32), 0);
    [head, data].concat()
}

fn llama_cpp_name(meta: &str) -> String {
    let names = [
        ("layers.", "blk."),
        ("attention.wq", "attn_q"),
        ("attention.wk", "attn_k"),
        ("attention.wv", "attn_v"),
        ("attention.wo", "attn_output"),
        ("attention_norm", "attn_norm"),
        ("feed_forward.w1", "ffn_gate"),
        ("feed_forward.w2", "ffn_down"),
        ("feed_forward.w3", "ffn_up"),
        ("tok_embeddings", "token_embd"),
    ];
    let name = if meta == "norm.weight" { "output_norm.weight".to_owned() } else { meta.to_owned() };
    names.iter().fold(name, |name, (theirs, ours)| name.replace(theirs, ours))
}

#[test]
fn a_gguf_file_gives_the_weights_of_the_hugging_face_folder_bit_for_bit() {
    let Some(source) = shared("data/stories260k") else { return };
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("stories.gguf");
    fs::write(&file, stories_gguf(&source, "llama", &[], 0)).unwrap();
    let out = folder.path().join("out");
    let report = convert(&file, Some(&source.join("tok512.bin")), &out).unwrap();
    assert_eq!((report.format, report.parameters, report.has_tokenizer), ("GGUF", 260_032, true));
    let [ours, theirs] = [out, source.join("hf")].map(|folder| ModelFolder::open(&folder).unwrap());
    same_tensors(&ours, &theirs);
    assert_eq!(Config { bos: None, eos: Vec::new(), ..theirs.config }, Config { bos: None, eos: Vec::new(), ..ours.config });
}

#[test]
fn what_a_gguf_file_lacks_or_asks_too_much_of_is_one_message() {
    let Some(source) = shared("data/stories260k") else { return };
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("stories.gguf");
    let message = |bytes: &[u8]| {
        fs::write(&file, bytes).unwrap();
        let message = convert(&file, None, &folder.path().join("out")).unwrap_err().to_string();
        assert!(message.contains("stories.gguf"), "{message}");
        message
    };
    assert!(message(&stories_gguf(&source, "mamba", &[], 0)).contains("the architecture \"mamba\" is not supported"));
    assert!(message(&stories_gguf(&source, "qwen2", &[], 0)).contains("qwen2.embedding_length is missing"));
    let text = |text: &str| [&(text.len() as u64).to_le_bytes(), text.as_bytes()].concat();
    let experts = [text("llama.expert_count"), vec![4, 0, 0, 0, 8, 0, 0, 0]].concat();
    assert!(message(&stories_gguf(&source, "llama", &experts, 1)).contains("a mixture of experts is not supported"));
    let yarn = [text("llama.rope.scaling.type"), vec![8, 0, 0, 0], text("yarn")].concat();
    assert!(message(&stories_gguf(&source, "llama", &yarn, 1)).contains("RoPE scaling \"yarn\" is not supported"));
    let wide = [text("llama.attention.key_length"), vec![4, 0, 0, 0, 16, 0, 0, 0]].concat();
    assert!(message(&stories_gguf(&source, "llama", &wide, 1)).contains("has shape [64, 64], the configuration asks for [128, 64]"));
    let whole = stories_gguf(&source, "llama", &[], 0);
    assert!(message(&whole[..whole.len() - 1]).contains("truncated or damaged"));
}

#[test]
fn a_tokenizer_that_cannot_be_written_exactly_is_left_out_and_said_to_be() {
    let Some(source) = shared("data/stories260k") else { return };
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("stories.gguf");
    let text = |text: &str| [&(text.len() as u64).to_le_bytes(), text.as_bytes()].concat();
    let kind = |name: &str| [text("tokenizer.ggml.model"), vec![8, 0, 0, 0], text(name)].concat();
    for (name, reason) in [("bert", "its kind \"bert\" cannot be written exactly"), ("gpt2", "does not say how it cuts a text")] {
        fs::write(&file, stories_gguf(&source, "llama", &kind(name), 1)).unwrap();
        let report = convert(&file, None, &folder.path().join("out")).unwrap();
        assert!(!report.has_tokenizer && report.note.as_ref().unwrap().contains(reason), "{report:?}");
    }
    fs::write(&file, stories_gguf(&source, "llama", &kind("llama"), 1)).unwrap();
    let message = convert(&file, None, &folder.path().join("out")).unwrap_err().to_string();
    assert!(message.contains("tokenizer.ggml.tokens is missing"), "{message}");
}
