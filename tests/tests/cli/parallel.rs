//! One run on several processes of the real binary, over TCP as torchrun starts them and over MPI: what one process makes of the same
//! batches, and all end together.

use crate::command::{self, Workplace, listening, text};
use serde_json::Value;
use slpo_tests::free_port;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

/// All processes end within this time of their start, or of what ends them: the group looks around every two seconds, the rest is for a
/// busy machine.
const SOON: Duration = Duration::from_secs(120);

/// A process of a run of `size` that meets at `port`; `{}` in the arguments stands for the folder.
fn process(workplace: &Workplace, arguments: &str, rank: usize, size: usize, port: u16) -> Command {
    let folder = workplace.path("");
    let mut command = listening();
    command.args(arguments.replace("{}", folder.to_str().unwrap().trim_end_matches('/')).split(' '));
    command.envs([("RANK", rank.to_string()), ("WORLD_SIZE", size.to_string()), ("LOCAL_WORLD_SIZE", size.to_string())]);
    command.env("MASTER_ADDR", "127.0.0.1").env("MASTER_PORT", port.to_string()).env("SLPO_JOIN_SECONDS", "60");
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Starts all processes of a run.
fn start(workplace: &Workplace, arguments: &str, size: usize) -> Vec<Child> {
    let port = free_port();
    (0..size).map(|rank| process(workplace, arguments, rank, size, port).spawn().unwrap()).collect()
}

/// What became of every process; one that does not end in time is ended, and the test with it.
fn ended(children: Vec<Child>) -> Vec<Output> {
    let started = Instant::now();
    let wait = |mut child: Child| {
        while child.try_wait().unwrap().is_none() {
            if started.elapsed() > SOON {
                let _ = child.kill();
                panic!("a process goes on: {}", String::from_utf8_lossy(&child.wait_with_output().unwrap().stderr));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        child.wait_with_output().unwrap()
    };
    children.into_iter().map(wait).collect()
}

/// Runs to the end; only the first process speaks.
fn run(workplace: &Workplace, arguments: &str, size: usize) -> Output {
    let mut outputs = ended(start(workplace, arguments, size));
    outputs.iter().for_each(|output| drop(text(output)));
    for output in &outputs[1..] {
        assert!(output.stdout.is_empty() && output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
    }
    outputs.swap_remove(0)
}

fn errors(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

const TRAIN: &str = "train --data {}/text.txt --batch-tokens 16";
const SFT: &str = "sft --model {}/model --data {}/rows.jsonl --eval-data {}/rows.jsonl";
const ALIGN: &str = "align --model {}/model --data {}/pairs.jsonl --eval-data {}/pairs.jsonl";

/// The file that a folder's newest checkpoint has under a name.
fn newest(run: &Path, name: &str) -> PathBuf {
    let entries = std::fs::read_dir(run.join("checkpoints")).unwrap();
    let step = |path: &PathBuf| path.file_name().unwrap().to_str().unwrap()["step-".len()..].parse::<u64>().unwrap();
    entries.map(|entry| entry.unwrap().path()).max_by_key(step).unwrap().join(name)
}

#[track_caller]
fn assert_same_bits(workplace: &Workplace, run: &str, other: &str) {
    let (run, other) = (workplace.path(run), workplace.path(other));
    let bytes = |path: PathBuf| std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    for name in ["model.safetensors", "metrics.jsonl"] {
        assert!(bytes(run.join(name)) == bytes(other.join(name)), "{}: {name} differs", run.display());
    }
    let moments = |run: &Path| bytes(newest(run, "optimizer.safetensors"));
    assert!(moments(&run) == moments(&other), "{}: the moments differ", run.display());
    let cache = "reference-log-probs.json";
    assert_eq!(std::fs::read(run.join(cache)).ok(), std::fs::read(other.join(cache)).ok(), "{cache}");
}

#[test]
fn processes_with_one_micro_batch_each_have_the_bits_of_one_process() {
    let workplace = Workplace::new();
    workplace.write_uneven_rows();
    let kinds = [
        ("train", format!("{TRAIN} --batch-rows 3 --dropout 0.1 --eval-every 2"), 2),
        ("train-3", format!("{TRAIN} --batch-rows 2 --checkpoint-activations"), 3),
        ("sft", format!("{SFT} --batch 3 --dropout 0.1"), 2),
        ("sft-short", format!("{SFT} --batch 1"), 2),
        ("dpo", format!("{ALIGN} --batch 3 --loss dpo --dropout 0.1 --eval-every 2"), 2),
        ("slpo-exact", format!("{ALIGN} --batch 2 --loss slpo-exact"), 3),
        ("kto", format!("{ALIGN} --batch 3 --loss kto --dropout 0.1 --eval-every 2"), 2),
        ("moving-reference", format!("{ALIGN} --batch 3 --loss dpo --reference-every 2 --reference-mixup 0.5"), 2),
    ];
    for (name, command, size) in kinds {
        let command = format!("{command} --accumulate {size} --steps 4 --learning-rate 1e-3");
        text(&workplace.run(&format!("{command} --out {{}}/{name}-one")));
        run(&workplace, &format!("{command} --out {{}}/{name}-many"), size);
        assert_same_bits(&workplace, &format!("{name}-many"), &format!("{name}-one"));
    }
}

#[test]
fn a_group_of_one_has_the_bits_of_a_process_alone() {
    let workplace = Workplace::new();
    let command = format!("{TRAIN} --batch-rows 4 --accumulate 2 --dropout 0.1 --steps 4");
    text(&workplace.run(&format!("{command} --out {{}}/alone")));
    run(&workplace, &format!("{command} --out {{}}/group"), 1);
    assert_same_bits(&workplace, "group", "alone");
}

/// Sums of f32 numbers in another order, relative to the size of what is summed.
const REORDERED: f64 = 1e-5;

#[test]
fn the_losses_are_those_of_one_process_however_the_rows_are_shared() {
    let workplace = Workplace::new();
    workplace.write_uneven_rows();
    let kinds = [
        ("train", format!("{TRAIN} --batch-rows 7 --learning-rate 1e-4"), 2),
        ("sft", format!("{SFT} --batch 7 --learning-rate 1e-4"), 3),
        ("gkl", format!("{ALIGN} --batch 2 --accumulate 3 --loss slpo-gkl --learning-rate 1e-4"), 2),
    ];
    for (name, command, size) in kinds {
        text(&workplace.run(&format!("{command} --steps 3 --out {{}}/{name}-one")));
        run(&workplace, &format!("{command} --steps 3 --out {{}}/{name}-many"), size);
        let records = |out: &str| -> Vec<Value> {
            let lines = std::fs::read_to_string(workplace.path(&format!("{name}-{out}")).join("metrics.jsonl")).unwrap();
            lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
        };
        let (many, one) = (records("many"), records("one"));
        assert_eq!(many.len(), one.len());
        for (many, one) in many.iter().zip(&one) {
            let (many, one) = (many.as_object().unwrap(), one.as_object().unwrap());
            assert!(many.keys().eq(one.keys()));
            for (metric, value) in many {
                // How many weights a step changes is a count of roundings, not a sum.
                let tolerance = if metric == "weights_changed" { 1e-2 } else { REORDERED };
                let (value, other) = (value.as_f64().unwrap(), one[metric].as_f64().unwrap());
                assert!((value - other).abs() <= tolerance * other.abs().max(10.0), "{name}: {metric} is {value} and {other}");
            }
        }
    }
}

#[test]
fn a_run_that_was_stopped_goes_on_to_the_same_bits() {
    let workplace = Workplace::new();
    let command = format!("{TRAIN} --batch-rows 2 --accumulate 2 --dropout 0.1 --steps 8 --checkpoint-every 3 --eval-every 4");
    for out in ["whole", "stopped"] {
        run(&workplace, &format!("{command} --out {{}}/{out}"), 2);
    }
    std::fs::remove_dir_all(workplace.path("stopped/checkpoints/step-8")).unwrap();
    std::fs::remove_file(workplace.path("stopped/model.safetensors")).unwrap();
    run(&workplace, &format!("{command} --out {{}}/stopped --resume"), 2);
    assert_same_bits(&workplace, "stopped", "whole");
    // Another number of processes rounds otherwise, where each has several micro-batches, and is said.
    let alone = workplace.run(&format!("{command} --out {{}}/stopped --resume"));
    text(&alone);
    assert!(errors(&alone).contains("warning: the number of processes: 2 → 1: "), "{}", errors(&alone));
}

/// A run that goes on for long.
fn endless(out: &str) -> String {
    format!("{TRAIN} --batch-rows 4 --steps 1000000 --checkpoint-every 0 --eval-every 0 --out {{}}/{out}")
}

/// Waits until the run has made a step.
fn under_way(workplace: &Workplace, out: &str) {
    let started = Instant::now();
    let metrics = workplace.path(out).join("metrics.jsonl");
    while std::fs::read_to_string(&metrics).unwrap_or_default().lines().count() < 3 {
        assert!(started.elapsed() < SOON, "no step is made");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_killed_process_ends_the_others_with_one_message() {
    let workplace = Workplace::new();
    for killed in [0, 1] {
        let out = format!("killed-{killed}");
        let mut children = start(&workplace, &endless(&out), 3);
        under_way(&workplace, &out);
        children[killed].kill().unwrap();
        let outputs = ended(children);
        for (rank, output) in outputs.iter().enumerate().filter(|(rank, _)| *rank != killed) {
            assert_eq!(output.status.code(), Some(1), "process {rank}: {}", errors(output));
        }
        let said = |rank: usize| errors(&outputs[rank]).lines().filter(|line| line.starts_with("error: ")).collect::<Vec<_>>().join("\n");
        let expected =
            format!("error: process {killed} of 3 (counted from 0) is gone without a word: it was killed, or says itself what happened");
        // Where the first is there, it tells for all.
        let told = if killed == 0 { [expected.clone(), expected] } else { [expected, String::new()] };
        assert_eq!([said(usize::from(killed == 0)), said(2)], told);
    }
}

#[cfg(unix)]
#[test]
fn ctrl_c_in_any_process_stops_all_after_the_same_step() {
    let workplace = Workplace::new();
    let children = start(&workplace, &endless("run"), 2);
    under_way(&workplace, "run");
    assert!(Command::new("kill").args(["-INT", &children[1].id().to_string()]).status().unwrap().success());
    let outputs = ended(children);
    let said: Vec<String> = outputs.iter().map(errors).collect();
    assert_eq!(outputs.iter().map(|output| output.status.code()).collect::<Vec<_>>(), [Some(130); 2], "{said:?}");
    assert!(errors(&outputs[0]).lines().last().unwrap().starts_with("stopped: step "), "{}", errors(&outputs[0]));
    assert!(errors(&outputs[1]).is_empty(), "{}", errors(&outputs[1]));
    assert!(newest(&workplace.path("run"), "weights.safetensors").exists());
}

/// While the first process stands still, the other waits for its word about stopping, or for its part of a step.
#[cfg(unix)]
#[test]
fn a_signal_that_comes_while_processes_ask_each_other_is_answered_by_all_alike() {
    let workplace = Workplace::new();
    for round in 0..6 {
        let out = format!("run-{round}");
        let children = start(&workplace, &endless(&out), 2);
        under_way(&workplace, &out);
        let send = |signal: &str, rank: usize| {
            assert!(Command::new("kill").args([signal, &children[rank].id().to_string()]).status().unwrap().success());
            std::thread::sleep(Duration::from_millis(50));
        };
        send("-STOP", 0);
        send("-INT", 1);
        send("-CONT", 0);
        let outputs = ended(children);
        let said: Vec<String> = outputs.iter().map(errors).collect();
        assert_eq!(outputs.iter().map(|output| output.status.code()).collect::<Vec<_>>(), [Some(130); 2], "{said:?}");
    }
}

#[test]
fn a_failure_of_one_process_is_said_by_it_and_by_the_first_and_ends_all() {
    let workplace = Workplace::new();
    let port = free_port();
    let arguments =
        |data: &str, seed: u64| format!("train --data {{}}/{data} --steps 3 --batch-rows 4 --batch-tokens 16 --seed {seed} --out {{}}/run");
    let pair = |first: String, second: String| {
        ended(vec![process(&workplace, &first, 0, 2, port).spawn().unwrap(), process(&workplace, &second, 1, 2, port).spawn().unwrap()])
    };
    let outputs = pair(arguments("text.txt", 0), arguments("nothing.txt", 0));
    assert!(outputs.iter().all(|output| output.status.code() == Some(1) && errors(output).lines().count() == 1));
    assert!(errors(&outputs[0]).starts_with("error: process 1 of 2 (counted from 0) stopped: "), "{}", errors(&outputs[0]));
    assert!(errors(&outputs[1]).starts_with("error: process 1 of 2: ") && errors(&outputs[1]).contains("nothing.txt"));
    let outputs = pair(arguments("text.txt", 0), arguments("text.txt", 7));
    let expected = "error: several processes: all processes must be started with the same settings: process 0 has `seed = 0`, process 1 has \
                    `seed = 7`\n";
    assert_eq!(outputs.iter().map(errors).collect::<Vec<_>>(), [expected, ""]);
    assert!(outputs.iter().all(|output| output.status.code() == Some(1)));
    let few = arguments("text.txt", 0).replace("--batch-rows 4", "--batch-rows 1");
    let outputs = pair(few.clone(), few);
    assert_eq!(errors(&outputs[0]), "error: 2 processes cannot share a step of 1 rows: take larger batches, or fewer processes\n");
    assert!(outputs.iter().all(|output| output.status.code() == Some(2)));
    assert!(!workplace.path("run").exists(), "nothing was begun");
}

#[test]
fn a_process_that_never_comes_is_missed_within_the_limit() {
    let workplace = Workplace::new();
    for (rank, expected) in [(0, "of 2 processes, those of rank 1 did not come to 127.0.0.1"), (1, "cannot be reached within 1 s")] {
        let started = Instant::now();
        let output = process(&workplace, &endless("run"), rank, 2, free_port()).env("SLPO_JOIN_SECONDS", "1").output().unwrap();
        let line = command::failure(&output, 1);
        assert!(line.contains(expected) && started.elapsed() < SOON, "{line}");
    }
}

#[test]
fn an_environment_that_contradicts_itself_is_bad_usage() {
    let workplace = Workplace::new();
    let refused = |name: &str, value: Option<&str>| {
        let mut command = process(&workplace, &endless("run"), 0, 2, 1);
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
        command::failure(&command.output().unwrap(), 2)
    };
    assert!(refused("WORLD_SIZE", None).contains("RANK is set and WORLD_SIZE is not"));
    assert!(refused("MASTER_PORT", Some("70000")).contains("MASTER_PORT gives port 70000"));
    assert!(refused("RANK", Some("2")).contains("RANK is 2 and WORLD_SIZE 2"));
    let mut command = process(&workplace, &endless("run"), 0, 2, 1);
    command.env_remove("RANK").env_remove("WORLD_SIZE").env("OMPI_COMM_WORLD_SIZE", "2");
    let line = command::failure(&command.output().unwrap(), 2);
    assert!(line.contains("built without MPI: build it with --features mpi"), "{line}");
}

/// The binary with MPI, which `.ci/mpi` builds where there is an MPI, and names in `SLPO_MPI_BINARY`.
fn mpi_binary() -> Option<std::ffi::OsString> {
    let binary = std::env::var_os("SLPO_MPI_BINARY");
    if binary.is_none() {
        println!("skipped: SLPO_MPI_BINARY names no slpo that was built with --features mpi (.ci/mpi builds one)");
    }
    binary
}

/// Starts `size` processes of it under mpirun.
fn mpirun(binary: &std::ffi::OsStr, workplace: &Workplace, arguments: &str, size: usize) -> Child {
    let folder = workplace.path("");
    let mut command = Command::new("mpirun");
    command.env("OMPI_ALLOW_RUN_AS_ROOT", "1").env("OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1");
    command.args(["--oversubscribe", "-n", &size.to_string()]).arg(binary);
    command.args(arguments.replace("{}", folder.to_str().unwrap().trim_end_matches('/')).split(' '));
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

#[test]
fn mpirun_ends_when_any_of_its_processes_is_killed_and_the_run_goes_on_to_the_same_bits() {
    let Some(binary) = mpi_binary() else { return };
    let workplace = Workplace::new();
    workplace.write_uneven_rows();
    let command = format!("{TRAIN} --batch-rows 2 --accumulate 2 --steps 400 --checkpoint-every 5 --keep 2");
    text(&workplace.run(&format!("{command} --out {{}}/one")));
    for place in [0, 1] {
        let again = if place > 0 { " --resume" } else { "" };
        let group = mpirun(&binary, &workplace, &format!("{command} --out {{}}/mpi{again}"), 2);
        let before = checkpoints(&workplace);
        let started = Instant::now();
        while checkpoints(&workplace) <= before {
            assert!(started.elapsed() < SOON, "no checkpoint is written");
            std::thread::sleep(Duration::from_millis(5));
        }
        let ranks = Command::new("pgrep").args(["-P", &group.id().to_string()]).output().unwrap().stdout;
        let ranks = String::from_utf8(ranks).unwrap();
        let rank = ranks.lines().nth(place).expect("two processes of mpirun");
        assert!(Command::new("kill").args(["-KILL", rank]).status().unwrap().success());
        let output = ended(vec![group]).swap_remove(0);
        assert!(!output.status.success() && errors(&output).contains("signal 9"), "{}", errors(&output));
    }
    text(&ended(vec![mpirun(&binary, &workplace, &format!("{command} --out {{}}/mpi --resume"), 2)])[0]);
    assert_same_bits(&workplace, "mpi", "one");
}

/// The step of the newest checkpoint of the run under mpirun; 0 without any.
fn checkpoints(workplace: &Workplace) -> usize {
    let entries = std::fs::read_dir(workplace.path("mpi/checkpoints")).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.strip_prefix("step-")?.parse().ok()).max().unwrap_or(0)
}

#[test]
fn mpirun_with_two_processes_has_the_bits_of_one_process() {
    let Some(binary) = mpi_binary() else { return };
    let workplace = Workplace::new();
    workplace.write_uneven_rows();
    let mpirun = |arguments: &str, size: usize| mpirun(&binary, &workplace, arguments, size);
    let kinds = [
        ("train", format!("{TRAIN} --batch-rows 3 --dropout 0.1 --eval-every 2"), 2),
        ("train-3", format!("{TRAIN} --batch-rows 3"), 3),
        ("sft", format!("{SFT} --batch 3"), 2),
        ("dpo", format!("{ALIGN} --batch 3 --loss dpo --eval-every 2"), 2),
    ];
    for (name, command, size) in kinds {
        let command = format!("{command} --accumulate {size} --steps 4 --learning-rate 1e-3");
        text(&workplace.run(&format!("{command} --out {{}}/{name}-one")));
        let outputs = ended(vec![mpirun(&format!("{command} --out {{}}/{name}-mpi"), size)]);
        text(&outputs[0]);
        assert_same_bits(&workplace, &format!("{name}-mpi"), &format!("{name}-one"));
    }
    // The folder holds a run now: the first process says so, and MPI ends the other.
    let refused = ended(vec![mpirun(&format!("{TRAIN} --batch-rows 4 --out {{}}/train-mpi"), 2)]).swap_remove(0);
    assert!(!refused.status.success() && errors(&refused).contains("already holds a run"), "{}", errors(&refused));
}

#[cfg(unix)]
#[test]
fn a_signal_to_any_process_ends_what_the_first_does_alone() {
    let workplace = Workplace::new();
    workplace.write_uneven_rows();
    let row = |i: usize| format!("{{\"prompt\": \"{i} is\", \"completion\": \" a number, and not a small one\"}}\n");
    workplace.write("many.jsonl", &(0..40_000).map(row).collect::<String>());
    let command = "sft --model {}/model --data {}/rows.jsonl --eval-data {}/many.jsonl --batch 4 --steps 10 --out {}/run";
    let children = start(&workplace, command, 2);
    let started = Instant::now();
    while !workplace.path("run/metrics.jsonl").exists() {
        assert!(started.elapsed() < SOON, "no run is begun");
        std::thread::sleep(Duration::from_millis(20));
    }
    // The evaluation before the first step takes minutes: the second process waits for it.
    std::thread::sleep(Duration::from_secs(1));
    assert!(Command::new("kill").args(["-TERM", &children[1].id().to_string()]).status().unwrap().success());
    let (asked, outputs) = (Instant::now(), ended(children));
    assert!(asked.elapsed() < Duration::from_secs(60));
    assert_eq!(outputs.iter().map(|output| output.status.code()).collect::<Vec<_>>(), [Some(143); 2], "{}", errors(&outputs[0]));
    assert!(errors(&outputs[0]).lines().last().unwrap().starts_with("stopped: no step was made"), "{}", errors(&outputs[0]));
}

#[test]
fn a_secret_lets_in_those_who_have_it_and_makes_no_difference_to_the_bits() {
    let workplace = Workplace::new();
    let (port, command) = (free_port(), format!("{TRAIN} --batch-rows 2 --accumulate 2 --steps 2"));
    text(&workplace.run(&format!("{command} --out {{}}/one")));
    let with = |rank: usize, secret: &str| {
        let mut process = process(&workplace, &format!("{command} --out {{}}/two"), rank, 2, port);
        process.env("SLPO_GROUP_SECRET", secret).spawn().unwrap()
    };
    let (secret, first) = ("a secret of more than 16 bytes", with(0, "a secret of more than 16 bytes"));
    let stranger = ended(vec![with(1, "another secret of many bytes")]).swap_remove(0);
    let line = command::failure(&stranger, 1);
    assert!(line.contains("does not prove that it has the same SLPO_GROUP_SECRET") && !line.contains(secret), "{line}");
    ended(vec![first, with(1, secret)]).iter().for_each(|output| drop(text(output)));
    assert_same_bits(&workplace, "two", "one");
    let line = command::failure(&ended(vec![with(0, "short")]).swap_remove(0), 2);
    assert!(line.contains("SLPO_GROUP_SECRET has 5 bytes") && !line.contains("short"), "{line}");
}

#[test]
fn a_first_process_that_others_can_reach_says_what_that_means_without_a_secret() {
    let workplace = Workplace::new();
    let first = |secret: Option<&str>| {
        let mut command = process(&workplace, &endless("run"), 0, 2, free_port());
        command.env("MASTER_ADDR", "0.0.0.0").env("SLPO_JOIN_SECONDS", "1");
        secret.map(|secret| command.env("SLPO_GROUP_SECRET", secret));
        errors(&command.output().unwrap())
    };
    let said = first(None);
    assert!(said.starts_with("warning: whoever can reach 0.0.0.0:") && said.contains("SLPO_GROUP_SECRET"), "{said}");
    assert!(first(Some("a secret of more than 16 bytes")).starts_with("error: "));
}
