//! `slpo study` on the real binary: it can be stopped at any moment and goes on with the same runs.

use crate::command::{Workplace, failure, listening, slpo, text};
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

/// All waiting ends after this time: the rest is for a busy machine.
const SOON: Duration = Duration::from_secs(300);
/// Runs that are compared.
const RUNS: usize = 20;

/// The finished lines of the file of runs, without the seconds that each took.
fn runs(folder: &Path) -> Vec<Vec<String>> {
    let text = std::fs::read_to_string(folder.join("runs.csv")).unwrap_or_default();
    let whole = text.split_inclusive('\n').filter(|line| line.ends_with('\n'));
    let fields = |line: &str| -> Vec<String> { line.trim_end().split(',').map(str::to_owned).collect() };
    let Some(seconds) = text.lines().next().and_then(|header| header.split(',').position(|name| name == "seconds")) else {
        return Vec::new();
    };
    let without_seconds = |mut line: Vec<String>| {
        line.remove(seconds);
        line
    };
    whole.map(fields).map(without_seconds).collect()
}

/// Starts the study and waits until its file has this many lines.
fn run_until(folder: &Path, more: &[&str], lines: usize) -> Child {
    let out = folder.to_str().unwrap();
    let mut command = listening();
    command.args(["study", "--quick", "--out", out]).args(more).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let started = Instant::now();
    while runs(folder).len() < lines {
        assert!(child.try_wait().unwrap().is_none() && started.elapsed() < SOON, "{} lines", runs(folder).len());
        std::thread::sleep(Duration::from_millis(20));
    }
    child
}

#[test]
fn a_study_that_was_killed_and_stopped_goes_on_to_the_same_runs() {
    let workplace = Workplace::new();
    let (whole, stopped) = (workplace.path("whole"), workplace.path("stopped"));
    run_until(&whole, &[], RUNS + 1).kill().unwrap();
    let mut killed = run_until(&stopped, &["--threads", "2"], RUNS / 3);
    killed.kill().unwrap();
    killed.wait().unwrap();
    std::fs::write(stopped.join("runs.csv"), std::fs::read_to_string(stopped.join("runs.csv")).unwrap() + "quick,1,leng").unwrap();
    let asked = run_until(&stopped, &["--resume", "--threads", "1"], RUNS / 2);
    let pid = asked.id().to_string();
    assert!(std::process::Command::new("kill").args(["-INT", &pid]).status().unwrap().success());
    let ended = asked.wait_with_output().unwrap();
    let said = String::from_utf8(ended.stderr).unwrap();
    assert!(ended.status.code() == Some(130) && said.contains("--resume goes on from there"), "{said}");
    run_until(&stopped, &["--resume"], RUNS + 1).kill().unwrap();
    assert_eq!(runs(&stopped)[..=RUNS], runs(&whole)[..=RUNS]);
}

#[test]
fn what_cannot_be_studied_is_said() {
    let workplace = Workplace::new();
    let place = workplace.path("study");
    run_until(&place, &[], 3).kill().unwrap();
    let out = place.to_str().unwrap();
    let line = failure(&slpo(&format!("study --quick --out {out}"), &[]), 2);
    assert!(line.contains("holds a study: give --resume to go on with it, or choose another --out"), "{line}");
    let line = failure(&slpo(&format!("study --out {out} --resume"), &[]), 2);
    assert!(line.contains("the study there is quick: give --quick"), "{line}");
    let line = failure(&slpo(&format!("study --quick --tier 2 --out {out} --resume"), &[]), 2);
    assert!(line.contains("the study there is quick: give --quick"), "{line}");
    let line = failure(&slpo("study --tier 3 --out study", &[]), 2);
    assert!(line.contains("slpo compare --data PAIRS --model MODEL --out DIR runs it"), "{line}");
    let line = failure(&slpo(&format!("study --report {out}"), &[]), 1);
    assert!(line.contains("the study is not whole"), "{line}");
    let line = failure(&slpo("study", &[]), 2);
    assert!(line.contains("--out") && line.contains("--report"), "{line}");
    std::fs::write(place.join("runs.csv"), "a,b\n").unwrap();
    let line = failure(&slpo(&format!("study --quick --out {out} --resume"), &[]), 1);
    assert!(line.contains("runs.csv:1: these are not the columns of a study by this version"), "{line}");
    text(&slpo("study --help", &[]));
}
