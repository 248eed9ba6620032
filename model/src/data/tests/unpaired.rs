//! Labelled rows: their forms, their labels, and pairs as rows.

use super::*;
use crate::data::inspect::{Form, Reading, inspect};

fn labelled(text: &str) -> Result<LabelledSet> {
    in_file(text, |path| LabelledSet::load(path, &Tokenizer::bytes(), &ChatTemplate::default(), &Limits::new(64)))
}

#[test]
fn texts_and_chats_with_any_spelling_of_a_label_say_the_same() {
    let texts = r#"{"prompt":"\n\nHuman: hi\n\nAssistant:","completion":" yes","label":LABEL}"#;
    let chats = r#"{"prompt":[{"role":"user","content":"hi"}],"completion":[{"role":"assistant","content":"yes"}],"label":LABEL}"#;
    for form in [texts, chats] {
        for (label, is_desirable) in [("true", true), ("1", true), ("1.0", true), ("false", false), ("0", false)] {
            let set = labelled(&form.replace("LABEL", label)).unwrap();
            let expected = in_file(texts.replace("LABEL", "1").as_str(), |path| {
                CompletionSet::load(path, &Tokenizer::bytes(), &ChatTemplate::default(), Turns::Last, &Limits::new(64))
            });
            assert_eq!((&set.rows[0].sequence, set.rows[0].is_desirable), (&expected.unwrap().sequences[0], is_desirable), "{label}");
            assert!(set.report.remarks.is_empty(), "{:?}", set.report.remarks);
        }
    }
}

#[test]
fn rows_without_a_label_are_refused_and_empty_ones_dropped() {
    let refused = |text: &str| labelled(text).unwrap_err().to_string();
    let message = refused(r#"{"prompt":"p","completion":"c"}"#);
    assert!(message.contains(r#"a row needs "prompt", "completion" and "label" (or "prompt", "chosen" and "rejected")"#), "{message}");
    let message = refused(r#"{"prompt":"p","completion":"c","label":"good"}"#);
    assert!(message.contains(r#""label" must be true or false, or 1 or 0, not "good""#), "{message}");
    assert!(refused(r#"{"prompt":"p","completion":"c","label":2}"#).contains("not 2"));
    let set = labelled(concat!(
        "{\"prompt\":\"p\",\"completion\":\" \",\"label\":true}\n",
        "{\"prompt\":\"p\",\"completion\":\"c\",\"label\":true,\"origin\":\"here\",\"zzz\":1}\n",
        "{\"prompt\":\"p\",\"completion\":\"d\",\"label\":false}\n"
    ));
    let LabelledSet { rows, report } = set.unwrap();
    assert_eq!((report.rows, report.kept, report.dropped[0].reason), (3, 2, DropReason::EmptyCompletion));
    assert_eq!((rows[0].line, Balance::of(&rows)), (2, Balance { desirable: 1, undesirable: 1 }));
    assert_eq!(report.remarks, ["column \"zzz\" is not used (line 2)"]);
    let message = in_file("{\"prompt\":\"p\",\"completion\":\"c\",\"label\":0}", |path| preferences::read(path, &ChatTemplate::default()));
    let message = message.unwrap_err().to_string();
    assert!(
        message.contains("labelled rows, which `slpo align` learns from with the losses kto, apo-zero-unpaired and bco-unpaired"),
        "{message}"
    );
}

#[test]
fn a_pair_is_two_rows() {
    let text = "{\"prompt\":\"p\",\"chosen\":\"a\",\"rejected\":\"b\"}\n{\"prompt\":\"q\",\"chosen\":\"c\",\"rejected\":\"c\"}\n";
    let set = labelled(text).unwrap();
    let pairs = in_file(text, |path| PreferenceSet::load(path, &Tokenizer::bytes(), &ChatTemplate::default(), &Limits::new(64))).unwrap();
    assert_eq!((set.report.kept, set.report.dropped.len(), set.rows.len()), (1, 1, 2));
    let [chosen, rejected] = &set.rows[..] else { panic!("two rows") };
    assert_eq!((&chosen.sequence, chosen.is_desirable), (&pairs.pairs[0].chosen, true));
    assert_eq!((&rejected.sequence, rejected.is_desirable), (&pairs.pairs[0].rejected, false));
}

#[test]
fn an_inspection_counts_the_labels_of_the_rows_that_are_kept() {
    let row = |completion: &str, label: &str| format!("{{\"prompt\":\"p\",\"completion\":\"{completion}\",\"label\":{label}}}\n");
    let text = [row("a", "true"), row("b", "true"), row("", "true"), row("c", "0")].concat();
    let (tokenizer, chat) = (Tokenizer::bytes(), ChatTemplate::default());
    let reading = Reading { tokenizer: &tokenizer, chat: &chat, turns: Turns::All, limits: Limits::new(8) };
    let seen = in_file(&text, |path| inspect(path, &reading, 4)).unwrap();
    assert_eq!((seen.form, seen.labels), (Form::Unpaired, Some(Balance { desirable: 2, undesirable: 1 })));
    let names: Vec<_> = seen.examples.iter().map(|example| (example.line, example.sequences[0].0)).collect();
    assert_eq!(names, [(1, "desirable"), (2, "desirable"), (4, "undesirable")]);
    // A column of that name with other values is none of these labels.
    let other = in_file(&text.replace("true", "\"news\"").replace(":0}", ":\"art\"}"), |path| inspect(path, &reading, 1)).unwrap();
    assert_eq!((other.form, other.labels), (Form::Completions, None));
}
