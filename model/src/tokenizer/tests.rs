//! Ids of real tokenizers, exact round trips, and streams cut inside characters.

use super::*;
use crate::test_data::shared;
use serde_json::json;

const TEXTS: [&str; 6] =
    ["", "Once upon a time", "  two spaces \t tab\nline", "naïve café — 東京 🐻", "<s>|</s>\u{0}\u{7f}", "e\u{301} \u{fffd} \u{200b}"];

#[test]
fn bytes_are_their_own_ids_and_come_back() {
    let tokenizer = Tokenizer::bytes();
    assert_eq!(tokenizer.encode("aé").unwrap(), [97, 0xc3, 0xa9]);
    assert_eq!((tokenizer.bos(), tokenizer.eos(), tokenizer.vocab_size()), (Some(256), Some(257), 258));
    for text in TEXTS {
        let tokens = tokenizer.encode(text).unwrap();
        assert_eq!(tokenizer.decode(&tokens).unwrap(), text);
    }
    assert_eq!(tokenizer.decode(&[256, 97, 0xc3, 300, 257]).unwrap(), "a\u{fffd}");
}

#[test]
fn the_byte_tokenizer_s_file_gives_the_same_ids_to_any_other_reader() {
    let bytes = Tokenizer::bytes();
    let foreign = tokenizers::Tokenizer::from_bytes(bytes.json()).unwrap();
    for text in TEXTS {
        let expected = bytes.encode(text).unwrap();
        assert_eq!(ids(&foreign, text, false).unwrap(), expected, "{text:?}");
        assert_eq!(foreign.decode(&expected, true).unwrap(), text);
        let with_bos = [&[BYTE_BOS], expected.as_slice()].concat();
        assert_eq!(ids(&foreign, text, true).unwrap(), with_bos);
    }
    let every_byte: Vec<u32> = (0..258).collect();
    assert_eq!(foreign.decode(&every_byte, true).unwrap(), bytes.decode(&every_byte).unwrap());
}

#[test]
fn a_folder_restores_the_tokenizer_that_was_saved() {
    let folder = tempfile::tempdir().unwrap();
    let none = Tokenizer::from_folder(folder.path()).unwrap();
    assert!(none.is_absent() && !none.is_bytes());
    let message = none.encode("a").unwrap_err().to_string();
    assert!(message.starts_with(folder.path().to_str().unwrap()) && message.contains("there is no tokenizer in this folder"), "{message}");
    assert_eq!(none.decode(&[3, 258]).unwrap(), "3 258 ");
    Tokenizer::bytes().save(folder.path()).unwrap();
    assert!(Tokenizer::from_folder(folder.path()).unwrap().is_bytes());

    let mut file = bytes::file();
    file["model"]["merges"] = json!([["a", "b"]]);
    file["model"]["vocab"]["ab"] = json!(258);
    let tokenizer = Tokenizer::from_json(file.to_string()).unwrap();
    tokenizer.save(folder.path()).unwrap();
    let restored = Tokenizer::from_folder(folder.path()).unwrap();
    assert_eq!(restored.encode("abc").unwrap(), [258, 99]);
    assert_eq!((restored.bos(), restored.eos(), restored.vocab_size()), (Some(256), Some(257), 259));
    assert_eq!(restored.json(), tokenizer.json());
}

#[test]
fn the_settings_beside_a_tokenizer_decide_about_bos_and_eos() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let unusual = bytes::file().to_string().replace("<|eos|>", "<stop>");
    std::fs::write(path(FILE), unusual).unwrap();
    let read = || {
        let tokenizer = Tokenizer::from_folder(folder.path()).unwrap();
        (tokenizer.bos(), tokenizer.eos())
    };
    assert_eq!(read(), (Some(256), None));
    std::fs::write(path("config.json"), r#"{"eos_token_id":[257,3]}"#).unwrap();
    assert_eq!(read(), (Some(256), Some(257)));
    std::fs::write(path(SETTINGS_FILE), r#"{"add_bos_token":false,"eos_token":{"content":"a"}}"#).unwrap();
    assert_eq!(read(), (None, Some(97)));
    std::fs::write(path(SETTINGS_FILE), r#"{"add_bos_token":true,"bos_token":"b"}"#).unwrap();
    assert_eq!(read(), (Some(98), Some(257)));
}

#[test]
fn gpt_2_s_files_give_the_ids_of_tiktoken() {
    let Some(folder) = shared("data/gpt2-tokenizer") else { return };
    let tokenizer = Tokenizer::from_folder(&folder).unwrap();
    let golden = std::fs::read_to_string(folder.join("golden_encodings.json")).unwrap();
    let golden: Value = serde_json::from_str(&golden).unwrap();
    for case in golden["cases"].as_array().unwrap() {
        let text = case["text"].as_str().unwrap();
        let tokens = tokenizer.encode(text).unwrap();
        assert_eq!(json!(tokens), case["ids"], "{text:?}");
        assert_eq!(tokenizer.decode(&tokens).unwrap(), text);
    }
    assert_eq!((tokenizer.bos(), tokenizer.eos(), tokenizer.vocab_size()), (None, Some(50256), 50257));
    let Some(text) = shared("data/tinyshakespeare/input.txt") else { return };
    let text = std::fs::read_to_string(text).unwrap();
    let tokens = tokenizer.encode(&text).unwrap();
    // tiktoken 0.14.0 with the same two files gives this many ids. Their little-endian bytes have this checksum.
    let bytes: Vec<u8> = tokens.iter().flat_map(|id| id.to_le_bytes()).collect();
    assert_eq!((tokens.len(), crc32c::crc32c(&bytes)), (338_025, 0xde62_25f1));
    assert_eq!(tokenizer.decode(&tokens).unwrap(), text);
}

#[test]
fn a_tokenizer_in_a_form_that_is_not_read_is_not_taken_for_another() {
    let folder = tempfile::tempdir().unwrap();
    let message = |name: &str, text: &str| {
        std::fs::write(folder.path().join(name), text).unwrap();
        Tokenizer::from_folder(folder.path()).map(|tokenizer| tokenizer.vocab_size()).map_err(|error| error.to_string())
    };
    assert!(message("tokenizer.model", "").unwrap_err().contains("tokenizer.model is not supported; supported: tokenizer.json"));
    std::fs::remove_file(folder.path().join("tokenizer.model")).unwrap();
    assert_eq!(message("vocab.json", "{\"a\": 0, \"b\": 1, \"ab\": 2}"), Ok(0), "half of GPT-2's pair is none");
    assert_eq!(message("merges.txt", "a b\n"), Ok(3));
    assert_eq!(message(SETTINGS_FILE, "{\"tokenizer_class\": \"GPT2TokenizerFast\"}"), Ok(3));
    let qwen = message(SETTINGS_FILE, "{\"tokenizer_class\": \"Qwen2Tokenizer\"}").unwrap_err();
    assert!(qwen.contains("the tokenizer_class \"Qwen2Tokenizer\" without a tokenizer.json is not supported"), "{qwen}");
}

#[test]
fn a_stream_never_shows_half_a_character_and_loses_nothing() {
    let tokenizer = Tokenizer::bytes();
    let text = "é 東京🐻!";
    let tokens = tokenizer.encode(text).unwrap();
    let mut stream = tokenizer.stream(&[]).unwrap();
    let mut pieces = Vec::new();
    for &token in &tokens {
        pieces.push(stream.push(token).unwrap());
    }
    assert!(!pieces.concat().contains('\u{fffd}'));
    assert_eq!(pieces.concat(), text);
    assert_eq!(stream.finish(), "");
    assert_eq!(pieces[..3], ["", "é", " "]);

    assert_eq!(tokenizer.decode_after(&tokens[..1], &tokens[1..3]).unwrap(), "é ");
    assert_eq!(tokenizer.decode_after(&[], &tokens[..1]).unwrap(), "\u{fffd}");
    assert_eq!(tokenizer.decode_after(&[], &[0xff, 97]).unwrap(), "\u{fffd}a");
}

#[test]
fn a_file_that_is_no_tokenizer_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(FILE);
    for text in ["", "[]", "{\"model\":{}}"] {
        std::fs::write(&path, text).unwrap();
        let message = Tokenizer::from_folder(folder.path()).unwrap_err().to_string();
        assert!(message.contains("tokenizer.json: not a usable tokenizer.json"), "{message}");
    }
}

/// Found by fuzzing: the reader of the tokenizers crate panics on these.
#[test]
fn a_tokenizer_file_that_stops_within_its_decoder_is_refused() {
    for decoder in [r#"{"type":"ByteLevel","add_prefix_space":"#, r#"{"type":"ByteLevel"x"#, r#"{"type":"Fuse",7:1}"#] {
        let json = format!(r#"{{"version":"1.0","added_tokens":[],"decoder":{decoder}"#);
        let message = Tokenizer::from_json(json).unwrap_err().to_string();
        assert!(message.contains("not a usable tokenizer.json"), "{message}");
    }
}

/// Reads a folder with a byte-level tokenizer and these settings beside it.
fn with_settings(settings: Value) -> Result<Tokenizer> {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join(FILE), tests_support::byte_file("<s>", "</s>")).unwrap();
    std::fs::write(folder.path().join(SETTINGS_FILE), settings.to_string()).unwrap();
    Tokenizer::from_folder(folder.path())
}

#[test]
fn tokens_that_only_the_settings_list_are_single_tokens() {
    let token = |content: &str, special: bool| json!({"content": content, "special": special, "normalized": false});
    let tokenizer =
        with_settings(json!({"added_tokens_decoder": {"258": token("<|im_start|>", true), "259": token("[tool]", false)}})).unwrap();
    assert_eq!(tokenizer.encode("a<|im_start|>[tool]b").unwrap(), [97, 258, 259, 98]);
    assert_eq!(tokenizer.vocab_size(), 260);
    assert!(tokenizer.is_added(258) && !tokenizer.is_added(97));
    assert_eq!(tokenizer.decode(&[97, 258, 259]).unwrap(), "a[tool]", "special tokens have no text");
    let message = with_settings(json!({"added_tokens_decoder": {"300": token("<x>", true)}})).unwrap_err().to_string();
    assert!(message.contains("tokenizer_config.json: the token \"<x>\" has the id 300 here, and 258"), "{message}");
}

#[test]
fn tokens_with_a_role_are_special_where_the_vocabulary_has_them() {
    let tokenizer = with_settings(json!({"pad_token": "a", "additional_special_tokens": ["b"]})).unwrap();
    assert!(tokenizer.is_added(97) && tokenizer.is_added(98) && !tokenizer.is_added(99));
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join(FILE), tests_support::byte_file("<s>", "</s>")).unwrap();
    std::fs::write(folder.path().join("added_tokens.json"), r#"{"<extra>": 258}"#).unwrap();
    assert_eq!(Tokenizer::from_folder(folder.path()).unwrap().encode("a<extra>").unwrap(), [97, 258]);
}

#[test]
fn a_space_is_put_before_a_text_where_the_settings_say_so() {
    assert_eq!(with_settings(json!({"add_prefix_space": true})).unwrap().encode("a").unwrap(), [32, 97]);
    assert_eq!(with_settings(json!({"add_prefix_space": false})).unwrap().encode("a").unwrap(), [97]);
}

#[test]
fn what_the_settings_say_and_is_not_used_is_named() {
    for key in ["padding_side", "model_max_length", "image_token", "clean_up_tokenization_spaces"] {
        assert_eq!(with_settings(json!({key: "x"})).unwrap().remarks(), [""; 0], "{key}");
    }
    for key in ["zzz", "do_lower_case", "add_eos_token"] {
        let tokenizer = with_settings(json!({key: true})).unwrap();
        let remarks = tokenizer.remarks();
        assert!(remarks.len() == 1 && remarks[0].contains(key) && remarks[0].contains(SETTINGS_FILE), "{remarks:?}");
    }
    let message = with_settings(json!({"split_special_tokens": true})).unwrap_err().to_string();
    assert!(message.contains("split_special_tokens"), "{message}");
}

#[test]
fn the_dropout_of_merges_is_off_and_said() {
    let folder = tempfile::tempdir().unwrap();
    let mut file = bytes::file();
    file["model"]["dropout"] = json!(0.9);
    file["model"]["merges"] = json!([["a", "b"]]);
    file["model"]["vocab"]["ab"] = json!(258);
    std::fs::write(folder.path().join(FILE), file.to_string()).unwrap();
    let tokenizer = Tokenizer::from_folder(folder.path()).unwrap();
    assert!((0..50).all(|_| tokenizer.encode("ab").unwrap() == [258]));
    assert!(tokenizer.remarks()[0].contains("dropout of its merges, 0.9, is off"), "{:?}", tokenizer.remarks());
}

#[test]
fn every_token_knows_the_bytes_it_stands_for() {
    let tokenizer = with_settings(json!({})).unwrap();
    for text in ["aé東", "<s>a</s>", ""] {
        let (tokens, places) = tokenizer.encode_with_places(text).unwrap();
        assert_eq!(tokens, tokenizer.encode(text).unwrap());
        assert!(places.iter().all(|place| place.end <= text.len()) && places.len() == tokens.len());
    }
    assert_eq!(Tokenizer::bytes().encode_with_places("ab").unwrap().1, [0..1, 1..2]);
}
