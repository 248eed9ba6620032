//! `slpo chat` with lines from a pipe: templates, the cache between turns, commands, and models that cannot chat.

use crate::command::{self, Workplace, binary, failure, object, text};
use serde_json::Value;
use std::io::Write;
use std::process::{Command, Output, Stdio};

const TEMPLATE: &str =
    "{% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}{% if add_generation_prompt %}<assistant>{% endif %}";

fn workplace() -> Workplace {
    let workplace = Workplace::new();
    workplace.write("model/chat_template.jinja", TEMPLATE);
    workplace
}

fn chat(workplace: &Workplace, options: &str, input: &str) -> Output {
    let mut command = Command::new(binary());
    command.arg("chat").arg("--model").arg(workplace.path("model")).args(["--max-tokens", "12"]);
    command.args(options.split_whitespace()).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    // A command that refuses at once reads nothing.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    child.wait_with_output().unwrap()
}

fn roles(conversation: &Value) -> Vec<&str> {
    conversation["messages"].as_array().unwrap().iter().map(|message| message["role"].as_str().unwrap()).collect()
}

#[test]
fn each_line_is_answered_and_the_whole_is_the_template_s_conversation() {
    let workplace = workplace();
    let done = object(&chat(&workplace, "--temperature 0 --system Brief. --json", "hi\n\nand now?\n"));
    assert_eq!(roles(&done), ["system", "user", "assistant", "user", "assistant"]);
    let said = |index: usize| done["messages"][index]["content"].as_str().unwrap();
    // The same text without a conversation: greedy, so it says the same.
    let prompt = "<system>Brief.<user>hi<assistant>";
    let model = workplace.path("model").display().to_string();
    let alone =
        command::slpo_words(&["generate", "--model", &model, "--prompt", prompt, "--max-tokens", "12", "--temperature", "0", "--json"]);
    assert_eq!(said(2), object(&alone)["text"].as_str().unwrap().trim());
    let prompt = format!("{prompt}{}<user>and now?<assistant>", said(2));
    let alone =
        command::slpo_words(&["generate", "--model", &model, "--prompt", &prompt, "--max-tokens", "12", "--temperature", "0", "--json"]);
    assert_eq!(said(4), object(&alone)["text"].as_str().unwrap().trim(), "the cache of the first turn changes nothing");
    assert!(done["cached_tokens"].as_u64().unwrap() as usize >= prompt.len());
}

#[test]
fn answers_are_text_on_standard_output_and_nothing_else_is() {
    let shown = text(&chat(&workplace(), "--temperature 0", "hi\nyou\n"));
    let done = object(&chat(&workplace(), "--temperature 0 --json", "hi\nyou\n"));
    let answers = [1, 3].map(|index| done["messages"][index]["content"].as_str().unwrap().to_owned());
    for answer in answers {
        assert!(shown.contains(&answer), "{answer:?} is not in {shown:?}");
    }
    assert!(!shown.contains("> ") && !shown.contains("/exit"), "a pipe needs no prompt marks: {shown:?}");
}

#[test]
fn reset_forgets_all_but_the_system_message_and_exit_ends() {
    let options = "--temperature 0 --system S --json";
    let again = object(&chat(&workplace(), options, "first\n/reset\nhi\n/exit\nnever read\n"));
    assert_eq!(roles(&again), ["system", "user", "assistant"]);
    assert_eq!(again["messages"], object(&chat(&workplace(), options, "hi\n"))["messages"]);
    assert_eq!(roles(&object(&chat(&workplace(), "--json", ""))).len(), 0);
}

#[test]
fn a_seed_gives_the_same_conversation() {
    let said = |options: &str| object(&chat(&workplace(), options, "hi\nyou\n"))["messages"].clone();
    assert_eq!(said("--seed 3 --json --temperature 1"), said("--seed 3 --json --temperature 1 --threads 1"));
    assert_ne!(said("--seed 3 --json --temperature 1"), said("--seed 4 --json --temperature 1"));
}

#[test]
fn a_stop_text_ends_an_answer_and_is_not_said() {
    let whole = object(&chat(&workplace(), "--temperature 0 --json", "hi\n"))["messages"][1]["content"].as_str().unwrap().to_owned();
    let Some(stop) = whole.chars().find(|c| c.is_ascii_alphanumeric()) else {
        println!("skipped: the random model says nothing to stop at: {whole:?}");
        return;
    };
    let stopped = object(&chat(&workplace(), &format!("--temperature 0 --json --stop {stop}"), "hi\n"));
    assert_eq!(stopped["messages"][1]["content"], whole[..whole.find(stop).unwrap()].trim());
}

#[test]
fn a_model_without_a_template_is_one_clear_message() {
    let workplace = Workplace::new();
    let line = failure(&chat(&workplace, "", "hi\n"), 1);
    assert!(line.contains("the model has no chat template") && line.contains("--chat-template"), "{line}");
    workplace.write("own.jinja", TEMPLATE);
    let own = format!("--chat-template {} --json", workplace.path("own.jinja").display());
    assert_eq!(roles(&object(&chat(&workplace, &own, "hi\n"))), ["user", "assistant"]);
}

#[test]
fn a_template_that_is_broken_or_refuses_says_so() {
    let workplace = Workplace::new();
    workplace.write("model/chat_template.jinja", "{% for %}");
    assert!(failure(&chat(&workplace, "", "hi\n"), 1).contains("chat_template.jinja: the chat template cannot be run"));
    workplace.write("model/chat_template.jinja", "{{ raise_exception('System role not supported') }}");
    let line = failure(&chat(&workplace, "", "hi\n"), 1);
    assert!(line.ends_with("refuses the conversation: System role not supported\n"), "{line}");
}
