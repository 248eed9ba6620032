"""Renders chat templates with transformers and writes what it gives into tests/tests/fixtures:

    chat_templates.json              the templates of chat_template_formats.py on conversations: texts, token ids, generation spans
    chat_templates_expressions.json  the expressions of chat_template_expressions.py: texts, or null where transformers refuses

    python tests/peers/chat_templates.py        (needs transformers, jinja2 and tokenizers)
"""

import json
import logging
import pathlib
import re
import warnings

import jinja2
from chat_template_expressions import VARIABLES, expressions
from chat_template_formats import TEMPLATES
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast
from transformers.utils.chat_template_utils import render_jinja_template

FIXTURES = pathlib.Path(__file__).parent.parent / "tests/fixtures"

WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "The weather of a place — now.",
        "parameters": {
            "type": "object",
            "properties": {
                "place": {"type": "string", "description": "City, e.g. \"Zürich\""},
                "unit": {"type": "string", "enum": ["celsius", "fahrenheit"], "description": "Unit", "default": "celsius"},
                "days": {"type": "array", "items": {"type": "integer"}, "description": "Days"},
            },
            "required": ["place"],
        },
    },
}
CLOCK = {"type": "function", "function": {"name": "clock", "description": "Time", "parameters": {"type": "object", "properties": {}}}}


def turn(role, content, **more):
    return {"role": role, "content": content, **more}


def call(name, arguments, identity="abcdefghi"):
    return {"id": identity, "type": "function", "function": {"name": name, "arguments": arguments}}


CALLED = turn("assistant", "", tool_calls=[call("get_weather", {"place": "Zürich", "days": [1, 2], "exact": 1.0, "no": None})])
ANSWER = turn("tool", '{"temperature": 21.5}', name="get_weather", tool_call_id="abcdefghi")

# Each: messages, and what else the template is given.
CONVERSATIONS = [
    {"messages": [turn("user", "Hello there!")]},
    {"messages": [turn("system", "Be brief."), turn("user", "  What is 2 + 2?\n"), turn("assistant", "Four.")]},
    {"messages": [turn("user", "He said \"it's\" <b>&amp;\\ ünïcode 東京 🐻"), turn("assistant", " Yes, the end. "), turn("user", "Tell me\nmore?")]},
    {"messages": [turn("system", "Sys"), *[turn(("user", "assistant")[i % 2], "abcde"[i]) for i in range(5)]]},
    {"messages": [turn("user", "one"), turn("user", "two")]},
    {"messages": [turn("user", ""), turn("assistant", "{% raw %} {{ not jinja }}")]},
    {"messages": [turn("system", ""), turn("user", "hi", name="Ann")]},
    {"messages": [turn("user", "Weather?")], "tools": [WEATHER, CLOCK]},
    {"messages": [turn("system", "Use tools."), turn("user", "Weather?"), CALLED, ANSWER], "tools": [WEATHER]},
    {"messages": [turn("user", "Weather?"), CALLED, ANSWER, turn("assistant", "21 °C."), turn("user", "Thanks")], "tools": [WEATHER, CLOCK]},
    {"messages": [turn("user", "Both"), turn("assistant", None, tool_calls=[call("clock", {}), call("clock", {"a": "b"})]), ANSWER, {**ANSWER, "content": "2"}], "tools": [CLOCK]},
    {"messages": [turn("user", "Think"), turn("assistant", "So.", reasoning_content="\nfirst, then\n"), turn("user", "On"), turn("assistant", "Yes", reasoning="hm")]},
    {"messages": [turn("user", "Think"), turn("assistant", "<think>\nwell\n</think>\n\nDone.")], "arguments": {"enable_thinking": False}},
    {"messages": [turn("system", "S /no_think"), turn("user", "q")], "arguments": {"enable_thinking": True, "date_string": "1 Jan 2025", "reasoning_effort": "high"}},
    {"messages": [turn("user", [{"type": "text", "text": "What is "}, {"type": "image"}, {"type": "text", "text": "this?"}])]},
    {"messages": [turn("user", "Summarise")], "documents": [{"title": "T", "text": "First."}, {"title": "U", "text": "Second"}], "arguments": {"controls": {"citations": True}}},
    {"messages": [turn("assistant", "I begin"), turn("user", "ok")]},
]

TEXT = " ".join(text for text, _ in TEMPLATES.values()) + "the weather of a place in the world, what is it and what was it now? " * 9


def special_tokens():
    """Every <|…|>, […], <…> of the templates that reads like one token."""
    found = {token for _, names in TEMPLATES.values() for token in names.values()}
    for text, _ in TEMPLATES.values():
        found |= set(re.findall(r"<[|｜][^|｜<>\s'\"+]+[|｜]>|\[/?[A-Z_]+\]|<(?:start|end)_of_[a-z]+>|</?tool_(?:call|response)>|</?think>", text))
    return sorted(found)


def byte_level():
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(vocab_size=560, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False)
    tokenizer.train_from_iterator([TEXT], trainer)
    tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in special_tokens()])
    return tokenizer


def sentence_piece():
    """As Llama 2's: a space before a text, bytes for what is not known."""
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    tokenizer.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)])
    known = ["<unk>", "<s>", "</s>"] + [f"<0x{byte:02X}>" for byte in range(256)]
    words = re.sub(r"[^a-zA-Z0-9 .,:]+", " ", TEXT).split()
    tokenizer.train_from_iterator(words, trainers.BpeTrainer(vocab_size=520, special_tokens=known, show_progress=False))
    tokens = [token for token in special_tokens() if token not in known]
    tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in known[:3] + tokens])
    return tokenizer


TOKENIZERS = {"byte-level": byte_level, "sentence-piece": sentence_piece}
BY_PIECE = {"llama2", "mistral-v1", "mistral-v3", "mixtral", "zephyr", "vicuna", "alpaca", "gemma", "gemma3"}


def render(tokenizer, template, conversation, add_generation_prompt):
    """The text, its token ids, and the spans of generation blocks; or the words of a refusal."""
    given = {key: conversation.get(key) for key in ("tools", "documents")}
    given |= {**conversation.get("arguments", {}), "add_generation_prompt": add_generation_prompt}
    messages = conversation["messages"]
    try:
        text = tokenizer.apply_chat_template(messages, chat_template=template, tokenize=False, **given)
    except jinja2.exceptions.TemplateError as error:
        return {"refused": str(error)}
    except Exception as error:  # noqa: BLE001: whatever Python says of a value that a template misuses
        return {"refused": None, "error": type(error).__name__}
    out = {"expected": text}
    if add_generation_prompt:
        out["ids"] = tokenizer.apply_chat_template(messages, chat_template=template, tokenize=True, return_dict=False, **given)
    if "endgeneration" in template:
        masked = tokenizer.apply_chat_template(
            messages, chat_template=template, tokenize=True, return_dict=True, return_assistant_tokens_mask=True, **given
        )
        out["mask"] = masked["assistant_masks"]
        out["ids"] = masked["input_ids"]
    return out


def conversations():
    built = {name: build() for name, build in TOKENIZERS.items()}
    cases = []
    for name, (template, special) in TEMPLATES.items():
        kind = "sentence-piece" if name in BY_PIECE else "byte-level"
        tokenizer = PreTrainedTokenizerFast(tokenizer_object=built[kind], **special)
        for index, conversation in enumerate(CONVERSATIONS):
            for prompt in (False, True):
                case = {"template": name, "conversation": index, "add_generation_prompt": prompt}
                cases.append({**case, **render(tokenizer, template, conversation, prompt)})
    templates = {
        name: {"template": text, "special_tokens": special, "tokenizer": "sentence-piece" if name in BY_PIECE else "byte-level"}
        for name, (text, special) in TEMPLATES.items()
    }
    tokenizers = {name: json.loads(tokenizer.to_str()) for name, tokenizer in built.items()}
    return {"templates": templates, "tokenizers": tokenizers, "conversations": CONVERSATIONS, "cases": cases}


def expression(template):
    messages = [turn("user", "Hello big world")]
    try:
        return render_jinja_template([messages], chat_template=template, **VARIABLES)[0][0]
    except Exception:  # noqa: BLE001: jinja2's errors and Python's
        return None


def write(name, fixture):
    path = FIXTURES / name
    path.write_text(json.dumps(fixture, ensure_ascii=False, separators=(",", ":")) + "\n", encoding="utf-8")
    print(path.name, path.stat().st_size, "bytes")


def main():
    logging.disable(logging.WARNING)
    warnings.simplefilter("ignore")
    fixture = conversations()
    write("chat_templates.json", fixture)
    cases = fixture["cases"]
    print(len(cases), "cases,", sum("refused" in case for case in cases), "refused")
    results = [[template, expression(template)] for template in expressions()]
    results = [entry for entry in results if not re.search(r" at 0x[0-9a-f]+", entry[1] or "")]
    write("chat_templates_expressions.json", {"variables": VARIABLES, "expressions": results})
    print(len(results), "expressions,", sum(text is None for _, text in results), "refused")


if __name__ == "__main__":
    main()
