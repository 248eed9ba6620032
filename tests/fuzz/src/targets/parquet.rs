//! Parquet files. Their decoder's panics are caught where it is called, in a thread of its own, so they are no finds.

use super::quiet;
use model::data::parquet::read;
use std::path::Path;

/// Reads the rows.
pub fn fuzz(data: &[u8]) {
    quiet();
    let _ = read(Path::new("rows.parquet"), data.to_vec());
}

/// Files as pyarrow wrote them, in three compressions.
pub fn seeds() -> Vec<Vec<u8>> {
    vec![
        include_bytes!("../../../tests/fixtures/messages.snappy.parquet").to_vec(),
        include_bytes!("../../../tests/fixtures/texts.gzip.parquet").to_vec(),
        include_bytes!("../../../tests/fixtures/texts.zstd.parquet").to_vec(),
    ]
}
