//! llama2.c's tokenizer files, for a model of as many tokens as the first byte says beyond the special tokens and bytes.

use model::convert::llama2c_tokenizer::read_bytes;

/// Reads the tokenizer.
pub fn fuzz(data: &[u8]) {
    let Some((&extra, file)) = data.split_first() else { return };
    let _ = read_bytes(file, 259 + usize::from(extra));
}

/// A vocabulary of two pieces and their union.
pub fn seeds() -> Vec<Vec<u8>> {
    let token = |text: &str, score: f32| [&score.to_le_bytes(), &(text.len() as i32).to_le_bytes(), text.as_bytes()].concat();
    let special = ["<unk>", "\n<s>\n", "\n</s>\n"].map(|name| token(name, 0.0));
    let bytes = (0..256).map(|byte| token(&format!("<0x{byte:02X}>"), 0.0));
    let pieces = ["a", "b", "ab"].into_iter().zip([-2.0, -3.0, -1.0]).map(|(text, score)| token(text, score));
    let tokens: Vec<u8> = special.into_iter().chain(bytes).chain(pieces).flatten().collect();
    vec![[vec![3], 4i32.to_le_bytes().to_vec(), tokens].concat()]
}
