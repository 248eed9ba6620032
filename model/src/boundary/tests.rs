//! Merges across the boundary, BOS and EOS exactly once, and every way a row can be too long.

use super::*;
use crate::test_data::shared;

fn bytes(text: &str) -> Vec<u32> {
    text.bytes().map(u32::from).collect()
}

fn one(prompt: &str, completion: &str, limits: Limits) -> Result<Tokenized<1>, Unusable> {
    tokenize(&Tokenizer::bytes(), prompt, [completion], &limits).unwrap()
}

#[test]
fn bos_starts_the_prompt_and_eos_ends_the_completion() {
    let done = one("ab", "c", Limits::new(9)).unwrap();
    assert_eq!(done.sequences[0].tokens, [256, 97, 98, 99, 257]);
    assert_eq!(done.sequences[0].completion(), [99, 257]);
    assert_eq!((done.merged, done.truncated), (0, false));
    let no_eos = Limits { add_eos: false, ..Limits::new(9) };
    assert_eq!(one("ab", "c", no_eos).unwrap().sequences[0].completion(), [99]);
}

#[test]
fn an_empty_prompt_leaves_bos_as_context() {
    let sequence = &one("", "hi", Limits::new(9)).unwrap().sequences[0];
    assert_eq!((sequence.prompt(), sequence.completion()), (&[256][..], &[104, 105, 257][..]));
}

#[test]
fn an_empty_completion_is_no_row() {
    assert_eq!(one("ab", "", Limits::new(9)), Err(Unusable::EmptyCompletion));
}

#[test]
fn a_long_row_loses_the_start_of_its_prompt_first() {
    let cut = |max| one("abcd", "xy", Limits::new(max)).unwrap().sequences[0].clone();
    assert_eq!(cut(8).tokens, [&[256], &bytes("abcdxy")[..], &[257]].concat());
    assert_eq!(cut(6).tokens, [&[256], &bytes("cdxy")[..], &[257]].concat());
    assert_eq!((cut(3).tokens, cut(3).completion_start), (vec![256, 120, 121], 1));
    assert_eq!(cut(2).tokens, [256, 120]);
    assert_eq!(one("abcd", "xy", Limits::new(1)), Err(Unusable::PromptFillsLimit));
}

#[test]
fn cutting_the_end_only_drops_a_prompt_that_fills_the_limit() {
    let limits = |max| Limits { truncation: Truncation::End, ..Limits::new(max) };
    let kept = one("abcd", "xy", limits(6)).unwrap();
    assert_eq!((kept.sequences[0].completion(), kept.truncated), (&[120][..], true));
    assert_eq!(one("abcd", "xy", limits(5)), Err(Unusable::PromptFillsLimit));
}

#[test]
fn both_completions_of_a_pair_keep_the_same_prompt() {
    let pair = tokenize(&Tokenizer::bytes(), "abcd", ["x", "lmnop"], &Limits::new(8)).unwrap().unwrap();
    let [short, long] = &pair.sequences;
    assert_eq!(short.prompt(), long.prompt());
    assert_eq!((long.tokens.len(), short.completion()), (8, &[120, 257][..]));
}

#[test]
fn a_token_across_the_boundary_belongs_to_the_completion() {
    let Some(folder) = shared("data/gpt2-tokenizer") else { return };
    let tokenizer = Tokenizer::from_folder(&folder).unwrap();
    let limits = Limits::new(64);
    let done = tokenize(&tokenizer, "Once upon a ti", ["me"], &limits).unwrap().unwrap();
    let whole = tokenizer.encode("Once upon a time").unwrap();
    assert_eq!(done.merged, 1);
    assert_eq!(done.sequences[0].tokens, [&whole[..], &[50256]].concat());
    assert_eq!(tokenizer.decode(done.sequences[0].completion()).unwrap(), " time");

    let clean = tokenize(&tokenizer, "Once upon a", [" time"], &limits).unwrap().unwrap();
    assert_eq!((clean.merged, clean.sequences[0].completion_start), (0, 3));

    let ended = tokenize(&tokenizer, "Once", [" upon<|endoftext|>"], &limits).unwrap().unwrap();
    assert_eq!(ended.sequences[0].completion().iter().filter(|&&id| id == 50256).count(), 1);
}

#[test]
fn real_pairs_come_back_as_their_text() {
    let Some(folder) = shared("data/gpt2-tokenizer") else { return };
    let Some(pairs) = shared("data/blimp-pairs/dev.jsonl") else { return };
    let tokenizer = Tokenizer::from_folder(&folder).unwrap();
    for line in std::fs::read_to_string(pairs).unwrap().lines() {
        let row: serde_json::Value = serde_json::from_str(line).unwrap();
        let [prompt, good] = ["prompt", "chosen"].map(|key| row[key].as_str().unwrap());
        let done = tokenize(&tokenizer, prompt, [good], &Limits::new(128)).unwrap().unwrap();
        let text = tokenizer.decode(&done.sequences[0].tokens).unwrap();
        assert_eq!(text, [prompt, good].concat());
        assert_eq!(done.sequences[0].tokens.last(), Some(&50256));
    }
}
