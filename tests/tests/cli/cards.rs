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
