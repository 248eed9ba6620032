//! Tokenizers for tests that need special tokens with names: bytes, as `tokenizer.json` writes them.

/// A byte-level `tokenizer.json` whose BOS and EOS have these names; any other reader sees single tokens for them.
pub fn byte_file(bos: &str, eos: &str) -> String {
    super::bytes::file().to_string().replace("<|bos|>", bos).replace("<|eos|>", eos)
}
