"""Renders chat templates with transformers' apply_chat_template and writes tests/tests/fixtures/chat_templates.json.

    python tests/peers/chat_templates.py        (needs transformers and jinja2)
"""

import json
import pathlib

import jinja2
from transformers.utils.chat_template_utils import render_jinja_template

CHATML = """{%- if messages[0]['role'] == 'system' -%}
    {{- '<|im_start|>system\\n' + messages[0]['content'] + '<|im_end|>\\n' }}
{%- endif %}
{% for message in messages %}
    {%- if message.role != 'system' %}
{{- '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' + '\\n' }}
    {%- endif %}
{% endfor %}
{% if add_generation_prompt %}
    {{- '<|im_start|>assistant\\n' }}
{% endif %}
"""

LLAMA3 = """{% set loop_messages = messages %}{% for message in loop_messages %}{% set content = '<|start_header_id|>' \
+ message['role'] + '<|end_header_id|>\\n\\n'+ message['content'] | trim + '<|eot_id|>' %}\
{% if loop.index0 == 0 %}{% set content = bos_token + content %}{% endif %}{{ content }}{% endfor %}\
{% if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}{% endif %}"""

MISTRAL = """{%- if messages[0]["role"] == "system" %}
    {%- set system_message = messages[0]["content"] %}
    {%- set loop_messages = messages[1:] %}
{%- else %}
    {%- set loop_messages = messages %}
{%- endif %}
{%- set ns = namespace(users=0) %}
{{- bos_token }}
{%- for message in loop_messages %}
    {%- if (message["role"] == "user") != (loop.index0 % 2 == 0) %}
        {{- raise_exception("Conversation roles must alternate user/assistant/user/assistant/...") }}
    {%- endif %}
    {%- if message["role"] == "user" %}
        {%- set ns.users = ns.users + 1 %}
        {%- if loop.last and system_message is defined %}
            {{- "[INST] " + system_message + "\\n\\n" + message["content"] + "[/INST]" }}
        {%- else %}
            {{- "[INST] " + message["content"] + "[/INST]" }}
        {%- endif %}
    {%- elif message["role"] == "assistant" %}
        {{- " " + message["content"]|trim + eos_token }}
    {%- else %}
        {{- raise_exception("Only user and assistant roles are supported, not " ~ message["role"]) }}
    {%- endif %}
{%- endfor %}"""

ZEPHYR = """{% for message in messages %}
{% if message['role'] == 'user' %}
{{ '<|user|>
' + message['content'] + eos_token }}
{% elif message['role'] == 'system' %}
{{ '<|system|>
' + message['content'] + eos_token }}
{% elif message['role'] == 'assistant' %}
{{ '<|assistant|>
'  + message['content'] + eos_token }}
{% endif %}
{% if loop.last and add_generation_prompt %}
{{ '<|assistant|>' }}
{% endif %}
{% endfor %}"""

# Python's strings, lists and JSON; loop controls; macros; generation blocks.
PYTHON = """{%- macro tag(name, text) -%}<{{ name }}>{{ text }}</{{ name }}>{%- endmacro -%}
{%- for message in messages -%}
    {%- if message.role == 'system' -%}{%- continue -%}{%- endif -%}
    {%- set words = message.content.strip().split(' ') -%}
    {{ loop.index }}/{{ loop.length }} {{ message | tojson }}
    {{ message | tojson(indent=2) }}
    {{ {'ok': true, 'none': none, 'pi': 3.5, 'n': 2, 'list': [1, 'a', []]} | tojson }}
    {{ words }} {{ true }} {{ none }} {{ 1.0 }} {{ 7 // 2 }} {{ 7 / 2 }} {{ -7 % 3 }}
    {%- for key, value in message.items() %} {{ key }}={{ value | length }}{% endfor %}
    {% if message.role == 'assistant' %}
    {% generation %}
    {{ tag('said', message['content'].replace('e', 'E').rstrip('.').lstrip()) }}
    {%- endgeneration %}
    {% else %}
    {{- message.content.startswith('H') }}{{ message.content.endswith(('?', '!')) }}{{ '\\n' in message.content }}
    {{ (message.content | upper)[:7] }}{{ message.content[::-1][:3] }}{{ message.get('name', 'nobody') }}
    {{ message.content is string }}{{ message is mapping }}{{ missing is defined }}{{ words[-1] }}{{ words | join('+') }}
    {%- endif %}
    {%- if loop.index > 3 %}{% break %}{% endif %}
{%- endfor %}
{{ messages | selectattr('role', 'equalto', 'user') | map(attribute='content') | list | length }}
{{ messages | map(attribute='role') | join(',') }}{{ unk_token }}|{{ 'yes' if add_generation_prompt else 'no' }}
"""

TEMPLATES = {
    "chatml": (CHATML, {"eos_token": "<|im_end|>"}),
    "llama3": (LLAMA3, {"bos_token": "<|begin_of_text|>", "eos_token": "<|eot_id|>"}),
    "mistral": (MISTRAL, {"bos_token": "<s>", "eos_token": "</s>"}),
    "zephyr": (ZEPHYR, {"bos_token": "<s>", "eos_token": "</s>"}),
    "python": (PYTHON, {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}),
}


def turn(role, content):
    return {"role": role, "content": content}


CONVERSATIONS = [
    [turn("user", "Hello there!")],
    [turn("system", "Be brief."), turn("user", "  What is 2 + 2?\n"), turn("assistant", "Four.")],
    [turn("user", "He said \"it's\" <b>&amp;\\ ünïcode 東京 🐻"), turn("assistant", " Yes, the end. "), turn("user", "Tell me\nmore?")],
    [turn("system", "Sys"), turn("user", "a"), turn("assistant", "b"), turn("user", "c"), turn("assistant", "d"), turn("user", "e")],
    [turn("user", "one"), turn("user", "two")],
    [turn("user", ""), turn("assistant", "{% raw %} {{ not jinja }}")],
]


def render(template, special, conversation, add_generation_prompt):
    try:
        rendered, _ = render_jinja_template(
            [conversation], chat_template=template, add_generation_prompt=add_generation_prompt, **special
        )
        return {"expected": rendered[0]}
    except jinja2.exceptions.TemplateError as error:
        return {"refused": str(error)}


def main():
    cases = [
        {"template": name, "conversation": index, "add_generation_prompt": prompt, **render(*TEMPLATES[name], conversation, prompt)}
        for name in TEMPLATES
        for index, conversation in enumerate(CONVERSATIONS)
        for prompt in (False, True)
    ]
    templates = {name: {"template": text, "special_tokens": special} for name, (text, special) in TEMPLATES.items()}
    fixture = {"templates": templates, "conversations": CONVERSATIONS, "cases": cases}
    path = pathlib.Path(__file__).parent.parent / "tests/fixtures/chat_templates.json"
    path.write_text(json.dumps(fixture, ensure_ascii=False, indent=1) + "\n")
    print(len(cases), "cases,", sum("refused" in case for case in cases), "refused")


if __name__ == "__main__":
    main()
