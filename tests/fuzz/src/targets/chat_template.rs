//! Chat templates: somebody else's programs, with bounded work and bounded text.

use model::chat_template::JinjaTemplate;
use model::data::{ChatTemplate, Message, Role};
use std::collections::BTreeMap;
use std::path::Path;

/// Compiles a template and runs it on a conversation.
pub fn fuzz(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let special = BTreeMap::from([("eos_token".to_owned(), "</s>".to_owned())]);
    let Ok(template) = JinjaTemplate::new(text, special, Path::new("chat_template.jinja")) else { return };
    let message = |role, content: &str| Message::new(role, content);
    let before = [message(Role::System, "Be brief."), message(Role::User, "h\u{e9} ")];
    let _ = ChatTemplate::Jinja(template).turn(&before, ["yes", ""]);
}

/// Templates as models have them: roles, filters, Python's methods, macros.
pub fn seeds() -> Vec<Vec<u8>> {
    [
        "{% for m in messages %}<{{ m.role }}>{{ m['content'] | trim }}{% endfor %}{% if add_generation_prompt %}<assistant>{% endif %}",
        "{%- set ns = namespace(found=false) -%}{% for m in messages[1:] %}{{ m.content.strip().upper().split(' ')[-1] }}{% endfor %}",
        "{% macro turn(m) %}{{ m | tojson(indent=2) }}{{ eos_token }}{% endmacro %}{{ turn(messages[0]) }}",
        "{% if messages[0]['role'] == 'system' %}{{ raise_exception('no ' ~ messages[0].role) }}{% endif %}",
        "{{ strftime_now('%d %b %Y') }}{% generation %}{{ 'ab'.replace('a', 'bb').startswith('b') }}{% endgeneration %}",
        "{% for i in range(3) %}{{ loop.index * 2 }}{{ messages | length }}{{ 'x' * 3 }}{% endfor %}",
    ]
    .map(|text| text.as_bytes().to_vec())
    .to_vec()
}
