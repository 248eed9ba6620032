//! Chat templates: somebody else's programs, with bounded work and bounded text.

use model::chat_template::{JinjaTemplate, TemplateInput};
use model::data::{ChatTemplate, Message, Role};
use serde_json::json;
use std::collections::BTreeMap;
use std::path::Path;

/// Compiles a template and runs it on a conversation.
pub fn fuzz(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let special = BTreeMap::from([("eos_token".to_owned(), "</s>".to_owned())]);
    let Ok(template) = JinjaTemplate::new(text, special, Path::new("chat_template.jinja")) else { return };
    let messages = [json!({"role": "user", "content": [{"type": "text", "text": "h\u{e9}"}], "n": [1, 1.5, null, true]})];
    let (tools, arguments) = (json!([{"type": "function", "function": {"name": "f"}}]), json!({"enable_thinking": false, "f": 1e300}));
    let input = TemplateInput { messages: &messages, tools: Some(&tools), documents: None, arguments: arguments.as_object() };
    if let Ok(rendered) = template.render_input(&input, true) {
        assert!(rendered.generated.iter().all(|bytes| rendered.text.get(bytes.clone()).is_some()));
    }
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
        "{{ '{0:>{1}.2f}|%05d'.format(f, 9) % 7 }}{{ {'b': (1,), 'a': [none]} | dictsort }}{{ messages[0].n | map('string') | list }}",
        "{% for x in [[1], 2] recursive %}{{ loop(x) if x is iterable else loop.cycle('a') }}{% endfor %}{% set n | trim %} x {% endset %}",
        "{% call(a) m() %}{{ a }}{% endcall %}{% macro m(x=1) %}{{ caller(x) }}{{ varargs }}{% endmacro %}{% filter upper %}x{% endfilter %}",
        "{% for i in range(3) %}{{ loop.index * 2 }}{{ messages | length }}{{ 'x' * 3 }}{% endfor %}",
    ]
    .map(|text| text.as_bytes().to_vec())
    .to_vec()
}
