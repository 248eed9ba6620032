//! The Python package: its own checks against the built binary, a program in plain Python, and the wheel. Read this if you change
//! `cli/python`, `cli/pyproject.toml` or the protocol of `slpo gradcheck --program`.
//!
//! Needs `python3`, and for the wheel `maturin` (`pip install maturin`) and SLPO_WHEEL=1, because the wheel compiles the binary again. What
//! is not there is printed as skipped.

mod command;

use command::{binary, failure, slpo_words, text};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize().unwrap()
}

/// True if the program runs; else a line says that the test is skipped.
fn is_there(program: &str) -> bool {
    let runs = Command::new(program).arg("--version").output().is_ok_and(|output| output.status.success());
    if !runs {
        println!("skipped: {program} is not installed");
    }
    runs
}

fn succeeded(output: Output) -> String {
    assert!(output.status.success(), "{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// Python with the package of this tree, and with the built binary first on PATH.
fn python() -> Command {
    let folders = [binary().parent().unwrap().to_owned()].into_iter();
    let path: OsString = std::env::join_paths(folders.chain(std::env::split_paths(&std::env::var_os("PATH").unwrap()))).unwrap();
    let mut command = Command::new("python3");
    command.env("PATH", path).env("PYTHONPATH", root().join("cli/python")).env("PYTHONDONTWRITEBYTECODE", "1");
    command
}

#[test]
fn the_package_checks_itself_against_the_built_binary() {
    if !is_there("python3") {
        return;
    }
    let found = succeeded(python().args(["-c", "import slpo; print(slpo.binary())"]).output().unwrap());
    if Path::new(found.trim()) != binary() {
        println!("skipped: this Python has a slpo of its own, {}", found.trim());
        return;
    }
    let output = python().arg(root().join("tests/python/checks.py")).output().unwrap();
    println!("{}", String::from_utf8_lossy(&output.stderr));
    succeeded(output);
}

#[test]
fn a_program_of_the_standard_library_alone_is_checked() {
    if !is_there("python3") {
        return;
    }
    let program = root().join("tests/python/program.py");
    let with = |factor: &str| slpo_words(&["gradcheck", "--program", &format!("exec python3 '{}' {factor}", program.display())]);
    assert!(text(&with("1")).ends_with("3 right, 0 wrong, 0 unchecked; numbers in f64\n"));
    let wrong = with("1.01");
    let (table, error) = (String::from_utf8_lossy(&wrong.stdout), String::from_utf8_lossy(&wrong.stderr));
    assert!(wrong.status.code() == Some(1) && table.contains("2 right, 1 wrong, 0 unchecked"), "{table}");
    assert!(error.contains("the gradient is wrong: grad_x[0] is "), "{error}");
    assert!(failure(&slpo_words(&["gradcheck", "--program", "exec python3 -c 'print(1)'"]), 1).contains("is \"1\""));
}

#[test]
fn the_wheel_installs_the_binary_and_the_package() {
    if std::env::var_os("SLPO_WHEEL").is_none() {
        println!("skipped: SLPO_WHEEL=1 builds the wheel, which compiles the binary again");
        return;
    }
    if !is_there("python3") || !is_there("maturin") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let wheels = folder.path().join("wheels");
    let mut build = Command::new("maturin");
    build.args(["build", "--quiet", "--offline", "--manifest-path"]).arg(root().join("cli/Cargo.toml")).arg("--out").arg(&wheels);
    // maturin moves the binary that it packs: not the one that other tests run.
    build.arg("--target-dir").arg(root().join("target/wheel"));
    succeeded(build.output().unwrap());
    let wheel = std::fs::read_dir(&wheels).unwrap().next().unwrap().unwrap().path();
    assert!(wheel.file_name().unwrap().to_str().unwrap().starts_with(concat!("slpo-", env!("CARGO_PKG_VERSION"))), "{}", wheel.display());
    let venv = folder.path().join("venv");
    succeeded(Command::new("python3").args(["-m", "venv"]).arg(&venv).output().unwrap());
    let scripts = venv.join(if cfg!(windows) { "Scripts" } else { "bin" });
    let python = || Command::new(scripts.join("python"));
    succeeded(python().args(["-m", "pip", "install", "--quiet", "--no-index", "--no-deps"]).arg(&wheel).output().unwrap());
    let found = succeeded(python().args(["-c", "import slpo; print(slpo.binary())"]).output().unwrap());
    assert_eq!(Path::new(found.trim()), scripts.join(format!("slpo{}", std::env::consts::EXE_SUFFIX)));
    let version = succeeded(Command::new(found.trim()).arg("--version").output().unwrap());
    assert_eq!(version.trim(), concat!("slpo ", env!("CARGO_PKG_VERSION")));
    succeeded(python().arg(root().join("tests/python/checks.py")).output().unwrap());
}
