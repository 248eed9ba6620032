//! The same real models in other formats: Meta's and minGPT's names, and GGUF laid out as in llama.cpp.

use super::*;
use crate::gguf::writer::Writer;
use crate::safetensors_file::read;

/// Folders under Meta's or minGPT's names. `hf/` in each holds the same model in Hugging Face's layout.
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
    assert!(message("\"dim\": 64", "\"dim\": 64, \"head_dim\": 16").contains("has shape [64, 64]"));
    assert!(message("\"dim\": 64", "\"dim\": 64, \"use_scaled_rope\": true").contains("use_scaled_rope true is not supported"));
    assert!(message("\"dim\": 64", "\"dim\": 64, \"sliding_window\": 8").contains("sliding_window 8 is not supported"));
}

#[test]
fn an_unknown_setting_is_named_and_one_that_changes_the_computation_refused() {
    let Some(source) = shared("data/stories260k") else { return };
    let folder = tempfile::tempdir().unwrap();
    fs::copy(source.join(SINGLE_FILE), folder.path().join(SINGLE_FILE)).unwrap();
    let with = |key: &str, value: Value| {
        let mut settings = json(source.join("config.json"));
        settings[key] = value;
        fs::write(folder.path().join("params.json"), settings.to_string()).unwrap();
        convert(folder.path(), None, &folder.path().join("out"))
    };
    let remarks = with("a_new_key", 3.into()).unwrap().remarks;
    assert!(remarks.len() == 1 && remarks[0].contains("params.json") && remarks[0].contains("a_new_key"), "{remarks:?}");
    for (key, value) in [("multiple_of", Value::from(256)), ("ffn_dim_multiplier", 1.3.into()), ("use_scaled_rope", false.into())] {
        assert!(with(key, value).unwrap().remarks.is_empty(), "{key}");
    }
    for (key, value) in [("qk_norm", Value::from(true)), ("moe", serde_json::json!({"num_experts": 8})), ("hidden_dim", 171.into())] {
        assert!(with(key, value).unwrap_err().to_string().contains(key));
    }
    for name in META {
        let Some(source) = shared(&format!("data/{name}")) else { return };
        assert!(convert(&source, None, &folder.path().join(name)).unwrap().remarks.is_empty(), "{name}");
    }
}

/// Meta's own params.json leaves the number of tokens to the tokenizer.
#[test]
fn a_vocabulary_of_minus_one_is_that_of_the_weights() {
    let Some(source) = shared("data/stories260k") else { return };
    let folder = tempfile::tempdir().unwrap();
    fs::copy(source.join(SINGLE_FILE), folder.path().join(SINGLE_FILE)).unwrap();
    let settings = fs::read_to_string(source.join("config.json")).unwrap();
    assert!(settings.contains("\"vocab_size\": 512"));
    fs::write(folder.path().join("params.json"), settings.replace("\"vocab_size\": 512", "\"vocab_size\": -1")).unwrap();
    let report = convert(folder.path(), None, &folder.path().join("out")).unwrap();
    assert_eq!((report.config.vocab_size, report.parameters), (512, 260_032));
}

/// Writes a GGUF file of stories260k. Its weights have Meta's order of the rows of q and k, which is also llama.cpp's.
fn stories_gguf(source: &Path, architecture: &str) -> Writer {
    let sizes = [
        ("context_length", 512),
        ("embedding_length", 64),
        ("block_count", 5),
        ("feed_forward_length", 172),
        ("attention.head_count", 8),
        ("attention.head_count_kv", 4),
    ];
    let file = Writer::new(architecture).float("llama.attention.layer_norm_rms_epsilon", 1e-5);
    let file = sizes.iter().fold(file, |file, (key, size)| file.integer(&format!("llama.{key}"), *size));
    let tensors = read(&source.join(SINGLE_FILE)).unwrap();
    tensors.iter().fold(file, |file, (name, tensor)| file.tensor(&llama_cpp_name(name), &tensor.shape, &tensor.data))
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
    fs::write(&file, stories_gguf(&source, "llama").bytes()).unwrap();
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
    let stories = |architecture: &str| stories_gguf(&source, architecture);
    assert!(message(&stories("mamba").bytes()).contains("the architecture \"mamba\" is not supported"));
    assert!(message(&stories("qwen2").bytes()).contains("qwen2.embedding_length is missing"));
    let experts = stories("llama").integer("llama.expert_count", 8);
    assert!(message(&experts.bytes()).contains("a mixture of experts is not supported"));
    let yarn = stories("llama").text("llama.rope.scaling.type", "yarn");
    assert!(message(&yarn.bytes()).contains("RoPE scaling \"yarn\" is not supported"));
    let wide = stories("llama").integer("llama.attention.key_length", 16);
    assert!(message(&wide.bytes()).contains("has shape [64, 64], the configuration asks for [128, 64]"));
    let whole = stories("llama").bytes();
    assert!(message(&whole[..whole.len() - 1]).contains("truncated or damaged"));
}

#[test]
fn a_tokenizer_that_cannot_be_written_exactly_is_left_out_and_said_to_be() {
    let Some(source) = shared("data/stories260k") else { return };
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("stories.gguf");
    let kind = |name: &str| stories_gguf(&source, "llama").text("tokenizer.ggml.model", name).bytes();
    for (name, reason) in [("bert", "its kind \"bert\" cannot be written exactly"), ("gpt2", "does not say how it cuts a text")] {
        fs::write(&file, kind(name)).unwrap();
        let report = convert(&file, None, &folder.path().join("out")).unwrap();
        assert!(!report.has_tokenizer && report.note.as_ref().unwrap().contains(reason), "{report:?}");
    }
    fs::write(&file, kind("llama")).unwrap();
    let message = convert(&file, None, &folder.path().join("out")).unwrap_err().to_string();
    assert!(message.contains("tokenizer.ggml.tokens is missing"), "{message}");
}
