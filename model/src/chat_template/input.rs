//! What a template is run on, as transformers prepares it.

use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::ops::Range;

/// What a template is run on.
#[derive(Debug, Clone, Copy, Default)]
pub struct TemplateInput<'a> {
    /// The conversation: each message an object with `role` and what else it has.
    pub messages: &'a [Value],
    /// The tools that the model may call: a list of JSON schemas.
    pub tools: Option<&'a Value>,
    /// The texts that the model may refer to: a list of objects.
    pub documents: Option<&'a Value>,
    /// Further variables of the template, such as `enable_thinking`.
    pub arguments: Option<&'a Map<String, Value>>,
}

/// The text of a conversation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rendered {
    /// The text.
    pub text: String,
    /// The bytes of the text that the template marks as the model's own words (`{% generation %}`), in their order.
    pub generated: Vec<Range<usize>>,
}

/// The variables that are given with every conversation.
const GIVEN: [&str; 4] = ["messages", "tools", "documents", "add_generation_prompt"];

/// What `apply_chat_template` takes itself: as a variable of the template none of these would arrive.
const TAKEN: [&str; 13] = [
    "conversation",
    "chat_template",
    "continue_final_message",
    "tokenize",
    "padding",
    "truncation",
    "max_length",
    "return_tensors",
    "return_dict",
    "return_assistant_tokens_mask",
    "tokenizer_kwargs",
    "sanitize_control_tokens",
    "conversations",
];

/// Where a message's reasoning may stand; the first is what templates read.
const REASONING: [&str; 3] = ["reasoning_content", "thinking", "reasoning"];

impl TemplateInput<'_> {
    /// The variables of a template that knows these special tokens by these names.
    ///
    /// # Errors
    /// In words, where the input has another form than transformers takes.
    pub(super) fn variables(
        &self,
        special_tokens: &BTreeMap<String, String>,
        add_generation_prompt: bool,
    ) -> Result<Map<String, Value>, String> {
        let mut variables: Map<String, Value> = special_tokens.iter().map(|(name, text)| (name.clone(), json!(text))).collect();
        for (name, value) in self.arguments.into_iter().flatten() {
            if GIVEN.contains(&name.as_str()) || TAKEN.contains(&name.as_str()) {
                return Err(format!("{name:?} cannot be an argument of the template: apply_chat_template takes it for something else"));
            }
            variables.insert(name.clone(), value.clone());
        }
        variables.insert("messages".to_owned(), self.messages.iter().map(message).collect::<Result<_, _>>()?);
        variables.insert("tools".to_owned(), objects(self.tools, "tools")?);
        variables.insert("documents".to_owned(), objects(self.documents, "documents")?);
        variables.insert("add_generation_prompt".to_owned(), json!(add_generation_prompt));
        Ok(variables)
    }
}

/// A message without its nulls, with its reasoning under the names that templates look for.
fn message(message: &Value) -> Result<Value, String> {
    let Value::Object(fields) = message else { return Err(format!("a message must be an object, not {message}")) };
    let mut fields: Map<String, Value> =
        fields.iter().filter(|(_, value)| !value.is_null()).map(|(name, value)| (name.clone(), value.clone())).collect();
    if let Some(reasoning) = REASONING.iter().find_map(|name| fields.get(*name)).cloned() {
        let thinking = fields.shift_remove("thinking").unwrap_or_else(|| reasoning.clone());
        fields.shift_insert(0, "thinking".to_owned(), thinking);
        fields.insert("reasoning_content".to_owned(), reasoning);
    }
    Ok(Value::Object(fields))
}

/// A list of objects, or null where there is none.
fn objects(value: Option<&Value>, name: &str) -> Result<Value, String> {
    match value {
        None => Ok(Value::Null),
        Some(Value::Array(list)) if list.iter().all(Value::is_object) => Ok(Value::Array(list.clone())),
        Some(_) => Err(format!("{name:?} must be a list of objects")),
    }
}
