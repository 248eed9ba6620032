//! Chat templates as transformers renders them: `tests/peers/chat_templates.py` made the expected texts with its own code.

mod shared;

use model::Error;
use model::chat_template::JinjaTemplate;
use model::data::{ChatTemplate, Message, Role};
use model::tokenizer::Tokenizer;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::Path;

fn fixture() -> Value {
    shared::json(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/chat_templates.json"))
}

fn template(fixture: &Value, name: &str) -> JinjaTemplate {
    let entry = &fixture["templates"][name];
    let special = entry["special_tokens"].as_object().unwrap().iter();
    let special: BTreeMap<String, String> = special.map(|(key, text)| (key.clone(), text.as_str().unwrap().to_owned())).collect();
    JinjaTemplate::new(entry["template"].as_str().unwrap(), special, Path::new(name)).unwrap()
}

fn message(role: Role, content: &str) -> Message {
    Message::new(role, content)
}

#[test]
fn every_text_is_the_one_that_transformers_gives() {
    let fixture = fixture();
    let cases = fixture["cases"].as_array().unwrap();
    assert!(cases.len() >= 60);
    for case in cases {
        let name = case["template"].as_str().unwrap();
        let conversation = fixture["conversations"][case["conversation"].as_u64().unwrap() as usize].as_array().unwrap();
        let rendered = template(&fixture, name).render_json(conversation, case["add_generation_prompt"].as_bool().unwrap());
        match (case["expected"].as_str(), rendered) {
            (Some(expected), rendered) => assert_eq!(rendered.unwrap(), expected, "{name} on {conversation:?}"),
            (None, Ok(text)) => panic!("{name} should refuse {conversation:?}, and gives {text:?}"),
            (None, Err(error)) => {
                assert!(matches!(error, Error::ChatTemplate { .. }));
                assert!(error.to_string().ends_with(case["refused"].as_str().unwrap()), "{error}");
            }
        }
    }
}

#[test]
fn a_turn_splits_the_template_s_text_where_the_model_begins_to_speak() {
    let fixture = fixture();
    let before = [message(Role::System, "S"), message(Role::User, "hi")];
    let split = |name: &str| ChatTemplate::Jinja(template(&fixture, name)).turn(&before, ["yes", "no"]).unwrap();
    let (prompt, completions) = split("chatml");
    assert_eq!(prompt, "<|im_start|>system\nS<|im_end|>\n<|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\n");
    assert_eq!(completions, ["yes<|im_end|>", "no<|im_end|>"], "what follows EOS is nobody's to say");
    let (prompt, completions) = ChatTemplate::Jinja(template(&fixture, "mistral")).turn(&before[1..], ["yes", "no"]).unwrap();
    assert_eq!((prompt.as_str(), completions), ("<s>[INST] hi[/INST]", [" yes</s>", " no</s>"].map(str::to_owned)));
    let (prompt, completions) = split("zephyr");
    assert!(prompt.ends_with("<|assistant|>\n") || completions[0].starts_with('\n'), "{prompt:?} {completions:?}");
    for (answer, completion) in ["yes", "no"].iter().zip(&completions) {
        assert!(completion.trim_start().starts_with(answer) && completion.ends_with("</s>"), "{completion:?}");
    }
    let (_, completions) = ChatTemplate::Jinja(template(&fixture, "chatml")).turn(&before, [" ", "no"]).unwrap();
    assert_eq!(completions, ["", "no<|im_end|>"], "an empty answer stays empty");
}

#[test]
fn a_template_that_writes_the_past_otherwise_moves_the_boundary_back() {
    let text = "{% for m in messages %}<{{ m.role }}{% if loop.last and m.role == 'user' %}!{% endif %}>{{ m.content }}{% endfor %}";
    let template = JinjaTemplate::new(text, BTreeMap::new(), Path::new("t")).unwrap();
    let (prompt, [completion]) = ChatTemplate::Jinja(template).turn(&[message(Role::User, "hi")], ["yes"]).unwrap();
    assert_eq!((prompt.as_str(), completion.as_str()), ("<user", ">hi<assistant>yes"));
}

/// A folder with the byte tokenizer and what else is asked for.
fn folder(settings: Option<Value>, file: Option<&str>) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    if let Some(settings) = settings {
        std::fs::write(folder.path().join("tokenizer_config.json"), settings.to_string()).unwrap();
    }
    if let Some(text) = file {
        std::fs::write(folder.path().join("chat_template.jinja"), text).unwrap();
    }
    folder
}

fn rendered(folder: &Path) -> Option<String> {
    let template = Tokenizer::from_folder(folder).unwrap().chat_template().unwrap()?;
    Some(template.render(&[message(Role::User, "hi")], false).unwrap())
}

#[test]
fn a_folder_s_template_is_found_wherever_it_lies() {
    let named = json!([{"name": "tool_use", "template": "tools"}, {"name": "default", "template": "named"}]);
    assert_eq!(rendered(folder(None, None).path()), None);
    assert_eq!(rendered(folder(Some(json!({"chat_template": "settings"})), None).path()).as_deref(), Some("settings"));
    assert_eq!(rendered(folder(Some(json!({"chat_template": named})), None).path()).as_deref(), Some("named"));
    assert_eq!(rendered(folder(None, Some("file\n")).path()).as_deref(), Some("file"));
    assert_eq!(rendered(folder(Some(json!({"chat_template": "settings"})), Some("file")).path()).as_deref(), Some("file"));
    let bad = folder(Some(json!({"chat_template": 3})), None);
    let message = Tokenizer::from_folder(bad.path()).unwrap_err().to_string();
    assert!(message.contains("tokenizer_config.json: \"chat_template\" must be a text"), "{message}");
}

#[test]
fn a_saved_model_keeps_its_template() {
    for (settings, file) in
        [(Some(json!({"chat_template": "[{{ messages[0].content }}]"})), None), (None, Some("[{{ messages[0].content }}]"))]
    {
        let (source, copy) = (folder(settings, file), tempfile::tempdir().unwrap());
        Tokenizer::from_folder(source.path()).unwrap().save(copy.path()).unwrap();
        assert_eq!(rendered(copy.path()).as_deref(), Some("[hi]"));
    }
}

#[test]
fn hostile_templates_end_with_an_error() {
    let hostile = [
        "{% for i in range(100000) %}{% for j in range(100000) %}x{% endfor %}{% endfor %}",
        "{% macro f(n) %}{{ f(n + 1) }}{% endmacro %}{{ f(0) }}",
        "{{ 'x' * 100000000000 }}",
        "{{ messages.foo.bar }}",
        "{% include 'secrets' %}",
        "{{ messages | tojson(indent=100000000) }}{{ nothing() }}",
    ];
    for text in hostile {
        let template = JinjaTemplate::new(text, BTreeMap::new(), Path::new("t"));
        let rendered = template.and_then(|template| template.render(&[message(Role::User, "hi")], false));
        let line = rendered.unwrap_err().to_string();
        assert!(line.lines().count() == 1 && line.starts_with("t: "), "{text}: {line}");
    }
    for opening in ["{{", "{%", "{#", "{% raw %}", "{% generation %}", "{%-", "{% if"] {
        assert!(JinjaTemplate::new(opening, BTreeMap::new(), Path::new("t")).is_err(), "{opening}");
    }
}
