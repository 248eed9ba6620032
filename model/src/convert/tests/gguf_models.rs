//! GGUF files of every architecture, laid out like llama.cpp's convert_hf_to_gguf.py, give back the folder they came from.

use super::*;
use crate::config::{Architecture, PositionKind, RopeScaling};
use crate::decoder::{Decoder, layout};
use crate::gguf::writer::Writer;
use crate::safetensors_file::NamedTensor;
use engine::Device;

/// Pairs of (part of the decoder's name, part of llama.cpp's name).
const NAMES: [(&str, &str); 17] = [
    ("model.layers.", "blk."),
    ("model.embed_tokens.", "token_embd."),
    ("model.embed_positions.", "position_embd."),
    ("model.norm.", "output_norm."),
    ("lm_head.", "output."),
    ("input_layernorm.", "attn_norm."),
    ("post_attention_layernorm.", "ffn_norm."),
    ("self_attn.qkv.", "attn_qkv."),
    ("self_attn.q_proj.", "attn_q."),
    ("self_attn.k_proj.", "attn_k."),
    ("self_attn.v_proj.", "attn_v."),
    ("self_attn.o_proj.", "attn_output."),
    ("self_attn.q_norm.", "attn_q_norm."),
    ("self_attn.k_norm.", "attn_k_norm."),
    ("mlp.gate_proj.", "ffn_gate."),
    ("mlp.up_proj.", "ffn_up."),
    ("mlp.down_proj.", "ffn_down."),
];

/// Applies llama.cpp's reordering of Llama's q and k: row j of the first half of a head and row j of the second become neighbours.
fn neighbours(tensor: &NamedTensor, heads: usize) -> Vec<f32> {
    let width: usize = tensor.shape[1..].iter().product();
    let half = tensor.shape[0] / heads / 2;
    let rows = (0..heads).flat_map(|head| (0..half).flat_map(move |j| [0, half].map(|second| head * 2 * half + second + j)));
    rows.flat_map(|row| tensor.data[row * width..][..width].to_vec()).collect()
}

/// Joins q, k and v under one name, one after another.
fn fuse(parameters: &mut NamedTensors, layer: usize) {
    for kind in ["weight", "bias"] {
        let part = |name: &str| format!("model.layers.{layer}.self_attn.{name}.{kind}");
        let parts = ["q_proj", "k_proj", "v_proj"].map(|name| parameters.swap_remove(&part(name)).unwrap());
        let mut shape = parts[0].shape.clone();
        shape[0] *= 3;
        parameters.insert(part("qkv"), NamedTensor::new(shape, parts.map(|tensor| tensor.data).concat()));
    }
}

fn settings(config: &Config) -> Writer {
    let gpt = matches!(config.architecture, Architecture::Gpt2 | Architecture::GptNeoX);
    let name = match config.architecture {
        Architecture::Llama | Architecture::Mistral => "llama",
        Architecture::Qwen2 => "qwen2",
        Architecture::Qwen3 => "qwen3",
        Architecture::Gpt2 => "gpt2",
        Architecture::GptNeoX => "gptneox",
    };
    let key = |part: &str| format!("{name}.{part}");
    let mut file = Writer::new(name)
        .integer(&key("context_length"), config.max_positions as u32)
        .integer(&key("embedding_length"), config.hidden_size as u32)
        .integer(&key("block_count"), config.layers as u32)
        .integer(&key("feed_forward_length"), config.intermediate_size as u32)
        .integer(&key("attention.head_count"), config.heads as u32)
        .float(&key(if gpt { "attention.layer_norm_epsilon" } else { "attention.layer_norm_rms_epsilon" }), config.norm_eps as f32);
    if !gpt {
        // A list with one number for each layer, as in some files.
        file = file.integers(&key("attention.head_count_kv"), &vec![config.kv_heads as i32; config.layers]);
        file = file.integer(&key("attention.key_length"), config.head_dim as u32);
    }
    if let Some(window) = config.sliding_window {
        file = file.integer(&key("attention.sliding_window"), window as u32);
    }
    if let PositionKind::Rope { theta, rotary_dim, scaling } = config.position {
        file = file.float(&key("rope.freq_base"), theta as f32).integer(&key("rope.dimension_count"), rotary_dim as u32);
        if let Some(scaling) = scaling {
            let frequencies = (0..rotary_dim / 2).map(|i| theta.powf(-2.0 * i as f64 / rotary_dim as f64));
            let factors: Vec<f32> = frequencies.map(|frequency| (frequency / scaling.scale(frequency)) as f32).collect();
            file = file.tensor("rope_freqs.weight", &[factors.len()], &factors);
        }
    }
    if config.architecture == Architecture::GptNeoX {
        file = file.flag(&key("use_parallel_residual"), config.parallel_residual);
    }
    let ends = config.eos.first().map(|&end| ("eos", end)).into_iter().chain(config.bos.map(|begin| ("bos", begin)));
    ends.fold(file, |file, (name, id)| file.integer(&format!("tokenizer.ggml.{name}_token_id"), id))
}

/// Writes the model of a folder as llama.cpp lays it out.
fn laid_out(model: &ModelFolder) -> Vec<u8> {
    let config = &model.config;
    let mut parameters = layout::from_file(config, model.tensors.clone()).unwrap();
    if matches!(config.architecture, Architecture::Gpt2 | Architecture::GptNeoX) {
        (0..config.layers).for_each(|layer| fuse(&mut parameters, layer));
    }
    let llama = matches!(config.architecture, Architecture::Llama | Architecture::Mistral);
    let file = parameters.iter().fold(settings(config), |file, (name, tensor)| {
        let data = match name.rsplit('.').nth(1) {
            Some("q_proj") if llama => neighbours(tensor, config.heads),
            Some("k_proj") if llama => neighbours(tensor, config.kv_heads),
            _ => tensor.data.clone(),
        };
        let theirs = NAMES.iter().fold(name.clone(), |name, (ours, theirs)| name.replace(ours, theirs));
        file.tensor(&theirs, &tensor.shape, &data)
    });
    file.bytes()
}

#[test]
fn every_architecture_comes_back_bit_for_bit() {
    let out = tempfile::tempdir().unwrap();
    let path = out.path().join("model.gguf");
    for name in [
        "gpt2",
        "gptneox-parallel-partial-rotary",
        "llama-gqa-untied",
        "llama3-rope-scaling",
        "mistral-sliding-window",
        "qwen2-qkv-bias",
        "qwen3-qk-norm",
    ] {
        let Some(source) = shared(&format!("data/tiny-random/{name}")) else { return };
        let theirs = ModelFolder::open(&source).unwrap();
        fs::write(&path, laid_out(&theirs)).unwrap();
        convert(&path, None, &out.path().join(name)).unwrap();
        let ours = ModelFolder::open(&out.path().join(name)).unwrap();
        // A model this small has too few frequencies to tell from the file's factors which context Llama 3's scaling was for.
        let position = if name.contains("llama3") { theirs.config.position } else { ours.config.position };
        assert_eq!(Config { position, ..ours.config.clone() }, theirs.config, "{name}");
        assert_eq!(frequencies(&ours.config), frequencies(&theirs.config), "{name}");
        assert_eq!(ours.tensors.len(), theirs.tensors.len(), "{name}");
        for (tensor, values) in &theirs.tensors {
            assert!(ours.tensors.get(tensor) == Some(values), "{name}: {tensor} differs");
        }
    }
}

/// Returns the frequency at which RoPE rotates each pair, to the precision that factors in f32 keep.
fn frequencies(config: &Config) -> Vec<f32> {
    let PositionKind::Rope { theta, rotary_dim, scaling } = config.position else { return Vec::new() };
    let plain = (0..rotary_dim / 2).map(|i| theta.powf(-2.0 * i as f64 / rotary_dim as f64));
    plain.map(|frequency| scaling.map_or(frequency, |scaling| scaling.scale(frequency)) as f32).collect()
}

/// Writes a complete llama of one layer and width 8, with one key changed or added.
fn small(change: impl Fn(Writer) -> Writer) -> Writer {
    let config =
        Config { vocab_size: 4, hidden_size: 8, intermediate_size: 8, layers: 1, heads: 2, kv_heads: 2, head_dim: 4, ..one_layer() };
    let decoder = Decoder::random(&Device::default(), &config, 1).unwrap();
    let tensors = decoder.to_tensors();
    tensors.iter().fold(change(settings(&config)), |file, (name, tensor)| {
        let theirs = NAMES.iter().fold(name.clone(), |name, (ours, theirs)| name.replace(ours, theirs));
        file.tensor(&theirs, &tensor.shape, &tensor.data)
    })
}

fn one_layer() -> Config {
    let config = Config::preset("nano").unwrap();
    let PositionKind::Rope { theta, .. } = config.position else { unreachable!("the presets have RoPE") };
    Config { position: PositionKind::Rope { theta, rotary_dim: 4, scaling: None }, bos: None, eos: Vec::new(), ..config }
}

#[test]
fn settings_that_make_no_model_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("small.gguf");
    let converted = |file: &Writer| {
        fs::write(&path, file.bytes()).unwrap();
        convert(&path, None, &folder.path().join("out"))
    };
    assert!(converted(&small(|file| file)).is_ok());
    let refused = |change: &dyn Fn(Writer) -> Writer, expected: &str| {
        let message = converted(&small(change)).unwrap_err().to_string();
        assert!(message.contains("small.gguf") && message.contains(expected), "{message}");
    };
    refused(&|file| file.text("llama.expert_count", "two"), "llama.expert_count must be a whole number");
    refused(&|file| file.integers("llama.expert_count", &[]), "llama.expert_count is an empty list");
    refused(&|file| file.integers("llama.expert_count", &[0, 1]), "differs from layer to layer");
    refused(&|file| file.text("llama.rope.scale_linear", "wide"), "llama.rope.scale_linear must be a number");
    let (factors, linear) = (&[2.0, 1.0], "llama.rope.scaling.factor");
    refused(&|file| file.float(linear, 2.0).tensor("rope_freqs.weight", &[2], factors), "a linear RoPE scaling beside rope_freqs.weight");
    for (key, value) in [
        ("llama.rope.scaling.attn_factor", 0.5),
        ("llama.rope.scaling.yarn_ext_factor", 1.0),
        ("llama.attention.scale", 0.1),
        ("llama.logit_scale", 0.25),
        ("llama.embedding_scale", 12.0),
        ("llama.residual_scale", 0.2),
        ("llama.final_logit_softcapping", 30.0),
        ("llama.attention.clamp_kqv", 8.0),
    ] {
        refused(&|file| file.float(key, value), &format!("{key} {value}"));
    }
    refused(&|file| file.integer("llama.attention.value_length", 8), "llama.attention.value_length 8 is not supported; supported: 4");
    refused(&|file| file.integer("llama.vocab_size", 5), "llama.vocab_size is 5, and token_embd.weight has 4 rows");
    refused(&|file| file.integer("split.count", 2), "split.count 2");
    refused(&|file| file.text("general.type", "adapter"), "general.type \"adapter\"");
    for kind in ["yarn", "longrope"] {
        refused(&|file| file.text("llama.rope.scaling.type", kind), &format!("the RoPE scaling {kind:?}"));
    }
    refused(&|file| file.tensor("rope_freqs.weight", &[2], &[3.0, 1.0]), "the RoPE factors in rope_freqs.weight");
    refused(&|file| file.tensor("blk.0.attn_q.bias", &[8], &[0.0; 8]), "this combination of biases");
    refused(&|file| file.tensor("blk.0.extra.weight", &[1], &[0.0]), "no place for");
    let lacking = Writer::new("llama").tensor("token_embd.weight", &[4, 8], &[0.0; 32]);
    let message = converted(&lacking).unwrap_err().to_string();
    assert!(message.contains("llama.embedding_length is missing"), "{message}");
    assert!(converted(&Writer::default()).unwrap_err().to_string().contains("general.architecture is missing"));
    assert!(converted(&Writer::new("llama")).unwrap_err().to_string().contains("token_embd.weight is missing"));
}

#[test]
fn a_chat_template_in_the_file_is_written_beside_its_tokenizer() {
    let folder = tempfile::tempdir().unwrap();
    let (path, out) = (folder.path().join("small.gguf"), folder.path().join("out"));
    let chatty = |tokens: &'static [&'static str]| {
        small(move |file| {
            let file = file.text("tokenizer.ggml.model", "llama").texts("tokenizer.ggml.tokens", tokens);
            let file = file.floats("tokenizer.ggml.scores", &vec![0.0; tokens.len()]);
            file.text("tokenizer.chat_template", "{{ messages[0].content }}!")
        })
    };
    fs::write(&path, chatty(&["a", "b", "ab", "c"]).bytes()).unwrap();
    let report = convert(&path, None, &out).unwrap();
    assert!(report.has_tokenizer && report.note.is_none(), "{report:?}");
    let tokenizer = Tokenizer::from_folder(&out).unwrap();
    assert_eq!(tokenizer.encode("abc").unwrap(), [2, 3]);
    let template = tokenizer.chat_template().unwrap().unwrap();
    assert_eq!(template.render_json(&[serde_json::json!({"role": "user", "content": "hi"})], true).unwrap(), "hi!");
    fs::write(&path, chatty(&["a", "b", "ab", "c", "d"]).bytes()).unwrap();
    let message = convert(&path, None, &out).unwrap_err().to_string();
    assert!(message.contains("its tokenizer has 5 tokens, the model only 4"), "{message}");
}

/// As in llama.cpp, a factor without a type is linear scaling, and "none" switches it off.
#[test]
fn a_factor_of_rope_is_linear_scaling_unless_the_type_is_none() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("small.gguf");
    let scaling = |change: &dyn Fn(Writer) -> Writer| {
        fs::write(&path, small(change).bytes()).unwrap();
        let report = convert(&path, None, &folder.path().join("out")).unwrap();
        let again = ModelFolder::open(&folder.path().join("out")).unwrap();
        assert_eq!(again.config.position, report.config.position);
        assert!(report.remarks.is_empty(), "{:?}", report.remarks);
        let PositionKind::Rope { scaling, .. } = report.config.position else { panic!("no RoPE") };
        scaling
    };
    let (factor, kind) = ("llama.rope.scaling.factor", "llama.rope.scaling.type");
    let linear = |factor| Some(RopeScaling::Linear { factor });
    assert_eq!(scaling(&|file| file.float(factor, 4.0)), linear(4.0));
    assert_eq!(scaling(&|file| file.float(factor, 2.5).text(kind, "linear")), linear(2.5));
    assert_eq!(scaling(&|file| file.float("llama.rope.scale_linear", 2.0)), linear(2.0));
    assert_eq!(scaling(&|file| file.float(factor, 4.0).text(kind, "none")), None);
    assert_eq!(scaling(&|file| file.float(factor, 0.0)), None);
    assert_eq!(scaling(&|file| file.text(kind, "linear")), None);
}

#[test]
fn an_unknown_key_is_named_wherever_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("small.gguf");
    let remarks = |change: &dyn Fn(Writer) -> Writer| {
        fs::write(&path, small(change).bytes()).unwrap();
        convert(&path, None, &folder.path().join("out")).unwrap().remarks
    };
    let usual = remarks(&|file| {
        let file = file.text("general.name", "small").text("general.type", "model").integer("general.file_type", 0);
        let file = file.text("general.base_model.0.name", "x").integer("general.quantization_version", 2).texts("general.tags", &["a"]);
        file.integer("llama.vocab_size", 4).integer("llama.attention.value_length", 4).integer("llama.expert_count", 0)
    });
    assert!(usual.is_empty(), "{usual:?}");
    for key in
        ["llama.a_new_key", "llama.rope.a_new_key", "general.a_new_key", "qwen2.context_length", "a_new_key", "tokenizer.ggml.a_new_key"]
    {
        for remarks in
            [remarks(&|file| file.integer(key, 3)), remarks(&|file| file.floats(key, &[0.5])), remarks(&|file| file.text(key, "x"))]
        {
            assert!(remarks.len() == 1 && remarks[0].contains("small.gguf") && remarks[0].contains(key), "{key}: {remarks:?}");
        }
    }
    let ends = remarks(&|file| file.flag("tokenizer.ggml.add_eos_token", true));
    assert!(ends.len() == 1 && ends[0].contains("tokenizer.ggml.add_eos_token true"), "{ends:?}");
}
