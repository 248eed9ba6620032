//! What a run's folder promises.

use std::fs;
use std::process::Command;

use super::*;

#[test]
fn the_settings_are_written_where_they_changed() {
    let folder = tempfile::tempdir().unwrap();
    let run = RunFolder::create(folder.path().join("deep/run")).unwrap();
    assert_eq!(run.write_config(Ok("steps = 10\n".to_owned())).unwrap(), "steps = 10\n");
    assert_eq!(fs::read_to_string(run.file("config.toml")).unwrap(), "steps = 10\n");
    let error = run.write_config(toml::to_string(&3)).unwrap_err();
    assert!(error.to_string().starts_with("cannot write the settings to "), "{error}");
}

#[test]
fn a_folder_that_vanishes_is_made_again_with_every_metric() {
    let parent = tempfile::tempdir().unwrap();
    let mut run = RunFolder::create(parent.path().join("run")).unwrap();
    let mut metrics = run.metrics().unwrap();
    metrics.log(1, &[("loss", 3.0)]).unwrap();
    assert!(metrics.are_there());
    fs::rename(run.path(), parent.path().join("elsewhere")).unwrap();
    metrics.log(2, &[("loss", 2.0)]).unwrap();
    assert!(!metrics.are_there());
    let mut metrics = run.make_again(&metrics, "steps = 3\n").unwrap();
    metrics.log(3, &[("loss", 1.0)]).unwrap();
    let steps: Vec<u64> = read_metrics(&run.file("metrics.jsonl")).unwrap().iter().map(|record| record.step).collect();
    assert_eq!(steps, [1, 2, 3]);
    assert!(metrics.are_there() && run.file("config.toml").is_file() && run.file("run.lock").is_file());
    fs::remove_dir_all(parent.path()).unwrap();
    fs::write(parent.path(), "a file in the parent's place").unwrap();
    let error = run.make_again(&metrics, "").unwrap_err().to_string();
    assert!(error.contains("was moved or removed while the run went on, and cannot be made again: cannot write "), "{error}");
    fs::remove_file(parent.path()).unwrap();
}

#[test]
fn a_folder_holds_one_run() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("notes.txt"), "other files do not matter").unwrap();
    let run = RunFolder::create(folder.path()).unwrap();
    let nothing = RunFolder::resume(folder.path()).unwrap_err().to_string();
    assert!(nothing.ends_with("holds no run to resume: it has no metrics.jsonl"), "{nothing}");
    run.metrics().unwrap().log(1, &[("loss", 1.0)]).unwrap();
    let busy = RunFolder::resume(folder.path()).unwrap_err().to_string();
    assert!(busy.contains("another run is going on there (process "), "{busy}");
    drop(run);
    let occupied = RunFolder::create(folder.path()).unwrap_err().to_string();
    let expected = "already holds a run (metrics.jsonl is there): choose another folder, or resume that run";
    assert_eq!(occupied, format!("{} {expected}", folder.path().display()));
    RunFolder::resume(folder.path()).unwrap();
    let file = folder.path().join("notes.txt");
    let error = RunFolder::create(&file).unwrap_err().to_string();
    assert_eq!(error, format!("{} is a file: a run needs a folder", file.display()));
}

#[test]
fn records_are_valid_json_lines_and_read_back_bit_for_bit() {
    let folder = tempfile::tempdir().unwrap();
    let run = RunFolder::create(folder.path()).unwrap();
    let mut metrics = run.metrics().unwrap();
    let values = [("loss", 0.1 + 0.2), ("a \"b\"\n", f64::MIN_POSITIVE), ("big", 1e300), ("zero", -0.0)];
    metrics.log(1, &values).unwrap();
    metrics.log(2, &[("loss", f64::NAN), ("up", f64::INFINITY), ("down", f64::NEG_INFINITY)]).unwrap();
    let text = fs::read_to_string(run.file("metrics.jsonl")).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    assert!(lines[0].starts_with("{\"step\":1,\"loss\":0.30000000000000004,"), "{}", lines[0]);
    assert_eq!(lines[1], "{\"step\":2,\"loss\":\"NaN\",\"up\":\"Infinity\",\"down\":\"-Infinity\"}");
    let records = read_metrics(&run.file("metrics.jsonl")).unwrap();
    for (name, value) in values {
        let read = records[0].values.iter().find(|(other, _)| other == name).unwrap().1;
        assert_eq!(read.to_bits(), value.to_bits(), "{name}");
    }
    assert!(records[1].values.iter().any(|(name, value)| name == "loss" && value.is_nan()));
    assert!(records[1].values.contains(&("down".to_owned(), f64::NEG_INFINITY)));
}

#[test]
fn a_resumed_run_writes_the_same_metrics_as_one_that_was_never_stopped() {
    let folder = tempfile::tempdir().unwrap();
    let log = |metrics: &mut Metrics, steps: std::ops::RangeInclusive<u64>| {
        steps.for_each(|step| metrics.log(step, &[("loss", 1.0 / step as f64)]).unwrap());
    };
    let whole = RunFolder::create(folder.path().join("whole")).unwrap();
    log(&mut whole.metrics().unwrap(), 1..=9);
    let stopped = RunFolder::create(folder.path().join("stopped")).unwrap();
    log(&mut stopped.metrics().unwrap(), 1..=7);
    let path = stopped.file("metrics.jsonl");
    let mut text = fs::read_to_string(&path).unwrap();
    text.push_str("{\"step\":8,\"lo");
    fs::write(&path, text).unwrap();
    let stopped_at = stopped.path().to_owned();
    drop(stopped);
    let resumed = RunFolder::resume(stopped_at).unwrap();
    log(&mut resumed.resume_metrics(Some(5)).unwrap(), 6..=9);
    assert_eq!(fs::read(&path).unwrap(), fs::read(whole.file("metrics.jsonl")).unwrap());
}

#[test]
fn a_bad_line_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("metrics.jsonl");
    for (line, reason) in [
        ("{\"step\":1", "not JSON"),
        ("[1]", "not a JSON object"),
        ("{\"loss\":1}", "no whole number `step`"),
        ("{\"step\":1,\"loss\":\"much\"}", "`loss` is not a number"),
    ] {
        fs::write(&path, format!("{{\"step\":0}}\n{line}\n")).unwrap();
        let message = read_metrics(&path).unwrap_err().to_string();
        assert!(message.starts_with(&format!("{}, line 2: {reason}", path.display())), "{message}");
        let resumed = RunFolder::resume(folder.path()).unwrap().resume_metrics(Some(5)).unwrap_err();
        assert!(resumed.to_string().contains(", line 2: "), "{resumed}");
    }
    let missing = read_metrics(&folder.path().join("none.jsonl")).unwrap_err().to_string();
    assert!(missing.starts_with("cannot read "), "{missing}");
}

#[test]
fn a_failed_write_leaves_the_old_file_and_no_litter() {
    let folder = tempfile::tempdir().unwrap();
    let target = folder.path().join("target");
    fs::create_dir(&target).unwrap();
    fs::write(target.join("inside"), "kept").unwrap();
    write_atomically(&target, b"new").unwrap_err();
    assert_eq!(fs::read_to_string(target.join("inside")).unwrap(), "kept");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "the temporary file is gone");
    let file = folder.path().join("file");
    write_atomically(&file, b"old").unwrap();
    write_atomically(&file, b"new").unwrap();
    assert_eq!(fs::read(&file).unwrap(), b"new");
}

/// Set SLPO_TENSORBOARD_PYTHON to a Python that has the `tensorboard` package to run this.
#[test]
fn tensorboard_reads_the_events_and_forgets_what_a_resumed_run_logs_again() {
    let Some(python) = std::env::var_os("SLPO_TENSORBOARD_PYTHON") else {
        println!("skipped: SLPO_TENSORBOARD_PYTHON is not set");
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let run = RunFolder::create(folder.path()).unwrap();
    let mut metrics = run.metrics().unwrap();
    for (step, loss) in [(1, 2.5), (2, f64::NAN), (3, 0.0), (4, 99.0)] {
        metrics.log(step, &[("train/loss", loss), ("größe", step as f64)]).unwrap();
    }
    drop(run);
    let mut resumed = RunFolder::resume(folder.path()).unwrap().resume_metrics(Some(3)).unwrap();
    resumed.log(4, &[("train/loss", f64::INFINITY), ("größe", -1e-3)]).unwrap();
    let script = "import sys; from tensorboard.backend.event_processing.event_accumulator import EventAccumulator as E
e = E(sys.argv[1]); e.Reload()
print([(t, [(s.step, round(s.value, 6)) for s in e.Scalars(t)]) for t in sorted(e.Tags()['scalars'])])";
    let output = Command::new(python).args(["-c", script]).arg(folder.path()).output().unwrap();
    let read = String::from_utf8_lossy(&output.stdout);
    let expected = "[('größe', [(1, 1.0), (2, 2.0), (3, 3.0), (4, -0.001)]), \
                    ('train/loss', [(1, 2.5), (2, nan), (3, 0.0), (4, inf)])]";
    assert_eq!(read.trim(), expected, "{}", String::from_utf8_lossy(&output.stderr));
}
