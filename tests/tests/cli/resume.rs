//! Going on after a stop, whatever the stop: the bits are those of a run that was never stopped, and those of any number of threads.

use crate::command::{Workplace, binary, failure, text};
use engine::Generator;
use losses::Loss;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Every file of the newest checkpoint with the weights, the metrics and, where there are any, the reference's log-probabilities.
fn outcome(run: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut files: Vec<PathBuf> =
        ["model.safetensors", "metrics.jsonl", "reference-log-probs.json"].map(|name| run.join(name)).into_iter().collect();
    let mut checkpoints: Vec<PathBuf> = std::fs::read_dir(run.join("checkpoints")).unwrap().map(|entry| entry.unwrap().path()).collect();
    checkpoints.sort();
    for checkpoint in checkpoints {
        files.extend(std::fs::read_dir(checkpoint).unwrap().map(|entry| entry.unwrap().path()));
    }
    let read = |path: PathBuf| Some((path.strip_prefix(run).unwrap().display().to_string(), std::fs::read(&path).ok()?));
    files.into_iter().filter_map(read).collect()
}

#[track_caller]
fn assert_same(run: &Path, whole: &Path, what: &str) {
    let (run, whole) = (outcome(run), outcome(whole));
    assert_eq!(run.keys().collect::<Vec<_>>(), whole.keys().collect::<Vec<_>>(), "{what}: the files differ");
    for (name, bytes) in &whole {
        assert!(run[name] == *bytes, "{what}: {name} differs");
    }
}

/// The words of a command that writes to `out`, going on where there is something to go on from.
fn command_words(workplace: &Workplace, arguments: &str, out: &str) -> Vec<String> {
    let filled = format!("{arguments} --out {{}}/{out}").replace("{}", workplace.path("").to_str().unwrap().trim_end_matches('/'));
    let mut words: Vec<String> = filled.split(' ').map(str::to_owned).collect();
    words.extend(workplace.path(out).join("config.toml").exists().then(|| "--resume".to_owned()));
    words
}

/// Starts the command `kills` times, going on with --resume, and kills it each time (SIGKILL) at a moment of the next `longest` seconds.
/// True if the run was still going at every kill.
fn killed_every_time(workplace: &Workplace, arguments: &str, out: &str, kills: usize, longest: f64, moments: &mut Generator) -> bool {
    (0..kills).all(|kill| {
        let words = command_words(workplace, arguments, out);
        let mut child = Command::new(binary()).args(words).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        std::thread::sleep(Duration::from_secs_f64(0.005 + longest * moments.uniform()));
        child.kill().unwrap();
        let status = child.wait().unwrap();
        assert!(status.code().is_none_or(|code| code == 0), "start {kill} ended by itself with {status}");
        status.code().is_none()
    })
}

/// Kills the command `kills` times before it is done, then lets it end. A machine on which it is done too early is given shorter whiles.
fn run_with_kills(workplace: &Workplace, arguments: &str, out: &str, kills: usize) {
    let seed = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos() as u64;
    println!("seed of the moments: {seed}");
    let (mut moments, mut longest) = (Generator::new(seed), 0.5);
    while !killed_every_time(workplace, arguments, out, kills, longest, &mut moments) {
        std::fs::remove_dir_all(workplace.path(out)).unwrap();
        longest *= 0.7;
    }
    let resumed = workplace.path(out).join("config.toml").exists();
    println!("{kills} kills, each within {longest:.3} s of its start; goes on from a checkpoint: {resumed}");
    text(&Command::new(binary()).args(command_words(workplace, arguments, out)).output().unwrap());
}

#[test]
fn a_run_killed_twenty_times_ends_with_the_bits_of_one_that_was_never_stopped() {
    let workplace = Workplace::new();
    let train = "train --data {}/text.txt --steps 300 --batch-rows 2 --batch-tokens 16 --accumulate 2 --dropout 0.1 --eval-every 50 \
                 --checkpoint-every 7 --keep 3 --seed 4";
    text(&workplace.run(&format!("{train} --out {{}}/whole")));
    run_with_kills(&workplace, train, "killed", 20);
    assert_same(&workplace.path("killed"), &workplace.path("whole"), "train");
    let sample =
        |model: &str| text(&workplace.run(&format!("generate --model {{}}/{model} --prompt The --max-tokens 40 --temperature 1 --seed 3")));
    assert_eq!(sample("killed"), sample("whole"));
}

#[test]
fn an_alignment_that_is_killed_ends_with_the_bits_of_one_that_was_never_stopped() {
    let workplace = Workplace::new();
    let align = "align --model {}/model --data {}/preferences.jsonl --eval-data {}/preferences.jsonl --loss dpo --steps 60 --batch 2 \
                 --accumulate 2 --dropout 0.1 --eval-every 15 --checkpoint-every 4";
    text(&workplace.run(&format!("{align} --out {{}}/whole")));
    run_with_kills(&workplace, align, "killed", 8);
    assert_same(&workplace.path("killed"), &workplace.path("whole"), "align");
}

#[test]
fn fine_tuning_that_stopped_between_checkpoints_goes_on_to_the_same_bits() {
    let workplace = Workplace::new();
    let tune = "sft --model {}/model --data {}/completions.jsonl --steps 12 --batch 3 --dropout 0.1 --checkpoint-every 5";
    for out in ["whole", "stopped"] {
        text(&workplace.run(&format!("{tune} --out {{}}/{out}")));
    }
    std::fs::remove_dir_all(workplace.path("stopped/checkpoints/step-12")).unwrap();
    text(&workplace.run(&format!("{tune} --out {{}}/stopped --resume")));
    for file in ["model.safetensors", "metrics.jsonl", "checkpoints/step-12/optimizer.safetensors", "checkpoints/step-12/state.json"] {
        let bytes = |out: &str| std::fs::read(workplace.path(out).join(file)).unwrap();
        assert!(bytes("stopped") == bytes("whole"), "{file}");
    }
}

#[test]
fn a_reference_that_moves_goes_on_to_the_same_bits_and_changes_the_run() {
    let workplace = Workplace::new();
    let align =
        "align --model {}/model --data {}/preferences.jsonl --steps 7 --batch 4 --learning-rate 1e-2 --warmup 0 --checkpoint-every 3";
    let moving = format!("{align} --reference-every 2 --reference-mixup 0.5");
    for (command, out) in [(align, "still"), (&moving, "whole"), (&moving, "stopped")] {
        text(&workplace.run(&format!("{command} --keep 9 --out {{}}/{out}")));
    }
    let bytes = |out: &str, file: &str| std::fs::read(workplace.path(out).join(file)).unwrap();
    assert!(bytes("whole", "model.safetensors") != bytes("still", "model.safetensors"), "the reference does not move");
    // Step 3 is between the second and the fourth, after which the reference moves.
    for step in [6, 7] {
        std::fs::remove_dir_all(workplace.path(&format!("stopped/checkpoints/step-{step}"))).unwrap();
    }
    text(&workplace.run(&format!("{moving} --keep 9 --out {{}}/stopped --resume")));
    assert_same(&workplace.path("stopped"), &workplace.path("whole"), "a moving reference");
    assert!(workplace.path("whole/checkpoints/step-7/reference.safetensors").exists());
    std::fs::write(workplace.path("stopped/checkpoints/step-7/reference.safetensors"), "damaged").unwrap();
    let resumed = workplace.run(&format!("{moving} --keep 9 --out {{}}/stopped --resume"));
    text(&resumed);
    let said = String::from_utf8(resumed.stderr).unwrap();
    assert!(said.contains("reference.safetensors") && said.contains("step 6"), "{said}");
    assert_same(&workplace.path("stopped"), &workplace.path("whole"), "a damaged moving reference");
}

#[test]
fn the_number_of_threads_changes_no_bit_of_any_checkpoint() {
    let workplace = Workplace::new();
    let mut runs = vec![
        ("train".to_owned(), "train --data {}/text.txt --steps 4 --batch-rows 8 --batch-tokens 64 --dropout 0.1".to_owned()),
        ("sft".to_owned(), "sft --model {}/model --data {}/completions.jsonl --steps 3 --batch 10".to_owned()),
    ];
    runs.extend(Loss::one_of_each_input().into_iter().map(|loss| {
        let align =
            format!("align --model {{}}/model --data {{}}/preferences.jsonl --loss {loss} --steps 3 --batch 10 --learning-rate 1e-3");
        (loss.name().to_owned(), align)
    }));
    for (name, arguments) in runs {
        for threads in [1, 2, 3, 7] {
            text(&workplace.run(&format!("{arguments} --out {{}}/{name}-{threads} --threads {threads}")));
            assert_same(
                &workplace.path(&format!("{name}-{threads}")),
                &workplace.path(&format!("{name}-1")),
                &format!("{name}, {threads} threads"),
            );
        }
    }
}

#[test]
fn a_damaged_newest_checkpoint_gives_way_to_the_one_before_with_a_message() {
    let workplace = Workplace::new();
    let train = "train --data {}/text.txt --steps 12 --batch-rows 2 --batch-tokens 16 --checkpoint-every 5 --out {}/run";
    text(&workplace.run(train));
    let whole = outcome(&workplace.path("run"));
    let weights = workplace.path("run/checkpoints/step-12/weights.safetensors");
    let mut bytes = std::fs::read(&weights).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0x10;
    std::fs::write(&weights, bytes).unwrap();
    let resumed = workplace.run(&format!("{train} --resume"));
    text(&resumed);
    let said = String::from_utf8(resumed.stderr).unwrap();
    let expected = "step-12/weights.safetensors: its checksum is not the one it was written with: damaged; going on from the checkpoint \
                    before it, of step 10";
    assert!(said.lines().any(|line| line.starts_with("warning: ") && line.contains(expected)), "{said}");
    assert!(outcome(&workplace.path("run")) == whole, "it is made again, to the same bits");
}

/// What a power cut can leave: a checkpoint that is written in part, each file whole, cut or not there; a metrics line that is cut; a file
/// under its temporary name.
#[test]
fn a_power_cut_between_any_two_writes_of_a_checkpoint_changes_nothing() {
    let workplace = Workplace::new();
    let train = "train --data {}/text.txt --steps 8 --batch-rows 2 --batch-tokens 16 --checkpoint-every 4 --keep 2";
    text(&workplace.run(&format!("{train} --out {{}}/whole")));
    let written = ["weights.safetensors", "optimizer.safetensors", "state.json", "manifest.json"];
    for count in 0..=2 * written.len() {
        let out = format!("cut-{count}");
        let run = workplace.path(&out);
        text(&workplace.run(&format!("{train} --out {{}}/{out}")));
        std::fs::remove_file(run.join("model.safetensors")).unwrap();
        let (last, partial) = (run.join("checkpoints/step-8"), run.join("checkpoints/partial"));
        std::fs::rename(&last, &partial).unwrap();
        for (place, name) in written.iter().enumerate() {
            let (path, bytes) = (partial.join(name), std::fs::read(partial.join(name)).unwrap());
            match count {
                _ if place < count / 2 => {}
                _ if place == count / 2 && count % 2 == 1 => std::fs::write(&path, &bytes[..bytes.len() / 2]).unwrap(),
                _ => std::fs::remove_file(&path).unwrap(),
            }
        }
        let metrics = std::fs::read(run.join("metrics.jsonl")).unwrap();
        std::fs::write(run.join("metrics.jsonl"), &metrics[..metrics.len() - 30]).unwrap();
        std::fs::write(run.join(".model.safetensors.1.2.tmp"), b"half").unwrap();
        text(&workplace.run(&format!("{train} --out {{}}/{out} --resume")));
        assert_same(&run, &workplace.path("whole"), &format!("{count} half files written"));
        assert!(!partial.exists() && !run.join(".model.safetensors.1.2.tmp").exists(), "nothing half-written stays");
    }
}

#[test]
fn keep_says_how_many_checkpoints_stay() {
    let workplace = Workplace::new();
    let train = "train --data {}/text.txt --steps 12 --batch-rows 2 --batch-tokens 16 --checkpoint-every 2";
    for (keep, left) in [(1, vec!["step-12"]), (3, vec!["step-10", "step-12", "step-8"])] {
        text(&workplace.run(&format!("{train} --keep {keep} --out {{}}/keep-{keep}")));
        let entries = std::fs::read_dir(workplace.path(&format!("keep-{keep}/checkpoints"))).unwrap();
        let mut names: Vec<String> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        assert_eq!(names, left);
    }
}

#[test]
fn a_setting_that_changed_since_the_checkpoint_is_refused_and_with_change_said() {
    let workplace = Workplace::new();
    let train = "train --data {}/text.txt --batch-rows 2 --batch-tokens 16 --out {}/run";
    text(&workplace.run(&format!("{train} --steps 3")));
    let line = failure(&workplace.run(&format!("{train} --steps 3 --seed 8 --resume")), 2);
    assert!(line.contains("seed: 0 → 8: the run in ") && line.contains("give --change"), "{line}");
    // A config.toml that was edited by hand says one thing and the checkpoint another.
    let config = std::fs::read_to_string(workplace.path("run/config.toml")).unwrap();
    workplace.write("run/config.toml", &config.replace("seed = 0", "seed = 8"));
    let line = failure(&workplace.run("train --out {}/run --resume"), 2);
    assert!(line.contains("the seed: 0 → 8: the checkpoint of step 3 in "), "{line}");
    let resumed = workplace.run("train --out {}/run --resume --steps 4 --change");
    text(&resumed);
    let said = String::from_utf8(resumed.stderr).unwrap();
    assert!(said.contains("warning: the seed: 0 → 8: the run goes on, but not to the result that it would have had"), "{said}");
}
