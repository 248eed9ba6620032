//! llama2.c's model files.

use model::convert::llama2c::read_content;
use model::files::Content;
use std::path::Path;

/// Reads the model.
pub fn fuzz(data: &[u8]) {
    let _ = read_content(&Content::of_bytes(Path::new("x.bin"), data));
}

/// One layer of width 2, with a tied and with its own head.
pub fn seeds() -> Vec<Vec<u8>> {
    let file = |vocabulary: i32, numbers: usize| {
        let header = [2i32, 2, 1, 1, 1, vocabulary, 4].map(i32::to_le_bytes).concat();
        [header, vec![0; 4 * numbers]].concat()
    };
    // Embedding 3·2, norms 2·2, q k v o 4·4, MLP 3·4, final norm 2, two RoPE tables of 4·1, and the head.
    let tied = 6 + 4 + 16 + 12 + 2 + 8;
    vec![file(3, tied), file(-3, tied + 6)]
}
