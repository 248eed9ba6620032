//! The input of a template, as transformers prepares it.

use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::ops::Range;

/// The input of a template.
#[derive(Debug, Clone, Copy, Default)]
pub struct TemplateInput<'a> {
    /// The conversation. Each message is an object with `role` and other fields.
    pub messages: &'a [Value],
    /// The tools that the model may call: a list of JSON schemas.
    pub tools: Option<&'a Value>,
    /// The texts that the model may refer to: a list of objects.
    pub documents: Option<&'a Value>,
    /// Other variables of the template, such as `enable_thinking`.
    pub arguments: Option<&'a Map<String, Value>>,
}

/// The rendered text of a conversation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rendered {
    /// The text.
    pub text: String,
    /// The bytes of the text that the template marks as the model's own words (`{% generation %}`), in order.
    pub generated: Vec<Range<usize>>,
}

/// The variables that are given with every conversation.
const GIVEN: [&str; 4] = ["messages", "tools", "documents", "add_generation_prompt"];

/// The parameters of `apply_chat_template` itself. A variable with one of these names would not reach the template.
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

/// The fields that may hold a message's reasoning. Templates read the first one.
const REASONING: [&str; 3] = ["reasoning_content", "thinking", "reasoning"];

impl TemplateInput<'_> {
    /// Returns the variables of a template. `special_tokens` are the texts of the special tokens by name.
    ///
    /// # Errors
    /// A message in words, if the input has another form than transformers accepts.
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

/// Removes a message's nulls, and adds its reasoning under the names that templates read.
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

/// Checks a list of objects. A missing list is null.
fn objects(value: Option<&Value>, name: &str) -> Result<Value, String> {
    match value {
        None => Ok(Value::Null),
        Some(Value::Array(list)) if list.iter().all(Value::is_object) => Ok(Value::Array(list.clone())),
        Some(_) => Err(format!("{name:?} must be a list of objects")),
    }
}
