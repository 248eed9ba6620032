//! Tests of the command line: what each line parses to, and the words with which it is refused.

use super::*;

fn read(line: &str) -> Result<Request, Failure> {
    parse(line.split(' ').map(OsString::from).collect())
}

fn train(line: &str) -> (Shared, Train) {
    match read(line) {
        Ok(Request::Run(shared, command)) => match *command {
            Command::Train(train) => (shared, train),
            other => panic!("{other:?}"),
        },
        Ok(Request::Show(text)) => panic!("{text}"),
        Err(failure) => panic!("{failure}"),
    }
}

fn usage(line: &str) -> String {
    match read(line) {
        Err(Failure::Usage(text)) => text,
        Err(other) => panic!("not about usage: {other}"),
        Ok(_) => panic!("{line} is accepted"),
    }
}

#[test]
fn the_definition_is_sound() {
    Arguments::command().debug_assert();
}

#[test]
fn alone_it_shows_help_with_the_main_job_first() {
    let Ok(Request::Show(help)) = read("slpo") else { panic!("no help") };
    let at = |text: &str| help.find(text).unwrap_or_else(|| panic!("no {text} in {help}"));
    assert!(at("demo") < at("train") && at("train") < at("gradcheck"));
}

#[test]
fn help_says_what_has_to_be_given() {
    let Ok(Request::Show(help)) = read("slpo align --help") else { panic!("no help") };
    assert!(help.contains("Usage: slpo align [OPTIONS] --data <FILE> --model <MODEL> --out <DIR>"), "{help}");
}

#[test]
fn a_flag_wins_over_the_file_and_the_file_over_the_default() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("settings.toml");
    std::fs::write(&file, "steps = 7\nlearning_rate = 1e-4\nseed = 5\ncheckpoint_activations = true\npreset = \"micro\"\n").unwrap();
    let line = format!("slpo --seed 9 train --data a.txt --steps 8 --out b --config {}", file.display());
    let (shared, train) = train(&line);
    assert_eq!((train.steps, shared.seed), (Some(8), 9), "flags, wherever they stand");
    assert_eq!((train.learning_rate, train.preset.as_str(), train.checkpoint_activations), (Some(1e-4), "micro", true));
    assert_eq!(train.checkpoint_every, 500);
}

#[test]
fn a_runs_own_settings_can_be_given_again() {
    let folder = tempfile::tempdir().unwrap();
    let (shared, first) = train("slpo train --data a.txt --out b --dropout 0.25 --batch-rows 3 --seed 18446744073709551615");
    let file = folder.path().join("config.toml");
    let entry = toml::from_str("step = 3\nchanged = [\"steps: 2 → 3\"]").unwrap();
    let text = first.run_settings(&shared).unwrap().to_toml(&[entry]).unwrap();
    std::fs::write(&file, &text).unwrap();
    let (same, whole) = train(&format!("slpo train --config {}", file.display()));
    assert_eq!(whole.run_settings(&same).unwrap(), first.run_settings(&shared).unwrap(), "with all that has to be given: {text}");
    assert_eq!(same.seed, u64::MAX, "TOML's whole numbers are smaller");
    let (_, again) = train(&format!("slpo train --data c.txt --out d --config {}", file.display()));
    assert_eq!((again.dropout, again.batch_rows, again.data.to_str()), (0.25, Some(3), Some("c.txt")));
}

#[test]
fn what_is_wrong_in_a_file_is_named_with_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("settings.toml");
    for (text, expected) in [
        ("stepps = 7", "settings.toml: there is no setting \"stepps\"; the settings are"),
        ("steps = 0", "settings.toml: invalid value '0' for '--steps <N>'"),
        ("steps = true", "settings.toml: steps must be a whole number, not true (true or false)"),
        ("steps = \"3\"", "settings.toml: steps must be a whole number, not \"3\" (a text)"),
        ("learning_rate = \"1e-3\"", "settings.toml: learning_rate must be a number, not"),
        ("preset = 3", "settings.toml: preset must be a text in quotes, not 3 (a number)"),
        ("lr = 1e-3\nlearning_rate = 1e-3", "settings.toml: lr and another key are both --learning-rate"),
        ("command = \"align\"", "settings.toml: these are the settings of slpo align, not of slpo train"),
        ("history = 3", "settings.toml: history must be a list of tables, not 3"),
        ("change = true", "there is no setting \"change\""),
        ("steps: 3", "settings.toml:1: settings are TOML, as in learning_rate = 1e-3, and this looks like YAML"),
        ("checkpoint_activations = 1", "settings.toml: checkpoint_activations must be true or false, not 1"),
        ("seed = 1\nsteps = ", "settings.toml:2: not valid TOML"),
        ("config = \"x\"", "there is no setting \"config\""),
    ] {
        std::fs::write(&file, text).unwrap();
        let message = usage(&format!("slpo train --data a.txt --out b --config {}", file.display()));
        assert!(message.contains(expected) && !message.contains('\n'), "{message}");
    }
}

#[test]
fn bad_usage_is_one_line_that_names_the_flag() {
    for (line, expected) in [
        ("slpo train --out b", "--data <FILE>"),
        ("slpo train --data a --out b --dropout 1", "'--dropout <P>': must be at least 0 and below 1"),
        ("slpo align --model a --data b --out c --loss dop", "[possible values: dpo, cdpo"),
        ("slpo --json align --model a --data b --out c --loss dop", "see slpo align --help"),
        ("slpo align --model a --data b --out c --los dpo", "'--loss'"),
        ("slpo train --data a --out b --steps 1.5", "'--steps <N>': must be a whole number"),
        ("slpo train --data a --out b --steps ten", "'--steps <N>': not a whole number"),
        ("slpo train --data a --out b --steps 0", "'--steps <N>': must be at least 1; see"),
        ("slpo train --data a --out b --steps 1e300", "'--steps <N>': must be at most"),
        ("slpo train --data a --out b --seed -1", "'--seed <N>': must be at least 0"),
        ("slpo train --data a --out b --lr 1e300", "must be at most 3.4e38: f32 holds no larger number"),
        ("slpo train --data a --out b --clip 1e-320", "must be at least 1.2e-38"),
        ("slpo train --data a --out b --dropout 0.99999999999", "must be at least 0 and below 1"),
        ("slpo train --data a --out b --steps 3 --epochs 2", "--epochs has no effect beside --steps"),
        ("slpo train --data a --out b --held-out 0 --eval-every 5", "--eval-every has nothing to measure with: --held-out is 0"),
        ("slpo train --data a --out b --steps 5 --warmup 5", "--warmup 5 is not below the run's 5 steps"),
        ("slpo train --data a --out b --change", "--change is for a run that goes on: give --resume too"),
        ("slpo sft --model a --data b --out c --eval-every 5", "give --eval-data too"),
        ("slpo sft --model a --data b --out c --lora-targets q_proj", "--lora-targets is of a LoRA adapter: give --lora-rank too"),
        (
            "slpo align --model a --data b --out c --label-smoothing 0.1",
            "dpo does not use --label-smoothing; cdpo, robust, exo, aot and aot-unpaired do",
        ),
        ("slpo align --model a --data b --out c --loss slpo-token --reference-cache x", "slpo-token does not use --reference-cache"),
        ("slpo verify a --loss hinge --length-normalize", "hinge does not use --length-normalize; ipo does"),
        ("slpo bench", "slpo bench needs a command: step, generate or peak; see slpo bench --help"),
        ("slpo bench step", "see slpo bench step --help"),
        ("slpo dpo", "there is no command dpo: that is `slpo align --loss dpo` here"),
        ("slpo Fine_Tune --data x", "that is `slpo sft` here"),
        ("slpo generate --model a --prompt-tokens 1,x", "\"x\" is no token id"),
        ("slpo generate --model a", "--prompt <TEXT>"),
        ("slpo trian", "slpo --help"),
        ("slpo score --threads 0 --model a --text b", "--threads"),
    ] {
        let message = usage(line);
        assert!(message.contains(expected) && !message.contains('\n'), "{line}: {message}");
    }
}

/// The commands that have options, with the words that lead to them.
fn all_commands() -> Vec<(String, clap::Command)> {
    fn add(path: &str, command: &clap::Command, all: &mut Vec<(String, clap::Command)>) {
        let path = format!("{path} {}", command.get_name());
        for inner in command.get_subcommands().filter(|inner| inner.get_name() != "help") {
            add(&path, inner, all);
        }
        all.push((path, command.clone()));
    }
    let (mut all, mut root) = (Vec::new(), Arguments::command());
    root.build();
    add("", &root, &mut all);
    all
}

#[test]
fn every_option_stands_under_a_heading_that_fits_it() {
    let under = |command: &str, heading: &str| -> Vec<String> {
        let (_, command) = all_commands().into_iter().find(|(path, _)| path.trim() == command).unwrap();
        let fits = |arg: &&clap::Arg| arg.get_help_heading() == Some(heading);
        command.get_arguments().filter(fits).map(|arg| arg.get_id().to_string()).collect()
    };
    for (path, command) in all_commands() {
        for arg in command.get_arguments() {
            let (id, heading) = (arg.get_id().as_str(), arg.get_help_heading());
            assert_eq!(id.starts_with("lora_"), heading == Some(headings::LORA), "{path} --{id} is under {heading:?}");
            let shared = ["json", "device", "precision", "threads", "seed"].contains(&id);
            assert_eq!(shared, heading == Some("Options of every command"), "{path} --{id} is under {heading:?}");
            let trains = ["train", "sft", "align"].iter().any(|name| path.ends_with(name));
            assert!(!trains || heading.is_some() || id == "help", "{path} --{id} has no heading");
        }
    }
    for command in ["slpo train", "slpo sft", "slpo align"] {
        let has = |heading: &str, ids: &[&str]| {
            let found = under(command, heading);
            assert!(ids.iter().all(|id| found.iter().any(|other| other == id)), "{command}, {heading}: {found:?}");
        };
        has(headings::DATA, &["data"]);
        has(headings::TRAINING, &["steps", "epochs", "accumulate", "learning_rate", "warmup", "weight_decay", "clip", "dropout"]);
        has(headings::RUN, &["out", "eval_every", "checkpoint_every", "keep", "on_nonfinite", "profile", "resume", "change", "config"]);
    }
    let settings = losses::Setting::ALL.map(losses::Setting::field);
    assert_eq!(under("slpo align", headings::LOSS), [&["loss", "loss_weights"], &settings[..], &["length_normalize"]].concat());
    assert_eq!(under("slpo align", headings::MODEL), ["model", "reference", "reference_every", "reference_mixup"]);
}

#[test]
fn what_other_programs_call_a_setting_is_understood_on_the_command_line_and_in_a_file() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("settings.toml");
    std::fs::write(&file, "lr = 5e-4\nbatch_size = 3\nmax_length = 32\nmax-steps = 1e2\n").unwrap();
    let expected = (Some(5e-4), Some(3), Some(32), Some(100));
    let flags = "--lr 5e-4 --batch-size 3 --max-length 32 --max-steps 1e2";
    for line in [flags.to_owned(), format!("--config {}", file.display()), "--lr 5e-4 --batch 3 --max-tokens 32 --steps 100".to_owned()] {
        let (_, train) = train(&format!("slpo train --data a --out b {line}"));
        assert_eq!((train.learning_rate, train.batch_rows, train.batch_tokens, train.steps), expected, "{line}");
    }
    let align = |line: &str| match read(&format!("slpo align --model a --data b --out c {line}")) {
        Ok(Request::Run(_, command)) => match *command {
            Command::Align(align) => align,
            other => panic!("{other:?}"),
        },
        Ok(Request::Show(text)) => panic!("{text}"),
        Err(failure) => panic!("{failure}"),
    };
    for (name, loss) in
        [("DPO", "dpo"), ("sigmoid", "dpo"), ("IPO", "ipo"), ("conservative", "cdpo"), ("SLPO-GKL", "slpo-gkl"), ("dpo,SFT", "dpo,nll")]
    {
        assert_eq!(align(&format!("--loss {name}")).loss, loss);
        assert_eq!(align(&format!("--loss-type {name}")).loss, loss);
    }
    let aligned = align("--batch-size 2 --max-length 9 --num-train-epochs 3 --loss cdpo --label-smoothing 0.2 --lora-r 4 --lora-alpha 8");
    assert_eq!((aligned.training.batch, aligned.training.max_tokens, aligned.training.epochs), (2, Some(9), Some(3.0)));
}

#[test]
fn what_a_file_says_without_effect_is_said_where_it_is_not_the_default() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("settings.toml");
    let notes = |text: &str| {
        std::fs::write(&file, text).unwrap();
        match read(&format!("slpo align --model a --data b --out c --config {}", file.display())) {
            Ok(Request::Run(_, command)) => match *command {
                Command::Align(align) => align.training.control.layers.notes,
                other => panic!("{other:?}"),
            },
            _ => panic!("{text} is refused"),
        }
    };
    assert_eq!(notes("beta = 0.1\nlabel_smoothing = 0.1\nalpha = 1\nweights = \"eq7\"\nnll = 0\n"), Vec::<String>::new());
    let said = notes("label_smoothing = 0.2\nnll_reduction = \"pair\"\nalpha = 0.3\n");
    assert_eq!(said.len(), 3, "{said:?}");
    assert!(
        said.iter()
            .any(|note| note.ends_with("settings.toml: dpo does not use --label-smoothing; cdpo, robust, exo, aot and aot-unpaired do")),
        "{said:?}"
    );
    assert_eq!(notes("steps = 5\nepochs = 2.0\n").len(), 1);
    assert_eq!(notes("steps = 5\nepochs = 1.0\n").len(), 1, "epochs has no default of its own");
}

#[test]
fn a_flag_takes_the_place_of_what_a_file_says_instead() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("settings.toml");
    std::fs::write(&file, "steps = 7\n").unwrap();
    let (_, by_epochs) = train(&format!("slpo train --data a.txt --out b --epochs 2 --config {}", file.display()));
    assert_eq!((by_epochs.steps, by_epochs.epochs), (None, Some(2.0)));
}

#[test]
fn a_loss_is_known_by_every_name_as_others_spell_it() {
    let parsed = |name: &str| match read(&format!("slpo align --model m --data d --out o --loss {name}")) {
        Ok(Request::Run(_, command)) => match *command {
            Command::Align(align) => align.loss,
            other => panic!("{other:?}"),
        },
        Ok(Request::Show(text)) => panic!("{text}"),
        Err(failure) => panic!("{name}: {failure}"),
    };
    for loss in losses::Loss::ALL {
        for name in std::iter::once(loss.name()).chain(loss.aliases().iter().copied()) {
            for spelled in [name.to_owned(), name.replace('-', "_"), name.to_uppercase()] {
                assert_eq!(parsed(&spelled), loss.name(), "{spelled}");
            }
        }
    }
    assert_eq!(parsed("dpo,exo_pair"), "dpo,exo");
    assert!(usage("slpo align --model m --data d --out o --loss exo__pair").contains("exo__pair"));
}
