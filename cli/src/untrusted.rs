//! Tests that settings and metrics may be files from anyone: whatever their bytes, reading them gives a value or an error in words.

use crate::arguments;
use crate::run_folder::read_metrics;
use engine::Generator;
use std::path::Path;

/// Changes, cuts off or inserts a few bytes.
fn mutated(bytes: &[u8], draw: &mut Generator) -> Vec<u8> {
    const PIECES: [&[u8]; 6] = [b"\"", b"18446744073709551616", b"-1e999", b"[[", b"\xff", b"\n"];
    let mut bytes = bytes.to_vec();
    for _ in 0..1 + draw.below(4) {
        let at = draw.below(bytes.len() + 1);
        match draw.below(3) {
            0 => bytes.truncate(at),
            1 => bytes.splice(at..at, PIECES[draw.below(PIECES.len())].iter().copied()).for_each(drop),
            _ => bytes.get_mut(at).into_iter().for_each(|byte| *byte ^= 1 << draw.below(8)),
        }
    }
    bytes
}

fn each_mutation(original: &[u8], seed: u64, mut read: impl FnMut(&Path)) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    let mut draw = Generator::new(seed);
    for _ in 0..300 {
        std::fs::write(&path, mutated(original, &mut draw)).unwrap();
        read(&path);
    }
}

#[test]
fn settings_files_never_panic_and_name_themselves() {
    let settings = b"steps = 20\nlearning_rate = 1e-3\npreset = \"nano\"\ncheckpoint_activations = false\ndata = \"a\"\nout = \"b\"\n";
    each_mutation(settings, 1, |path| {
        let words = ["slpo", "train", "--config", path.to_str().unwrap()];
        if let Err(failure) = arguments::parse(words.map(Into::into).to_vec()) {
            let line = failure.line().unwrap();
            assert!(line.starts_with("error: ") && !line.contains('\n'), "{line}");
        }
    });
}

#[test]
fn metrics_files_never_panic_and_name_the_line() {
    let metrics = b"{\"step\":1,\"loss\":0.5}\n{\"step\":2,\"loss\":\"NaN\"}\n{\"step\":3,\"loss\":1e-300}\n";
    each_mutation(metrics, 2, |path| {
        if let Err(error) = read_metrics(path) {
            assert!(error.to_string().contains(path.to_str().unwrap()), "{error}");
        }
    });
}
