//! `config.json` files of real models and of transformers itself, and what is refused.

use super::*;
use crate::config::{Llama3Scaling, MlpKind, NormKind, PositionKind, RopeScaling};
use crate::keys::object;
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
        ("rope_scaling", json!({"type": "yarn"}), "rope_scaling.rope_type \"yarn\" is not supported"),
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

/// Every family as transformers 4.57 and 5.24 save it, whole and without defaults (`AutoConfig.for_model(…).to_json_string`). Keys of
/// public files are added.
const FAMILIES_SAVED: &str = include_str!("families.jsonl");

fn remarks_with(path: &[&str], value: Value) -> Result<Vec<String>> {
    let mut config = llama();
    config["rope_scaling"] = json!({"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
        "original_max_position_embeddings": 64});
    let place = path.iter().fold(&mut config, |place, key| &mut place[*key]);
    *place = value;
    Config::from_json_with_remarks(&config).map(|(_, remarks)| remarks)
}

#[test]
fn configurations_as_transformers_saves_them_have_no_remark() {
    let mut read = std::collections::BTreeSet::new();
    for line in FAMILIES_SAVED.lines() {
        let value: Value = serde_json::from_str(line).unwrap();
        let (config, remarks) = Config::from_json_with_remarks(&value).unwrap_or_else(|error| panic!("{error}: {line}"));
        assert!(remarks.is_empty(), "{remarks:?}: {line}");
        assert_eq!(Config::from_json_with_remarks(&config.to_json()).unwrap(), (config, Vec::new()), "{line}");
        read.insert(value["model_type"].as_str().unwrap_or_default().to_owned());
    }
    assert_eq!(read.len(), FAMILIES.len());
    for name in FOLDERS {
        let Some(path) = shared(&format!("data/{name}/config.json")) else { return };
        assert_eq!(Config::read_with_remarks(&path).unwrap().1, Vec::<String>::new(), "{name}");
    }
}

#[test]
fn an_unknown_key_is_named_wherever_it_is() {
    for path in [&["a_new_key"][..], &["rope_scaling", "a_new_key"], &["rope_parameters", "a_new_key"]] {
        let mut config = llama();
        config["rope_scaling"] = json!({"rope_type": "linear", "factor": 2.0});
        config["rope_parameters"] = config["rope_scaling"].clone();
        let place = path.iter().fold(&mut config, |place, key| &mut place[*key]);
        *place = json!(3);
        let (_, remarks) = Config::from_json_with_remarks(&config).unwrap();
        assert!(remarks.len() == 1 && remarks[0].contains(&path.join(".")), "{remarks:?}");
    }
    for line in FAMILIES_SAVED.lines() {
        let mut value: Value = serde_json::from_str(line).unwrap();
        value["a_new_key"] = json!(true);
        assert!(Config::from_json_with_remarks(&value).unwrap().1[0].contains("a_new_key"), "{line}");
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(FILE);
    let mut config = llama();
    config["a_new_key"] = json!(1);
    std::fs::write(&path, config.to_string()).unwrap();
    let remark = Config::read_with_remarks(&path).unwrap().1.concat();
    assert!(remark.contains(FILE) && remark.contains("a_new_key"), "{remark}");
}

#[test]
fn what_would_change_the_computation_is_refused_unless_it_is_neutral() {
    for (key, neutral, refused) in [
        ("attention_multiplier", json!(null), json!(0.0078125)),
        ("logit_scale", json!(1.0), json!(0.0625)),
        ("final_logit_softcapping", json!(null), json!(30.0)),
        ("attn_logit_softcapping", json!(null), json!(50.0)),
        ("query_pre_attn_scalar", json!(null), json!(256)),
        ("embedding_multiplier", json!(1), json!(12.0)),
        ("residual_multiplier", json!(1.0), json!(0.22)),
        ("clip_qkv", json!(null), json!(8.0)),
        ("use_qk_norm", json!(false), json!(true)),
        ("qk_layernorm", json!(false), json!(true)),
        ("no_rope_layers", json!([]), json!([1, 1, 0])),
        ("layer_types", json!(["full_attention", "full_attention"]), json!(["full_attention", "linear_attention"])),
        ("tie_encoder_decoder", json!(false), json!(true)),
        ("is_encoder_decoder", json!(false), json!(true)),
        ("attention_chunk_size", json!(null), json!(8192)),
        ("num_local_experts", json!(0), json!(8)),
        ("partial_rotary_factor", json!(1.0), json!(0.5)),
        ("pretraining_tp", json!(2), json!(null)),
        ("rope_scaling", json!({"rope_type": "linear", "factor": 4.0}), json!({"rope_type": "longrope"})),
        ("rope_scaling", json!({"type": "default"}), json!({"factor": 4.0})),
        ("rope_scaling", json!({"rope_type": "default", "mscale": 1}), json!({"rope_type": "linear", "factor": 2.0, "mscale": 0.7})),
        ("rope_scaling", json!({"rope_type": "linear", "type": "linear", "factor": 2.0}), json!({"rope_type": "dynamic", "factor": 2.0})),
        ("rope_scaling", json!({"rope_theta": 10000.0}), json!({"partial_rotary_factor": 0.5})),
    ] {
        assert_eq!(remarks_with(&[key], neutral.clone()).unwrap(), Vec::<String>::new(), "{key} {neutral}");
        if !refused.is_null() {
            let message = remarks_with(&[key], refused.clone()).unwrap_err().to_string();
            assert!(message.contains(key) && message.contains("not supported"), "{refused}: {message}");
        }
    }
}

#[test]
fn places_that_say_different_things_are_refused_with_both() {
    for (key, value, one, other) in [
        ("rope_parameters", json!({"rope_type": "default", "rope_theta": 5e5}), "rope_parameters.rope_theta", "rope_theta"),
        ("rope_scaling", json!({"rope_type": "linear", "type": "llama3", "factor": 2.0}), "rope_scaling.rope_type", "rope_scaling.type"),
    ] {
        let message = remarks_with(&[key], value).unwrap_err().to_string();
        assert!(message.contains(one) && message.contains(other) && message.contains("different"), "{message}");
    }
    let mut both = llama();
    both["rope_scaling"] = json!({"rope_type": "linear", "factor": 2.0});
    both["rope_parameters"] = json!({"rope_type": "linear", "factor": 4.0, "rope_theta": 10000.0});
    assert!(Config::from_json(&both).unwrap_err().to_string().contains("rope_parameters.rope_type and rope_scaling.rope_type"));
    let same = json!({"rope_type": "linear", "factor": 2.0, "rope_theta": 10000.0});
    both["rope_scaling"] = Value::Null;
    both["rope_parameters"] = json!({"full_attention": same, "sliding_attention": same});
    let nested = Config::from_json_with_remarks(&both).unwrap();
    assert!(nested.1.is_empty() && nested.0.position == rope(Some(RopeScaling::Linear { factor: 2.0 })), "{nested:?}");
    both["rope_parameters"]["sliding_attention"]["rope_theta"] = json!(1e6);
    assert!(Config::from_json(&both).unwrap_err().to_string().contains("sliding_attention.rope_theta"));
}

fn rope(scaling: Option<RopeScaling>) -> PositionKind {
    let Config { head_dim, .. } = Config::from_json(&llama()).unwrap();
    PositionKind::Rope { theta: 1e4, rotary_dim: head_dim, scaling }
}

#[test]
fn a_linear_factor_divides_every_frequency() {
    let position = with("rope_scaling", json!({"type": "linear", "factor": 2.5})).unwrap().position;
    assert_eq!(position, rope(Some(RopeScaling::Linear { factor: 2.5 })));
    assert_eq!(RopeScaling::Linear { factor: 2.5 }.scale(0.5), 0.2);
    assert!(with("rope_scaling", json!({"type": "linear", "factor": 0})).unwrap_err().to_string().contains("rope factor must be above 0"));
    assert!(with("rope_scaling", json!({"type": "linear"})).unwrap_err().to_string().contains("rope_scaling.factor is missing"));
}

#[test]
fn a_file_that_names_other_code_or_another_class_is_remarked_on() {
    let remarks = |key: &str, value: Value| {
        let mut config = llama();
        config[key] = value;
        Config::from_json_with_remarks(&config).unwrap().1
    };
    assert!(
        remarks("architectures", json!(["MistralForCausalLM"]))[0].contains("architectures names MistralForCausalLM, model_type llama")
    );
    assert!(remarks("architectures", json!(["LlamaModel"])).is_empty() && remarks("architectures", json!(["LLaMAForCausalLM"])).is_empty());
    assert!(remarks("auto_map", json!({"AutoModelForCausalLM": "modeling_mine.Mine"}))[0].contains("modeling_mine.Mine"));
    let meta = json!({"dim": 64, "n_layers": 5, "n_heads": 8});
    assert!(Config::from_json(&meta).unwrap_err().to_string().contains("slpo convert"));
}
