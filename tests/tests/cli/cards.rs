//! What comes with a trained model: its card, its metrics as a table, and its form as a GGUF file.

use crate::command::{Workplace, failure, object};

fn read(workplace: &Workplace, name: &str) -> String {
    std::fs::read_to_string(workplace.path(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

#[test]
fn a_trained_model_has_a_card_and_its_metrics_as_a_table() {
    let workplace = Workplace::new();
    object(&workplace.run("align --model {}/model --data {}/preferences.jsonl --loss dpo --out {}/aligned --steps 3 --json"));
    let card = read(&workplace, "aligned/README.md");
    for part in [
        "---\nlibrary_name: transformers\n",
        "base_model: \"model\"\n",
        "tags: [\"slpo\",\"align\"]\n",
        "# aligned\n",
        "made by `slpo align` in 3 steps",
        "loss = \"dpo\"",
        "| `loss` | 0.",
        "## Warnings",
    ] {
        assert!(card.contains(part), "{part}: {card}");
    }
    assert!(!card.contains("working_directory"), "{card}");
    let table = read(&workplace, "aligned/metrics.csv");
    let lines: Vec<Vec<&str>> = table.lines().map(|line| line.split(',').collect()).collect();
    assert!(lines[0][0] == "step" && lines[0].contains(&"loss") && lines[0].contains(&"margin"), "{table}");
    assert_eq!(lines.len() - 1, read(&workplace, "aligned/metrics.jsonl").lines().count());
    assert!(lines.iter().all(|line| line.len() == lines[0].len()), "{table}");
}

#[test]
fn metrics_have_trl_s_names_where_they_are_asked_for() {
    let workplace = Workplace::new();
    let align = "align --model {}/model --data {}/preferences.jsonl --eval-data {}/preferences.jsonl --out {}/run --steps 2 --batch 1 \
                 --beta 0.3 --metric-names trl --json";
    object(&workplace.run(align));
    let table = read(&workplace, "run/metrics.csv");
    let rows: Vec<Vec<&str>> = table.lines().map(|line| line.split(',').collect()).collect();
    let of_step = |name: &str| {
        let column = rows[0].iter().position(|own| *own == name).unwrap_or_else(|| panic!("{name}: {table}"));
        rows[1..].iter().filter(|row| row[0] == "2").find_map(|row| row[column].parse::<f64>().ok()).expect("a value of step 2")
    };
    let text = read(&workplace, "run/metrics.jsonl");
    let record = text.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
    let record = record.into_iter().find(|record| record["step"] == 2 && record.get("loss").is_some()).unwrap();
    let own = |name: &str| record[name].as_f64().unwrap_or_else(|| panic!("{name}: {text}"));
    for (name, expected) in [
        ("loss", own("loss")),
        ("grad_norm", own("gradient_norm")),
        ("logps/chosen", own("chosen_log_prob")),
        ("rewards/chosen", 0.3 * own("chosen_log_ratio")),
        ("rewards/margins", 0.3 * own("margin")),
        ("rewards/rejected", 0.3 * own("chosen_log_ratio") - 0.3 * own("margin")),
        ("rewards/accuracies", own("accuracy")),
    ] {
        assert_eq!(of_step(name), expected, "{name}");
    }
    assert!(of_step("eval_rewards/accuracies") >= 0.0);
    let folder = std::fs::read_dir(workplace.path("run")).unwrap().map(|entry| entry.unwrap().path());
    let events: Vec<u8> =
        folder.filter(|path| path.to_string_lossy().contains("tfevents")).flat_map(|path| std::fs::read(path).unwrap()).collect();
    for tag in ["train/rewards/chosen", "eval/rewards/margins", "train/loss"] {
        assert!(events.windows(tag.len()).any(|window| window == tag.as_bytes()), "{tag}");
    }
    // A resumed run may have other names: nothing is learned otherwise.
    object(&workplace.run("align --out {}/run --resume --steps 3 --metric-names slpo --json"));
    let table = read(&workplace, "run/metrics.csv");
    assert!(table.contains("chosen_log_ratio") && !table.contains("rewards/"), "{table}");
}

#[test]
fn a_model_becomes_a_gguf_file_and_comes_back_with_the_same_logits() {
    let workplace = Workplace::new();
    let written = object(&workplace.run("convert {}/model --to gguf --type f32 --out {}/model.gguf --json"));
    assert_eq!((written["format"].as_str(), written["type"].as_str()), (Some("gguf"), Some("f32")));
    object(&workplace.run("convert {}/model.gguf --out {}/back --json"));
    let score = |model: &str| object(&workplace.run(&format!("score --model {{}}/{model} --text Once --json")));
    assert_eq!(score("model"), score("back"));
    let line = failure(&workplace.run("convert {}/model --to gguf --out {}/model.gguf"), 1);
    assert!(line.contains("model.gguf is there already: choose another --out, or give --force to replace it"), "{line}");
    object(&workplace.run("convert {}/model --to gguf --type q8_0 --out {}/model.gguf --force --json"));
    let line = failure(&workplace.run("convert {}/model --type q8_0 --out {}/x"), 2);
    assert!(line.contains("--type is of GGUF files: give --to gguf, or leave it out"), "{line}");
}

#[test]
fn models_that_are_converted_or_merged_have_cards_too_and_a_persons_own_page_stays() {
    let workplace = Workplace::new();
    object(&workplace.run("convert {}/model --to gguf --type q8_0 --out {}/small.gguf --json"));
    object(&workplace.run("convert {}/small.gguf --out {}/back --json"));
    let card = read(&workplace, "back/README.md");
    assert!(
        card.contains("base_model: \"small.gguf\"\ntags: [\"slpo\",\"convert\"]\n") && card.contains("`slpo convert`: GGUF, "),
        "{card}"
    );
    assert!(card.contains("## Warnings\n\nNone.\n"), "{card}");
    object(&workplace.run("sft --model {}/model --data {}/completions.jsonl --out {}/adapter --steps 1 --lora-rank 1 --json"));
    let adapter = read(&workplace, "adapter/README.md");
    assert!(adapter.contains("slpo generate --model ITS_BASE --adapter THIS_FOLDER"), "{adapter}");
    object(&workplace.run("merge --model {}/model --adapter {}/adapter --out {}/merged --json"));
    let card = read(&workplace, "merged/README.md");
    assert!(card.contains("# merged\n") && card.contains("the adapter adapter, with "), "{card}");
    workplace.write("merged/README.md", "# Mine\n");
    let again = workplace.run("merge --model {}/model --adapter {}/adapter --out {}/merged --force");
    assert!(String::from_utf8_lossy(&again.stderr).contains("no model card is written in its place"));
    assert_eq!(read(&workplace, "merged/README.md"), "# Mine\n");
}

#[test]
fn an_adapter_says_so_and_a_persons_own_page_stays() {
    let workplace = Workplace::new();
    object(&workplace.run("sft --model {}/model --data {}/completions.jsonl --out {}/adapter --steps 1 --lora-rank 1 --json"));
    let card = read(&workplace, "adapter/README.md");
    assert!(card.contains("library_name: peft\n") && card.contains("An adapter (LoRA)"), "{card}");

    object(&workplace.run("sft --model {}/model --data {}/completions.jsonl --out {}/mine --steps 2 --checkpoint-every 1 --json"));
    workplace.write("mine/README.md", "# Mine\n");
    let again = object(&workplace.run("sft --out {}/mine --steps 3 --resume --change --json"));
    assert_eq!(read(&workplace, "mine/README.md"), "# Mine\n");
    let warnings = again["warnings"].as_array().unwrap();
    assert!(warnings.iter().any(|warning| warning.as_str().unwrap().contains("no model card is written in its place")), "{again}");
}
