//! Merges across the boundary, BOS and EOS exactly once, and every way in which a row can be too long.

use super::*;
use crate::test_data::shared;

fn bytes(text: &str) -> Vec<u32> {
    text.bytes().map(u32::from).collect()
}

fn one(prompt: &str, completion: &str, limits: Limits) -> Result<Tokenized<1>, Unusable> {
    tokenize(&Tokenizer::bytes(), &Text::plain(prompt, [completion]), &limits).unwrap()
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
fn a_long_row_can_lose_the_start_of_its_prompt_first() {
    let limits = |max| Limits { truncation: Truncation::PromptStart, ..Limits::new(max) };
    let cut = |max| one("abcd", "xy", limits(max)).unwrap().sequences[0].clone();
    assert_eq!(cut(8).tokens, [&[256], &bytes("abcdxy")[..], &[257]].concat());
    assert_eq!(cut(6).tokens, [&[256], &bytes("cdxy")[..], &[257]].concat());
    assert_eq!((cut(3).tokens, cut(3).completion_start), (vec![256, 120, 121], 1));
    assert_eq!(cut(2).tokens, [256, 120]);
    assert_eq!(one("abcd", "xy", limits(1)), Err(Unusable::PromptFillsLimit));
}

#[test]
fn by_default_prompt_and_completion_are_both_kept_in_part() {
    let cut = |prompt: &str, completion: &str, max| one(prompt, completion, Limits::new(max)).unwrap().sequences[0].clone();
    // Both have eight tokens, so the prompt keeps half of the limit: BOS and its end.
    let both = cut("abcdefg", "tuvwxyz", 8);
    assert_eq!((both.prompt(), both.completion()), (&[256, 101, 102, 103][..], &bytes("tuvw")[..]));
    // A short prompt stays whole, and a short completion leaves its room to the prompt.
    assert_eq!(cut("ab", "tuvwxyz", 8).tokens, [&[256], &bytes("abtuvwx")[..]].concat());
    assert_eq!(cut("abcdefg", "t", 8).tokens, [&[256], &bytes("cdefg")[..], &bytes("t"), &[257]].concat());
    assert_eq!(cut("abcd", "xy", 2).tokens, [256, 120]);
}

#[test]
fn rows_that_are_too_long_can_be_dropped() {
    let limits = |max| Limits { truncation: Truncation::Drop, ..Limits::new(max) };
    assert_eq!(one("abcd", "xy", limits(7)), Err(Unusable::TooLong));
    assert!(!one("abcd", "xy", limits(8)).unwrap().truncated);
}

/// Every way of cutting keeps its promises, at every limit and every length.
#[test]
fn whatever_is_cut_leaves_context_something_to_predict_and_one_prompt() {
    let text = "abcdefghijklmnopqrstuvwxyz";
    for truncation in [Truncation::Both, Truncation::PromptStart, Truncation::End, Truncation::Drop] {
        for (prompt, first, second) in [(0, 1, 9), (3, 3, 3), (9, 1, 20), (26, 26, 1), (1, 26, 26)] {
            let whole = Text::plain(&text[..prompt], [&text[..first], &text[26 - second..]]);
            for max in 1..60 {
                let limits = Limits { truncation, ..Limits::new(max) };
                let Ok(pair) = tokenize(&Tokenizer::bytes(), &whole, &limits).unwrap() else {
                    assert!(max == 1 || matches!(truncation, Truncation::End | Truncation::Drop), "{truncation:?} {max}");
                    continue;
                };
                let [a, b] = &pair.sequences;
                assert_eq!(a.prompt(), b.prompt());
                for (sequence, length) in [(a, first), (b, second)] {
                    assert!(sequence.tokens.len() <= max && !sequence.completion().is_empty());
                    let kept_prompt = sequence.completion_start;
                    let cut_completion = sequence.completion().len() < length + 1;
                    if truncation == Truncation::Both && cut_completion {
                        assert!(kept_prompt >= (prompt + 1).min(max / 2).max(1), "{max}: {sequence:?}");
                    }
                }
            }
        }
    }
}

#[test]
fn a_text_of_a_template_is_as_it_stands() {
    let mut file: serde_json::Value = serde_json::from_str(&crate::tokenizer::tests_support::byte_file("<s>", "</s>")).unwrap();
    file["model"]["vocab"]["zz"] = 258.into();
    let tokenizer = Tokenizer::from_json(file.to_string()).unwrap();
    assert_eq!((tokenizer.bos(), tokenizer.eos()), (Some(256), Some(257)));
    let text = Text { framed: true, ..Text::plain("a", ["b"]) };
    let framed = tokenize(&tokenizer, &text, &Limits::new(9)).unwrap().unwrap();
    assert_eq!(framed.sequences[0].tokens, [97, 98]);
    let plain = tokenize(&tokenizer, &Text::plain("a", ["b"]), &Limits::new(9)).unwrap().unwrap();
    assert_eq!(plain.sequences[0].tokens, [256, 97, 98, 257]);
}

#[test]
fn what_others_say_between_turns_is_context_and_stays_so_when_the_row_is_cut() {
    let said = std::iter::once(2..5).collect::<Vec<_>>();
    let text = Text { context: &said, ..Text::plain("ab", ["cdXYZef"]) };
    let row = |max| tokenize(&Tokenizer::bytes(), &text, &Limits::new(max)).unwrap().unwrap().sequences[0].clone();
    let learned = |sequence: &Sequence| -> Vec<u32> {
        (0..sequence.tokens.len()).filter(|&position| sequence.is_learned(position)).map(|position| sequence.tokens[position]).collect()
    };
    assert_eq!(learned(&row(20)), [&bytes("cdef")[..], &[257]].concat());
    assert_eq!(learned(&row(9)), bytes("cdef")[..3], "cut at the end");
    assert_eq!(learned(&row(5)), bytes("cd"), "cut within what others say");
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
    let pair = tokenize(&Tokenizer::bytes(), &Text::plain("abcd", ["x", "lmnop"]), &Limits::new(8)).unwrap().unwrap();
    let [short, long] = &pair.sequences;
    assert_eq!(short.prompt(), long.prompt());
    assert_eq!((long.tokens.len(), short.completion()), (8, &[120, 257][..]));
}

#[test]
fn a_token_across_the_boundary_belongs_to_the_completion() {
    let Some(folder) = shared("data/gpt2-tokenizer") else { return };
    let tokenizer = Tokenizer::from_folder(&folder).unwrap();
    let limits = Limits::new(64);
    let done = tokenize(&tokenizer, &Text::plain("Once upon a ti", ["me"]), &limits).unwrap().unwrap();
    let whole = tokenizer.encode("Once upon a time").unwrap();
    assert_eq!(done.merged, 1);
    assert_eq!(done.sequences[0].tokens, [&whole[..], &[50256]].concat());
    assert_eq!(tokenizer.decode(done.sequences[0].completion()).unwrap(), " time");

    let clean = tokenize(&tokenizer, &Text::plain("Once upon a", [" time"]), &limits).unwrap().unwrap();
    assert_eq!((clean.merged, clean.sequences[0].completion_start), (0, 3));

    let pair = tokenize(&tokenizer, &Text::plain("Once upon a ti", ["me", " x"]), &limits).unwrap().unwrap();
    let [merged, other] = &pair.sequences;
    assert_eq!(pair.merged, 1, "only \"time\" is one token");
    assert_eq!(merged.prompt(), other.prompt());
    assert_eq!(tokenizer.decode(other.completion()).unwrap(), " ti x");

    let ended = tokenize(&tokenizer, &Text::plain("Once", [" upon<|endoftext|>"]), &limits).unwrap().unwrap();
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
        let done = tokenize(&tokenizer, &Text::plain(prompt, [good]), &Limits::new(128)).unwrap().unwrap();
        let text = tokenizer.decode(&done.sequences[0].tokens).unwrap();
        assert_eq!(text, [prompt, good].concat());
        assert_eq!(done.sequences[0].tokens.last(), Some(&50256));
    }
}

#[test]
fn the_boundary_is_where_the_prompt_s_own_tokens_end_not_those_of_what_is_left_of_it() {
    let mut file: serde_json::Value = serde_json::from_str(&crate::tokenizer::tests_support::byte_file("<s>", "</s>")).unwrap();
    file["model"]["vocab"]["zz"] = 258.into();
    file["model"]["merges"] = serde_json::json!([["z", "z"]]);
    let tokenizer = Tokenizer::from_json(file.to_string()).unwrap();
    // Alone the prompt ends with "zz", one token. The answer makes another token of its second z.
    let text = Text { alone: Some("azz"), framed: true, ..Text::plain("az", ["b", "c"]) };
    let pair = tokenize(&tokenizer, &text, &Limits::new(9)).unwrap().unwrap();
    for (sequence, last) in pair.sequences.iter().zip([98, 99]) {
        assert_eq!((sequence.prompt(), sequence.completion()), (&[97][..], &[122, last][..]));
    }
}

#[test]
fn a_template_s_bos_stays_when_a_row_is_cut() {
    let tokenizer = Tokenizer::from_json(crate::tokenizer::tests_support::byte_file("<s>", "</s>")).unwrap();
    let text = Text { framed: true, ..Text::plain("<s>abcdefg", ["xyz"]) };
    let cut = tokenize(&tokenizer, &text, &Limits::new(6)).unwrap().unwrap();
    assert_eq!(cut.sequences[0].tokens, [&[256][..], &bytes("fgxyz")].concat());
}
