//! The kind of a file is told by its content if its name misleads, and the marks of a file are never data.

use super::*;

fn source(name: &str, bytes: &[u8]) -> Result<Source> {
    Source::of(Path::new(name), bytes.to_vec())
}

fn texts(name: &str, bytes: &[u8]) -> Vec<u32> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    std::fs::write(&path, bytes).unwrap();
    TextData::load(&path, &Tokenizer::bytes(), 0.0).unwrap().train().to_vec()
}

#[test]
fn rows_are_rows_whatever_their_file_is_called() {
    let line = "{\"text\": \"ab\"}";
    let list = format!("[{line}, {line}]");
    for name in ["a.jsonl", "a.json", "a.ndjson", "a.txt", "a", "a.JSONL"] {
        assert!(matches!(source(name, line.as_bytes()).unwrap(), Source::Rows(rows) if rows.len() == 1), "{name}");
        assert!(matches!(source(name, list.as_bytes()).unwrap(), Source::Rows(rows) if rows.len() == 2), "{name}");
        assert_eq!(texts(name, list.as_bytes()), texts("b.jsonl", format!("{line}\n{line}\n").as_bytes()), "{name}");
    }
    for text in ["Once upon a time", "{ braces } in a text", "[a list?", "{\"json\": \"but no known column\"}", "3", ""] {
        assert_eq!(source("a.txt", text.as_bytes()).unwrap(), Source::Text(text.to_owned()));
    }
}

#[test]
fn one_object_over_several_lines_is_a_row_and_a_wrapped_list_is_named() {
    let row = "{\n  \"prompt\": \"p\",\n  \"completion\": \"c\"\n}\n";
    assert_eq!(rows(row).unwrap().0.len(), 1);
    let message = rows("{\n\"data\": [{\"text\": \"a\"}]\n}").unwrap_err().to_string();
    assert!(message.contains("whose \"data\" holds a list: give the file that list alone"), "{message}");
}

#[test]
fn csv_and_packed_files_are_refused_in_words_wherever_data_is_read() {
    let csv = "prompt,chosen,rejected\na,b,c\n";
    for name in ["p.csv", "p.jsonl", "p.txt", "p"] {
        let message = source(name, csv.as_bytes()).unwrap_err().to_string();
        assert!(message.starts_with(name) && message.contains("CSV is not read"), "{message}");
    }
    assert!(source("p.tsv", b"anything").unwrap_err().to_string().contains("CSV is not read"));
    assert!(matches!(source("a.txt", b"text, and more text, prompt").unwrap(), Source::Text(_)));
    for (start, word) in
        [(&b"\x1f\x8b\x08"[..], "gzip"), (b"PK\x03\x04", "ZIP"), (b"\x28\xb5\x2f\xfd", "Zstandard"), (b"\xff\xfea\0", "UTF-16")]
    {
        let message = source("a.txt", start).unwrap_err().to_string();
        assert!(message.contains(word), "{message}");
        let message = rows_of_bytes(Path::new("a.jsonl"), start.to_vec()).unwrap_err().to_string();
        assert!(message.contains(word), "{message}");
    }
    let message = in_file("Once upon a time\n", read_rows).unwrap_err().to_string();
    assert!(message.contains("rows.jsonl:1: this is plain text where rows are wanted"), "{message}");
}

#[test]
fn byte_order_marks_and_line_ends_are_never_data() {
    let plain = texts("a.txt", b"one\ntwo\n");
    assert_eq!(texts("a.txt", "\u{feff}one\r\ntwo\r\n".as_bytes()), plain);
    assert_eq!(texts("a.txt", b"one\rtwo\r"), plain);
    let documents = texts("a.txt", b"a<|endoftext|>b");
    assert_eq!(texts("a.txt", "\u{feff}a\r\n<|endoftext|>\r\n\u{feff}b".as_bytes()), documents);
    let row = "{\"prompt\":\"p\",\"completion\":\"c\"}";
    assert_eq!(rows(&format!("\u{feff}{row}\r\n{row}\r\n")).unwrap().0.len(), 2);
    let kept = rows(r#"{"prompt":"p\r\n","completion":"c"}"#).unwrap().0;
    assert_eq!(kept[0].prompt, "p\r\n", "what a row says is data");
}

#[test]
fn a_text_without_words_is_left_out_and_other_columns_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.jsonl");
    std::fs::write(&path, "{\"text\":\"a\",\"zzz\":1.5}\n{\"text\":null}\n{\"text\":\"b\",\"id\":3}\n").unwrap();
    let data = TextData::load(&path, &Tokenizer::bytes(), 0.0).unwrap();
    assert_eq!((data.documents, data.bytes), (2, 2));
    assert_eq!(data.remarks, ["a row without a text is left out (line 2)", "column \"zzz\" is not used (line 1)"]);
    std::fs::write(&path, "{\"prompt\":\"a\",\"chosen\":\"b\",\"rejected\":\"c\"}\n").unwrap();
    let message = TextData::load(&path, &Tokenizer::bytes(), 0.0).unwrap_err().to_string();
    assert!(message.contains("these are preferences, which `slpo align` learns from"), "{message}");
}
