//! Signals in every phase of the real binary: what the parent ignores stays ignored, what can be saved is saved, and the program ends soon
//! with the exit code that a shell reports for the signal.
#![cfg(target_os = "linux")]

use crate::command::{Workplace, binary, listening, text};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

/// The program ends within 5 s where the machine is its own; the rest is for a busy one.
const SOON: Duration = Duration::from_secs(30);

const SIGNALS: [(&str, u64, i32); 3] = [("HUP", 1, 129), ("INT", 2, 130), ("TERM", 15, 143)];

fn words(workplace: &Workplace, arguments: &str) -> Vec<String> {
    let folder = workplace.path("");
    arguments.replace("{}", folder.to_str().unwrap().trim_end_matches('/')).split(' ').map(str::to_owned).collect()
}

fn start(workplace: &Workplace, arguments: &str) -> Child {
    let mut command = listening();
    command.args(words(workplace, arguments)).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    command.spawn().unwrap()
}

fn send(child: &Child, signal: &str) {
    assert!(Command::new("kill").args([&format!("-{signal}"), &child.id().to_string()]).status().unwrap().success());
}

/// Waits until something is so.
fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let started = Instant::now();
    while !is_so() {
        assert!(started.elapsed() < Duration::from_secs(120), "{what} does not come");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Ends a child by a signal; its last line and what it left, once it has ended in time.
fn stopped(mut child: Child, signal: &str, code: i32) -> String {
    send(&child, signal);
    let started = Instant::now();
    while child.try_wait().unwrap().is_none() {
        if started.elapsed() > SOON {
            let _ = child.kill();
            panic!("SIG{signal} does not end it: {}", String::from_utf8_lossy(&child.wait_with_output().unwrap().stderr));
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    let output: Output = child.wait_with_output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(code), "SIG{signal}: {said}");
    said.lines().last().unwrap_or_default().to_owned()
}

/// Whether the child has handlers for all three signals by now.
fn catches_signals(child: &Child) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap();
    let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:")).map_or("0", str::trim).to_owned();
    let caught = u64::from_str_radix(&caught, 16).unwrap();
    SIGNALS.iter().all(|(_, number, _)| caught >> (number - 1) & 1 == 1)
}

fn contents(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_default()
}

#[track_caller]
fn assert_same_bits(workplace: &Workplace, run: &str, other: &str) {
    for name in ["model.safetensors", "metrics.jsonl"] {
        let bytes = |run: &str| std::fs::read(workplace.path(run).join(name)).unwrap();
        assert!(bytes(run) == bytes(other), "{run}: {name} differs from {other}'s");
    }
}

#[test]
fn what_the_parent_ignores_stays_ignored() {
    let workplace = Workplace::new();
    for (ignored, other, code) in [("HUP", "TERM", 143), ("INT", "HUP", 129), ("TERM", "INT", 130)] {
        let run = format!("run-{ignored}");
        let train =
            format!("train --data {{}}/text.txt --batch-rows 1 --batch-tokens 8 --steps 1000000 --checkpoint-every 0 --out {{}}/{run}");
        let script = format!("trap '' {ignored}; exec {} {}", binary().display(), words(&workplace, &train).join(" "));
        let mut child = Command::new("sh").args(["-c", &script]).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let steps = || contents(&workplace.path(&run).join("metrics.jsonl")).lines().count();
        until("a step", || steps() > 2);
        send(&child, ignored);
        let before = steps();
        until("a step after the signal", || steps() > before + 2);
        assert!(child.try_wait().unwrap().is_none());
        let line = stopped(child, other, code);
        assert!(line.starts_with("stopped: step ") && workplace.path(&run).join("checkpoints").exists(), "{line}");
    }
}

#[test]
fn a_run_that_any_signal_stops_goes_on_to_the_same_bits() {
    let workplace = Workplace::new();
    let train =
        |out: &str| format!("train --data {{}}/text.txt --batch-rows 4 --batch-tokens 64 --steps 60 --checkpoint-every 0 --out {{}}/{out}");
    text(&workplace.run(&train("whole")));
    for (signal, _, code) in SIGNALS {
        let child = start(&workplace, &train(signal));
        until("a step", || contents(&workplace.path(signal).join("metrics.jsonl")).lines().count() > 3);
        let line = stopped(child, signal, code);
        assert!(line.ends_with("the same command with --resume goes on from there"), "{line}");
        text(&workplace.run(&format!("{} --resume", train(signal))));
        assert_same_bits(&workplace, signal, "whole");
    }
}

/// Pairs, as many as to be looked at for long.
fn pairs(workplace: &Workplace, name: &str, count: usize) {
    let row = |i: usize| {
        format!(
            "{{\"prompt\": \"{i} is some number, and one says of it that it\", \"chosen\": \" is {i} indeed\", \"rejected\": \" is not\"}}\n"
        )
    };
    workplace.write(name, &(0..count).map(row).collect::<String>());
}

#[test]
fn an_evaluation_is_ended_early_and_made_on_resuming() {
    let workplace = Workplace::new();
    pairs(&workplace, "held-out.jsonl", 500);
    let align = |out: &str| {
        format!(
            "align --model {{}}/model --data {{}}/preferences.jsonl --eval-data {{}}/held-out.jsonl --eval-every 2 --checkpoint-every 0 \
             --steps 4 --batch 2 --threads 1 --out {{}}/{out}"
        )
    };
    text(&workplace.run(&align("whole")));
    let run = workplace.path("run");
    let child = start(&workplace, &align("run"));
    until("the reference's log-probabilities", || run.join("reference-log-probs.json").exists());
    let line = stopped(child, "TERM", 143);
    assert!(line.contains("no step was made; the same command with --resume begins in"), "{line}");
    let child = start(&workplace, &format!("{} --resume", align("run")));
    until("step 2", || contents(&run.join("metrics.jsonl")).contains("{\"step\":2,"));
    let line = stopped(child, "HUP", 129);
    assert!(line.starts_with("stopped: step 2 is saved"), "{line}");
    let metrics = contents(&run.join("metrics.jsonl"));
    assert_eq!(
        metrics.lines().filter(|line| line.contains("held_out")).count(),
        1,
        "the evaluation after step 2 is not half there: {metrics}"
    );
    text(&workplace.run(&format!("{} --resume", align("run"))));
    assert_same_bits(&workplace, "run", "whole");
}

#[test]
fn the_references_log_probabilities_are_saved_as_far_as_they_are() {
    let workplace = Workplace::new();
    pairs(&workplace, "pairs.jsonl", 1500);
    let align = |out: &str| {
        format!("align --model {{}}/model --data {{}}/pairs.jsonl --steps 300 --batch 5 --threads 1 --checkpoint-every 0 --out {{}}/{out}")
    };
    let cache = |out: &str| workplace.path(out).join("reference-log-probs.json");
    let child = start(&workplace, &align("run"));
    until("the run's folder", || workplace.path("run/config.toml").exists());
    std::thread::sleep(Duration::from_secs(1));
    let line = stopped(child, "TERM", 143);
    assert!(
        line.contains("the reference's log-probabilities of ") && line.contains(" are missing; the same command with --resume"),
        "{line}"
    );
    let half = std::fs::metadata(cache("run")).unwrap().len();
    // On to the end of the filling, and beside it one that was not stopped.
    for (out, more) in [("run", " --resume"), ("whole", "")] {
        let child = start(&workplace, &format!("{}{more}", align(out)));
        until("a step", || contents(&workplace.path(out).join("metrics.jsonl")).contains("{\"step\":1,"));
        stopped(child, "INT", 130);
    }
    let [run, whole] = ["run", "whole"].map(|out| std::fs::read(cache(out)).unwrap());
    assert!(run == whole && half < whole.len() as u64, "{half} of {} bytes", whole.len());
}

#[test]
fn commands_with_nothing_to_save_end_at_once_and_say_so() {
    let workplace = Workplace::new();
    pairs(&workplace, "pairs.jsonl", 200_000);
    let commands = [
        "eval --model {}/model --data {}/pairs.jsonl",
        "data --model {}/model {}/pairs.jsonl",
        "align --model {}/model --data {}/pairs.jsonl --out {}/run",
        "gradcheck",
        "demo --out {}/demo",
        "bench step --preset micro --steps 10000",
    ];
    for command in commands {
        let child = start(&workplace, command);
        until("a handler", || catches_signals(&child));
        std::thread::sleep(Duration::from_millis(100));
        let line = stopped(child, "TERM", 143);
        assert_eq!(line, "stopped: SIGTERM came, and there was nothing to save", "{command}");
    }
}
