//! Where the tests find the real models and datasets that do not ship with the source.

use std::path::{Path, PathBuf};

/// A file or folder under the shared data, or `None`, with a line that says so, where that data is not here.
pub fn shared(relative: &str) -> Option<PathBuf> {
    let root = std::env::var_os("SLPO_SHARED").map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared"), PathBuf::from);
    let path = root.join(relative);
    if !path.exists() {
        println!("skipped: {} is not here", path.display());
        return None;
    }
    Some(path)
}
