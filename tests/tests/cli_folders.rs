//! A model's folder on the real binary: what is carried to a new folder, shards in half precision, both spellings of a configuration.

mod command;

use command::{Workplace, failure, object, text};
use engine::Cpu;
use model::config::Config;
use model::decoder::Decoder;
use model::model_folder::ModelFolder;
use model::safetensors_file;
use serde_json::{Map, Value, json};
use std::path::Path;

const TEMPLATE: &str =
    "{% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}{% if add_generation_prompt %}<assistant>{% endif %}";
const GENERATION: &str = "{\"eos_token_id\": [257, 3], \"do_sample\": true, \"temperature\": 0.6, \"top_k\": 20, \"kept\": \"as it is\"}\n";
const NAMES: &str = "{\"eos_token\": \"</s>\"}\n";

/// A workplace whose model has every file that a folder can have.
fn furnished() -> Workplace {
    let workplace = Workplace::new();
    workplace.write("model/chat_template.jinja", TEMPLATE);
    workplace.write("model/generation_config.json", GENERATION);
    workplace.write("model/special_tokens_map.json", NAMES);
    workplace
}

#[track_caller]
fn has(workplace: &Workplace, folder: &str, files: &[(&str, &str)]) {
    for (name, contents) in files {
        let path = workplace.path(folder).join(name);
        assert_eq!(std::fs::read_to_string(&path).unwrap_or_default(), *contents, "{}", path.display());
    }
    let same = |name: &str| std::fs::read(workplace.path(folder).join(name)).ok() == std::fs::read(workplace.path("model").join(name)).ok();
    assert!(same("tokenizer.json") && same("tokenizer_config.json"), "{folder}");
}

const OF_TOKENIZER: [(&str, &str); 2] = [("chat_template.jinja", TEMPLATE), ("special_tokens_map.json", NAMES)];
const OF_MODEL: [(&str, &str); 1] = [("generation_config.json", GENERATION)];

#[test]
fn every_command_that_writes_a_model_carries_what_its_source_has_beside_the_weights() {
    let workplace = furnished();
    object(&workplace.run("convert {}/model --out {}/converted --json"));
    object(&workplace.run("sft --model {}/model --data {}/completions.jsonl --out {}/tuned --steps 1 --json"));
    object(&workplace.run("align --model {}/model --data {}/preferences.jsonl --loss dpo --out {}/aligned --steps 1 --json"));
    object(&workplace.run("sft --model {}/model --data {}/completions.jsonl --out {}/adapter --steps 1 --lora-rank 1 --json"));
    object(&workplace.run("merge --model {}/model --adapter {}/adapter --out {}/merged --json"));
    for folder in ["converted", "tuned", "aligned", "merged"] {
        has(&workplace, folder, &OF_TOKENIZER);
        has(&workplace, folder, &OF_MODEL);
    }
    has(&workplace, "adapter", &OF_TOKENIZER);
    assert!(!workplace.path("adapter/generation_config.json").exists(), "that belongs to the base");
}

#[test]
fn what_a_source_does_not_have_is_not_made_up() {
    let workplace = Workplace::new();
    object(&workplace.run("convert {}/model --out {}/converted --json"));
    for name in ["generation_config.json", "special_tokens_map.json", "chat_template.jinja"] {
        assert!(!workplace.path("converted").join(name).exists(), "{name}");
    }
}

/// A tensor's elements as `kind`, which they are rounded to by cutting.
fn halves(kind: &str, data: &[f32]) -> Vec<u8> {
    let bf16 = |value: &f32| ((value.to_bits() >> 16) as u16).to_le_bytes();
    // Small normal numbers only: sign, exponent rebased from 127 to 15, the first ten bits of the fraction.
    let f16 = |value: &f32| {
        let (bits, exponent) = (value.to_bits(), (value.to_bits() >> 23 & 0xff) as i32 - 112);
        let magnitude = if exponent <= 0 { 0 } else { (exponent as u32) << 10 | bits >> 13 & 0x3ff };
        ((bits >> 16 & 0x8000 | magnitude) as u16).to_le_bytes()
    };
    data.iter().flat_map(|value| if kind == "F16" { f16(value) } else { bf16(value) }).collect()
}

/// Writes the model's tensors again as two shards of type `kind`, with an index.
fn shard(folder: &Path, kind: &str) {
    let tensors = safetensors_file::read_folder(folder).unwrap();
    let mut index = Map::new();
    let names: Vec<&String> = tensors.keys().collect();
    for (number, part) in names.chunks(names.len().div_ceil(2)).enumerate() {
        let file = format!("model-{:05}-of-00002.safetensors", number + 1);
        let (mut header, mut data) = (Map::new(), Vec::new());
        for &name in part {
            let bytes = halves(kind, &tensors[name].data);
            let offsets = [data.len(), data.len() + bytes.len()];
            header.insert(name.clone(), json!({"dtype": kind, "shape": tensors[name].shape, "data_offsets": offsets}));
            data.extend(bytes);
            index.insert(name.clone(), json!(file));
        }
        let header = Value::Object(header).to_string();
        let bytes = [&(header.len() as u64).to_le_bytes(), header.as_bytes(), &data].concat();
        std::fs::write(folder.join(file), bytes).unwrap();
    }
    std::fs::write(folder.join("model.safetensors.index.json"), json!({"metadata": {}, "weight_map": index}).to_string()).unwrap();
    std::fs::remove_file(folder.join("model.safetensors")).unwrap();
}

const SCORE: &str = "score --tokens 1,2,3,4,5 --json --model {}";

#[test]
fn shards_of_f16_and_bf16_are_the_model_with_each_weight_rounded() {
    for kind in ["F16", "BF16"] {
        let workplace = Workplace::new();
        let original = object(&workplace.run(&format!("{SCORE}/model")));
        shard(&workplace.path("model"), kind);
        let sharded = object(&workplace.run(&format!("{SCORE}/model")));
        let apart = original["logits"].as_array().unwrap().iter().zip(sharded["logits"].as_array().unwrap());
        let apart = apart.map(|(a, b)| (a.as_f64().unwrap() - b.as_f64().unwrap()).abs()).fold(0.0, f64::max);
        assert!(apart > 0.0 && apart < 0.1, "{kind}: {apart}");
        object(&workplace.run("convert {}/model --out {}/whole --json"));
        assert_eq!(object(&workplace.run(&format!("{SCORE}/whole"))), sharded, "{kind}: one file of F32 holds the same numbers");
        std::fs::remove_file(workplace.path("model/model-00002-of-00002.safetensors")).unwrap();
        let line = failure(&workplace.run(&format!("{SCORE}/model")), 1);
        assert!(line.contains("model-00002-of-00002.safetensors: there is no such file"), "{line}");
    }
}

#[test]
fn both_spellings_of_a_configuration_are_the_same_model() {
    let workplace = Workplace::new();
    let path = workplace.path("model/config.json");
    let mut keys: Map<String, Value> = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    for key in ["rope_theta", "rope_scaling", "rope_parameters", "torch_dtype", "dtype"] {
        keys.remove(key);
    }
    let score = |more: Value| {
        let keys: Map<String, Value> = keys.clone().into_iter().chain(more.as_object().unwrap().clone()).collect();
        std::fs::write(&path, Value::Object(keys).to_string()).unwrap();
        object(&workplace.run(&format!("{SCORE}/model")))
    };
    let version_4 = score(json!({"rope_theta": 500.0, "rope_scaling": null, "torch_dtype": "bfloat16"}));
    let version_5 = score(json!({"rope_parameters": {"rope_type": "default", "rope_theta": 500.0}, "dtype": "bfloat16"}));
    assert_eq!(version_4, version_5);
    assert_ne!(version_4, score(json!({"rope_theta": 10000.0})), "it matters");
}

#[test]
fn heads_may_be_wider_than_their_share_of_the_width() {
    let workplace = Workplace::new();
    let mut model = ModelFolder::open(&workplace.path("model")).unwrap();
    model.config = Config { head_dim: 2 * model.config.head_dim, ..model.config.clone() };
    // RoPE turns all of a head: let the file say what follows.
    let mut keys = model.config.to_json();
    keys.as_object_mut().unwrap().remove("partial_rotary_factor");
    if let Some(rope) = keys.get_mut("rope_parameters").and_then(Value::as_object_mut) {
        rope.remove("partial_rotary_factor");
    }
    let config = Config::from_json(&keys).unwrap();
    assert_ne!(config.head_dim * config.heads, config.hidden_size);
    let decoder = Decoder::random(&Cpu::<f32>::new(), &config, 5).unwrap();
    ModelFolder::save(&workplace.path("wide"), &config, &decoder.to_tensors(), &model.tokenizer).unwrap();
    assert_eq!(ModelFolder::open(&workplace.path("wide")).unwrap().config, config);
    object(&workplace.run("convert {}/wide --out {}/again --json"));
    assert_eq!(object(&workplace.run(&format!("{SCORE}/again"))), object(&workplace.run(&format!("{SCORE}/wide"))));
    object(&workplace.run("sft --model {}/wide --data {}/completions.jsonl --out {}/tuned --steps 1 --json"));
    assert_eq!(ModelFolder::open(&workplace.path("tuned")).unwrap().config, config);
}

#[test]
fn a_message_by_a_tool_reaches_the_template_and_is_a_row_error_without_one() {
    let workplace = Workplace::new();
    let row = |role: &str| {
        format!(
            "{{\"prompt\": [{{\"role\": \"user\", \"content\": \"2+2\"}}, {{\"role\": {role:?}, \"content\": \"4\"}}], \
             \"chosen\": [{{\"role\": \"assistant\", \"content\": \"four\"}}], \"rejected\": [{{\"role\": \"assistant\", \"content\": \"five\"}}]}}\n"
        )
    };
    workplace.write("chats.jsonl", &row("tool"));
    let data = "data {}/chats.jsonl --model {}/model";
    let line = failure(&workplace.run(data), 1);
    assert!(line.contains("chats.jsonl:1: a message by \"tool\": for a model without a chat template"), "{line}");
    workplace.write("model/chat_template.jinja", TEMPLATE);
    assert!(text(&workplace.run(data)).contains("<tool>4"));
    let refusing = "{% for m in messages %}{% if m.role == 'tool' %}{{ raise_exception('no tools here') }}{% endif %}{% endfor %}";
    workplace.write("model/chat_template.jinja", refusing);
    assert!(failure(&workplace.run(data), 1).contains("chats.jsonl:1: the chat template refuses the conversation: no tools here"));
    workplace.write("chats.jsonl", &row(""));
    assert!(failure(&workplace.run(data), 1).contains("chats.jsonl:1: \"prompt\" has a message by nobody"));
}
