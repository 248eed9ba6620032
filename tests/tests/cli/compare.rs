//! `slpo compare` on the real binary: a whole comparison with its report, a stop, and settings that differ.

use crate::command::{Workplace, failure, listening, object, text};
use std::process::Stdio;
use std::time::{Duration, Instant};

/// All waiting ends after this time: the rest is for a busy machine.
const SOON: Duration = Duration::from_secs(300);
/// A comparison as short as one can be.
const SHORT: &str = "compare --model {}/model --data {}/pairs.jsonl --losses dpo,sft --steps 1 --batch 2 --seeds 2 --tested 2 \
                     --divergences 0.001,0.01 --out {}/out";

fn workplace() -> Workplace {
    let workplace = Workplace::new();
    workplace.write_uneven_rows();
    workplace
}

/// The finished lines of the file of runs.
fn lines(workplace: &Workplace) -> Vec<String> {
    let text = std::fs::read_to_string(workplace.path("out/runs.csv")).unwrap_or_default();
    text.split_inclusive('\n').filter(|line| line.ends_with('\n')).map(|line| line.trim_end().to_owned()).collect()
}

#[test]
fn every_loss_is_compared_with_the_first_and_the_report_says_what_it_cannot_say() {
    let workplace = workplace();
    let with_others = format!("{SHORT} --text {{}}/text.txt --second-test {{}}/pairs.jsonl --json");
    let result = object(&workplace.run(&with_others));
    let compared = result["compared"].as_array().unwrap();
    assert_eq!(compared.len(), 2);
    for (line, divergence) in compared.iter().zip([0.001, 0.01]) {
        assert_eq!((line["loss"].as_str(), line["divergence"].as_f64()), (Some("sft"), Some(divergence)));
        let [low, mean, high] = [&line["interval"][0], &line["difference"], &line["interval"][1]].map(|value| value.as_f64().unwrap());
        assert!(low <= mean && mean <= high && (0.0..=1.0).contains(&line["p"].as_f64().unwrap()), "{line}");
    }
    let rows = lines(&workplace);
    let columns: Vec<&str> = rows[0].split(',').collect();
    assert!(columns.contains(&"preferred@0.001") && columns.contains(&"end_forgetting") && !rows[0].contains("best@"), "{}", rows[0]);
    // Settings are chosen without the other text and the second test.
    let place = |name: &str| columns.iter().position(|column| *column == name).unwrap();
    for row in &rows[1..] {
        let cells: Vec<&str> = row.split(',').collect();
        let is_tuning = cells[place("seed")].len() == 4;
        for name in ["end_forgetting", "end_preferred_second"] {
            assert_eq!(cells[place(name)].is_empty(), is_tuning, "{row}");
        }
    }
    let trials = |arm: &str| rows.iter().filter(|row| row.contains(&format!(",{arm},")) && row.contains(",1000,")).count();
    assert!(trials("dpo") >= 12 && trials("dpo") == trials("sft"), "{} and {}", trials("dpo"), trials("sft"));
    let page = std::fs::read_to_string(workplace.path("out/report.html")).unwrap();
    for part in [
        "What this cannot say",
        "on one test of 2 pairs",
        "other text (nats a token)",
        "second test (points)",
        "Each loss beside dpo",
        "sft",
    ] {
        assert!(page.contains(part), "{part}");
    }
    // A comparison that is whole goes on with nothing, and says the same.
    let again = object(&workplace.run(&format!("{with_others} --resume")));
    assert_eq!((again["compared"].clone(), lines(&workplace)), (result["compared"].clone(), rows));
}

#[test]
fn a_comparison_that_was_stopped_goes_on_with_the_same_settings_only() {
    let workplace = workplace();
    let fill = |word: &str| word.replace("{}", workplace.path("").to_str().unwrap().trim_end_matches('/'));
    let mut command = listening();
    command.args(SHORT.split_whitespace().map(fill)).stdout(Stdio::null()).stderr(Stdio::null());
    let mut child = command.spawn().unwrap();
    let started = Instant::now();
    while lines(&workplace).len() < 4 {
        assert!(child.try_wait().unwrap().is_none() && started.elapsed() < SOON);
        std::thread::sleep(Duration::from_millis(10));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    let before = lines(&workplace);
    let line = failure(&workplace.run(SHORT), 2);
    assert!(line.contains("holds a study: give --resume to go on with it, or choose another --out"), "{line}");
    let line = failure(&workplace.run(&format!("{} --resume", SHORT.replace("--steps 1", "--steps 2"))), 2);
    assert!(line.contains("the comparison there has 1 for steps, and this one 2: give the same, or choose another --out"), "{line}");
    let said = text(&workplace.run(&format!("{SHORT} --resume")));
    assert!(said.contains("κ = 0.001: sft less dpo") && said.contains("report.html"), "{said}");
    assert_eq!(lines(&workplace)[..before.len()], before);
}

#[test]
fn what_cannot_be_compared_is_said() {
    let workplace = workplace();
    let with = |from: &str, to: &str, code: i32| failure(&workplace.run(&SHORT.replace(from, to)), code);
    for (from, to, code, part) in [
        ("dpo,sft", "dpo", 2, "a comparison needs two losses or more"),
        ("dpo,sft", "dpo,dpo", 2, "dpo is named twice"),
        ("dpo,sft", "dpo,no-such", 2, "there is no loss \"no-such\": slpo align --help lists them"),
        ("0.001,0.01", "0.01,0.001", 2, "must ascend"),
        ("--tested 2", "--tested 8", 1, "cannot be split by prompt"),
        ("pairs.jsonl", "rows.jsonl", 1, "rows.jsonl"),
        ("--seeds 2", "--seeds 1", 2, "--seeds"),
    ] {
        let line = with(from, to, code);
        assert!(line.contains(part), "{to}: {line}");
    }
}
