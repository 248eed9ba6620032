//! Chat templates as transformers renders them: `tests/peers/chat_templates.py` made the expected texts with its own code.

mod shared;

use model::Error;
use model::chat_template::{JinjaTemplate, Rendered, TemplateInput};
use model::data::{ChatTemplate, Message, Role};
use model::tokenizer::Tokenizer;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::Path;

fn fixture(name: &str) -> Value {
    shared::json(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name))
}

fn conversations() -> Value {
    fixture("chat_templates.json")
}

fn template(fixture: &Value, name: &str) -> JinjaTemplate {
    let entry = &fixture["templates"][name];
    let special = entry["special_tokens"].as_object().unwrap().iter();
    let special: BTreeMap<String, String> = special.map(|(key, text)| (key.clone(), text.as_str().unwrap().to_owned())).collect();
    JinjaTemplate::new(entry["template"].as_str().unwrap(), special, Path::new(name)).unwrap()
}

/// What a conversation of the fixture gives a template.
fn input(conversation: &Value) -> TemplateInput<'_> {
    TemplateInput {
        messages: conversation["messages"].as_array().unwrap(),
        tools: conversation.get("tools"),
        documents: conversation.get("documents"),
        arguments: conversation.get("arguments").and_then(Value::as_object),
    }
}

fn message(role: Role, content: &str) -> Message {
    Message::new(role, content)
}

#[test]
fn every_text_and_every_token_is_the_one_that_transformers_gives() {
    let fixture = conversations();
    let cases = fixture["cases"].as_array().unwrap();
    let (mut texts, mut refusals, mut encoded, mut masked) = (0, 0, 0, 0);
    let tokenizers: BTreeMap<&str, Tokenizer> = fixture["tokenizers"].as_object().unwrap().iter().map(tokenizer).collect();
    for case in cases {
        let name = case["template"].as_str().unwrap();
        let conversation = &fixture["conversations"][case["conversation"].as_u64().unwrap() as usize];
        let prompt = case["add_generation_prompt"].as_bool().unwrap();
        let rendered = template(&fixture, name).render_input(&input(conversation), prompt);
        let Some(expected) = case["expected"].as_str() else {
            let error = rendered.expect_err(&format!("{name} should refuse {conversation}"));
            assert!(matches!(error, Error::ChatTemplate { .. }));
            let line = error.to_string();
            assert!(line.starts_with(&format!("{name}: ")) && line.lines().count() == 1, "{line}");
            // The words of an error of Python's are Python's own.
            if case["error"].is_null() && line.contains("refuses the conversation") {
                assert!(line.ends_with(case["refused"].as_str().unwrap()), "{line}");
            }
            refusals += 1;
            continue;
        };
        let rendered = rendered.unwrap();
        assert_eq!(rendered.text, expected, "{name} on {conversation}");
        texts += 1;
        let tokenizer = &tokenizers[fixture["templates"][name]["tokenizer"].as_str().unwrap()];
        let ids = tokenizer.encode(&rendered.text).unwrap();
        if let Some(expected) = case["ids"].as_array() {
            assert_eq!(json!(ids), json!(expected), "{name} on {conversation}");
            encoded += 1;
        }
        if let Some(mask) = case["mask"].as_array() {
            assert_eq!(mask_of(tokenizer, &ids, &rendered), *mask, "{name} on {conversation}");
            masked += usize::from(mask.contains(&json!(1)));
        }
    }
    println!("{texts} texts, {refusals} refusals, {encoded} as tokens, {masked} with masks");
    assert!(texts >= 800 && refusals >= 100 && encoded >= 400 && masked >= 20);
}

fn tokenizer<'f>((name, json): (&'f String, &Value)) -> (&'f str, Tokenizer) {
    (name.as_str(), Tokenizer::from_json(json.to_string()).unwrap())
}

/// 1 for the tokens whose bytes lie within what the model said. The byte-level tokenizer's tokens are the text's bytes.
fn mask_of(tokenizer: &Tokenizer, ids: &[u32], rendered: &Rendered) -> Vec<Value> {
    let mut end = 0;
    let mut mask = Vec::new();
    for &id in ids {
        let name = tokenizer.name(id).unwrap();
        let is_special = rendered.text.as_bytes()[end..].starts_with(name.as_bytes()) && name.starts_with('<');
        let start = end;
        end += if is_special { name.len() } else { name.chars().count() };
        let is_own = rendered.generated.iter().any(|bytes| start < bytes.end && end > bytes.start);
        mask.push(json!(u8::from(is_own)));
    }
    assert_eq!(end, rendered.text.len());
    mask
}

const ADDRESS: &str = "whether a text with an address of memory is in lower case is no question for a template";
const CONSTANT: &str = "jinja2 computes what is constant before it runs a template, and then takes an error for an undefined value";

/// A method that this interpreter refuses of every text: a template has no bytes.
const REFUSED_METHOD: &str = ".encode(";

/// Expressions that transformers computes and this interpreter refuses, each with its reason.
const REFUSED_HERE: [(&str, &str); 12] = [
    ("{{ 'abc'['a':] }}", CONSTANT),
    ("{{ none[1:] }}", CONSTANT),
    ("{{ lipsum(1, false) is string }}", "its text is another one each time"),
    ("{{ self }}", "a chat template has no use for the names of its own blocks"),
    ("{{ ('a'.upper) is lower }}", ADDRESS),
    ("{{ (l | map('string')) is lower }}", ADDRESS),
    ("{{ (cycler(1)) is lower }}", ADDRESS),
    ("{{ (joiner()) is lower }}", ADDRESS),
    ("{{ ('a'.upper) is upper }}", ADDRESS),
    ("{{ (l | map('string')) is upper }}", ADDRESS),
    ("{{ (cycler(1)) is upper }}", ADDRESS),
    ("{{ (joiner()) is upper }}", ADDRESS),
];

#[test]
fn every_expression_gives_the_text_of_jinja2_or_is_refused_as_there() {
    let fixture = fixture("chat_templates_expressions.json");
    let messages = [json!({"role": "user", "content": "Hello big world"})];
    let input = TemplateInput { messages: &messages, arguments: fixture["variables"].as_object(), ..TemplateInput::default() };
    let expressions = fixture["expressions"].as_array().unwrap();
    assert!(expressions.len() >= 2000);
    let mut wrong = Vec::new();
    for entry in expressions {
        let (text, expected) = (entry[0].as_str().unwrap(), entry[1].as_str());
        let rendered = JinjaTemplate::new(text, BTreeMap::new(), Path::new("t")).and_then(|template| template.render_input(&input, false));
        let is_known = REFUSED_HERE.iter().any(|(own, _)| *own == text) || expected.is_some() && text.contains(REFUSED_METHOD);
        match (rendered, expected) {
            (Ok(rendered), Some(expected)) if rendered.text == expected && !is_known => {}
            (Err(_), None) if !is_known => {}
            (Err(error), Some(_)) if is_known && error.to_string().starts_with("t: ") => {}
            (rendered, expected) => {
                wrong.push(format!("{text}\n    jinja2 {expected:?}\n    here   {:?}", rendered.map(|rendered| rendered.text)))
            }
        }
    }
    assert!(wrong.is_empty(), "{} of {} differ:\n{}", wrong.len(), expressions.len(), wrong.join("\n"));
}

#[test]
fn a_turn_splits_the_template_s_text_where_the_model_begins_to_speak() {
    let fixture = conversations();
    let before = [message(Role::System, "S"), message(Role::User, "hi")];
    let split = |name: &str| ChatTemplate::Jinja(template(&fixture, name)).turn(&before, ["yes", "no"]).unwrap();
    let (prompt, completions) = split("chatml");
    assert_eq!(prompt, "<|im_start|>system\nS<|im_end|>\n<|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\n");
    assert_eq!(completions, ["yes<|im_end|>", "no<|im_end|>"], "what follows EOS is nobody's to say");
    let (prompt, completions) = ChatTemplate::Jinja(template(&fixture, "mistral-v1")).turn(&before[1..], ["yes", "no"]).unwrap();
    assert_eq!((prompt.as_str(), completions), ("<s>[INST] hi [/INST]", ["yes</s>", "no</s>"].map(str::to_owned)));
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

/// A folder with a template called "default", one called "tool_use" and one called "rag", in files or in the settings.
fn folder_of_three(in_files: bool) -> tempfile::TempDir {
    let texts = [("default", "plain"), ("tool_use", "tools {{ tools | length }}"), ("rag", "documents")];
    if !in_files {
        let list: Vec<Value> = texts.iter().map(|(name, template)| json!({"name": name, "template": template})).collect();
        return folder(Some(json!({"chat_template": list})), None);
    }
    let folder = folder(Some(json!({"chat_template": "not this one"})), Some(texts[0].1));
    std::fs::create_dir(folder.path().join("additional_chat_templates")).unwrap();
    for (name, text) in &texts[1..] {
        std::fs::write(folder.path().join(format!("additional_chat_templates/{name}.jinja")), text).unwrap();
    }
    folder
}

#[test]
fn tools_choose_their_own_template_and_a_saved_model_keeps_all() {
    let messages = [json!({"role": "user", "content": "hi"})];
    let tools = json!([{"type": "function"}, {"type": "function"}]);
    for in_files in [true, false] {
        let (source, copy) = (folder_of_three(in_files), tempfile::tempdir().unwrap());
        Tokenizer::from_folder(source.path()).unwrap().save(copy.path()).unwrap();
        for folder in [source.path(), copy.path()] {
            let template = Tokenizer::from_folder(folder).unwrap().chat_template().unwrap().unwrap();
            let render = |tools| {
                template.render_input(&TemplateInput { messages: &messages, tools, ..TemplateInput::default() }, false).unwrap().text
            };
            assert_eq!((render(None), render(Some(&tools))), ("plain".to_owned(), "tools 2".to_owned()), "in files: {in_files}");
        }
        let rag = std::fs::read_to_string(copy.path().join("additional_chat_templates/rag.jinja"));
        assert_eq!(rag.unwrap(), "documents", "what no conversation chooses is kept too");
    }
    let without = folder(Some(json!({"chat_template": {"rag": "x", "tool_use": "y"}})), None);
    let template = Tokenizer::from_folder(without.path()).unwrap().chat_template().unwrap().unwrap();
    let message = template.render_json(&messages, false).unwrap_err().to_string();
    assert!(message.contains("tokenizer_config.json: ") && message.contains("rag, tool_use") && message.contains("default"), "{message}");
    let bad = folder(Some(json!({"chat_template": {"default": "x", "../a": "y"}})), None);
    let message = Tokenizer::from_folder(bad.path()).unwrap().save(tempfile::tempdir().unwrap().path()).unwrap_err().to_string();
    assert!(message.contains("\"../a\""), "{message}");
}

#[test]
fn what_transformers_does_not_take_is_named() {
    let template = JinjaTemplate::new("{{ messages | length }}", BTreeMap::new(), Path::new("t")).unwrap();
    let messages = [json!({"role": "user", "content": "hi"})];
    let refusal = |input: TemplateInput<'_>| template.render_input(&input, false).unwrap_err().to_string();
    let (tools, documents, arguments) = (json!({"a": 1}), json!(["text"]), json!({"tokenize": false}));
    let input = TemplateInput { messages: &messages, ..TemplateInput::default() };
    assert_eq!(refusal(TemplateInput { tools: Some(&tools), ..input }), "t: \"tools\" must be a list of objects");
    assert_eq!(refusal(TemplateInput { documents: Some(&documents), ..input }), "t: \"documents\" must be a list of objects");
    assert!(refusal(TemplateInput { arguments: arguments.as_object(), ..input }).contains("\"tokenize\" cannot be an argument"));
    assert!(refusal(TemplateInput { messages: &[json!("hi")], ..input }).contains("a message must be an object"));
    let seen = JinjaTemplate::new("{{ messages[0] }}{{ a }}", BTreeMap::new(), Path::new("t")).unwrap();
    let arguments = json!({"a": [1, null]});
    let messages = [json!({"role": "user", "content": null, "reasoning": "r"})];
    let input = TemplateInput { messages: &messages, arguments: arguments.as_object(), ..TemplateInput::default() };
    let text = seen.render_input(&input, false).unwrap().text;
    assert_eq!(text, "{'thinking': 'r', 'role': 'user', 'reasoning': 'r', 'reasoning_content': 'r'}[1, None]");
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

/// `part` so many times between `before` and `after`.
fn long(before: &str, part: &str, times: usize, after: &str) -> String {
    format!("{before}{}{after}", part.repeat(times))
}

/// Ninety thousand rounds of `step`, which nests a value once more.
fn nested(step: &str, after: &str) -> String {
    format!("{{% set n = namespace(x=[], y=[]) %}}{{% for i in range(90000) %}}{step}{{% endfor %}}{after}")
}

/// Runs a template; a refusal must be one line that names the file.
fn outcome(text: &str) -> Option<String> {
    let template = JinjaTemplate::new(text, BTreeMap::new(), Path::new("t"));
    match template.and_then(|template| template.render(&[message(Role::User, "hi")], false)) {
        Ok(text) => Some(text),
        Err(error) => {
            let line = error.to_string();
            assert!(line.lines().count() == 1 && line.starts_with("t: ") && line.len() < 1000, "{line}");
            None
        }
    }
}

#[test]
fn templates_of_many_levels_are_refused_before_they_overflow_the_stack() {
    let refused = [
        long("{{ ", "not ", 30_000, "1 }}"),
        long("{{ ", "- ", 30_000, "1 }}"),
        long("{{ 1", " + 1", 30_000, " }}"),
        long("{{ x", ".a", 30_000, " }}"),
        long("{{ x", "[0]", 30_000, " }}"),
        long("{{ ", "x[", 30_000, ""),
        long("{{ x", "()", 30_000, " }}"),
        long("{{ 1", "|string", 20_000, " }}"),
        long("{{ 1", " and 1", 30_000, " }}"),
        long("{{ 1", " if 1 else 1", 30_000, " }}"),
        long("{{ ", "(", 30_000, ""),
        long(&long("{{ ", "[", 30_000, ""), "]", 30_000, "}}"),
        long("{{ ", "{1:", 30_000, ""),
        long("", "{% if 1 %}", 20_000, ""),
        long("", "{% for x in [1] %}", 20_000, ""),
        long("", "{% macro x() %}", 20_000, ""),
        long("", "{% set x %}", 20_000, ""),
        long("{% set ", "(", 30_000, "a"),
        long("", "{{", 100_000, ""),
        long("", "x", 2_000_000, ""),
    ];
    for text in refused {
        assert_eq!(outcome(&text), None, "{}…", &text[..60]);
    }
    // What has no levels but many parts is a template all the same.
    assert_eq!(outcome(&long("{% if 0 %}", "{% elif 0 %}", 20_000, "{% else %}x{% endif %}")).as_deref(), Some("x"));
    assert_eq!(outcome(&long("{{ 'a'", "~'a'", 30_000, " }}")).map(|text| text.len()), Some(30_001));
    assert_eq!(outcome(&long("{{ ", "'a'", 30_000, " }}")).map(|text| text.len()), Some(30_000));
}

#[test]
fn values_of_many_levels_are_refused_or_dropped_without_harm() {
    let refused = [
        "{% set n = namespace() %}{% set n.x = n %}{{ n }}".to_owned(),
        "{% set n = namespace() %}{% set n.x = [{'a': n}] %}{{ n.x }}".to_owned(),
        "{% set n = namespace() %}{% set m = namespace() %}{% set n.x = [m] %}{% set m.x = [n] %}{{ n }}".to_owned(),
        nested("{% set n.x = [n.x] %}{% set n.y = [n.y] %}", "{{ n.x == n.y }}"),
        nested("{% set n.x = {1: n.x} %}", ""),
        nested("{% set n.x = (n.x,) %}", ""),
        nested("{% set n.x = n.x | map('string') %}", ""),
        nested("{% set n.x = {'a': n.x}.get %}", ""),
        nested("{% set n.x = cycler(n.x) %}", ""),
        nested("{% set n.x = joiner(n.x) %}", ""),
        nested("{% set m = namespace() %}{% set n.x = [n.x, n.x] %}", "{{ n.x }}"),
        "{% set h = namespace(c=namespace()) %}{% set root = h.c %}{% for i in range(9000) %}{% set n = namespace() %}{% set c = h.c %}\
         {% set c.x = n %}{% set h.c = n %}{% endfor %}{{ root }}"
            .to_owned(),
        "{% set n = namespace(x=[1]) %}{% for i in range(60) %}{% set n.x = [n.x, n.x] %}{% endfor %}{{ n.x | tojson }}".to_owned(),
        "{% set n = namespace(x=[1], y=[1]) %}{% for i in range(60) %}{% set n.x = [n.x, n.x] %}{% set n.y = [n.y, n.y] %}{% endfor %}\
         {{ n.x == n.y }}"
            .to_owned(),
        "{% set n = namespace(x=(1,)) %}{% for i in range(60) %}{% set n.x = (n.x, n.x) %}{% endfor %}{{ {n.x: 1} }}".to_owned(),
    ];
    for text in &refused {
        assert_eq!(outcome(text), None, "{text}");
    }
    let chain =
        "{% set h = namespace(c=namespace()) %}{% for i in range(9000) %}{% set n = namespace(x=h.c) %}{% set h.c = n %}{% endfor %}x";
    assert_eq!(outcome(chain).as_deref(), Some("x"), "a chain that nobody goes along does no harm");
    let cycle = "{% for x in [1, 2] %}{{ loop.changed(loop) }}{% endfor %}";
    assert_eq!(outcome(cycle).as_deref(), Some("TrueFalse"));
}

#[test]
fn texts_and_lists_do_not_outgrow_the_machine() {
    let grows = |start: &str, step: &str| {
        format!("{{% set n = namespace(x={start}) %}}{{% for i in range(99) %}}{{% set n.x = {step} %}}{{% endfor %}}")
    };
    let often = |start: &str, step: &str| format!("{{% set x = {start} %}}{{% for i in range(100000) %}}{step}{{% endfor %}}");
    let refused = [
        "{{ '{:4000000000}'.format(1) }}".to_owned(),
        "{{ '{:.4000000000f}'.format(1.5) }}".to_owned(),
        "{{ '{:{w}}'.format(1, w=10**12) }}".to_owned(),
        "{{ '%4000000000d' % 1 }}".to_owned(),
        "{{ '%.99999999999999999999999999999999999999999f' % 1 }}".to_owned(),
        "{{ '%*d' % (10**12, 1) }}".to_owned(),
        "{{ 'x' * 10**12 }}".to_owned(),
        "{{ [1] * 10**12 }}".to_owned(),
        "{{ 'a'.center(10**9) }}{{ 'a'.zfill(10**9) }}".to_owned(),
        "{{ 'a'.rjust(10**37) }}".to_owned(),
        "{{ 'a\t'.expandtabs(10**9) }}".to_owned(),
        "{{ ('a\n' * 100000) | indent(10**6) }}".to_owned(),
        "{{ [[[[1]]]] | tojson(indent=10**9) }}".to_owned(),
        "{{ [1] | batch(10**12, 0) | list }}{{ [1] | slice(10**12) | list }}".to_owned(),
        "{{ range(10**18) | list }}".to_owned(),
        "{{ 10**10**10 }}".to_owned(),
        "{{ ('&' * 30000000) | e }}".to_owned(),
        "{{ ('{0}' * 100000).format('x' * 1000000) }}".to_owned(),
        "{{ ('a' * 30000000).split('a') }}".to_owned(),
        grows("'ab'", "n.x ~ n.x"),
        grows("[1]", "n.x + n.x"),
        grows("'aa'", "n.x.replace('a', 'aaaa')"),
        grows("'aa'", "n.x.join(n.x | list)"),
        grows("'aa'", "n.x.translate({97: 'aaaaaaaa'})"),
        grows("'%s%s'", "n.x % (n.x, n.x)"),
        often("'x' * 1000000", "{{ x }}"),
        often("'x' * 9000000", "{% set y = x | upper %}"),
        often("'x' * 9000000", "{% set y = x | length %}{% set z = {x: 1} %}{% set z = x[5] %}"),
        often("[1] * 1000000", "{% set y = x[1:] %}{% set y = x.copy() %}{% set y = x.count(2) %}"),
        often("1", "{% for j in range(1000) %}{% macro m() %}{% endmacro %}{% endfor %}"),
        often("1", "{% for j in range(1000) %}{% set n = namespace() %}{% endfor %}"),
        "{% macro f(n) %}{{ f(n + 1) }}{% endmacro %}{{ f(0) }}".to_owned(),
        "{% macro f(g) %}{{ g(g) }}{% endmacro %}{{ f(f) }}".to_owned(),
        "{% macro f() %}{% call f() %}{{ caller() }}{% endcall %}{% endmacro %}{{ f() }}".to_owned(),
        "{% for x in [1] recursive %}{{ loop([1]) }}{% endfor %}".to_owned(),
        "{% for i in range(100000) %}{% for j in range(100000) %}x{% endfor %}{% endfor %}".to_owned(),
    ];
    for text in &refused {
        assert_eq!(outcome(text), None, "{text}");
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
    for opening in ["{{", "{%", "{# a", "{% raw %} a", "{% generation %}", "{%-", "{% if"] {
        assert!(JinjaTemplate::new(opening, BTreeMap::new(), Path::new("t")).is_err(), "{opening}");
    }
}
