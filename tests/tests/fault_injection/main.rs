//! Calls of the system that fail, one at a time, on the real binary.
//!
//! Each command runs once undisturbed, with every call about a file of its workplace counted, and then once for each of these calls, in a
//! fresh copy of the workplace, with this one call going wrong. A preloaded library does that (`inject.c`, where the ways to go wrong are
//! listed). What must hold afterwards, whichever call it was:
//!
//! 1. The command ends by itself, with exit code 0 or 1; code 1 comes with exactly one line `error: …`.
//! 2. Code 0 means that nothing was lost: every result has the bits of the undisturbed run.
//! 3. What was there before and is not the command's to change has the bits it had; a model that was to be replaced is the old one or the
//!    new one, as a whole.
//! 4. The same command again (with `--resume` where a run has begun) ends with the bits of the undisturbed run.
//! 5. A call that a signal interrupted, and a read or write of fewer bytes than asked for, is as if nothing had happened.
//!
//! The everyday run takes a sample. `SLPO_FAULTS=all cargo test -p slpo-tests --test fault_injection -- --nocapture` takes every call and
//! prints what came of it; `SLPO_FAULTS=align:fail:17` takes one.

#![cfg(all(target_os = "linux", target_env = "gnu"))]

#[path = "../command/mod.rs"]
mod command;

use command::{Workplace, binary, text};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;

/// A command with what it may change.
struct Scenario {
    name: &'static str,
    /// `{}` stands for the workplace.
    command: &'static str,
    /// The folder that it writes, if any.
    out: Option<&'static str>,
    /// Whether `out` holds a model before, which is replaced as a whole.
    replaces: bool,
    /// Whether the command goes on with `--resume`.
    resumes: bool,
}

const SCENARIOS: [Scenario; 8] = [
    Scenario {
        name: "train",
        command: "train --data {}/text.txt --batch-rows 2 --batch-tokens 16 --steps 4 --checkpoint-every 2 --eval-every 2 --keep 1 \
                  --out {}/out",
        out: Some("out"),
        replaces: false,
        resumes: true,
    },
    Scenario {
        name: "resume",
        command: "train --data {}/text.txt --batch-rows 2 --batch-tokens 16 --steps 4 --checkpoint-every 2 --out {}/begun",
        out: Some("begun"),
        replaces: false,
        resumes: true,
    },
    Scenario {
        name: "sft",
        command: "sft --model {}/model --data {}/completions.jsonl --steps 4 --batch 2 --checkpoint-every 2 --lora-rank 2 --out {}/out",
        out: Some("out"),
        replaces: false,
        resumes: true,
    },
    Scenario {
        name: "align",
        command: "align --model {}/model --data {}/preferences.jsonl --eval-data {}/preferences.jsonl --loss dpo --steps 4 --batch 2 \
                  --eval-every 2 --checkpoint-every 2 --out {}/out",
        out: Some("out"),
        replaces: false,
        resumes: true,
    },
    Scenario { name: "convert", command: "convert {}/model --out {}/other --force", out: Some("other"), replaces: true, resumes: false },
    Scenario {
        name: "merge",
        command: "merge --model {}/model --adapter {}/adapter --out {}/other --force",
        out: Some("other"),
        replaces: true,
        resumes: false,
    },
    Scenario {
        name: "generate",
        command: "generate --model {}/model --prompt The --max-tokens 3 --temperature 1",
        out: None,
        replaces: false,
        resumes: false,
    },
    Scenario {
        name: "eval",
        command: "eval --model {}/model --reference {}/other --data {}/preferences.jsonl --json",
        out: None,
        replaces: false,
        resumes: false,
    },
];

const KINDS: [&str; 4] = ["fail", "kill", "eintr", "short"];

/// Whether a call can go wrong in a way of its own: every call fails; a kill matters before what changes a file; a signal interrupts what
/// waits for a disk; fewer bytes come of a read or a write.
fn applies(kind: &str, call: &str) -> bool {
    const CHANGES: [&str; 12] =
        ["open", "write", "writev", "ftruncate64", "fsync", "rename", "renameat2", "mkdir", "unlink", "unlinkat", "linkat", "symlink"];
    let name = call.split(' ').nth(1).expect("NUMBER NAME PATH");
    match kind {
        "kill" => CHANGES.contains(&name),
        "eintr" => ["open", "read", "write", "writev", "fsync", "ftruncate64"].contains(&name),
        "short" => ["read", "write"].contains(&name),
        _ => true,
    }
}

/// The library, built the first time that it is asked for; none without a C compiler.
fn library() -> Option<&'static Path> {
    static LIBRARY: OnceLock<Option<PathBuf>> = OnceLock::new();
    let build = || {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fault_injection/inject.c");
        let library = binary().with_file_name("libfault_injection.so");
        let beside = library.with_extension(std::process::id().to_string());
        let built =
            Command::new("cc").args(["-shared", "-fPIC", "-O1", "-o"]).arg(&beside).arg(source).args(["-ldl", "-lpthread"]).status();
        match built {
            Ok(status) => assert!(status.success(), "inject.c does not compile"),
            Err(_) => return None,
        }
        fs::rename(beside, &library).unwrap();
        Some(library)
    };
    LIBRARY.get_or_init(build).as_deref()
}

/// What every scenario starts from: a model with a chat template, another one, an adapter, data, and a run that stopped at its second step.
fn prepared() -> &'static Workplace {
    static PREPARED: OnceLock<Workplace> = OnceLock::new();
    PREPARED.get_or_init(|| {
        let workplace = Workplace::new();
        workplace.write("model/chat_template.jinja", "{% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}");
        workplace.write("model/generation_config.json", "{\"temperature\": 0.9}\n");
        let train = "train --data {}/text.txt --batch-rows 2 --batch-tokens 16";
        text(&workplace.run(&format!("{train} --steps 2 --checkpoint-every 2 --out {{}}/begun")));
        text(&workplace.run("sft --model {}/model --data {}/completions.jsonl --steps 1 --batch 2 --lora-rank 2 --out {}/adapter"));
        text(&workplace.run("sft --model {}/model --data {}/completions.jsonl --steps 1 --batch 2 --out {}/tuned"));
        text(&workplace.run("convert {}/tuned --out {}/other"));
        workplace.write("other/notes.md", "what is not the model's stays");
        workplace
    })
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        let place = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &place);
        } else {
            fs::copy(entry.path(), place).unwrap();
        }
    }
}

/// Every file below `folder`, by its path there. Left out: what names the workplace or the time (a run's settings and the lock of a run),
/// and what a killed process left unfinished.
fn files(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    fn add(root: &Path, folder: &Path, found: &mut BTreeMap<String, Vec<u8>>) {
        for path in fs::read_dir(folder).into_iter().flatten().map(|entry| entry.unwrap().path()) {
            let name = path.file_name().unwrap().to_str().unwrap();
            let is_unfinished = name.ends_with(".tmp") || name == "partial";
            let is_told_by_the_run = ["config.toml", "README.md", "run.lock", "lock", "report.html", "adapter_config.json"].contains(&name);
            if is_unfinished || is_told_by_the_run || name.starts_with("events.out") {
                continue;
            }
            if path.is_dir() {
                add(root, &path, found);
            } else {
                let key = path.strip_prefix(root).unwrap().display().to_string();
                let key = key.split_once("runs/").map_or(key.clone(), |_| "log".to_owned());
                found.insert(key, fs::read(&path).unwrap());
            }
        }
    }
    let mut found = BTreeMap::new();
    add(folder, folder, &mut found);
    found
}

/// A copy of the prepared workplace for one run.
struct Copy {
    folder: tempfile::TempDir,
    scenario: &'static Scenario,
}

/// What a run left, as far as it must be the same every time.
#[derive(PartialEq)]
struct Results {
    out: BTreeMap<String, Vec<u8>>,
    said: String,
}

impl Copy {
    fn new(scenario: &'static Scenario) -> Self {
        let folder = tempfile::tempdir().unwrap();
        copy(&prepared().path(""), folder.path());
        Self { folder, scenario }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Runs the scenario's command with this environment; a second time it goes on where there is something to go on from.
    fn run(&self, environment: &[(&str, &str)]) -> Output {
        let Scenario { command, out, resumes, .. } = self.scenario;
        let words = command.split(' ').filter(|word| !word.is_empty()).map(|word| word.replace("{}", self.folder.path().to_str().unwrap()));
        let is_begun = *resumes && out.is_some_and(|out| self.path(out).join("config.toml").exists());
        let mut run = Command::new("timeout");
        run.arg("300").arg(binary()).args(words).args(["--threads", "1"]).args(is_begun.then_some("--resume"));
        run.envs(environment.iter().copied());
        if !environment.is_empty() {
            run.env("FAULT_ROOT", self.folder.path()).env("LD_PRELOAD", library().unwrap());
        }
        run.output().unwrap()
    }

    fn results(&self, output: &Output) -> Results {
        let said = if self.scenario.out.is_some() { String::new() } else { String::from_utf8(output.stdout.clone()).unwrap() };
        let said = said.replace(self.folder.path().to_str().unwrap(), "{}");
        Results { out: self.scenario.out.map(|out| files(&self.path(out))).unwrap_or_default(), said }
    }

    /// The names of what the command does not write, and has changed.
    fn changed_inputs(&self) -> Vec<String> {
        let before = files(&prepared().path(""));
        let after = files(self.folder.path());
        let is_out = |name: &str| self.scenario.out.is_some_and(|out| name.starts_with(&format!("{out}/")));
        before.into_iter().filter(|(name, bytes)| !is_out(name) && after.get(name) != Some(bytes)).map(|(name, _)| name).collect()
    }
}

/// The calls of an undisturbed run with its results.
struct Undisturbed {
    calls: Vec<String>,
    results: Results,
    old: BTreeMap<String, Vec<u8>>,
}

fn undisturbed(scenario: &'static Scenario) -> Undisturbed {
    let place = Copy::new(scenario);
    let log = place.folder.path().with_extension("calls");
    let output = place.run(&[("FAULT_LOG", log.to_str().unwrap())]);
    text(&output);
    let calls: Vec<String> = fs::read_to_string(&log).unwrap().lines().map(str::to_owned).collect();
    fs::remove_file(log).unwrap();
    let old = scenario.out.map(|out| files(&prepared().path(out))).unwrap_or_default();
    assert!(place.changed_inputs().is_empty());
    Undisturbed { calls, results: place.results(&output), old }
}

/// Names the files in which two results differ.
fn difference(found: &Results, expected: &Results) -> String {
    let names: Vec<_> = found.out.keys().chain(expected.out.keys()).filter(|&name| found.out.get(name) != expected.out.get(name)).collect();
    format!("{names:?} {}", if found.said == expected.said { "" } else { &found.said })
}

/// Runs the scenario with call `number` going wrong. What came of it, or what must not have.
fn disturbed(scenario: &'static Scenario, whole: &Undisturbed, kind: &str, number: usize) -> Result<&'static str, String> {
    let place = Copy::new(scenario);
    let output = place.run(&[("FAULT_AT", &number.to_string()), ("FAULT_KIND", kind)]);
    let said = String::from_utf8_lossy(&output.stderr);
    let errors = said.lines().filter(|line| line.starts_with("error: ")).count();
    let outcome = match (kind, output.status.code()) {
        (_, Some(0)) if errors == 0 => "as if nothing had happened",
        ("fail", Some(1)) if errors == 1 => "refused in one line",
        // `timeout` passes on the signal that ended the program as 128 + 9.
        ("kill", None | Some(137)) => "killed",
        (_, code) => return Err(format!("ended with {code:?} and {errors} errors: {said}")),
    };
    let changed = place.changed_inputs();
    if !changed.is_empty() {
        return Err(format!("changed {changed:?}: {said}"));
    }
    let results = place.results(&output);
    if output.status.success() && results != whole.results {
        return Err(format!("succeeded with other results, {}: {said}", difference(&results, &whole.results)));
    }
    if scenario.replaces && results.out != whole.old && results.out != whole.results.out {
        return Err(format!("left a mixture of the old model and the new one, {}: {said}", difference(&results, &whole.results)));
    }
    let again = place.run(&[]);
    let results = place.results(&again);
    if !again.status.success() || results != whole.results {
        let said_again = String::from_utf8_lossy(&again.stderr);
        return Err(format!("again: {}, {}: {said_again}\nbefore: {said}", again.status, difference(&results, &whole.results)));
    }
    Ok(outcome)
}

/// The numbers of the calls that are disturbed: all to which the kind applies, one, or a sample that is spread over the run.
fn chosen(scenario: &Scenario, kind: &str, calls: &[String]) -> Vec<usize> {
    let numbers: Vec<usize> = (1..=calls.len()).filter(|&number| applies(kind, &calls[number - 1])).collect();
    let wanted = std::env::var("SLPO_FAULTS").unwrap_or_default();
    match wanted.split(':').collect::<Vec<_>>()[..] {
        ["all"] => numbers,
        [name, wanted_kind, number] => {
            let number = number.parse().expect("SLPO_FAULTS=NAME:KIND:NUMBER");
            if (name, wanted_kind) == (scenario.name, kind) { vec![number] } else { Vec::new() }
        }
        _ => {
            let sample = if kind == "fail" { 12 } else { 3 };
            (0..sample).map(|i| numbers[(2 * i + 1) * numbers.len() / (2 * sample)]).collect()
        }
    }
}

fn check(name: &str) {
    if library().is_none() {
        return println!("skipped: no C compiler (cc) on this machine builds the library that makes calls fail");
    }
    let scenario = SCENARIOS.iter().find(|scenario| scenario.name == name).unwrap();
    let whole = undisturbed(scenario);
    let (mut outcomes, mut wrong) = (BTreeMap::<(&str, &str), usize>::new(), Vec::new());
    for kind in KINDS {
        for number in chosen(scenario, kind, &whole.calls) {
            match disturbed(scenario, &whole, kind, number) {
                Ok(outcome) => *outcomes.entry((kind, outcome)).or_default() += 1,
                Err(what) => wrong.push(format!("{name}:{kind}:{}\n  {what}", whole.calls[number - 1])),
            }
        }
    }
    let counts: Vec<_> = outcomes.into_iter().map(|((kind, outcome), count)| format!("{kind}: {count} {outcome}")).collect();
    println!("{name}: {} calls; {}", whole.calls.len(), counts.join(", "));
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
}

macro_rules! survives {
    ($($test:ident: $name:literal),* $(,)?) => {
        $(#[test]
        fn $test() {
            check($name);
        })*

        #[test]
        fn every_scenario_has_its_test() {
            assert_eq!(SCENARIOS.map(|scenario| scenario.name), [$($name),*]);
        }
    };
}

survives! {
    train_survives_any_call_that_goes_wrong: "train",
    a_resumed_run_survives_any_call_that_goes_wrong: "resume",
    fine_tuning_survives_any_call_that_goes_wrong: "sft",
    alignment_survives_any_call_that_goes_wrong: "align",
    convert_survives_any_call_that_goes_wrong: "convert",
    merge_survives_any_call_that_goes_wrong: "merge",
    generation_survives_any_call_that_goes_wrong: "generate",
    evaluation_survives_any_call_that_goes_wrong: "eval",
}

/// The library does what it says: the test of a mechanism that nothing else would notice the absence of.
#[test]
fn the_library_makes_the_call_fail_that_it_is_asked_to() {
    if library().is_none() {
        return println!("skipped: no C compiler (cc) on this machine");
    }
    let scenario = &SCENARIOS[6];
    let whole = undisturbed(scenario);
    let weights = whole.calls.iter().position(|call| call.contains(" open ") && call.ends_with("model.safetensors")).unwrap();
    let place = Copy::new(scenario);
    let output = place.run(&[("FAULT_AT", &(weights + 1).to_string()), ("FAULT_KIND", "fail")]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code() == Some(1) && said.contains("model.safetensors") && said.contains("permission"), "{said}");
    let killed = place.run(&[("FAULT_AT", "1"), ("FAULT_KIND", "kill")]);
    assert!(!killed.status.success() && killed.stderr.is_empty() && killed.stdout.is_empty());
}
