//! Real preference files row by row, each form of row, and every kind of bad row.

mod columns;
mod conversations;
mod files;
mod unpaired;

use super::*;
use crate::boundary::Limits;
use crate::error::Result;
use crate::test_data::shared;
use crate::tokenizer::Tokenizer;
use std::path::Path;

fn in_file<T>(text: &str, read: impl FnOnce(&Path) -> Result<T>) -> Result<T> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("rows.jsonl");
    std::fs::write(&path, text).unwrap();
    read(&path)
}

fn pairs(text: &str) -> Result<(Vec<PreferenceRow>, DataReport)> {
    in_file(text, |path| preferences::read(path, &ChatTemplate::default()))
}

fn rows(text: &str) -> Result<(Vec<CompletionRow>, DataReport)> {
    in_file(text, |path| completions::read(path, &ChatTemplate::default(), Turns::All))
}

fn parts(row: &PreferenceRow) -> [&str; 3] {
    [&row.prompt, &row.chosen, &row.rejected]
}

#[test]
fn every_form_of_a_pair_says_the_same() {
    let forms = [
        r#"{"prompt":"\n\nHuman: hi\n\nAssistant:","chosen":" yes","rejected":" no"}"#,
        r#"{"chosen":"\n\nHuman: hi\n\nAssistant: yes","rejected":"\n\nHuman: hi\n\nAssistant: no"}"#,
        r#"{"prompt":[{"role":"user","content":"hi"}],"chosen":[{"role":"assistant","content":"yes"}],"rejected":[{"role":"assistant","content":"no"}]}"#,
        r#"{"prompt":[{"role":"user","content":"hi"}],"chosen":"yes","rejected":"no"}"#,
        r#"{"prompt":"hi","chosen":[{"role":"user","content":"hi"},{"role":"assistant","content":"yes"}],"rejected":[{"role":"user","content":"hi"},{"role":"assistant","content":"no"}]}"#,
        r#"{"chosen":[{"role":"user","content":"hi"},{"role":"assistant","content":"yes"}],"rejected":[{"role":"user","content":"hi"},{"role":"assistant","content":"no"}]}"#,
        r#"{"conversations":[{"from":"human","value":"hi"}],"chosen":{"from":"gpt","value":"yes"},"rejected":{"from":"gpt","value":"no"}}"#,
    ];
    for form in forms {
        let (rows, _) = pairs(form).unwrap();
        assert_eq!(parts(&rows[0]), ["\n\nHuman: hi\n\nAssistant:", " yes", " no"], "{form}");
    }
    let (rows, _) = pairs(r#"{"instruction":"do","input":"it","chosen":"a","rejected":"b"}"#).unwrap();
    assert_eq!(parts(&rows[0]), ["do\nit\n", "a", "b"]);
}

#[test]
fn every_form_of_a_completion_says_the_same() {
    let forms = [
        r#"{"prompt":"\n\nHuman: hi\n\nAssistant:","completion":" yes"}"#,
        r#"{"prompt":[{"role":"user","content":"hi"}],"completion":[{"role":"assistant","content":"yes"}]}"#,
        r#"{"messages":[{"role":"user","content":"hi"},{"role":"assistant","content":"yes"}]}"#,
        r#"{"conversations":[{"from":"human","value":"hi"},{"from":"gpt","value":"yes"}]}"#,
    ];
    for form in forms {
        let (rows, _) = rows(form).unwrap();
        assert_eq!((rows[0].prompt.as_str(), rows[0].completion.as_str()), ("\n\nHuman: hi\n\nAssistant:", " yes"), "{form}");
    }
    assert_eq!(rows(r#"{"text":"all of it"}"#).unwrap().0[0].completion, "all of it");
    assert_eq!(rows(r#"{"instruction":"do","input":"","output":"done"}"#).unwrap().0[0].prompt, "do\n");
}

#[test]
fn rows_that_teach_nothing_are_dropped_and_counted_with_their_lines() {
    let text = concat!(
        "{\"prompt\":\"p\",\"chosen\":\"a\",\"rejected\":\"b\"}\n\n",
        "{\"prompt\":\"p\",\"chosen\":\" \",\"rejected\":\"b\"}\n",
        "{\"prompt\":\"p\",\"chosen\":\"a\",\"rejected\":\"a\"}\n",
        "{\"chosen\":\"x\\n\\nAssistant:a\",\"rejected\":\"y\\n\\nAssistant:b\"}\n",
    );
    let (rows, report) = pairs(text).unwrap();
    assert_eq!((rows.len(), rows[0].line, report.rows, report.kept), (1, 1, 4, 1));
    let dropped: Vec<_> = report.dropped.iter().map(|row| (row.line, row.reason)).collect();
    let expected = [(3, DropReason::EmptyCompletion), (4, DropReason::EqualCompletions), (5, DropReason::PromptsDiffer)];
    assert_eq!(dropped, expected);
    let line = report.to_string();
    assert!(line.starts_with("4 rows, 1 kept, 3 dropped (1 empty completion: line 3;"), "{line}");
}

#[test]
fn a_row_that_cannot_be_read_stops_with_its_line() {
    let good = r#"{"prompt":"p","chosen":"a","rejected":"b"}"#;
    let cases = [
        ("{", "rows.jsonl:2: not valid JSON: EOF while parsing an object at column 1"),
        ("3", "rows.jsonl:2: a row must be a JSON object, not a number"),
        (
            r#"{"prompt":"p","chosen":"a"}"#,
            "rows.jsonl:2: a row needs \"prompt\", \"chosen\" and \"rejected\"; this one has \"prompt\", \"chosen\"",
        ),
        (r#"{"prompt":"p","chosen":3,"rejected":"b"}"#, "rows.jsonl:2: \"chosen\" must be a string, not a number"),
        (
            r#"{"chosen":"x\n\nAssistant: a","rejected":"b"}"#,
            "rows.jsonl:2: one of the two texts is a transcript, and \"rejected\" has no turn that begins with",
        ),
        (r#"{"prompt":[{"role":"tool","content":""}],"chosen":"a","rejected":"b"}"#, "message by \"tool\""),
        (r#"{"prompt":[{"role":"user"}],"chosen":"a","rejected":"b"}"#, "\"prompt\" must hold messages"),
        (r#"{"prompt":"p","chosen":[{"role":"user","content":"q"}],"rejected":"b"}"#, "does not follow the prompt"),
    ];
    for (bad, expected) in cases {
        let message = pairs(&format!("{good}\n{bad}\n")).unwrap_err().to_string();
        assert!(message.contains(expected), "{message}");
    }
    let message = pairs("\n").unwrap_err().to_string();
    assert!(message.contains("the file has no rows"), "{message}");
    let message = pairs(r#"{"prompt":"p","chosen":"","rejected":"b"}"#).unwrap_err().to_string();
    assert!(message.contains("no row can be used: 1 rows, 0 kept, 1 dropped"), "{message}");
}

#[test]
fn an_array_s_rows_have_the_lines_on_which_they_begin() {
    let text = "\n[\n {\"text\": \"a\"},\n\n {\n \"text\": \"\"}, {\"text\": 3}\n]";
    let message = rows(text).unwrap_err().to_string();
    assert!(message.contains("rows.jsonl:6: \"text\" must be a string"), "{message}");
    let message = rows("[\n{\"text\": \"a\"},\n]").unwrap_err().to_string();
    assert!(message.contains("rows.jsonl:3: not valid JSON"), "{message}");
}

#[test]
fn real_preference_files_are_read_whole() {
    let files = [
        ("polite-preferences/train.jsonl", 813, 0, 0),
        ("blimp-pairs/train.jsonl", 5000, 0, 0),
        ("pandalm-human/preferences.jsonl", 888, 52, 0),
        ("dpo-en-demo/dpo_en_demo.json", 300, 0, 0),
    ];
    for (name, expected_rows, empty, equal) in files {
        let Some(path) = shared(&format!("data/{name}")) else { return };
        let (rows, report) = preferences::read(&path, &ChatTemplate::default()).unwrap();
        let counts = report.drop_counts();
        let count = |reason| counts.get(&reason).copied().unwrap_or(0);
        assert_eq!(report.rows, expected_rows, "{name}");
        assert_eq!(count(DropReason::EmptyCompletion), empty, "{name}: {report}");
        assert_eq!(count(DropReason::EqualCompletions), equal, "{name}: {report}");
        assert_eq!(rows.len() + report.dropped.len(), expected_rows, "{name}");
    }
}

#[test]
fn human_transcripts_keep_their_text_and_lose_only_rows_after_different_prompts() {
    for (part, expected) in [("train", 1749), ("dev", 221)] {
        let Some(path) = shared(&format!("data/hh-rlhf-harmless/{part}.jsonl")) else { return };
        let (rows, report) = preferences::read(&path, &ChatTemplate::default()).unwrap();
        assert_eq!(report.rows, expected);
        let differ = report.drop_counts().get(&DropReason::PromptsDiffer).copied().unwrap_or(0);
        assert!(differ <= 5, "{report}");
        let source = read_rows(&path).unwrap();
        for row in &rows {
            assert!(row.prompt.ends_with("\n\nAssistant:"));
            let original = source.iter().find(|original| original.line == row.line).unwrap();
            assert_eq!([row.prompt.as_str(), &row.chosen].concat(), original.text("chosen").unwrap());
            assert_eq!([row.prompt.as_str(), &row.rejected].concat(), original.text("rejected").unwrap());
        }
    }
}

#[test]
fn long_conversations_are_cut_to_length_and_still_have_both_answers() {
    let Some(path) = shared("data/dpo-en-demo/dpo_en_demo.json") else { return };
    let limits = Limits::new(256);
    let set = PreferenceSet::load(&path, &Tokenizer::bytes(), &ChatTemplate::default(), &limits).unwrap();
    assert!(set.report.truncated > 200, "{}", set.report);
    assert_eq!(set.pairs.len() + set.report.dropped.len(), 300);
    for pair in &set.pairs {
        for sequence in [&pair.chosen, &pair.rejected] {
            assert!(sequence.tokens.len() <= 256 && !sequence.completion().is_empty());
        }
        assert_eq!(pair.chosen.prompt(), pair.rejected.prompt());
    }
}

#[test]
fn sentences_become_sequences_that_are_learned_whole() {
    let Some(path) = shared("data/movie-sentiment/sentences.dev.jsonl") else { return };
    let set = CompletionSet::load(&path, &Tokenizer::bytes(), &ChatTemplate::default(), Turns::All, &Limits::new(512)).unwrap();
    assert!(set.sequences.iter().all(|sequence| sequence.completion_start == 1));
    assert_eq!(set.sequences.len(), set.report.kept);
}
