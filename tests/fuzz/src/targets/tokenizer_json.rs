//! `tokenizer.json`.

use model::tokenizer::Tokenizer;

/// Makes the tokenizer, encodes with it and decodes.
pub fn fuzz(data: &[u8]) {
    super::quiet();
    let Ok(json) = String::from_utf8(data.to_vec()) else { return };
    let Ok(tokenizer) = Tokenizer::from_json(json) else { return };
    if let Ok(tokens) = tokenizer.encode("ab \u{e9}\n") {
        let _ = tokenizer.decode(&tokens);
        let _ = tokenizer.decode_after(&tokens, &[0, u32::MAX]);
    }
}

/// A byte-level and a SentencePiece vocabulary.
pub fn seeds() -> Vec<Vec<u8>> {
    let file = |rest: &str| {
        format!(
            r#"{{"version":"1.0","truncation":null,"padding":null,"added_tokens":[{{"id":0,"content":"<s>","single_word":false,"lstrip":false,"rstrip":false,"normalized":false,"special":true}}],{rest},"model":{{"type":"BPE","dropout":null,"unk_token":null,"continuing_subword_prefix":null,"end_of_word_suffix":null,"fuse_unk":false,"byte_fallback":false,"vocab":{{"<s>":0,"a":1,"b":2,"ab":3}},"merges":[["a","b"]]}}}}"#
        )
    };
    let bytes = r#"{"type":"ByteLevel","add_prefix_space":false,"trim_offsets":false,"use_regex":true}"#;
    let pieces = r#""normalizer":{"type":"Prepend","prepend":"_"},"pre_tokenizer":null,"post_processor":null,"decoder":null"#;
    vec![
        file(&format!(r#""normalizer":null,"pre_tokenizer":{bytes},"post_processor":null,"decoder":{bytes}"#)).into_bytes(),
        file(pieces).into_bytes(),
    ]
}
