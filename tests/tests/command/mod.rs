//! Running the real `slpo` binary, built beside the tests in their own profile.
#![allow(dead_code)]

use model::config::Config;
use model::decoder::Decoder;
use model::model_folder::ModelFolder;
use model::tokenizer::Tokenizer;
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;

/// The binary: brought up to date the first time that a test asks for it.
pub fn binary() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| {
        let test = std::env::current_exe().unwrap();
        let folder = test.parent().and_then(Path::parent).unwrap();
        let profile = match folder.file_name().unwrap().to_str().unwrap() {
            "debug" => "dev",
            name => name,
        };
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| env!("CARGO").into());
        let mut build = Command::new(cargo);
        build
            .args(["build", "--quiet", "--workspace", "--bin", "slpo", "--profile", profile, "--target-dir"])
            .arg(folder.parent().unwrap());
        build.current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(".."));
        assert!(build.status().unwrap().success(), "the binary does not build");
        folder.join(format!("slpo{}", std::env::consts::EXE_SUFFIX))
    })
}

/// A command for the binary that hears SIGHUP, SIGINT and SIGTERM, also where this test was started with some of them ignored, as a shell
/// starts what runs in the background: the binary leaves ignored what its parent ignores.
pub fn listening() -> Command {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let ignored = ignored.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0);
    let heard = [1, 2, 15].iter().fold(0, |mask, signal| mask | 1 << (signal - 1));
    if ignored & heard == 0 {
        return Command::new(binary());
    }
    let mut command = Command::new("env");
    command.arg("--default-signal=HUP,INT,TERM").arg(binary());
    command
}

/// Runs the binary; `arguments` are separated by spaces, `{name}` stands for a path of `paths`.
pub fn slpo(arguments: &str, paths: &[(&str, &Path)]) -> Output {
    let fill =
        |word: &str| paths.iter().fold(word.to_owned(), |word, (name, path)| word.replace(&format!("{{{name}}}"), path.to_str().unwrap()));
    Command::new(binary()).args(arguments.split(' ').map(fill)).output().unwrap()
}

/// Runs the binary on arguments that hold spaces.
pub fn slpo_words(arguments: &[&str]) -> Output {
    Command::new(binary()).args(arguments).output().unwrap()
}

/// Standard output as text, of a command that succeeded.
#[track_caller]
pub fn text(output: &Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// Standard output of a command that succeeded: exactly one JSON object on one line.
#[track_caller]
pub fn object(output: &Output) -> Value {
    let text = text(output);
    assert!(text.ends_with('\n') && text.lines().count() == 1, "not one line: {text:?}");
    let value: Value = serde_json::from_str(&text).unwrap();
    assert!(value.is_object(), "{value}");
    value
}

/// The one line on standard error of a command that failed with `code`; nothing is on standard output.
#[track_caller]
pub fn failure(output: &Output, code: i32) -> String {
    let line = String::from_utf8(output.stderr.clone()).unwrap();
    assert_eq!(output.status.code(), Some(code), "{line}");
    assert!(output.stdout.is_empty(), "standard output: {:?}", String::from_utf8_lossy(&output.stdout));
    assert!(line.starts_with("error: ") && line.lines().count() == 1, "not one line: {line:?}");
    line
}

/// A folder with a small random model on bytes, `model/`, and data of every form for it.
pub struct Workplace {
    folder: tempfile::TempDir,
}

impl Workplace {
    /// Writes the model and the data.
    pub fn new() -> Self {
        let workplace = Self { folder: tempfile::tempdir().unwrap() };
        let tokenizer = Tokenizer::bytes();
        let config = Config { vocab_size: 258, layers: 2, ..Config::preset("nano").unwrap() }.for_tokenizer(&tokenizer).unwrap();
        let decoder = Decoder::random(&engine::Device::default(), &config, 1).unwrap();
        ModelFolder::save(&workplace.path("model"), &config, &decoder.to_tensors(), &tokenizer).unwrap();
        workplace.write("text.txt", &"The cat sat on the mat and the dog sat by the door.\n".repeat(40));
        let row = |i: usize| format!("{{\"prompt\": \"{i} is\", \"chosen\": \" a number.\", \"rejected\": \" no number {i}!\"}}\n");
        workplace.write("preferences.jsonl", &(0..20).map(row).collect::<String>());
        let row = |i: usize| format!("{{\"prompt\": \"{i} is\", \"completion\": \" a number.\"}}\n");
        workplace.write("completions.jsonl", &(0..20).map(row).collect::<String>());
        workplace
    }

    /// A path in the folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes a file.
    pub fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path(name), text).unwrap();
    }

    /// Writes `pairs.jsonl` and `rows.jsonl`, of very different lengths, so that a mean of means would be another number.
    pub fn write_uneven_rows(&self) {
        let answer = |i: usize| " very".repeat(1 + 5 * (i % 4)) + " good";
        let pair = |i: usize| format!("{{\"prompt\": \"{i} is\", \"chosen\": \"{}\", \"rejected\": \" bad {i}\"}}\n", answer(i));
        self.write("pairs.jsonl", &(0..12).map(pair).collect::<String>());
        let row = |i: usize| format!("{{\"prompt\": \"{i} is\", \"completion\": \"{}\"}}\n", answer(i));
        self.write("rows.jsonl", &(0..12).map(row).collect::<String>());
    }

    /// Runs the binary; `{}` in the arguments stands for the folder.
    pub fn run(&self, arguments: &str) -> Output {
        slpo(arguments, &[("", self.folder.path())])
    }
}
