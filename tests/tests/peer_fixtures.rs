//! What TRL's DPOTrainer and SFTTrainer make of rows of many forms, and what slpo makes of them: token ids, log-probabilities, first
//! losses.
//!
//! `tests/peers/fixtures.py` wrote the fixtures with TRL's own functions; these tests need no Python. Each fixture is a tokenizer with a
//! chat template. A case is a row with the tokens that are expected of it, or with the reason for which it is dropped; where slpo's
//! documented policy is another than TRL's, the case says so under `differs`.

mod command;
mod shared;

use command::{object, slpo};
use engine::{Backend, Cpu, Tensor};
use losses::{Hyperparameters, Loss, PairInputs, pairwise};
use model::boundary::{Limits, Sequence, Truncation};
use model::data::{ChatTemplate, CompletionSet, DropReason, PreferencePair, PreferenceSet, Turns};
use model::decoder::{Decoder, ForwardOptions};
use model::model_folder::ModelFolder;
use model::optimizer::gradient_norm;
use model::preference::{PairBatch, Scored};
use serde_json::{Value, json};
use shared::{json, tokens};
use std::path::{Path, PathBuf};

/// The setups that run every loss through the binary; the others run DPO.
const EVERY_LOSS: [&str; 3] = ["bytelevel-bos", "metaspace", "chatml-on-a-base"];

/// TRL's names for the losses, slpo's, and whether slpo divides log-probabilities by lengths.
const LOSSES: [(&str, Loss, bool); 5] = [
    ("dpo", Loss::Dpo, false),
    ("cdpo", Loss::Cdpo, false),
    ("robust", Loss::Robust, false),
    ("hinge", Loss::Hinge, false),
    ("ipo-mean", Loss::Ipo, true),
];

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/peers")
}

/// A tokenizer with a chat template, its cases, and the two models as folders.
struct Setup {
    name: String,
    fixture: Value,
    folder: tempfile::TempDir,
    model: ModelFolder,
    chat: ChatTemplate,
}

impl Setup {
    fn all() -> Vec<Self> {
        let entries = std::fs::read_dir(fixtures()).unwrap().map(|entry| entry.unwrap().path());
        let is_setup = |path: &PathBuf| {
            let name = path.to_str().unwrap();
            name.ends_with(".json") && !name.ends_with(".tokenizer.json")
        };
        let mut paths: Vec<PathBuf> = entries.filter(is_setup).collect();
        paths.sort();
        assert!(!paths.is_empty());
        paths.iter().map(|path| Self::open(path)).collect()
    }

    fn open(path: &Path) -> Self {
        let fixture = json(path);
        let folder = tempfile::tempdir().unwrap();
        for which in ["policy", "reference"] {
            write_model(&folder.path().join(which), which, &fixture);
        }
        let model = ModelFolder::open(&folder.path().join("policy")).unwrap();
        let chat = ChatTemplate::of(&model.tokenizer).unwrap();
        Self { name: fixture["name"].as_str().unwrap().to_owned(), fixture, folder, model, chat }
    }

    /// The path of a file with these rows, one a line.
    fn rows<'a>(&self, name: &str, rows: impl IntoIterator<Item = &'a Value>) -> PathBuf {
        let path = self.folder.path().join(name);
        std::fs::write(&path, rows.into_iter().map(|row| format!("{row}\n")).collect::<String>()).unwrap();
        path
    }

    fn cases(&self, key: &str) -> &[Value] {
        self.fixture[key].as_array().unwrap()
    }

    fn conversations(&self, turns: &str) -> &[Value] {
        self.fixture["conversations"][turns].as_array().unwrap()
    }

    fn decoder<B: Backend>(&self, backend: &B, which: &str) -> Decoder<B> {
        let model = ModelFolder::open(&self.folder.path().join(which)).unwrap();
        Decoder::from_tensors(backend, &model.config, model.tensors).unwrap()
    }

    fn run(&self, arguments: &str) -> std::process::Output {
        slpo(arguments, &[("", self.folder.path())])
    }
}

fn write_model(folder: &Path, which: &str, fixture: &Value) {
    std::fs::create_dir(folder).unwrap();
    let write = |name: &str, text: &str| std::fs::write(folder.join(name), text).unwrap();
    let copy = |from: &str, to: &str| std::fs::copy(fixtures().join(from), folder.join(to)).unwrap();
    copy(&format!("{which}.safetensors"), "model.safetensors");
    copy(&format!("{}.tokenizer.json", fixture["tokenizer"].as_str().unwrap()), "tokenizer.json");
    write("config.json", &fixture["config"].to_string());
    write("tokenizer_config.json", &fixture["tokenizer_config"].to_string());
    if let Some(template) = fixture["chat_template"].as_str() {
        write("chat_template.jinja", template);
    }
    if fixture["generation_config"].is_object() {
        write("generation_config.json", &fixture["generation_config"].to_string());
    }
}

/// What was wrong, all of it, so that one run of a test names every case.
#[derive(Default)]
struct Wrong(Vec<String>);

impl Wrong {
    fn check(&mut self, right: bool, what: impl FnOnce() -> String) {
        if !right {
            self.0.push(what());
        }
    }

    #[track_caller]
    fn assert_none(self) {
        assert!(self.0.is_empty(), "{} wrong:\n{}", self.0.len(), self.0.join("\n"));
    }
}

/// The tokens that a sequence is expected to have, and the positions that are learned.
fn expected(value: &Value) -> (Vec<u32>, Vec<usize>) {
    let tokens = tokens(&value["tokens"]);
    let learned = match value["learned"].as_array() {
        Some(positions) => positions.iter().map(|at| at.as_u64().unwrap() as usize).collect(),
        None => (value["start"].as_u64().unwrap() as usize..tokens.len()).collect(),
    };
    (tokens, learned)
}

/// The same of a sequence that slpo made.
fn made(sequence: &Sequence) -> (Vec<u32>, Vec<usize>) {
    (sequence.tokens.clone(), (0..sequence.tokens.len()).filter(|&position| sequence.is_learned(position)).collect())
}

/// The sequence of a case whose learned tokens are its end.
fn sequence(value: &Value) -> Sequence {
    Sequence::new(tokens(&value["tokens"]), value["start"].as_u64().unwrap() as usize)
}

fn pair(case: &Value) -> PreferencePair {
    PreferencePair { line: 1, chosen: sequence(&case["chosen"]), rejected: sequence(&case["rejected"]) }
}

/// The rows of a setup's cases that are kept.
fn kept(cases: &[Value]) -> Vec<&Value> {
    cases.iter().filter(|case| case.get("dropped").is_none()).collect()
}

/// A set of one row, or the reason for which the row was dropped; any other complaint is the outer error.
fn only_row<T>(loaded: Result<T, model::Error>) -> Result<Result<T, DropReason>, model::Error> {
    const REASONS: [DropReason; 6] = [
        DropReason::EmptyCompletion,
        DropReason::EqualCompletions,
        DropReason::PromptsDiffer,
        DropReason::PromptFillsLimit,
        DropReason::NothingToPredict,
        DropReason::EqualTokens,
    ];
    let error = match loaded {
        Ok(set) => return Ok(Ok(set)),
        Err(error) => error,
    };
    let words = error.to_string();
    match REASONS.iter().find(|reason| words.contains(&format!("1 {reason}: line 1"))) {
        Some(reason) => Ok(Err(*reason)),
        None => Err(error),
    }
}

/// Compares what slpo makes of a pair with `expected_case`: the case itself, or what a limit leaves of it.
fn compare_pair(wrong: &mut Wrong, setup: &Setup, case: &Value, expected_case: &Value, limits: &Limits) {
    let path = setup.rows("rows.jsonl", [&case["row"]]);
    let about = || format!("{}, at most {} tokens ({:?}), {}", setup.name, limits.max_tokens, limits.truncation, case["row"]);
    let pair = match only_row(PreferenceSet::load(&path, &setup.model.tokenizer, &setup.chat, limits)) {
        Ok(Ok(mut set)) => set.pairs.remove(0),
        Ok(Err(reason)) => return wrong.check(json!(reason) == expected_case["dropped"], || format!("{}: dropped for {reason}", about())),
        Err(error) => return wrong.check(false, || format!("{}: {error}", about())),
    };
    if expected_case.get("dropped").is_some() {
        return wrong.check(false, || format!("{}: kept, expected {}", about(), expected_case["dropped"]));
    }
    for (key, ours) in [("chosen", &pair.chosen), ("rejected", &pair.rejected)] {
        let (ours, theirs) = (made(ours), expected(&expected_case[key]));
        wrong.check(ours == theirs, || format!("{}: {key}\n    slpo     {ours:?}\n    expected {theirs:?}", about()));
    }
}

#[test]
fn pairs_have_the_tokens_that_trl_gives_them() {
    let mut wrong = Wrong::default();
    for setup in Setup::all() {
        for case in setup.cases("pairs") {
            compare_pair(&mut wrong, &setup, case, case, &Limits::new(4096));
        }
    }
    wrong.assert_none();
}

#[test]
fn pairs_that_are_too_long_are_cut_as_documented_or_as_trl_cuts_them() {
    let mut wrong = Wrong::default();
    let mut cuts = 0;
    for setup in Setup::all() {
        for case in setup.cases("pairs") {
            for cut in case["cuts"].as_array().into_iter().flatten() {
                let truncation = if cut["truncation"] == "end" { Truncation::End } else { Truncation::Both };
                let limits = Limits { truncation, ..Limits::new(cut["max_tokens"].as_u64().unwrap() as usize) };
                compare_pair(&mut wrong, &setup, case, cut, &limits);
                cuts += 1;
            }
        }
    }
    assert!(cuts > 300, "{cuts} cuts");
    wrong.assert_none();
}

fn compare_completion(wrong: &mut Wrong, setup: &Setup, case: &Value, turns: Turns) {
    let path = setup.rows("rows.jsonl", [&case["row"]]);
    let about = || format!("{}, {turns:?}, {}", setup.name, case["row"]);
    let set = match only_row(CompletionSet::load(&path, &setup.model.tokenizer, &setup.chat, turns, &Limits::new(4096))) {
        Ok(Ok(set)) => set,
        Ok(Err(reason)) => return wrong.check(json!(reason) == case["dropped"], || format!("{}: dropped for {reason}", about())),
        Err(error) => return wrong.check(false, || format!("{}: {error}", about())),
    };
    let ours: Vec<_> = set.sequences.iter().map(made).collect();
    let theirs: Vec<_> = case["sequences"].as_array().into_iter().flatten().map(expected).collect();
    wrong.check(ours == theirs, || format!("{}:\n    slpo     {ours:?}\n    expected {theirs:?}", about()));
}

#[test]
fn completions_have_the_tokens_that_trl_gives_them() {
    let mut wrong = Wrong::default();
    for setup in Setup::all() {
        setup.cases("completions").iter().for_each(|case| compare_completion(&mut wrong, &setup, case, Turns::All));
    }
    wrong.assert_none();
}

#[test]
fn of_conversations_every_turn_of_the_model_is_learned_or_the_last() {
    let mut wrong = Wrong::default();
    for setup in Setup::all() {
        for (name, turns) in [("all", Turns::All), ("last", Turns::Last)] {
            setup.conversations(name).iter().for_each(|case| compare_completion(&mut wrong, &setup, case, turns));
        }
    }
    wrong.assert_none();
}

/// Σ of the losses of pairs and the tensors that they are made of, from the policy's and the reference's log-probabilities.
fn sum_of_losses<B: Backend>(policy: &Scored<'_, B>, reference: &Scored<'_, B>, loss: Loss) -> Tensor<B> {
    let ((chosen, rejected), (reference_chosen, reference_rejected)) = (policy.sequence_log_probs(), reference.sequence_log_probs());
    let (chosen_lengths, rejected_lengths) = policy.batch.lengths().iter().copied().unzip();
    let inputs = PairInputs::new(&chosen, &rejected, &reference_chosen, &reference_rejected).unwrap();
    let inputs = inputs.with_lengths(chosen_lengths, rejected_lengths).unwrap();
    pairwise(loss, &Hyperparameters::default(), &inputs).unwrap().sum_all()
}

/// True where TRL counts as many completion tokens as slpo: it also counts a first token, which nothing predicts.
fn has_trl_s_lengths(cases: &[Value]) -> bool {
    cases.iter().all(|case| case["differs"].as_str().is_none_or(|why| !why.starts_with("the first token is context")))
}

/// In f64 both sides are exact to some 1e-12; the fixture's log-probabilities are rounded to ten digits after the point.
#[test]
fn log_probabilities_and_first_losses_are_trl_s() {
    const TOLERANCE: f64 = 1e-9;
    for setup in Setup::all() {
        let cases = kept(setup.cases("pairs"));
        let pairs: Vec<PreferencePair> = cases.iter().map(|case| pair(case)).collect();
        let backend = Cpu::<f64>::new();
        let (policy, reference) = (setup.decoder(&backend, "policy"), setup.decoder(&backend, "reference"));
        let batch = PairBatch::new(&pairs);
        let fixed = Scored::reference(&batch, &reference);
        for (decoder, key) in [(&policy, "log_prob"), (&reference, "reference")] {
            let (chosen, rejected) = Scored::reference(&batch, decoder).sequence_log_probs();
            for (side, ours) in [("chosen", chosen.to_f64()), ("rejected", rejected.to_f64())] {
                for (case, ours) in cases.iter().zip(ours) {
                    let theirs = case[side][key].as_f64().unwrap();
                    assert!((ours - theirs).abs() < TOLERANCE, "{}, {side}: {ours} against {theirs}, {}", setup.name, case["row"]);
                }
            }
        }
        for (name, loss, by_length) in LOSSES {
            if by_length && !has_trl_s_lengths(setup.cases("pairs")) {
                continue;
            }
            let seen = Scored::policy(&batch, &policy, &ForwardOptions::default());
            let sum = sum_of_losses(&seen, &fixed, loss);
            let ours = sum.item() / pairs.len() as f64;
            let norm = gradient_norm(&policy, &sum.backward(), 1.0 / pairs.len() as f64).norm;
            let theirs = &setup.fixture["align"]["losses"][name];
            for (what, ours) in [("loss", ours), ("gradient_norm", norm)] {
                let theirs = theirs[what].as_f64().unwrap();
                assert!(
                    (ours - theirs).abs() < TOLERANCE * theirs.abs().max(1.0),
                    "{}, {name}, {what}: {ours} against {theirs}",
                    setup.name
                );
            }
        }
    }
}

/// How far the binary's f32 may be from f64, for the sum of `tokens` log-probabilities. A log-probability comes out of about 700 roundings
/// one after the other (each layer: products of 16 and of 32 terms, two norms, attention over some tens of places; then the vocabulary's
/// sum), each of 2⁻²⁴ of numbers up to about 8. Their errors add up as a random walk: √(700·tokens)·2⁻²⁴·8.
fn f32_tolerance(tokens: usize) -> f64 {
    (700.0 * tokens as f64).sqrt() * 2f64.powi(-24) * 8.0
}

/// The mean over pairs of an entry of one side.
fn mean(cases: &[&Value], side: &str, key: &str) -> f64 {
    cases.iter().map(|case| case[side][key].as_f64().unwrap()).sum::<f64>() / cases.len() as f64
}

/// Learned tokens of one side.
fn learned(cases: &[&Value], side: &str) -> usize {
    cases.iter().map(|case| expected(&case[side]).1.len()).sum()
}

/// (−ln p in all, learned tokens) of the sequences of some cases.
fn cost(cases: &[&Value]) -> (f64, usize) {
    let sequences = cases.iter().flat_map(|case| case["sequences"].as_array().unwrap());
    sequences.fold((0.0, 0), |(nats, tokens), value| (nats - value["log_prob"].as_f64().unwrap(), tokens + expected(value).1.len()))
}

/// What the binary says of a command, or what it complains of.
fn said(wrong: &mut Wrong, setup: &Setup, arguments: &str) -> Option<Value> {
    let output = setup.run(arguments);
    let message = String::from_utf8_lossy(&output.stderr);
    wrong.check(output.status.success(), || format!("{}: slpo {arguments}: {message}", setup.name));
    output.status.success().then(|| object(&output))
}

fn check_data_report(wrong: &mut Wrong, setup: &Setup, key: &str, sides: &[&str]) {
    let cases = setup.cases(key);
    setup.rows("all.jsonl", cases.iter().map(|case| &case["row"]));
    let Some(report) = said(wrong, setup, "data {}/all.jsonl --model {}/policy --max-tokens 1024 --examples 1000 --json") else { return };
    let kept: Vec<(usize, &Value)> = (1..).zip(cases).filter(|(_, case)| case.get("dropped").is_none()).collect();
    wrong.check(report["kept"] == json!(kept.len()), || format!("{}, {key}: {} kept of {}", setup.name, report["kept"], cases.len()));
    let text = |tokens: &[u32]| setup.model.tokenizer.decode_with_special(tokens).unwrap();
    for (line, case) in kept {
        for side in sides {
            let shown = report["examples"].as_array().unwrap().iter().find(|shown| shown["line"] == line && shown["sequence"] == *side);
            let Some(shown) = shown else {
                wrong.check(false, || format!("{}, {key}, line {line}: no example of {side}", setup.name));
                continue;
            };
            let ours = [shown["prompt"].as_str().unwrap(), shown["completion"].as_str().unwrap()].concat();
            let theirs = text(&expected(&case[side]).0);
            // A character that is spread over both is shown as its parts.
            let right = ours == theirs || ours.contains('\u{fffd}');
            wrong.check(right, || format!("{}, {key}, line {line}, {side}: shows {ours:?}, expected {theirs:?}", setup.name));
        }
    }
}

fn check_eval(wrong: &mut Wrong, setup: &Setup, cases: &[&Value]) {
    let Some(score) = said(wrong, setup, "eval --model {}/policy --data {}/kept.jsonl --max-tokens 1024 --json") else { return };
    for side in ["chosen", "rejected"] {
        let (ours, theirs) = (score[format!("{side}_log_prob")].as_f64().unwrap(), mean(cases, side, "log_prob"));
        let right = (ours - theirs).abs() < f32_tolerance(learned(cases, side) / cases.len());
        wrong.check(right, || format!("{}: eval says {ours} for {side}, TRL's tokens give {theirs}", setup.name));
    }
}

/// A step's loss in f32 is the mean of pairs' losses whose inputs are as far off as `f32_tolerance` says; β is 0.1 and slopes are at most
/// 1.2 for all but IPO, whose slope is twice its deviation and whose log-ratios are divided by lengths.
fn check_align(wrong: &mut Wrong, setup: &Setup, cases: &[&Value], (name, loss, by_length): (&str, Loss, bool)) {
    let command = format!(
        "align --model {{}}/policy --reference {{}}/reference --data {{}}/kept.jsonl --max-tokens 1024 --loss {} --steps 1 --warmup 0 \
         --batch {} --out {{}}/align-{name} --json",
        loss.name(),
        cases.len()
    );
    if said(wrong, setup, &command).is_none() {
        return;
    }
    let log = std::fs::read_to_string(setup.folder.path().join(format!("align-{name}/metrics.jsonl"))).unwrap();
    let step: Value = serde_json::from_str(log.lines().next().unwrap()).unwrap();
    let theirs = setup.fixture["align"]["losses"][name]["loss"].as_f64().unwrap();
    let most = cases.iter().map(|case| expected(&case["chosen"]).1.len() + expected(&case["rejected"]).1.len()).max().unwrap();
    let slope = if by_length { 2.0 * theirs.sqrt() } else { 0.12 };
    let ours = step["loss"].as_f64().unwrap();
    let right = (ours - theirs).abs() < slope * 2.0 * f32_tolerance(most);
    wrong.check(right, || format!("{}: the first step of {name} has a loss of {ours}, TRL's {theirs}", setup.name));
}

#[test]
fn the_binary_reads_pairs_as_trl_and_starts_at_its_losses() {
    let mut wrong = Wrong::default();
    for setup in Setup::all() {
        check_data_report(&mut wrong, &setup, "pairs", &["chosen", "rejected"]);
        let cases = kept(setup.cases("pairs"));
        setup.rows("kept.jsonl", cases.iter().map(|case| &case["row"]));
        check_eval(&mut wrong, &setup, &cases);
        let losses = if EVERY_LOSS.contains(&setup.name.as_str()) { &LOSSES[..] } else { &LOSSES[..1] };
        for loss in losses {
            check_align(&mut wrong, &setup, &cases, *loss);
        }
    }
    wrong.assert_none();
}

/// The loss of one step of `sft` on all cases at once, by the binary, beside the mean of −ln p over the tokens that TRL learns.
fn check_sft(wrong: &mut Wrong, setup: &Setup, name: &str, cases: &[&Value], flags: &str) {
    setup.rows("learned.jsonl", cases.iter().map(|case| &case["row"]));
    let command = format!(
        "sft --model {{}}/policy --data {{}}/learned.jsonl --max-tokens 1024 --steps 1 --warmup 0 --batch {} --out {{}}/{name} --json{flags}",
        cases.iter().map(|case| case["sequences"].as_array().unwrap().len()).sum::<usize>()
    );
    if said(wrong, setup, &command).is_none() {
        return;
    }
    let log = std::fs::read_to_string(setup.folder.path().join(name).join("metrics.jsonl")).unwrap();
    let step: Value = serde_json::from_str(log.lines().next().unwrap()).unwrap();
    let (nats, tokens) = cost(cases);
    let theirs = nats / tokens as f64;
    let ours = step["loss"].as_f64().unwrap();
    let right = (ours - theirs).abs() < f32_tolerance(1);
    wrong.check(right, || format!("{}: the first step of {name} has a loss of {ours} a token, TRL's {theirs}", setup.name));
}

#[test]
fn the_binary_learns_the_completions_that_trl_learns() {
    let mut wrong = Wrong::default();
    for setup in Setup::all() {
        let cases = kept(setup.cases("completions"));
        check_sft(&mut wrong, &setup, "sft", &cases, "");
        let theirs = setup.fixture["sft"]["loss"].as_f64().unwrap();
        let (nats, tokens) = cost(&cases);
        let mean = nats / tokens as f64;
        assert!((mean - theirs).abs() < 1e-9, "{}: SFTTrainer's loss is {theirs}, the mean over the tokens {mean}", setup.name);
    }
    wrong.assert_none();
}

#[test]
fn the_binary_learns_all_turns_or_the_last_as_trl_does() {
    let mut wrong = Wrong::default();
    for setup in Setup::all() {
        for (turns, flags) in [("all", ""), ("last", " --turns last")] {
            let cases: Vec<&Value> = setup.conversations(turns).iter().collect();
            if !cases.is_empty() {
                check_sft(&mut wrong, &setup, &format!("turns-{turns}"), &cases, flags);
            }
        }
    }
    wrong.assert_none();
}
