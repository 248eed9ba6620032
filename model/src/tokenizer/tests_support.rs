//! Tokenizers for tests that need special tokens with names: bytes, as `tokenizer.json` writes them.

/// Writes a byte-level `tokenizer.json` whose BOS and EOS have these names. Each name in a text is a single token.
pub fn byte_file(bos: &str, eos: &str) -> String {
    super::bytes::file().to_string().replace("<|bos|>", bos).replace("<|eos|>", eos)
}
