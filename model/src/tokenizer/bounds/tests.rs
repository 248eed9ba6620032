//! Descriptions that make a long text of a short one, and real descriptions, which do not.

use super::*;
use serde_json::json;

fn replace(pattern: &str, content: &str) -> Value {
    json!({"type": "Replace", "pattern": {"String": pattern}, "content": content})
}

fn replace_matches(pattern: &str, content: &str) -> Value {
    json!({"type": "Replace", "pattern": {"Regex": pattern}, "content": content})
}

fn sequence(kind: &str, steps: Vec<Value>) -> Value {
    json!({"type": "Sequence", kind: steps})
}

/// Reads the bounds of a tokenizer whose `part` has this value.
fn with(part: &str, value: Value) -> Result<Bounds> {
    Bounds::of(&json!({"version": "1.0", part: value}).to_string())
}

/// Writes a charsmap with these texts, as SentencePiece does.
fn charsmap(texts: &[&str]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut bytes = [1024_u32.to_le_bytes().as_slice(), &[0; 1024]].concat();
    texts.iter().for_each(|text| bytes.extend(text.bytes().chain([0])));
    let digits = |group: &[u8]| {
        let bits = group.iter().fold(0_u32, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - group.len()));
        (0..=group.len()).map(move |place| ALPHABET[(bits >> (18 - 6 * place) & 63) as usize] as char).collect::<String>()
    };
    bytes.chunks(3).map(digits).collect()
}

#[test]
fn replacements_that_multiply_are_refused_at_the_step_that_makes_too_much() {
    let tenfold = with("normalizer", sequence("normalizers", vec![replace("a", &"a".repeat(10)); 9])).unwrap();
    let reason = tenfold.check("a").unwrap_err().to_string();
    let parts = ["step 7 of its normalizer (Replace) can make ", " bytes of a text of 1, and 1048576 are allowed"];
    assert!(parts.iter().all(|part| reason.contains(part)), "{reason}");
    tenfold.check(&"b".repeat(100)).unwrap();
    // The same growth by nested sequences, a regular expression that matches nothing, insertions before a text, and many pre-tokenizers.
    let nested = sequence("normalizers", vec![sequence("normalizers", vec![replace("a", &"a".repeat(1000)); 3])]);
    let empty = sequence("normalizers", vec![replace_matches("x*", &"y".repeat(200)); 3]);
    let before = sequence("normalizers", vec![json!({"type": "Prepend", "prepend": "z".repeat(2_000_000)})]);
    let untyped = json!({"normalizers": [{"prepend": "z".repeat(2_000_000)}]});
    let spaces = sequence("pretokenizers", vec![json!({"type": "Metaspace", "replacement": "▁"}); 12]);
    for (part, value) in
        [("normalizer", nested), ("normalizer", empty), ("normalizer", before), ("normalizer", untyped), ("pre_tokenizer", spaces)]
    {
        let reason = with(part, value).unwrap().check("a a a a").unwrap_err().to_string();
        assert!(reason.contains("can make"), "{part}: {reason}");
    }
}

#[test]
fn added_tokens_are_normalized_as_they_are_read_and_so_checked_before() {
    let json = json!({
        "normalizer": sequence("normalizers", vec![replace("a", &"a".repeat(10)); 9]),
        "added_tokens": [{"id": 0, "content": "a", "normalized": true}],
    });
    let reason = Bounds::of(&json.to_string()).unwrap_err().to_string();
    assert!(reason.contains("of its normalizer (Replace) can make"), "{reason}");
}

#[test]
fn what_is_refused_as_it_is_read() {
    let long = "x".repeat(300);
    let special = json!({"SpecialToken": {"id": "s", "type_id": 0}});
    let template = |pieces: Value, ids: usize| json!({"type": "TemplateProcessing", "single": pieces, "pair": [], "special_tokens": {"s": {"id": "s", "ids": vec![0; ids], "tokens": vec!["s"; ids]}}});
    let cases = [
        ("decoder", sequence("decoders", vec![replace("a", "aa"); 8]), "its decoder can make a text 256 times as long"),
        ("decoder", replace_matches("", &long), "its decoder can make a text 301 times as long"),
        ("post_processor", template(json!(vec![special.clone(); 100]), 100), "its post_processor can make a text 10000 times"),
        (
            "post_processor",
            sequence("processors", vec![template(json!(vec![special; 20]), 1); 3]),
            "its post_processor can make a text 8000",
        ),
        ("pre_tokenizer", json!({"type": "Split", "pattern": {"Regex": "(a{1000}){1000}"}}), "repeats a part 1000000 times"),
        ("pre_tokenizer", json!({"type": "Split", "pattern": {"Regex": "((a(?=b)){2,99999}){7,}"}}), "repeats a part 699993 times"),
        ("normalizer", replace_matches(&"a|".repeat(10_000), ""), "a regular expression of 20000 bytes"),
        ("model", json!({"unk_token": long}), "its unk_token has 300 bytes"),
        ("model", json!({"end_of_word_suffix": long}), "its end_of_word_suffix has 300 bytes"),
        ("model", json!({"max_input_chars_per_word": u64::MAX}), "its max_input_chars_per_word is"),
        ("model", json!({"continuing_subword_prefix": "##", "merges": [["a", "##b"], ["a", "é"]]}), "a merge with \"é\" on its right"),
        ("model", json!({"continuing_subword_prefix": "##", "merges": ["a ##b", "a c"]}), "a merge with \"c\" on its right"),
    ];
    for (part, value, expected) in cases {
        let reason = with(part, value).unwrap_err().to_string();
        assert!(reason.contains(expected), "{part}: {reason}");
    }
    let deep = format!("{{\"normalizer\": {}null{}}}", "{\"normalizers\": [".repeat(100_000), "]}".repeat(100_000));
    assert!(Bounds::of(&deep).unwrap_err().to_string().contains("recursion limit"));
}

#[test]
fn the_tokenizers_of_real_models_are_within_their_bounds() {
    let texts = [
        "A text of some words, twice.\n".repeat(100_000),
        "ﷺ ½ é 漢字 👩‍🚀\t".repeat(20_000),
        "한국어 문장이 있습니다. ".repeat(20_000),
        "a".to_owned(),
    ];
    let (space, spaces) = (json!({"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always"}), replace_matches(" {2,}", "▁"));
    let precompiled = json!({"type": "Precompiled", "precompiled_charsmap": charsmap(&["", "ss", "صلى الله عليه وسلم"])});
    let llama = sequence("normalizers", vec![json!({"type": "Prepend", "prepend": "▁"}), replace(" ", "▁")]);
    let albert =
        [replace("``", "\""), replace("''", "\""), json!({"type": "NFKD"}), json!({"type": "StripAccents"}), json!({"type": "Lowercase"})];
    let albert = sequence("normalizers", albert.into_iter().chain([precompiled.clone(), replace_matches(" {2,}", " ")]).collect());
    let t5 = sequence("normalizers", vec![precompiled, spaces]);
    let gpt = sequence(
        "pretokenizers",
        vec![
            json!({"type": "Split", "pattern": {"Regex": "(?i:'s|'t)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s+(?!\\S)|\\s+"}, "behavior": "Isolated", "invert": false}),
            json!({"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": false}),
        ],
    );
    let bert =
        json!({"type": "BertNormalizer", "clean_text": true, "handle_chinese_chars": true, "strip_accents": null, "lowercase": true});
    for (name, json) in [
        ("Llama", json!({"normalizer": llama, "decoder": sequence("decoders", vec![replace("▁", " "), json!({"type": "ByteFallback"})])})),
        ("ALBERT", json!({"normalizer": albert, "pre_tokenizer": space})),
        ("T5", json!({"normalizer": t5, "pre_tokenizer": space})),
        ("GPT", json!({"normalizer": {"type": "NFC"}, "pre_tokenizer": gpt, "decoder": {"type": "ByteLevel"}})),
        ("BERT", json!({"normalizer": bert, "decoder": {"type": "WordPiece", "prefix": "##", "cleanup": true}})),
    ] {
        let bounds = Bounds::of(&json.to_string()).unwrap_or_else(|error| panic!("{name}: {error}"));
        texts.iter().for_each(|text| bounds.check(text).unwrap_or_else(|error| panic!("{name}: {error}")));
    }
}

#[test]
fn a_charsmap_is_as_long_as_its_longest_text() {
    assert_eq!(longest_replacement(&charsmap(&["a", "four", "é"])), 4);
    assert_eq!(longest_replacement("no base64!"), 0);
    let bounds = with("normalizer", json!({"type": "Precompiled", "precompiled_charsmap": charsmap(&[&"x".repeat(5000)])})).unwrap();
    assert_eq!(bounds.all, 5001);
}

#[test]
fn repetitions_are_counted_and_names_in_braces_are_not() {
    for (pattern, expected) in [
        (r"\p{N}{1,3}", 3),
        (r"\u{2581}+\x{10FFFF}", 1),
        (r"\\{7}", 7),
        (r"(a{3}b{ 4 ,5}){2,}", 30),
        (r"[{]x{,9}", 9),
        (r"a{", 1),
        (
            r"(?x)# \u{
          (a{100}){100} # }",
            10_000,
        ),
        (r"{99999999999999999999}", 1),
    ] {
        assert_eq!(repetitions(pattern), expected, "{pattern}");
    }
}

#[test]
fn a_vocabulary_has_no_holes_to_speak_of_and_one_name_an_id() {
    let of = |entries: &[(&str, u32)]| largest_id(&entries.iter().map(|(name, id)| ((*name).to_owned(), *id)).collect());
    assert_eq!(of(&[("a", 0), ("b", 7)]).unwrap(), 7);
    assert_eq!(of(&[("a", 100_000)]).unwrap(), 100_000);
    let long = "A".repeat(300);
    for (entries, expected) in [
        (&[][..], "empty"),
        (&[("a", u32::MAX)], "its largest id is 4294967295, and it has 1 tokens"),
        (&[("a", 5), (long.as_str(), 5)], "its id 5 stands for two tokens, one of 300 bytes"),
        (&[("A".repeat(70_000).as_str(), 0)], "its token 0 has 70000 bytes"),
    ] {
        assert!(of(entries).unwrap_err().to_string().contains(expected), "{expected}");
    }
}
