//! `model.safetensors.index.json`: no name in it leads out of the folder.

use model::safetensors_file::parse_index;
use std::path::Path;

/// Reads the index.
pub fn fuzz(data: &[u8]) {
    for shard in parse_index(Path::new("index.json"), data).unwrap_or_default().into_keys() {
        let path = Path::new("folder").join(&shard);
        assert!(path.starts_with("folder") && path.components().count() == 2, "{shard:?} leads out of the folder");
    }
}

/// Two shards.
pub fn seeds() -> Vec<Vec<u8>> {
    vec![
        br#"{"metadata":{"total_size":8},"weight_map":{"a":"model-00001-of-00002.safetensors","b":"model-00002-of-00002.safetensors"}}"#
            .to_vec(),
    ]
}
