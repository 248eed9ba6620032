//! Models that are damaged or made to do damage: each is one clear message of the real binary, and little memory.

use crate::command::{Workplace, binary, failure, object, text};
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

/// What waits for a pipe that nobody writes into is ended here.
#[cfg(unix)]
fn within_a_minute(workplace: &Workplace, arguments: &str, input: &str) -> std::process::Output {
    let folder = workplace.path("");
    let words = arguments.replace("{}", folder.to_str().unwrap().trim_end_matches('/'));
    let script = format!("{input} exec timeout 60 {} {words}", binary().display());
    std::process::Command::new("sh").args(["-c", &script]).output().unwrap()
}

#[cfg(unix)]
#[test]
fn a_file_that_is_a_pipe_a_device_or_a_folder_is_named_at_once() {
    use std::os::unix::fs::symlink;
    const SCORE: &str = "score --model {}/model --tokens 1,2,3";
    const SFT: &str = "sft --model {}/model --data {}/completions.jsonl --out {}/run --steps 1";
    for (file, arguments) in [
        ("model/config.json", SCORE),
        ("model/tokenizer.json", SCORE),
        ("model/tokenizer_config.json", SCORE),
        ("model/chat_template.jinja", SCORE),
        ("model/model.safetensors", SCORE),
        ("model/generation_config.json", "generate --model {}/model --prompt a"),
        ("data.jsonl", "data {}/data.jsonl --model {}/model"),
        ("data.jsonl", "eval --model {}/model --data {}/data.jsonl"),
        ("data.txt", "train --data {}/data.txt --out {}/run --steps 1"),
        ("settings.toml", "train --data {}/text.txt --out {}/run --steps 1 --config {}/settings.toml"),
        ("tokenizer.json", "train --data {}/text.txt --out {}/run --steps 1 --tokenizer {}/tokenizer.json"),
        ("template.jinja", "chat --model {}/model --chat-template {}/template.jinja"),
        ("source.gguf", "convert {}/source.gguf --out {}/converted"),
        ("tokenizer.bin", "convert {}/model --tokenizer {}/tokenizer.bin --out {}/converted"),
        ("adapter/adapter_config.json", "score --model {}/model --adapter {}/adapter --tokens 1,2,3"),
        ("cache.json", "align --model {}/model --data {}/preferences.jsonl --out {}/run --steps 1 --reference-cache {}/cache.json"),
        ("model/special_tokens_map.json", SFT),
    ] {
        let workplace = Workplace::new();
        let path = workplace.path(file);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        if file.starts_with("adapter/") {
            workplace.write("adapter/adapter_model.safetensors", "");
        }
        for kind in ["pipe", "endless", "folder"] {
            let _ = std::fs::remove_file(&path);
            // A run that ends at its cache has begun: its folder is there.
            let _ = std::fs::remove_dir_all(workplace.path("run"));
            match kind {
                "pipe" => assert!(std::process::Command::new("mkfifo").arg(&path).status().unwrap().success()),
                "endless" => symlink("/dev/zero", &path).unwrap(),
                // A folder in a tokenizer's place is one that holds a tokenizer.
                _ if arguments.contains("--tokenizer") || file.starts_with("source") => continue,
                _ => std::fs::create_dir(&path).unwrap(),
            }
            let output = within_a_minute(&workplace, arguments, "");
            let said = String::from_utf8(output.stderr).unwrap();
            let line = said.lines().last().unwrap_or_default();
            assert_eq!(output.status.code(), Some(1), "{kind} as {file}: {said}");
            assert!(
                line.starts_with("error: ") && line.contains(file) && (line.contains(": is a") || line.contains(": it is a folder")),
                "{kind} as {file}: {line}"
            );
        }
    }
}

#[cfg(target_os = "linux")]
#[test]
fn data_may_come_through_a_pipe_that_this_program_was_handed() {
    let workplace = Workplace::new();
    let from = |name: &str| format!("cat {} |", workplace.path(name).display());
    let rows = |output: &std::process::Output| {
        let mut seen = object(output);
        seen.as_object_mut().unwrap().remove("path");
        seen
    };
    let piped = within_a_minute(&workplace, "data /dev/stdin --model {}/model --json", &from("preferences.jsonl"));
    assert_eq!(rows(&piped), rows(&workplace.run("data {}/preferences.jsonl --model {}/model --json")));
    let piped = within_a_minute(&workplace, "eval --model {}/model --data /dev/stdin --json", &from("text.txt"));
    assert_eq!(text(&piped), text(&workplace.run("eval --model {}/model --data {}/text.txt --json")), "it is read twice");
    let output = within_a_minute(&workplace, "eval --model {}/model --data /dev/stdin < /dev/zero", "");
    assert!(failure(&output, 1).contains("/dev/stdin: is a device; data is a regular file, or comes through standard input"));
}

#[test]
fn a_file_that_is_larger_than_its_format_can_be_is_not_read() {
    for (file, limit) in [("config.json", "16 MiB"), ("chat_template.jinja", "16 MiB"), ("tokenizer.json", "1.0 GiB")] {
        let line = refused(|model| std::fs::File::create(model.join(file)).unwrap().set_len(1 << 40).unwrap());
        assert!(line.contains(&format!("{file}: has 1024.0 GiB, and ")) && line.contains(&format!("may have {limit} at most")), "{line}");
    }
}

/// A title for the terminal's window, a cleared screen, the other direction of writing, and what is not seen.
const STEERING: &str = "\u{1b}]0;pwned\u{7}\u{1b}[2J\u{9b}31m\u{202e}\u{200b}\u{7f}";

#[track_caller]
fn steers_nothing(source: &str, output: &std::process::Output) {
    let both = [output.stdout.as_slice(), &output.stderr].concat();
    let text = String::from_utf8(both).unwrap();
    assert!(["\\u{1b}", "\\u001b", "\\u{202e}"].iter().any(|shown| text.contains(shown)), "{source}: the text is shown: {text:?}");
    let obeyed = |c: char| (c.is_control() && c != '\n') || STEERING.contains(c) && !c.is_ascii();
    assert!(!text.contains(obeyed), "{source}: {text:?}");
}

#[test]
fn what_a_stranger_says_is_shown_and_not_obeyed() {
    let json = serde_json::to_string(STEERING).unwrap();
    let score = "score --model {}/model --tokens 1,2,3";
    let row = |prompt: &str| format!("{{\"prompt\": {prompt}, \"completion\": \"b\"}}\n");
    for (source, file, contents, arguments) in [
        ("a tensor's name", "model/model.safetensors", STEERING.to_owned(), score),
        ("a key", "model/config.json", format!("{{\"model_type\": {json}}}"), score),
        ("a shard's name", "model/model.safetensors.index.json", format!("{{\"weight_map\": {{\"a\": {json}}}}}"), score),
        (
            "a tokenizer",
            "model/tokenizer.json",
            format!(r#"{{"version": "1.0", "model": {{"type": "BPE", "vocab": {{"b": 0}}, "merges": [[{json}, "b"]]}}}}"#),
            score,
        ),
        ("a template", "model/chat_template.jinja", format!("{{{{ raise_exception({json}) }}}}"), "data {}/chats.jsonl --model {}/model"),
        (
            "an adapter",
            "adapter/adapter_config.json",
            format!("{{\"peft_type\": {json}}}"),
            "score --model {}/model --adapter {}/adapter --tokens 1",
        ),
        (
            "settings",
            "settings.toml",
            format!("{json} = 1\n").replace("\u{9b}", "").replace("\u{7f}", ""),
            "train --data {}/text.txt --out {}/run --config {}/settings.toml",
        ),
        (
            "a role",
            "rows.jsonl",
            format!("{{\"messages\": [{{\"role\": {json}, \"content\": \"a\"}}, {{\"role\": \"assistant\", \"content\": \"b\"}}]}}\n"),
            "data {}/rows.jsonl --model {}/model",
        ),
        ("a row", "rows.jsonl", row(&json).repeat(4), "data {}/rows.jsonl --model {}/model"),
        (
            "a generation setting",
            "model/generation_config.json",
            format!("{{\"eos_token_id\": {json}}}"),
            "generate --model {}/model --prompt a",
        ),
        ("a path", "notes", String::new(), "score --model {}/\u{1b}[2J\u{202e} --tokens 1"),
        ("a flag", "notes", String::new(), "score --model {}/model --tokens 1 --\u{202e}x"),
        ("a name to explain", "notes", String::new(), "explain \u{1b}[2J\u{202e}"),
    ] {
        let workplace = Workplace::new();
        workplace.write(
            "chats.jsonl",
            "{\"messages\": [{\"role\": \"user\", \"content\": \"a\"}, {\"role\": \"assistant\", \"content\": \"b\"}]}\n",
        );
        std::fs::create_dir_all(workplace.path("adapter")).unwrap();
        workplace.write("adapter/adapter_model.safetensors", "");
        if source == "a tensor's name" {
            let path = workplace.path(file);
            let mut tensors = safetensors_file::read(&path).unwrap();
            tensors.insert(contents, NamedTensor::new(vec![1], vec![0.0]));
            safetensors_file::write(&path, &tensors).unwrap();
        } else {
            workplace.write(file, &contents);
        }
        if source == "a shard's name" {
            std::fs::remove_file(workplace.path("model/model.safetensors")).unwrap();
        }
        steers_nothing(source, &workplace.run(arguments));
    }
}

/// A model of bytes that knows one word only: escape.
fn escaping(workplace: &Workplace) {
    rewritten(&workplace.path("model"), |tensors| {
        for (name, tensor) in tensors.iter_mut() {
            if !name.contains("norm") {
                tensor.data.fill(0.0);
            }
        }
        // Every position sees the same: the embedding of escape is the longest in that direction.
        let embedding = tensors.get_mut("model.embed_tokens.weight").unwrap();
        let width = embedding.shape[1];
        embedding.data.chunks_mut(width).for_each(|row| row[0] = 1.0);
        embedding.data[0x1b * width] = 2.0;
    });
}

#[cfg(target_os = "linux")]
#[test]
fn what_a_model_writes_is_shown_on_a_terminal_and_raw_elsewhere() {
    let workplace = Workplace::new();
    escaping(&workplace);
    let generate = "generate --model {}/model --prompt a --temperature 0 --max-tokens 3";
    assert_eq!(text(&workplace.run(generate)), "\u{1b}\u{1b}\u{1b}\n", "a file gets the bytes");
    let on_a_terminal = |more: &str| {
        let words =
            format!("{} {generate}{more}", binary().display()).replace("{}", workplace.path("").to_str().unwrap().trim_end_matches('/'));
        std::process::Command::new("script").args(["-qec", &words, "/dev/null"]).output()
    };
    let Ok(shown) = on_a_terminal("") else { return println!("skipped: no script(1) on this machine") };
    assert_eq!(String::from_utf8(shown.stdout).unwrap(), "\\u{1b}\\u{1b}\\u{1b}\r\n");
    assert_eq!(String::from_utf8(on_a_terminal(" --raw").unwrap().stdout).unwrap(), "\u{1b}\u{1b}\u{1b}\r\n");
}
