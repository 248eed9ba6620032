//! Ctrl-C while a model writes: `slpo generate` ends its line and says so, `slpo chat` ends the answer and listens again.
#![cfg(unix)]

mod command;

use command::{Workplace, binary};
use std::io::{Read, Write};
use std::process::{Child, Command, Stdio};

/// A workplace whose model writes for very long.
fn workplace() -> Workplace {
    let workplace = Workplace::new();
    let path = workplace.path("model/config.json");
    let mut config: serde_json::Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    config["max_position_embeddings"] = 10_000_000.into();
    std::fs::write(path, config.to_string()).unwrap();
    workplace.write("model/chat_template.jinja", "{% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}");
    workplace
}

fn start(workplace: &Workplace, command: &str, options: &[&str]) -> Child {
    let mut start = Command::new(binary());
    start.arg(command).arg("--model").arg(workplace.path("model")).args(["--max-tokens", "1000000", "--temperature", "0"]).args(options);
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
    let mut child = start(&workplace, "generate", &["--prompt", "x", "--ignore-eos"]);
    let begun = first_bytes(&mut child);
    interrupt(&child);
    let output = child.wait_with_output().unwrap();
    let (all, said) = ([begun, output.stdout].concat(), String::from_utf8(output.stderr).unwrap());
    assert_eq!(output.status.code(), Some(130), "{said}");
    assert!(all.ends_with(b"\n") && said.starts_with("stopped: ") && said.ends_with(" tokens were written\n"), "{said}");
    assert_eq!(said.lines().count(), 1);
}

#[test]
fn generate_for_a_program_writes_no_half_object() {
    let workplace = workplace();
    let child = start(&workplace, "generate", &["--prompt", "x", "--ignore-eos", "--json"]);
    std::thread::sleep(std::time::Duration::from_millis(1500));
    interrupt(&child);
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), output.stdout.as_slice()), (Some(130), &b""[..]), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn chat_ends_the_answer_and_goes_on_and_between_answers_it_ends() {
    let workplace = workplace();
    let mut child = start(&workplace, "chat", &[]);
    let mut input = child.stdin.take().unwrap();
    for said in ["hi\n", "and now?\n"] {
        input.write_all(said.as_bytes()).unwrap();
        first_bytes(&mut child);
        interrupt(&child);
        // The rest of the answer, to the end of its line.
        let mut byte = [0];
        while byte != *b"\n" {
            child.stdout.as_mut().unwrap().read_exact(&mut byte).unwrap();
        }
        std::thread::sleep(std::time::Duration::from_millis(300));
    }
    interrupt(&child);
    assert_eq!(child.wait().unwrap().code(), Some(130));
}
