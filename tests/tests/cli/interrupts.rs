//! Ctrl-C while a model writes: `slpo generate` ends its line and says so, `slpo chat` ends the answer and listens again.
#![cfg(unix)]

use crate::command::{Workplace, listening};
use engine::Device;
use model::config::Config;
use model::decoder::Decoder;
use model::model_folder::ModelFolder;
use model::tokenizer::Tokenizer;
use std::io::{Read, Write};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// A workplace whose model writes for very long: its vocabulary has no token that ends a text.
fn workplace() -> Workplace {
    let workplace = Workplace::new();
    let nano = Config::preset("nano").unwrap();
    let config = Config { vocab_size: 257, layers: 1, max_positions: 200_000, bos: Some(256), eos: Vec::new(), ..nano };
    let decoder = Decoder::random(&Device::default(), &config, 1).unwrap();
    ModelFolder::save(&workplace.path("model"), &config, &decoder.to_tensors(), &Tokenizer::bytes()).unwrap();
    workplace.write("model/chat_template.jinja", "{% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}");
    workplace
}

fn start(workplace: &Workplace, command: &str, options: &[&str]) -> Child {
    let mut start = listening();
    start.arg(command).arg("--model").arg(workplace.path("model")).args(["--temperature", "1"]).args(options);
    start.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

fn interrupt(child: &Child) {
    assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
}

/// Waits until the child has written something.
fn first_bytes(child: &mut Child) -> Vec<u8> {
    let mut bytes = vec![0; 16];
    child.stdout.as_mut().unwrap().read_exact(&mut bytes).unwrap();
    bytes
}

#[test]
fn generate_ends_its_line_and_says_that_it_was_stopped() {
    let workplace = workplace();
    let mut child = start(&workplace, "generate", &["--prompt", "x", "--max-tokens", "100000"]);
    let begun = first_bytes(&mut child);
    interrupt(&child);
    let output = child.wait_with_output().unwrap();
    let (all, said) = ([begun, output.stdout].concat(), String::from_utf8(output.stderr).unwrap());
    assert_eq!(output.status.code(), Some(130), "{said}");
    assert!(all.ends_with(b"\n") && said.starts_with("stopped: ") && said.ends_with(" tokens were written\n"), "{said}");
    assert_eq!(said.lines().count(), 1);
}

#[cfg(target_os = "linux")]
/// Whether the child has a handler for SIGINT, signal 2, by now.
fn catches_interrupts(child: &Child) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap();
    let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:")).unwrap();
    u64::from_str_radix(caught.trim(), 16).unwrap() & 2 != 0
}

#[test]
#[cfg(target_os = "linux")]
fn generate_for_a_program_writes_no_half_object() {
    let workplace = workplace();
    let child = start(&workplace, "generate", &["--prompt", "x", "--max-tokens", "100000", "--json"]);
    while !catches_interrupts(&child) {
        std::thread::sleep(Duration::from_millis(5));
    }
    interrupt(&child);
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), output.stdout.as_slice()), (Some(130), &b""[..]), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn chat_ends_the_answer_and_goes_on() {
    let workplace = workplace();
    let mut child = start(&workplace, "chat", &["--max-tokens", "100000"]);
    let mut input = child.stdin.take().unwrap();
    input.write_all(b"hi\n").unwrap();
    let begun = first_bytes(&mut child);
    interrupt(&child);
    input.write_all(b"/exit\n").unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!([begun, output.stdout].concat().ends_with(b"\n"));
}

#[test]
fn chat_ends_between_answers() {
    let workplace = workplace();
    let mut child = start(&workplace, "chat", &["--max-tokens", "2"]);
    let mut input = child.stdin.take().unwrap();
    input.write_all(b"hi\n").unwrap();
    child.stdout.as_mut().unwrap().read_exact(&mut [0]).unwrap();
    // The first may still fall into the answer.
    let ended = (0..100).find_map(|_| {
        interrupt(&child);
        std::thread::sleep(Duration::from_millis(200));
        child.try_wait().unwrap()
    });
    assert_eq!(ended.and_then(|status| status.code()), Some(130));
}
