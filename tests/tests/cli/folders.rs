//! A model's folder on the real binary: what is carried to a new folder, shards in half precision, both spellings of a configuration.

use crate::command::{self, Workplace, failure, object, text};
use engine::Device;
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
    let decoder = Decoder::random(&Device::default(), &config, 5).unwrap();
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
    assert!(line.contains("chats.jsonl:1: a message by \"tool\": a model without a chat template has no place for that"), "{line}");
    workplace.write("model/chat_template.jinja", TEMPLATE);
    assert!(text(&workplace.run(data)).contains("<tool>4"));
    let refusing = "{% for m in messages %}{% if m.role == 'tool' %}{{ raise_exception('no tools here') }}{% endif %}{% endfor %}";
    workplace.write("model/chat_template.jinja", refusing);
    assert!(failure(&workplace.run(data), 1).contains("chats.jsonl:1: the chat template refuses the conversation: no tools here"));
    workplace.write("chats.jsonl", &row(""));
    assert!(failure(&workplace.run(data), 1).contains("chats.jsonl:1: \"prompt\" has a message by nobody"));
}

/// Every name in a folder, hidden ones too.
fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// A workplace with an adapter on its model.
fn adapted() -> Workplace {
    let workplace = Workplace::new();
    object(&workplace.run("sft --model {}/model --data {}/completions.jsonl --out {}/adapter --steps 1 --lora-rank 1 --json"));
    workplace
}

#[test]
fn convert_and_merge_leave_what_is_there_unless_they_are_told_to_replace_it() {
    let workplace = adapted();
    object(&workplace.run("sft --model {}/model --data {}/completions.jsonl --out {}/run --steps 1 --json"));
    std::fs::create_dir(workplace.path("sharded")).unwrap();
    workplace.write("sharded/model.safetensors.index.json", "{}");
    for (out, what, file) in [
        ("model", "a model", "model.safetensors"),
        ("run", "a model", "model.safetensors"),
        ("adapter", "an adapter", "adapter_config.json"),
        ("sharded", "files of a model", "model.safetensors.index.json"),
    ] {
        let before = names(&workplace.path(out));
        let expected = format!("/{out} already holds {what} ({file} is there): choose another --out, or give --force to replace it");
        for command in ["convert {}/model", "merge --model {}/run --adapter {}/adapter"] {
            if (command.starts_with("merge"), out) == (true, "adapter") {
                let line = failure(&workplace.run(&format!("{command} --out {{}}/{out} --force")), 2);
                assert!(line.contains("--out is the adapter's own folder"), "{line}");
                continue;
            }
            let line = failure(&workplace.run(&format!("{command} --out {{}}/{out}")), 1);
            assert!(line.trim_end().ends_with(&expected), "{line}");
        }
        assert_eq!(names(&workplace.path(out)), before, "{out}");
    }
    let line = failure(&workplace.run("convert {}/model --out {}/text.txt"), 1);
    assert!(line.contains("text.txt: is a file, and a model needs a folder"), "{line}");
}

#[test]
fn force_replaces_the_model_and_keeps_the_rest() {
    let workplace = adapted();
    let score = |folder: &str| object(&workplace.run(&format!("{SCORE}/{folder}")));
    object(&workplace.run("sft --model {}/model --data {}/completions.jsonl --out {}/run --steps 2 --json"));
    assert_ne!(score("run"), score("model"));
    workplace.write("run/notes.txt", "mine");
    workplace.write("run/chat_template.jinja", TEMPLATE);
    let output = workplace.run("convert {}/model --out {}/run --force --json");
    object(&output);
    assert!(String::from_utf8(output.stderr).unwrap().contains("warning: the records of a run in "), "they are of another model");
    assert_eq!(score("run"), score("model"));
    assert!(!workplace.path("run/chat_template.jinja").exists(), "it was the old model's");
    for kept in ["notes.txt", "metrics.jsonl", "config.toml", "report.html", "checkpoints/step-2/weights.safetensors"] {
        assert!(workplace.path("run").join(kept).is_file(), "{kept}");
    }
    object(&workplace.run("merge --model {}/model --adapter {}/adapter --out {}/merged --json"));
    object(&workplace.run("merge --model {}/model --adapter {}/adapter --out {}/model --force --json"));
    assert_eq!(score("model"), score("merged"), "the base itself may be replaced where that is asked for");
    let parent = names(&workplace.path(""));
    assert!(parent.iter().all(|name| !name.starts_with('.')), "{parent:?}");
}

#[test]
fn a_folder_with_other_things_takes_a_model_beside_them() {
    let workplace = Workplace::new();
    std::fs::create_dir(workplace.path("volume")).unwrap();
    workplace.write("volume/notes.txt", "mine");
    object(&workplace.run("convert {}/model --out {}/volume --json"));
    assert_eq!(std::fs::read_to_string(workplace.path("volume/notes.txt")).unwrap(), "mine");
    object(&workplace.run(&format!("{SCORE}/volume")));
    assert!(names(&workplace.path("volume")).iter().all(|name| !name.starts_with('.')));
}

#[test]
fn a_folder_in_its_own_source_and_a_source_in_its_own_folder() {
    let workplace = Workplace::new();
    object(&workplace.run("convert {}/model --out {}/model/inner --json"));
    object(&workplace.run(&format!("{SCORE}/model/inner")));
    std::fs::create_dir(workplace.path("outer")).unwrap();
    std::fs::rename(workplace.path("model"), workplace.path("outer/model")).unwrap();
    object(&workplace.run("convert {}/outer/model --out {}/outer --json"));
    object(&workplace.run("convert {}/outer/model --out {}/outer --force --json"));
    object(&workplace.run("convert {}/outer --out {}/outer --force --json"));
    for folder in ["outer", "outer/model", "outer/model/inner"] {
        object(&workplace.run(&format!("{SCORE}/{folder}")));
    }
    let output = std::process::Command::new(command::binary())
        .args(["convert", "model", "--out", ".", "--force"])
        .current_dir(workplace.path("outer"))
        .output()
        .unwrap();
    assert!(failure(&output, 1).contains("cannot be replaced from within"));
}

#[test]
fn a_conversion_that_fails_leaves_nothing_behind() {
    let workplace = Workplace::new();
    let weights = std::fs::read(workplace.path("model/model.safetensors")).unwrap();
    object(&workplace.run("convert {}/model --out {}/good --json"));
    std::fs::write(workplace.path("model/model.safetensors"), &weights[..weights.len() / 2]).unwrap();
    for arguments in ["--out {}/new", "--out {}/good --force"] {
        let line = failure(&workplace.run(&format!("convert {{}}/model {arguments}")), 1);
        assert!(line.contains("model/model.safetensors: "), "{line}");
    }
    object(&workplace.run(&format!("{SCORE}/good")));
    std::fs::write(workplace.path("model/model.safetensors"), weights).unwrap();
    workplace.write("model/generation_config.json", "{\"top_p\": ");
    let line = failure(&workplace.run("convert {}/model --out {}/new"), 1);
    assert!(line.contains("model/generation_config.json:1: not valid JSON"), "{line}");
    let left = names(&workplace.path(""));
    assert!(!left.iter().any(|name| name == "new" || name.starts_with('.')), "{left:?}");
}
