//! Every form of dataset: the real files whole, Parquet as another program wrote it, and hostile bytes.

mod shared;

use model::Error;
use model::data::{ChatTemplate, CompletionSet, TextData, Turns, completions, parquet, preferences, prompts, rows_of_bytes};
use model::tokenizer::Tokenizer;
use proptest::prelude::*;
use shared::shared;
use slpo_tests::everyday;
use std::path::{Path, PathBuf};

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
}

fn in_file<T>(contents: &[u8], read: impl FnOnce(&Path) -> T) -> T {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("rows.jsonl");
    std::fs::write(&path, contents).unwrap();
    read(&path)
}

fn pair(text: &str) -> [String; 3] {
    let (rows, _) = in_file(text.as_bytes(), |path| preferences::read(path, &ChatTemplate::default())).unwrap();
    [rows[0].prompt.clone(), rows[0].chosen.clone(), rows[0].rejected.clone()]
}

#[test]
fn every_preference_file_of_the_shared_data_loads_whole() {
    let files = [
        ("polite-preferences/train.jsonl", 813),
        ("polite-preferences/dev.jsonl", 114),
        ("blimp-pairs/train.jsonl", 5000),
        ("blimp-pairs/dev.jsonl", 1000),
        ("pandalm-human/preferences.jsonl", 888),
        ("dpo-en-demo/dpo_en_demo.json", 300),
        ("hh-rlhf-harmless/train.jsonl", 1749),
        ("hh-rlhf-harmless/dev.jsonl", 221),
    ];
    for (name, rows) in files {
        let Some(path) = shared(&format!("data/{name}")) else { return };
        let (kept, report) = preferences::read(&path, &ChatTemplate::default()).unwrap();
        assert_eq!((report.rows, kept.len() + report.dropped.len()), (rows, rows), "{name}: {report}");
        assert!(kept.len() * 10 > rows * 9, "{name}: {report}");
    }
}

#[test]
fn every_other_text_of_the_shared_data_loads_whole() {
    for (name, rows) in [("sentences.dev", 1022), ("sentences.train", 8560), ("reviews.train", 994)] {
        let Some(path) = shared(&format!("data/movie-sentiment/{name}.jsonl")) else { return };
        let (kept, report) = completions::read(&path, &ChatTemplate::default(), Turns::All).unwrap();
        assert_eq!((report.rows, kept.len()), (rows, rows), "{name}");
    }
    for (name, characters) in [("tinyshakespeare/input.txt", 1_115_394), ("names/names.txt", 228_145)] {
        let Some(path) = shared(&format!("data/{name}")) else { return };
        let data = TextData::load(&path, &Tokenizer::bytes(), 0.0).unwrap();
        assert_eq!(data.train().len(), 1 + characters, "{name}: BOS and every byte");
    }
}

#[test]
fn without_a_prompt_two_texts_share_it() {
    let implicit = |chosen: &str, rejected: &str| pair(&serde_json::json!({"chosen": chosen, "rejected": rejected}).to_string());
    assert_eq!(implicit("The sky is blue.", "The sky is green."), ["The sky is", " blue.", " green."]);
    assert_eq!(implicit("yes", "no"), ["", "yes", "no"]);
    assert_eq!(implicit("à la carte", "á la carte"), ["", "à la carte", "á la carte"], "never inside a character");
    let message = in_file(br#"{"chosen":"same start","rejected":"same start and more"}"#, |path| {
        preferences::read(path, &ChatTemplate::default()).unwrap_err().to_string()
    });
    assert!(message.contains("1 empty completion: line 1"), "one answer is nothing but the prompt: {message}");
}

#[test]
fn prompts_come_from_rows_of_every_form() {
    let rows = concat!(
        "{\"prompt\": \"plain\"}\n",
        "{\"prompt\": [{\"role\": \"user\", \"content\": [{\"type\": \"text\", \"text\": \"hi\"}]}], \"chosen\": 3}\n",
        "{\"instruction\": \"do\", \"input\": \"it\"}\n",
    );
    let read = |rows: &str| in_file(rows.as_bytes(), |path| prompts::read(path, &ChatTemplate::default()));
    let prompts: Vec<String> = read(rows).unwrap().0.into_iter().map(|row| row.prompt).collect();
    assert_eq!(prompts, ["plain", "\n\nHuman: hi\n\nAssistant:", "do\nit\n"]);
    assert!(read("{\"text\": \"a\"}").unwrap_err().to_string().contains("rows.jsonl:1: a row needs \"prompt\" or \"instruction\""));
    assert!(read("\n").unwrap_err().to_string().contains("the file has no rows"));
}

#[test]
fn a_corrupt_line_in_the_middle_is_one_message_with_its_path_and_line() {
    let good = "{\"prompt\":\"p\",\"chosen\":\"a\",\"rejected\":\"b\"}\n";
    for bad in ["{\"prompt\": \"p", "}", "\u{0}", "nonsense", "{\"a\":1}{\"b\":2}"] {
        let text = format!("{}{bad}\n{good}", good.repeat(4));
        let message = in_file(text.as_bytes(), |path| preferences::read(path, &ChatTemplate::default()).unwrap_err().to_string());
        assert!(message.contains("rows.jsonl:5: not valid JSON") && message.lines().count() == 1, "{message}");
    }
    let deep = format!("{good}{{\"prompt\":{}\n", "[".repeat(100_000));
    let message = in_file(deep.as_bytes(), |path| preferences::read(path, &ChatTemplate::default()).unwrap_err().to_string());
    assert!(message.contains("rows.jsonl:2: not valid JSON: recursion limit"), "{message}");
}

#[test]
fn parquet_rows_are_read_as_another_program_wrote_them() {
    let (rows, report) = preferences::read(&fixture("messages.snappy.parquet"), &ChatTemplate::default()).unwrap();
    assert_eq!((rows.len(), report.rows, report.dropped.len()), (1, 2, 1), "{report}");
    assert_eq!([rows[0].prompt.as_str(), &rows[0].chosen, &rows[0].rejected], ["\n\nHuman: hi\n\nAssistant:", " yes", " no"]);
    let (rows, _) = preferences::read(&fixture("texts.gzip.parquet"), &ChatTemplate::default()).unwrap();
    assert_eq!((rows.len(), rows[299].line, rows[299].chosen.as_str()), (300, 300, " 1"), "over three row groups");
}

#[test]
fn a_compression_that_is_not_supported_is_named() {
    let message = preferences::read(&fixture("texts.zstd.parquet"), &ChatTemplate::default()).unwrap_err().to_string();
    assert!(message.contains("texts.zstd.parquet: cannot be read as Parquet") && message.to_lowercase().contains("zstd"), "{message}");
}

#[test]
fn every_type_of_parquet_has_its_json_and_a_missing_value_is_null() {
    let path = fixture("types.snappy.parquet");
    let rows = parquet::read(&path, std::fs::read(&path).unwrap()).unwrap();
    let expected = serde_json::json!({
        "bool": true, "int8": -1, "int16": -2, "int32": -3, "int64": -4, "uint8": 1, "uint16": 2, "uint32": 3, "uint64": u64::MAX,
        "float16": "0.5", "float32": 0.25, "float64": 0.125, "nan": null, "decimal": "1.50",
        "date": 2, "time_ms": 43_200_000, "time_us": 43_200_000_000u64, "timestamp_ms": 1000, "timestamp_us": 1_000_000,
        "string": "é", "large_string": "large", "dictionary": "word", "binary_text": "é", "binary": null,
        "list": [[1], [], [2, 3]], "struct": {"a": "x", "b": null}, "map": {"k": 1},
    });
    assert_eq!(serde_json::Value::Object(rows[0].keys.clone()), expected);
    assert_eq!((rows.len(), rows[1].line, rows[1].keys.len()), (2, 2, rows[0].keys.len()));
    assert!(rows[1].keys.values().all(serde_json::Value::is_null), "{:?}", rows[1].keys);
}

#[test]
fn a_parquet_file_that_stands_for_far_more_than_it_holds_is_refused() {
    let path = fixture("bomb.snappy.parquet");
    let message = parquet::read(&path, std::fs::read(&path).unwrap()).unwrap_err().to_string();
    assert!(message.contains("of the Parquet file stands for far more data than the file or the memory holds"), "{message}");
}

/// What any reader of rows does with `data`: rows or an error, in bounded time and memory, and never a panic.
fn fuzz(data: &[u8]) {
    let path = Path::new("hostile");
    if let Ok(rows) = rows_of_bytes(path, data.to_vec()) {
        let _ = preferences::read_rows(path, rows.clone(), &ChatTemplate::default());
        if let Ok((rows, report)) = completions::read_rows(path, rows, &ChatTemplate::default(), Turns::All) {
            let limits = model::boundary::Limits::new(16);
            let _ = CompletionSet::from_rows(&rows, report, &Tokenizer::bytes(), &limits);
        }
    }
}

/// `original` with some bytes replaced, and perhaps cut off.
fn damaged(original: &[u8], edits: &[(usize, u8)], keep: usize) -> Vec<u8> {
    let mut bytes = original[..keep % (original.len() + 1)].to_vec();
    if keep.is_multiple_of(3) {
        bytes = original.to_vec();
    }
    for &(at, byte) in edits {
        let length = bytes.len().max(1);
        if let Some(place) = bytes.get_mut(at % length) {
            *place = byte;
        }
    }
    bytes
}

/// One JSON value of the kinds that rows hold, with the right keys and any values.
fn row() -> impl Strategy<Value = String> {
    let key = prop::sample::select(vec![
        "prompt",
        "chosen",
        "rejected",
        "completion",
        "messages",
        "conversations",
        "instruction",
        "input",
        "output",
        "text",
        "role",
        "content",
        "from",
        "value",
    ]);
    let leaf = prop_oneof![
        Just("null".to_owned()),
        Just("3".to_owned()),
        Just("\"user\"".to_owned()),
        Just("\"assistant\"".to_owned()),
        "\"[ aé]{0,3}\""
    ];
    leaf.prop_recursive(3, 24, 4, move |inner| {
        let entries = prop::collection::vec((key.clone(), inner.clone()), 0..5);
        let object = entries.prop_map(|entries| {
            let entries: Vec<String> = entries.into_iter().map(|(key, value)| format!("\"{key}\":{value}")).collect();
            format!("{{{}}}", entries.join(","))
        });
        prop_oneof![object, prop::collection::vec(inner, 0..4).prop_map(|items| format!("[{}]", items.join(",")))]
    })
}

proptest! {
    #![proptest_config(everyday(400))]

    #[test]
    fn rows_of_any_shape_are_read_or_refused(rows in prop::collection::vec(row(), 1..4)) {
        fuzz(rows.join("\n").as_bytes());
        fuzz(format!("[{}]", rows.join(",")).as_bytes());
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        fuzz(&bytes);
        fuzz(&[b"PAR1", bytes.as_slice(), b"PAR1"].concat());
    }

    #[test]
    fn damaged_parquet_files_are_read_or_refused(
        name in prop::sample::select(vec!["messages.snappy.parquet", "texts.gzip.parquet", "types.snappy.parquet"]),
        edits in prop::collection::vec((any::<usize>(), any::<u8>()), 0..6),
        keep in any::<usize>(),
    ) {
        let original = std::fs::read(fixture(name)).unwrap();
        fuzz(&damaged(&original, &edits, keep));
    }
}

#[test]
fn what_is_no_parquet_at_all_is_one_message() {
    let error = parquet::read(Path::new("x.parquet"), b"PAR1 but not really".to_vec()).unwrap_err();
    assert!(matches!(error, Error::BadFile { .. }) && error.to_string().starts_with("x.parquet: "), "{error}");
}
