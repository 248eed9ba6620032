//! Tokenizers inside GGUF files: real vocabularies of both kinds, how each cuts a text, and damaged ones that are refused by name.

use super::*;
use crate::gguf::writer::Writer;
use crate::tokenizer::gpt2_files;
use tokenizers::pre_tokenizers::byte_level::ByteLevel;

/// ggml's numbers for the kinds of tokens.
const NORMAL: i32 = 1;
const UNKNOWN: i32 = 2;
const CONTROL: i32 = 3;
const USER_DEFINED: i32 = 4;
const BYTE: i32 = 6;

fn read(file: &Writer) -> Result<gguf_tokenizer::Found> {
    let bytes = file.bytes();
    let content = Content::of_bytes(Path::new("x.gguf"), &bytes);
    gguf_tokenizer::read(&Gguf::new(&content, &Header::read(&content)?)?)
}

#[track_caller]
fn tokenizer(file: &Writer) -> Tokenizer {
    read(file).unwrap().unwrap()
}

#[track_caller]
fn refused(file: &Writer, expected: &str) {
    let message = read(file).unwrap_err().to_string();
    assert!(message.contains(expected), "{message}");
}

/// Writes the tokens, scores and kinds of llama2.c's `tok512.bin` as llama.cpp does.
fn stories_vocabulary(source: &Path) -> Writer {
    let bytes = fs::read(source.join("tok512.bin")).unwrap();
    let (mut rest, mut names, mut scores, mut kinds) = (&bytes[4..], Vec::new(), Vec::new(), Vec::new());
    while let Some((head, after)) = rest.split_first_chunk::<8>() {
        let [score, length] = [0, 4].map(|at| <[u8; 4]>::try_from(&head[at..at + 4]).unwrap());
        let (text, after) = after.split_at(u32::from_le_bytes(length) as usize);
        rest = after;
        let text = str::from_utf8(text).unwrap();
        let (name, kind) = match names.len() {
            0 => (text.trim().to_owned(), UNKNOWN),
            1 | 2 => (text.trim().to_owned(), CONTROL),
            3..259 => (text.to_owned(), BYTE),
            _ => (text.replace(' ', "\u{2581}"), NORMAL),
        };
        names.push(name);
        scores.push(f32::from_le_bytes(score));
        kinds.push(kind);
    }
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    Writer::new("llama")
        .text("tokenizer.ggml.model", "llama")
        .texts("tokenizer.ggml.tokens", &names)
        .floats("tokenizer.ggml.scores", &scores)
        .integers("tokenizer.ggml.token_type", &kinds)
        .integer("tokenizer.ggml.bos_token_id", 1)
        .integer("tokenizer.ggml.eos_token_id", 2)
}

#[test]
fn a_real_sentencepiece_vocabulary_gives_the_ids_and_texts_of_run_c() {
    let Some(source) = shared("data/stories260k") else { return };
    let tokenizer = tokenizer(&stories_vocabulary(&source));
    assert_eq!((tokenizer.bos(), tokenizer.eos(), tokenizer.vocab_size()), (Some(1), Some(2), 512));
    for case in json(source.join("golden_tokenizer.json"))["cases"].as_array().unwrap() {
        let tokens = [vec![1], tokenizer.encode(case["text"].as_str().unwrap()).unwrap()].concat();
        assert_eq!(serde_json::json!(tokens), case["tokens"]);
        assert_eq!(tokenizer.decode(&tokens).unwrap(), case["decoded"].as_str().unwrap());
    }
    let stories = fs::read_to_string(source.join("tinystories_sample.txt")).unwrap();
    let llama2c = llama2c_tokenizer::read(&source.join("tok512.bin"), 512).unwrap();
    assert_eq!(tokenizer.encode(&stories).unwrap(), llama2c.encode(&stories).unwrap());
}

#[test]
fn gpt_2_s_real_vocabulary_gives_the_ids_of_tiktoken() {
    let Some(folder) = shared("data/gpt2-tokenizer") else { return };
    let ids = json(folder.join("encoder.json"));
    let mut names: Vec<(u64, &str)> = ids.as_object().unwrap().iter().map(|(name, id)| (id.as_u64().unwrap(), name.as_str())).collect();
    names.sort_unstable();
    let kinds: Vec<i32> = names.iter().map(|&(id, _)| if id == 50256 { CONTROL } else { NORMAL }).collect();
    let merges = fs::read_to_string(folder.join("vocab.bpe")).unwrap();
    let file = Writer::new("gpt2")
        .text("tokenizer.ggml.model", "gpt2")
        .text("tokenizer.ggml.pre", "gpt-2")
        .texts("tokenizer.ggml.tokens", &names.iter().map(|&(_, name)| name).collect::<Vec<_>>())
        .integers("tokenizer.ggml.token_type", &kinds)
        .texts("tokenizer.ggml.merges", &merges.lines().skip(1).collect::<Vec<_>>())
        .integer("tokenizer.ggml.bos_token_id", 50256)
        .integer("tokenizer.ggml.eos_token_id", 50256);
    let tokenizer = tokenizer(&file);
    assert_eq!((tokenizer.bos(), tokenizer.eos(), tokenizer.vocab_size()), (None, Some(50256), 50257));
    for case in json(folder.join("golden_encodings.json"))["cases"].as_array().unwrap() {
        let text = case["text"].as_str().unwrap();
        let tokens = tokenizer.encode(text).unwrap();
        assert_eq!(serde_json::json!(tokens), case["ids"], "{text:?}");
        assert_eq!(tokenizer.decode(&tokens).unwrap(), text);
    }
    let Some(text) = shared("data/tinyshakespeare/input.txt") else { return };
    let text = fs::read_to_string(text).unwrap();
    let [vocab, merges] = ["encoder.json", "vocab.bpe"].map(|name| folder.join(name));
    assert_eq!(tokenizer.encode(&text).unwrap(), gpt2_files::read(&vocab, &merges).unwrap().encode(&text).unwrap());
}

/// Writes every byte, `more` tokens and `merges`, and last a control token `<|end|>` and a user-defined `<tool>`.
fn bytes_and(pre: &str, more: &[&str], merges: &[&str]) -> Writer {
    let mut alphabet: Vec<char> = ByteLevel::alphabet().into_iter().collect();
    alphabet.sort_unstable();
    let alphabet: Vec<String> = alphabet.into_iter().map(String::from).collect();
    let names: Vec<&str> = alphabet.iter().map(String::as_str).chain(more.iter().copied()).chain(["<|end|>", "<tool>"]).collect();
    let mut kinds = vec![NORMAL; names.len() - 2];
    kinds.extend([CONTROL, USER_DEFINED]);
    Writer::new("llama")
        .text("tokenizer.ggml.model", "gpt2")
        .text("tokenizer.ggml.pre", pre)
        .texts("tokenizer.ggml.tokens", &names)
        .integers("tokenizer.ggml.token_type", &kinds)
        .texts("tokenizer.ggml.merges", merges)
        .integer("tokenizer.ggml.bos_token_id", names.len() as u32 - 2)
}

fn names(tokenizer: &Tokenizer, text: &str) -> Vec<String> {
    tokenizer.encode(text).unwrap().into_iter().map(|id| tokenizer.name(id).unwrap()).collect()
}

#[test]
fn each_kind_of_byte_level_vocabulary_cuts_a_text_its_own_way() {
    let more = ["12", "123", "1234", "LL", "'LL", "hello"];
    let merges = ["1 2", "12 3", "123 4", "L L", "' LL"];
    // GPT-2 keeps digits together and knows contractions in small letters only; Llama 3 takes three digits at a time, Qwen 2 one.
    for (pre, digits, contraction) in [
        ("gpt-2", vec!["1234", "5"], vec!["I", "'", "LL"]),
        ("llama-bpe", vec!["123", "4", "5"], vec!["I", "'LL"]),
        ("qwen2", vec!["1", "2", "3", "4", "5"], vec!["I", "'LL"]),
    ] {
        let tokenizer = tokenizer(&bytes_and(pre, &more, &merges));
        assert_eq!(names(&tokenizer, "12345"), digits, "{pre}");
        assert_eq!(names(&tokenizer, "I'LL"), contraction, "{pre}");
        // Llama 3 takes a piece that is a token as a whole, even if no merges lead to it.
        assert_eq!(names(&tokenizer, "hello").len(), if pre == "llama-bpe" { 1 } else { 5 }, "{pre}");
        // Qwen 2 composes characters first: e and an accent become é, of two bytes.
        assert_eq!(names(&tokenizer, "e\u{301}").len(), if pre == "qwen2" { 2 } else { 3 }, "{pre}");
        for text in ["a  b\n\n c\t", "naïve 東京 🐻", "x<tool>y", ""] {
            assert_eq!(tokenizer.decode(&tokenizer.encode(text).unwrap()).unwrap(), text, "{pre}");
        }
    }
}

#[test]
fn control_tokens_are_special_and_user_defined_ones_are_text_that_stays_whole() {
    let tokenizer = tokenizer(&bytes_and("qwen2", &[], &[]).integer("tokenizer.ggml.eos_token_id", 256));
    assert_eq!(names(&tokenizer, "a<tool>b<|end|>"), ["a", "<tool>", "b", "<|end|>"]);
    let tokens = tokenizer.encode("a<tool>b<|end|>").unwrap();
    assert_eq!(tokenizer.decode(&tokens).unwrap(), "a<tool>b");
    assert_eq!(tokenizer.decode_with_special(&tokens).unwrap(), "a<tool>b<|end|>");
    assert_eq!((tokenizer.eos(), tokenizer.vocab_size()), (Some(256), 258));
}

#[test]
fn bos_is_put_before_a_text_where_the_file_or_its_kind_says_so() {
    let bos = |pre: &str, said: Option<bool>| {
        let file = bytes_and(pre, &[], &[]);
        tokenizer(&said.into_iter().fold(file, |file, flag| file.flag("tokenizer.ggml.add_bos_token", flag))).bos()
    };
    assert_eq!([bos("llama-bpe", None), bos("qwen2", None), bos("gpt-2", None)], [Some(256), None, None]);
    assert_eq!([bos("llama-bpe", Some(false)), bos("qwen2", Some(true))], [None, Some(256)]);
}

/// Writes a SentencePiece vocabulary without bytes.
fn pieces(scores: &[f32]) -> Writer {
    Writer::new("llama")
        .text("tokenizer.ggml.model", "llama")
        .texts("tokenizer.ggml.tokens", &["<unk>", "<s>", "</s>", "\u{2581}", "a", "b", "c", "ab", "bc", "<tool>"])
        .integers("tokenizer.ggml.token_type", &[UNKNOWN, CONTROL, CONTROL, 1, 1, 1, 1, 1, 1, USER_DEFINED])
        .floats("tokenizer.ggml.scores", scores)
        .integer("tokenizer.ggml.bos_token_id", 1)
        .integer("tokenizer.ggml.eos_token_id", 2)
}

const AB_FIRST: [f32; 10] = [0.0, 0.0, 0.0, -9.0, -9.0, -9.0, -9.0, -1.0, -2.0, 0.0];
const BC_FIRST: [f32; 10] = [0.0, 0.0, 0.0, -9.0, -9.0, -9.0, -9.0, -2.0, -1.0, 0.0];

#[test]
fn pieces_are_merged_by_their_scores() {
    let ab = tokenizer(&pieces(&AB_FIRST));
    assert_eq!(names(&ab, "abc"), ["\u{2581}", "ab", "c"]);
    assert_eq!(names(&tokenizer(&pieces(&BC_FIRST)), "abc"), ["\u{2581}", "a", "bc"]);
    assert_eq!(names(&ab, "a<tool>z"), ["\u{2581}", "a", "<tool>", "\u{2581}", "<unk>"], "what no piece covers is unknown");
    assert_eq!((ab.bos(), ab.eos()), (Some(1), Some(2)));
    let plain = pieces(&AB_FIRST).flag("tokenizer.ggml.add_space_prefix", false).flag("tokenizer.ggml.add_bos_token", false);
    let plain = tokenizer(&plain);
    assert_eq!((names(&plain, "ab c"), plain.bos()), (vec!["ab".to_owned(), "\u{2581}".to_owned(), "c".to_owned()], None));
    assert_eq!(plain.decode(&plain.encode(" ab c").unwrap()).unwrap(), " ab c");
}

#[test]
fn a_tokenizer_in_hugging_face_s_own_form_is_taken_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let Some(source) = shared("data/stories260k") else { return };
    tokenizer(&stories_vocabulary(&source)).save(folder.path()).unwrap();
    let whole = fs::read_to_string(folder.path().join(crate::tokenizer::FILE)).unwrap();
    let file = Writer::new("llama").text("tokenizer.huggingface.json", &whole).integer("tokenizer.ggml.eos_token_id", 7);
    let found = tokenizer(&file);
    assert_eq!((found.vocab_size(), found.bos(), found.eos()), (512, Some(1), Some(7)));
    refused(&Writer::new("llama").text("tokenizer.huggingface.json", "{"), "not a usable tokenizer.json");
}

#[test]
fn a_kind_that_cannot_be_written_exactly_is_no_error_and_says_why() {
    let reason = |file: &Writer| read(file).unwrap().unwrap_err();
    let kind = |name: &str| Writer::new("llama").text("tokenizer.ggml.model", name);
    assert!(reason(&Writer::new("llama")).contains("the file has none"));
    assert!(reason(&kind("bert")).contains("its kind \"bert\""));
    assert!(reason(&kind("gpt2")).contains("does not say how it cuts a text"));
    assert!(reason(&kind("gpt2").text("tokenizer.ggml.pre", "tekken")).contains("how it cuts a text (\"tekken\")"));
}

#[test]
fn a_damaged_vocabulary_is_reported_not_believed() {
    let kind = |name: &str| Writer::new("llama").text("tokenizer.ggml.model", name).text("tokenizer.ggml.pre", "qwen2");
    let tokens = |name: &str| kind(name).texts("tokenizer.ggml.tokens", &["a", "b"]);
    refused(&kind("llama"), "tokenizer.ggml.tokens is missing");
    refused(&kind("gpt2").integers("tokenizer.ggml.tokens", &[1, 2]), "holds something other than texts");
    refused(&tokens("gpt2").integers("tokenizer.ggml.token_type", &[1]), "token_type has 1 entries for 2 tokens");
    refused(&tokens("llama"), "tokenizer.ggml.scores is missing");
    refused(&tokens("llama").floats("tokenizer.ggml.scores", &[0.0]), "or has another length");
    refused(&tokens("llama").floats("tokenizer.ggml.scores", &[0.0, f32::NAN]), "token 1 has the score NaN");
    refused(&tokens("llama").texts("tokenizer.ggml.scores", &["high", "low"]), "token 0 has the score NaN");
    refused(&tokens("gpt2"), "tokenizer.ggml.merges is missing");
    refused(&tokens("gpt2").texts("tokenizer.ggml.merges", &["a b", "ab"]), "entry 1 is no pair");
    refused(&tokens("gpt2").texts("tokenizer.ggml.merges", &["a c"]), "not a usable tokenizer.json");
    let twice = |name: &str| kind(name).texts("tokenizer.ggml.tokens", &["a", "a"]);
    refused(&twice("gpt2").texts("tokenizer.ggml.merges", &[]), "two tokens have the same name");
    refused(&twice("llama").floats("tokenizer.ggml.scores", &[0.0, 0.0]), "tokens 0 and 1 are both \"a\"");
    let long = "x".repeat(2000);
    let long = kind("llama").texts("tokenizer.ggml.tokens", &[&long]).floats("tokenizer.ggml.scores", &[0.0]);
    refused(&long, "token 0 has 2000 bytes");
}
