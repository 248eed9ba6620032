//! A run's settings file, as `slpo train --config` reads it.

use crate::arguments;
use std::cell::OnceCell;

thread_local! {
    static FOLDER: OnceCell<tempfile::TempDir> = const { OnceCell::new() };
}

/// Reads command lines that name a file with these bytes.
pub fn fuzz(data: &[u8]) {
    FOLDER.with(|folder| {
        let path = folder.get_or_init(|| tempfile::tempdir().expect("a temporary folder")).path().join("settings.toml");
        std::fs::write(&path, data).expect("a writable folder");
        for command in ["train", "align"] {
            let words = ["slpo".into(), command.into(), "--config".into(), path.clone().into_os_string()];
            if let Err(failure) = arguments::parse(words.to_vec()) {
                assert!(!failure.to_string().is_empty());
            }
        }
    });
}

/// Settings of each type.
pub fn seeds() -> Vec<Vec<u8>> {
    let train = r#"
steps = 20
learning_rate = 1e-3
preset = "nano"
checkpoint_activations = false
data = "a"
out = "b"
seed = 7
"#;
    let align = r#"# DPO
model = "m"
data = '''a'''
out = "b"
loss = "slpo"
beta = 0.1
alpha = 1
"#;
    [train, align].map(|text| text.as_bytes().to_vec()).to_vec()
}
