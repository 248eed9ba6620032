//! `.safetensors` files.

use model::safetensors_file::read_content;
use model::files::Content;
use std::path::Path;

/// Reads the weights.
pub fn fuzz(data: &[u8]) {
    let _ = read_content(&Content::of_bytes(Path::new("x.safetensors"), data));
}

fn file(header: &str, data: &[u8]) -> Vec<u8> {
    [&(header.len() as u64).to_le_bytes(), header.as_bytes(), data].concat()
}

/// One tensor of each type, and two of them.
pub fn seeds() -> Vec<Vec<u8>> {
    let one = |kind: &str, bytes: usize| {
        file(&format!(r#"{{"w":{{"dtype":"{kind}","shape":[2],"data_offsets":[0,{bytes}]}}}}"#), &vec![0; bytes])
    };
    let two = r#"{"__metadata__":{"format":"pt"},"a":{"dtype":"F32","shape":[1,2],"data_offsets":[0,8]},"b":{"dtype":"I64","shape":[],"data_offsets":[8,16]}}"#;
    vec![one("F32", 8), one("F16", 4), one("BF16", 4), one("F64", 16), file(two, &[0; 16])]
}
