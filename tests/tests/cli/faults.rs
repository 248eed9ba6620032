//! Faults on the real binary: one clear message, the right exit code, and the last checkpoint intact.

use crate::command::{Workplace, binary, failure, listening, text};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

const TRAIN: &str = "train --data {}/text.txt --batch-rows 2 --batch-tokens 16 --out {}/run";

fn filled(workplace: &Workplace, arguments: &str) -> String {
    arguments.replace("{}", workplace.path("").to_str().unwrap().trim_end_matches('/'))
}

/// Runs the binary under the limits that shell commands set.
fn limited(workplace: &Workplace, limits: &str, arguments: &str) -> Output {
    let script = format!("{limits}; exec {} {}", binary().display(), filled(workplace, arguments));
    Command::new("sh").args(["-c", &script]).output().unwrap()
}

fn start(workplace: &Workplace, arguments: &str) -> Child {
    let words = filled(workplace, arguments);
    listening().args(words.split(' ')).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

fn wait_for(path: &Path) {
    let begun = Instant::now();
    while !path.exists() {
        assert!(begun.elapsed() < Duration::from_secs(60), "{} did not come", path.display());
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn signal(child: &Child, name: &str) {
    assert!(Command::new("kill").args([name, &child.id().to_string()]).status().unwrap().success());
}

/// The last line on standard error, which is the only one that is an error.
#[track_caller]
fn last_line(output: &Output, code: i32) -> String {
    let said = String::from_utf8(output.stderr.clone()).unwrap();
    assert_eq!(output.status.code(), Some(code), "{said}");
    let errors = said.lines().filter(|line| line.starts_with("error: ") || line.starts_with("stopped: ")).count();
    assert_eq!(errors, 1, "one message: {said}");
    said.lines().last().unwrap().to_owned()
}

#[test]
#[cfg(unix)]
fn a_full_disk_ends_the_run_with_the_file_named_and_the_last_checkpoint_intact() {
    let workplace = Workplace::new();
    text(&workplace.run(&format!("{TRAIN} --steps 5 --checkpoint-every 5")));
    // A file may have at most 512 KiB here: the weights fit, the moments do not.
    let output = limited(&workplace, "trap '' XFSZ; ulimit -f 1024", &format!("{TRAIN} --steps 9 --checkpoint-every 2 --resume"));
    let line = last_line(&output, 1);
    assert!(line.contains("optimizer.safetensors") || line.contains("weights.safetensors"), "{line}");
    assert!(line.contains("larger than the system allows"), "{line}");
    assert!(!workplace.path("run/checkpoints/partial").exists(), "nothing half-written stays");
    let resumed = workplace.run(&format!("{TRAIN} --steps 9 --resume"));
    text(&resumed);
    assert!(!String::from_utf8(resumed.stderr).unwrap().contains("damaged"));
}

#[test]
#[cfg(target_os = "linux")]
fn a_real_full_disk_says_so() {
    let workplace = Workplace::new();
    let disk = workplace.path("disk");
    std::fs::create_dir(&disk).unwrap();
    let script = format!(
        "mount -t tmpfs -o size=600k none {} || exit 77; exec {} {}",
        disk.display(),
        binary().display(),
        filled(&workplace, "train --data {}/text.txt --batch-rows 2 --batch-tokens 16 --steps 2 --out {}/disk/run")
    );
    let Ok(output) = Command::new("unshare").args(["-rm", "sh", "-c", &script]).output() else {
        return println!("skipped: no unshare(1) on this machine");
    };
    if output.status.code() != Some(1) {
        return println!("skipped: this machine lets no test mount a file system: {}", String::from_utf8_lossy(&output.stderr));
    }
    let line = last_line(&output, 1);
    assert!(line.contains("the disk is full") && line.contains("/disk/run/"), "{line}");
}

#[test]
fn a_folder_that_cannot_be_written_is_named() {
    let workplace = Workplace::new();
    workplace.write("file", "");
    let line = failure(&workplace.run("train --data {}/text.txt --steps 1 --out {}/file"), 1);
    assert!(line.contains("file is a file: a run needs a folder"), "{line}");
    let line = failure(&workplace.run("train --data {}/text.txt --steps 1 --out {}/file/run"), 1);
    assert!(line.contains("cannot write") && line.contains("file/run"), "{line}");
    if cfg!(target_os = "linux") {
        let line = failure(&workplace.run("train --data {}/text.txt --steps 1 --out /proc/slpo-run"), 1);
        assert!(line.contains("cannot write /proc/slpo-run"), "{line}");
    }
}

/// A folder that turned read-only, here a mount of its own, since the owner of the tests may write whatever a folder's mode says.
#[test]
#[cfg(target_os = "linux")]
fn a_run_in_a_folder_that_is_read_only_is_told_so_and_its_checkpoint_stays() {
    let workplace = Workplace::new();
    text(&workplace.run(&format!("{TRAIN} --steps 4 --checkpoint-every 2")));
    let before = std::fs::read(workplace.path("run/checkpoints/step-4/weights.safetensors")).unwrap();
    let script = format!(
        "mount --bind {run} {run} && mount -o remount,bind,ro {run} || exit 77; exec {} {}",
        binary().display(),
        filled(&workplace, &format!("{TRAIN} --steps 6 --resume")),
        run = workplace.path("run").display(),
    );
    let Ok(output) = Command::new("unshare").args(["-rm", "sh", "-c", &script]).output() else {
        return println!("skipped: no unshare(1) on this machine");
    };
    let said = String::from_utf8_lossy(&output.stderr);
    if output.status.code() == Some(77) || said.starts_with("unshare: ") {
        return println!("skipped: this machine lets no test mount a folder: {said}");
    }
    let line = last_line(&output, 1);
    assert!(line.contains("cannot write") && line.contains("/run") && line.contains("the disk is read-only"), "{line}");
    assert!(std::fs::read(workplace.path("run/checkpoints/step-4/weights.safetensors")).unwrap() == before);
    text(&workplace.run(&format!("{TRAIN} --steps 6 --resume")));
}

#[test]
fn a_data_file_that_is_gone_at_resume_is_named_and_the_run_can_go_on_when_it_is_back() {
    let workplace = Workplace::new();
    text(&workplace.run(&format!("{TRAIN} --steps 4 --checkpoint-every 2")));
    std::fs::rename(workplace.path("text.txt"), workplace.path("elsewhere")).unwrap();
    let line = failure(&workplace.run(&format!("{TRAIN} --steps 6 --resume")), 1);
    assert!(line.contains("text.txt"), "{line}");
    std::fs::rename(workplace.path("elsewhere"), workplace.path("text.txt")).unwrap();
    text(&workplace.run(&format!("{TRAIN} --steps 6 --resume")));
}

#[test]
#[cfg(target_os = "linux")]
fn a_run_past_the_memory_is_refused_before_it_starts() {
    let workplace = Workplace::new();
    let output =
        limited(&workplace, "ulimit -v 1500000", "train --data {}/text.txt --preset gpt2s --batch-tokens 64 --steps 1 --out {}/run");
    let line = failure(&output, 1);
    assert!(line.contains("not enough memory: this run needs at least 1.9 GiB") && line.contains("1.4 GiB can be had"), "{line}");
    assert!(!workplace.path("run").exists());
}

/// A group of processes with 300 MiB, as a container or a batch system makes them; only root may make one here.
#[test]
#[cfg(target_os = "linux")]
fn a_run_past_the_memory_of_its_control_group_is_refused_before_it_starts() {
    let group = format!("slpo-test-{}", std::process::id());
    let second = Path::new("/sys/fs/cgroup/cgroup.controllers").exists();
    let (group, limit) = match second {
        true => (Path::new("/sys/fs/cgroup").join(group), "memory.max"),
        false => (Path::new("/sys/fs/cgroup/memory").join(group), "memory.limit_in_bytes"),
    };
    let made = std::fs::create_dir(&group).and_then(|()| std::fs::write(group.join(limit), (300 << 20).to_string()));
    let workplace = Workplace::new();
    let enter = format!("echo $$ > {}/cgroup.procs || exit 77", group.display());
    let output = limited(&workplace, &enter, "train --data {}/text.txt --preset gpt2s --batch-tokens 64 --steps 1 --out {}/run");
    let _ = std::fs::remove_dir(&group);
    if made.is_err() || output.status.code() == Some(77) {
        return println!("skipped: this machine lets no test make a control group with a limit of memory");
    }
    let line = failure(&output, 1);
    assert!(line.contains("not enough memory: this run needs at least 1.9 GiB") && line.contains(" MiB can be had"), "{line}");
}

#[test]
#[cfg(target_os = "linux")]
fn where_addresses_are_scarce_the_suite_ends_as_soon_as_elsewhere_and_threads_that_do_not_start_are_done_without() {
    let workplace = Workplace::new();
    for kibibytes in [150_000, 250_000, 500_000] {
        let begun = Instant::now();
        let output = limited(&workplace, &format!("ulimit -v {kibibytes}"), "gradcheck softmax matmul add --threads 12");
        assert!(text(&output).contains("checks passed"));
        assert!(begun.elapsed() < Duration::from_secs(60), "{kibibytes} KiB took {:?}", begun.elapsed());
    }
}

/// The estimate counts what no run can do without, so a run can pass it and find no memory later.
#[test]
#[cfg(target_os = "linux")]
fn memory_that_runs_out_in_a_step_is_said_and_the_last_checkpoint_stays() {
    let workplace = Workplace::new();
    let train = "train --data {}/text.txt --preset micro --batch-tokens 64 --checkpoint-every 1 --threads 1 --out {}/run";
    text(&workplace.run(&format!("{train} --batch-rows 1 --steps 1")));
    // By the estimate 128 rows need at least 0.23 GiB; with the program itself a step takes above 0.42 GiB of addresses.
    let output = limited(&workplace, "ulimit -v 360000", &format!("{train} --batch-rows 128 --steps 2 --resume --change"));
    let line = last_line(&output, 1);
    assert!(line.starts_with("error: out of memory: ") && line.contains("take a smaller model or batch"), "{line}");
    let resumed = workplace.run(&format!("{train} --batch-rows 1 --steps 2 --resume --change"));
    text(&resumed);
    assert!(!String::from_utf8(resumed.stderr).unwrap().contains("damaged"));
}

#[test]
fn a_corrupt_line_in_the_middle_is_named_with_its_number() {
    let workplace = Workplace::new();
    let row = "{\"prompt\": \"a\", \"chosen\": \"b\", \"rejected\": \"c\"}\n";
    workplace.write("bad.jsonl", &[row, row, "{\"prompt\": \"a\", \"cho", "\n", row].concat());
    let line = failure(&workplace.run("align --model {}/model --data {}/bad.jsonl --out {}/run"), 1);
    assert!(line.contains("bad.jsonl:3"), "{line}");
    assert!(!workplace.path("run").exists());
    text(&workplace.run(&format!("{TRAIN} --steps 4 --checkpoint-every 2")));
    let metrics = workplace.path("run/metrics.jsonl");
    let whole = std::fs::read_to_string(&metrics).unwrap();
    std::fs::write(&metrics, whole.replacen("\"step\":1", "\"step\":\u{1}", 1)).unwrap();
    let line = failure(&workplace.run(&format!("{TRAIN} --steps 6 --resume")), 1);
    assert!(line.contains("metrics.jsonl, line 2: not JSON"), "{line}");
    std::fs::write(&metrics, whole).unwrap();
    text(&workplace.run(&format!("{TRAIN} --steps 6 --resume")));
}

#[test]
fn settings_and_checkpoints_of_another_version_are_refused_in_words() {
    let workplace = Workplace::new();
    workplace.write("old.toml", "steps = 3\nlearning_rate_decay = 0.5\n");
    let line = failure(&workplace.run("train --data {}/text.txt --out {}/run --config {}/old.toml"), 2);
    assert!(line.contains("old.toml: there is no setting \"learning_rate_decay\"; the settings are "), "{line}");
    text(&workplace.run(&format!("{TRAIN} --steps 4 --checkpoint-every 2 --keep 1")));
    let folder = workplace.path("run/checkpoints/step-4");
    let manifest = std::fs::read_to_string(folder.join("manifest.json")).unwrap();
    std::fs::write(folder.join("manifest.json"), manifest.replace("\"version\": 1", "\"version\": 7")).unwrap();
    let line = failure(&workplace.run(&format!("{TRAIN} --steps 6 --resume")), 1);
    assert!(line.contains("a checkpoint of version 7, and this slpo reads version 1"), "{line}");
    std::fs::remove_file(folder.join("manifest.json")).unwrap();
    std::fs::rename(folder.join("weights.safetensors"), folder.join("model.safetensors")).unwrap();
    let line = failure(&workplace.run(&format!("{TRAIN} --steps 6 --resume")), 1);
    assert!(line.contains("before its checkpoints had a manifest"), "{line}");
}

#[test]
#[cfg(unix)]
fn two_runs_in_one_folder_are_one_too_many() {
    let workplace = Workplace::new();
    let mut first = start(&workplace, &format!("{TRAIN} --steps 100000 --checkpoint-every 3"));
    wait_for(&workplace.path("run/checkpoints/step-3"));
    let line = failure(&workplace.run(&format!("{TRAIN} --steps 100000 --resume")), 1);
    assert!(line.contains(&format!("another run is going on there (process {})", first.id())), "{line}");
    first.kill().unwrap();
    first.wait().unwrap();
    let entries = std::fs::read_dir(workplace.path("run/checkpoints")).unwrap();
    let steps = entries.filter_map(|entry| entry.unwrap().file_name().to_str()?.strip_prefix("step-")?.parse::<usize>().ok());
    text(&workplace.run(&format!("{TRAIN} --steps {} --resume --json", steps.max().unwrap() + 1)));
}

#[test]
#[cfg(unix)]
fn an_interrupt_finishes_the_step_saves_and_says_how_to_go_on() {
    let workplace = Workplace::new();
    let child = start(&workplace, &format!("{TRAIN} --steps 100000 --checkpoint-every 0"));
    wait_for(&workplace.path("run/metrics.jsonl"));
    std::thread::sleep(Duration::from_millis(200));
    signal(&child, "-INT");
    let line = last_line(&child.wait_with_output().unwrap(), 130);
    assert!(line.ends_with("the same command with --resume goes on from there"), "{line}");
    let step: u64 = line.strip_prefix("stopped: step ").unwrap().split(' ').next().unwrap().parse().unwrap();
    assert!(workplace.path(&format!("run/checkpoints/step-{step}/manifest.json")).exists(), "{line}");
    text(&workplace.run(&format!("{TRAIN} --steps {} --resume", step + 2)));
}

#[test]
#[cfg(unix)]
fn a_second_interrupt_stops_at_once() {
    let workplace = Workplace::new();
    // A step of this takes seconds: the second signal comes within the step that the first one lets finish.
    let long = "train --data {}/text.txt --preset micro --batch-rows 128 --batch-tokens 128 --steps 50 --checkpoint-every 0 --out {}/run";
    let child = start(&workplace, long);
    wait_for(&workplace.path("run/metrics.jsonl"));
    std::thread::sleep(Duration::from_millis(300));
    signal(&child, "-INT");
    std::thread::sleep(Duration::from_millis(100));
    signal(&child, "-INT");
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130));
    assert!(!workplace.path("run/checkpoints").exists(), "it did not wait to save");
}

#[test]
#[cfg(unix)]
fn no_model_is_written_into_the_folder_of_a_run_that_is_going_on() {
    let workplace = Workplace::new();
    let mut run = start(&workplace, &format!("{TRAIN} --steps 100000 --checkpoint-every 0"));
    wait_for(&workplace.path("run/metrics.jsonl"));
    for force in ["", " --force"] {
        let line = failure(&workplace.run(&format!("convert {{}}/model --out {{}}/run{force}")), 1);
        assert!(line.contains(&format!("another run is going on there (process {})", run.id())), "{line}");
    }
    run.kill().unwrap();
    run.wait().unwrap();
    text(&workplace.run("convert {}/model --out {}/run --force"));
}

/// The weights of a model of its own for each seed, so that a folder that mixes two of them is found out.
#[test]
#[cfg(unix)]
fn a_replacement_that_is_killed_leaves_the_old_model_or_the_new_one() {
    let workplace = Workplace::new();
    text(&workplace.run("sft --model {}/model --data {}/completions.jsonl --steps 2 --out {}/other"));
    let score = |folder: &str| {
        let output = workplace.run(&format!("score --model {{}}/{folder} --tokens 1,2,3 --json"));
        text(&output)
    };
    let known = [score("model"), score("other")];
    text(&workplace.run("convert {}/model --out {}/target"));
    workplace.write("target/notes.txt", "mine");
    let begun = Instant::now();
    text(&workplace.run("convert {}/other --out {}/target --force"));
    let whole = begun.elapsed();
    for attempt in 0..24u32 {
        let source = ["model", "other"][attempt as usize % 2];
        let mut child = start(&workplace, &format!("convert {{}}/{source} --out {{}}/target --force"));
        std::thread::sleep(whole * attempt / 20);
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(known.contains(&score("target")), "attempt {attempt}");
        assert_eq!(std::fs::read_to_string(workplace.path("target/notes.txt")).unwrap(), "mine", "attempt {attempt}");
    }
    text(&workplace.run("convert {}/model --out {}/target --force"));
    let names: Vec<_> = std::fs::read_dir(workplace.path("")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(names.iter().all(|name| !name.to_str().unwrap().starts_with('.')), "what was left is gone: {names:?}");
}

#[cfg(unix)]
mod outputs {
    use super::*;
    use std::os::unix::fs::{FileTypeExt, PermissionsExt, symlink};

    fn fifo(workplace: &Workplace, name: &str) {
        assert!(Command::new("mkfifo").arg(workplace.path(name)).status().unwrap().success());
    }

    #[test]
    fn a_page_goes_into_a_pipe_and_through_links() {
        let workplace = Workplace::new();
        fifo(&workplace, "pipe");
        let reader = Command::new("cat").arg(workplace.path("pipe")).stdout(Stdio::piped()).spawn().unwrap();
        text(&workplace.run("explain softmax --html {}/pipe"));
        assert!(String::from_utf8(reader.wait_with_output().unwrap().stdout).unwrap().contains("</html>"));
        assert!(std::fs::symlink_metadata(workplace.path("pipe")).unwrap().file_type().is_fifo());
        symlink("/dev/stdout", workplace.path("out")).unwrap();
        assert!(text(&workplace.run("explain softmax --html {}/out")).contains("</html>"));
        symlink("/dev/null", workplace.path("nowhere")).unwrap();
        text(&workplace.run("explain softmax --html {}/nowhere"));
        symlink("page.html", workplace.path("link.html")).unwrap();
        text(&workplace.run("explain softmax --html {}/link.html"));
        assert!(["out", "nowhere", "link.html"].iter().all(|name| workplace.path(name).is_symlink()));
        assert!(std::fs::read_to_string(workplace.path("page.html")).unwrap().contains("</html>"));
        assert!(std::fs::metadata("/dev/null").unwrap().file_type().is_char_device());
    }

    #[test]
    fn standard_output_in_a_file_has_the_page_and_what_is_said_after_it() {
        let workplace = Workplace::new();
        let script = format!("{} explain softmax --html /dev/stdout > {}", binary().display(), workplace.path("both").display());
        assert!(Command::new("sh").args(["-c", &script]).status().unwrap().success());
        let both = std::fs::read_to_string(workplace.path("both")).unwrap();
        assert!(both.starts_with("<!") && both.ends_with("wrote /dev/stdout\n"), "{both}");
    }

    #[test]
    fn a_page_keeps_its_file_s_mode_and_a_folder_is_no_page() {
        let workplace = Workplace::new();
        workplace.write("page.html", "old");
        for mode in [0o600, 0o666] {
            std::fs::set_permissions(workplace.path("page.html"), std::fs::Permissions::from_mode(mode)).unwrap();
            text(&workplace.run("explain softmax --html {}/page.html"));
            assert_eq!(std::fs::metadata(workplace.path("page.html")).unwrap().permissions().mode() & 0o7777, mode);
        }
        let line = failure(&workplace.run("explain softmax --html {}/model"), 1);
        assert!(line.contains("model: is a folder, and a file is needed"), "{line}");
    }

    #[test]
    fn what_is_read_again_must_be_a_file() {
        let workplace = Workplace::new();
        fifo(&workplace, "pipe");
        symlink("/dev/null", workplace.path("null")).unwrap();
        let align = "align --model {}/model --data {}/preferences.jsonl --steps 1 --batch 2";
        for (name, kind) in [("pipe", "a named pipe"), ("null", "a device"), ("model", "a folder")] {
            let line = last_line(&workplace.run(&format!("{align} --reference-cache {{}}/{name} --out {{}}/run-{name}")), 1);
            assert!(line.contains(&format!("{name}: is {kind}, and a regular file is needed")), "{line}");
        }
        assert!(std::fs::symlink_metadata(workplace.path("pipe")).unwrap().file_type().is_fifo());
        symlink("kept.json", workplace.path("cache")).unwrap();
        text(&workplace.run(&format!("{align} --reference-cache {{}}/cache --out {{}}/run")));
        assert!(workplace.path("cache").is_symlink() && workplace.path("kept.json").is_file());
        std::fs::remove_file(workplace.path("run/run.lock")).unwrap();
        symlink(workplace.path("text.txt"), workplace.path("run/run.lock")).unwrap();
        let line = last_line(&workplace.run(&format!("{align} --out {{}}/run --resume")), 1);
        assert!(line.contains("run.lock: is no regular file"), "{line}");
        assert!(std::fs::metadata(workplace.path("text.txt")).unwrap().len() > 100, "the file that the link leads to is as it was");
    }
}
