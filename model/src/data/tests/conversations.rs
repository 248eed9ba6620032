//! Which words of a conversation are learned, by a template or as a transcript, and how answers are joined to prompts.

use super::*;
use crate::chat_template::JinjaTemplate;
use std::collections::BTreeMap;

/// A template that reads tools, tool calls, reasoning and names, and ends turns with its own token.
const TEMPLATE: &str = "{% if tools %}[tools {{ tools | tojson }}]{% endif %}{% for m in messages %}<{{ m.role }}>{% if m.name %}({{ m.name }}){% endif %}\
    {% if m.reasoning_content %}<think>{{ m.reasoning_content }}</think>{% endif %}{{ m.content }}{% if m.tool_calls %}{{ m.tool_calls | tojson }}{% endif %}<|end|>\n\
    {% endfor %}{% if add_generation_prompt %}<assistant>{% endif %}";

fn chat(text: &str) -> ChatTemplate {
    ChatTemplate::Jinja(JinjaTemplate::new(text, BTreeMap::new(), Path::new("t.jinja")).unwrap())
}

fn learned(template: &ChatTemplate, text: &str, turns: Turns) -> Vec<(String, Vec<String>)> {
    let (rows, _) = in_file(text, |path| completions::read(path, template, turns)).unwrap();
    let parts = |row: &CompletionRow| {
        let bounds: Vec<usize> =
            [0].into_iter().chain(row.context.iter().flat_map(|gap| [gap.start, gap.end])).chain([row.completion.len()]).collect();
        bounds.chunks(2).map(|span| row.completion[span[0]..span[1]].to_owned()).collect()
    };
    rows.iter().map(|row| (row.prompt.clone(), parts(row))).collect()
}

fn pair(text: &str) -> PreferenceRow {
    in_file(text, |path| preferences::read(path, &chat(TEMPLATE))).unwrap().0.remove(0)
}

const CONVERSATION: &str = r#"{"messages":[{"role":"user","content":"a"},{"role":"assistant","content":"b"},{"role":"user","content":"c"},{"role":"assistant","content":"d"}]}"#;

#[test]
fn every_turn_is_learned_up_to_the_token_that_ends_it() {
    let all = learned(&chat(TEMPLATE), CONVERSATION, Turns::All);
    assert_eq!(all, [("<user>a<|end|>\n<assistant>".to_owned(), vec!["b<|end|>".to_owned(), "d<|end|>".to_owned()])]);
    let last = learned(&chat(TEMPLATE), CONVERSATION, Turns::Last);
    assert_eq!(last, [("<user>a<|end|>\n<assistant>b<|end|>\n<user>c<|end|>\n<assistant>".to_owned(), vec!["d<|end|>".to_owned()])]);
}

#[test]
fn turns_are_counted() {
    let report = in_file(CONVERSATION, |path| completions::read(path, &chat(TEMPLATE), Turns::All)).unwrap().1;
    assert_eq!((report.rows, report.kept, report.turns), (1, 1, 2));
    assert!(report.to_string().contains("2 turns learned"), "{report}");
}

#[test]
fn a_template_that_rewrites_earlier_turns_gives_each_turn_a_text_of_its_own() {
    let rewriting = "{% for m in messages %}<{{ m.role }}>{% if m.role == 'assistant' and loop.last %}<think></think>{% endif %}{{ m.content }}<|end|>{% endfor %}\
                     {% if add_generation_prompt %}<assistant>{% endif %}";
    let all = learned(&chat(rewriting), CONVERSATION, Turns::All);
    assert_eq!(all.len(), 2);
    assert_eq!(all[0], ("<user>a<|end|><assistant>".to_owned(), vec!["<think></think>b<|end|>".to_owned()]));
    assert!(all[1].0.ends_with("<assistant>b<|end|><user>c<|end|><assistant>"), "{all:?}");
}

#[test]
fn transcripts_teach_each_turn_after_what_came_before_it() {
    let all = learned(&ChatTemplate::Transcript, CONVERSATION, Turns::All);
    assert_eq!(all[0], ("\n\nHuman: a\n\nAssistant:".to_owned(), vec![" b".to_owned()]));
    assert_eq!(all[1], ("\n\nHuman: a\n\nAssistant: b\n\nHuman: c\n\nAssistant:".to_owned(), vec![" d".to_owned()]));
}

#[test]
fn a_turn_of_weight_0_is_context() {
    for weight in [r#""weight":0"#, r#""train":false"#, r#""weight":0.0"#] {
        let text = CONVERSATION.replace(r#""content":"b""#, &format!(r#""content":"b",{weight}"#));
        let all = learned(&chat(TEMPLATE), &text, Turns::All);
        assert_eq!(all[0].1, ["d<|end|>"], "{weight}");
        assert!(all[0].0.contains("<assistant>b<|end|>"));
        let last = CONVERSATION.replace(r#""content":"d""#, &format!(r#""content":"d",{weight}"#));
        assert_eq!(learned(&chat(TEMPLATE), &last, Turns::All)[0].1, ["b<|end|>"], "{weight}");
        let dropped = in_file(&last, |path| completions::read(path, &chat(TEMPLATE), Turns::Last)).unwrap_err().to_string();
        assert!(dropped.contains("no turn to learn"), "{dropped}");
    }
    let half = CONVERSATION.replace(r#""content":"b""#, r#""content":"b","weight":0.5"#);
    assert!(rows(&half).unwrap_err().to_string().contains("\"weight\" 0.5"));
}

#[test]
fn tools_calls_names_and_reasoning_reach_the_template_and_nulls_do_not() {
    let text = r#"{"tools":"[{\"name\":\"f\",\"note\":null}]","messages":[{"role":"user","content":"a","name":"Ann","tool_calls":null},
        {"role":"assistant","content":null,"tool_calls":[{"id":null,"function":{"name":"f","arguments":{"x":1}}}]},
        {"role":"tool","content":"3"},{"role":"assistant","content":"b","reasoning_content":"hm"}]}"#
        .replace('\n', " ");
    let all = learned(&chat(TEMPLATE), &text, Turns::All);
    assert_eq!(all[0].0, "[tools [{\"name\": \"f\", \"note\": null}]]<user>(Ann)a<|end|>\n<assistant>", "a JSON text is as it was written");
    assert_eq!(all[0].1, ["[{\"function\": {\"name\": \"f\", \"arguments\": {\"x\": 1}}}]<|end|>", "<think>hm</think>b<|end|>"]);
}

#[test]
fn share_gpt_s_calls_and_observations_are_calls_and_results() {
    let text = r#"{"conversations":[{"from":"human","value":"a","role":null},{"from":"function_call","value":"{\"name\":\"f\",\"arguments\":{}}"},{"from":"observation","value":"3"},{"from":"gpt","value":"b"}]}"#;
    let all = learned(&chat(TEMPLATE), text, Turns::Last);
    assert!(all[0].0.contains(r#"[{"type": "function", "function": {"name": "f", "arguments": {}}}]<|end|>"#), "{all:?}");
    assert!(all[0].0.contains("<tool>3<|end|>"), "{all:?}");
}

#[test]
fn answers_follow_continue_or_repeat_their_prompt() {
    let user = r#"{"role":"user","content":"a"}"#;
    let system = r#"{"role":"system","content":"S"}"#;
    let own = |text: &str| format!(r#"{{"role":"assistant","content":"{text}"}}"#);
    let row = |prompt: String, chosen: String, rejected: String| {
        pair(&format!(r#"{{"prompt":[{prompt}],"chosen":[{chosen}],"rejected":[{rejected}]}}"#))
    };
    let before = "<system>S<|end|>\n<user>a<|end|>\n<assistant>";
    let repeated = row(format!("{system},{user}"), format!("{user},{}", own("yes")), format!("{user},{}", own("no")));
    assert_eq!(parts(&repeated), [before, "yes<|end|>", "no<|end|>"], "from the user's turn");
    let whole = row(user.to_owned(), format!("{system},{user},{}", own("yes")), format!("{system},{user},{}", own("no")));
    assert_eq!(parts(&whole), [before, "yes<|end|>", "no<|end|>"], "with a system message of its own");
    let continued = row(format!("{system},{user},{}", own("Well, ")), own("yes"), own("Well, no"));
    assert_eq!(parts(&continued), [&format!("{before}Well, "), "yes<|end|>", "no<|end|>"], "a prefill");
    let calls = row(format!("{system},{user}"), format!(r#"{},{{"role":"tool","content":"3"}},{}"#, own("call"), own("yes")), own("no"));
    assert_eq!(calls.chosen, "call<|end|>\n<tool>3<|end|>\n<assistant>yes<|end|>");
}

#[test]
fn conversations_that_part_in_a_user_s_words_are_no_pair() {
    let turn = |text: &str| format!(r#"[{{"role":"user","content":"{text}"}},{{"role":"assistant","content":"b"}}]"#);
    let text = format!(r#"{{"chosen":{},"rejected":{}}}"#, turn("a"), turn("c"));
    let message = in_file(&text, |path| preferences::read(path, &chat(TEMPLATE))).unwrap_err().to_string();
    assert!(message.contains("after different prompts"), "{message}");
}

#[test]
fn a_prompt_that_ends_with_the_model_s_message_is_continued() {
    let text = r#"{"prompt":[{"role":"user","content":"a"},{"role":"assistant","content":"Well, "}]}"#;
    let (prompts, _) = in_file(text, |path| prompts::read(path, &chat(TEMPLATE))).unwrap();
    assert_eq!(prompts[0].prompt, "<user>a<|end|>\n<assistant>Well, ");
    let trimming = chat("{% for m in messages %}<{{ m.role }}>{{ m.content | trim }}<|end|>{% endfor %}");
    let (prompts, _) = in_file(text, |path| prompts::read(path, &trimming)).unwrap();
    assert_eq!(prompts[0].prompt, "<user>a<|end|><assistant>Well,");
}

#[test]
fn content_parts_are_one_text_unless_the_template_reads_parts() {
    let text = r#"{"messages":[{"role":"user","content":[{"type":"text","text":"a"},{"type":"text","text":"z"}]},{"role":"assistant","content":"b"}]}"#;
    assert!(learned(&chat(TEMPLATE), text, Turns::All)[0].0.starts_with("<user>az<|end|>"));
    let parts = "{% for m in messages %}{% if m.content is string %}{{ m.content }}{% else %}{% for p in m.content %}[{{ p.text }}]{% endfor %}{% endif %}|{% endfor %}";
    assert!(learned(&chat(parts), text, Turns::All)[0].0.starts_with("[a][z]|"));
    let image = text.replace(r#"{"type":"text","text":"z"}"#, r#"{"type":"image"}"#);
    let message = in_file(&image, |path| completions::read(path, &chat(parts), Turns::All)).unwrap_err().to_string();
    assert!(message.contains("rows.jsonl:1: a message has a part of type \"image\""), "{message}");
}

#[test]
fn alpaca_rows_with_a_past_are_conversations_and_so_are_the_others_of_their_file() {
    let text = concat!(
        r#"{"instruction":"now","input":"","output":"b","system":"S","history":[["q","r"]]}"#,
        "\n",
        r#"{"instruction":"then","output":"c","system":null,"history":[]}"#
    );
    let all = learned(&chat(TEMPLATE), text, Turns::Last);
    assert_eq!(all[0].0, "<system>S<|end|>\n<user>q<|end|>\n<assistant>r<|end|>\n<user>now<|end|>\n<assistant>");
    assert_eq!(all[1], ("<user>then<|end|>\n<assistant>".to_owned(), vec!["c<|end|>".to_owned()]));
}

#[test]
fn a_row_s_own_variables_reach_the_template() {
    let template = chat("{% for m in messages %}{{ m.content }}{% if mood %}({{ mood }}){% endif %}|{% endfor %}");
    let text = CONVERSATION.replace("{\"messages\"", "{\"chat_template_kwargs\":{\"mood\":\"good\",\"zzz\":1},\"messages\"");
    let (rows, report) = in_file(&text, |path| completions::read(path, &template, Turns::Last)).unwrap();
    assert!(rows[0].prompt.starts_with("a(good)|"), "{rows:?}");
    assert!(report.remarks.iter().any(|remark| remark.contains("\"zzz\" is given to the chat template, which does not name it")));
}
