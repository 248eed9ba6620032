//! `tokenizer_config.json` beside a tokenizer: special tokens and the chat template.

use super::in_folder;
use model::data::{Message, Role};
use model::tokenizer::{FILE, SETTINGS_FILE, Tokenizer};

/// Reads the folder's tokenizer, its special tokens and its template.
pub fn fuzz(data: &[u8]) {
    super::quiet();
    in_folder("tokenizer_config", |folder| {
        let Some(tokenizer) = super::tokenizer_json::seeds().pop() else { return };
        std::fs::write(folder.join(FILE), tokenizer).expect("a temporary folder can be written");
        std::fs::write(folder.join(SETTINGS_FILE), data).expect("a temporary folder can be written");
        let Ok(tokenizer) = Tokenizer::from_folder(folder) else { return };
        if let Ok(Some(template)) = tokenizer.chat_template() {
            let _ = template.render(&[Message::new(Role::User, "a")], true);
        }
    });
}

/// Settings as transformers writes them, with one template, several and none.
pub fn seeds() -> Vec<Vec<u8>> {
    [
        r#"{"bos_token":"<s>","eos_token":{"content":"b"},"add_bos_token":true,"chat_template":"{{ bos_token }}{% for m in messages %}{{ m.content }}{% endfor %}"}"#,
        r#"{"chat_template":[{"name":"default","template":"{{ messages[0].role }}"},{"name":"tool_use","template":"x"}],"add_bos_token":false}"#,
        r#"{"tokenizer_class":"PreTrainedTokenizerFast","model_max_length":1000000000000000019884624838656,"added_tokens_decoder":{"0":{"content":"<s>"}}}"#,
    ]
    .map(|text| text.as_bytes().to_vec())
    .to_vec()
}
