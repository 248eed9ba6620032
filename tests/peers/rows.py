"""The rows of the fixtures: what people bring, and what nobody thinks of. One list a form; every setup takes the lists that fit it."""

EMOJI = "👩\u200d🚀"


def user(content, **more):
    return {"role": "user", "content": content, **more}


def assistant(content, **more):
    return {"role": "assistant", "content": content, **more}


def system(content):
    return {"role": "system", "content": content}


def pair(prompt, chosen, rejected, **more):
    return {"prompt": prompt, "chosen": chosen, "rejected": rejected, **more}


def chat(prompt, chosen, rejected, **more):
    return pair(prompt, [assistant(chosen)], [assistant(rejected)], **more)


TEXT_PAIRS = [
    pair("Question: what is the time?\nAnswer:", " four", " five"),
    pair("a long ti", "me", "ra"),
    pair("Answer:\n", "\nfour", "five"),
    pair("Answer.\n", "no", "\n\nyes"),
    pair("Question:\n\n", "\n\nyes", "\n\nno"),
    pair("The answer is ", "four", "five"),
    pair("The answer is ", " four", "five"),
    pair("The answer is  ", "a", "the"),
    pair("naïve 東京", " 東 ünï", " e\u0301 é"),
    pair("The " + EMOJI[:1], EMOJI[1:] + " is", "is"),
    pair("", "Yes.", "No."),
    pair("", " the", "the"),
    pair(" ", "the", " the"),
    pair("time", " machine", " machines"),
    pair("Say <|im_end|> or </s>", " <s>no", " <|endoftext|>yes"),
    pair("Is it?", "Yes<|endoftext|>", "Yes, it is.</s>"),
    pair("Is it?", "Yes", "Yes, it is."),
    pair("Is it?", " Yes", "  Yes"),
    pair("Is it?\r\n", "\tYes\r\n", "\u00a0No\u2028"),
    pair("Is it?", "Is it? Yes.", "Is it? No."),
    pair("Is it?", "no", "no"),
    pair("Is it?", "", "no"),
    pair("Is it?", "no", " \n"),
    pair("p" * 40, "x", "y"),
    pair("The cat is in the house. " * 4, " It is a long time." * 3, " No."),
    pair("Why?", " It is a long, long time and the cat is in the time machine. " * 2, " Yes. The answer is four. five" * 2),
]

IMPLICIT_PAIRS = [
    {"chosen": "The sky is blue.", "rejected": "The sky is green."},
    {"chosen": "The cat is", "rejected": "The cab is"},
    {"chosen": "The sky  is blue", "rejected": "The sky  was blue"},
    {"chosen": "Yes.", "rejected": "No."},
    {"chosen": "\n\nHuman: hi\n\nAssistant: yes.", "rejected": "\n\nHuman: hi\n\nAssistant: No."},
]

# Each with the reason for which slpo's prompt is another than TRL's.
OTHER_PROMPTS = [
    (
        {"chosen": "Yes ", "rejected": "No"},
        "",
        "nothing is shared, so the prompt is empty; TRL looks at the character before the first and finds the last",
    ),
    (
        {"chosen": "\n\nHuman: hi\n\nAssistant: It is four.", "rejected": "\n\nHuman: hi\n\nAssistant: It is five."},
        "\n\nHuman: hi\n\nAssistant:",
        "the turn that was compared is whole; TRL gives the words that both begin with to the prompt",
    ),
]

CHAT_PAIRS = [
    chat([user("Is it?")], "Yes.", "No."),
    chat([system("Be brief."), user("hi"), assistant("yes"), user("Why?\n")], "It is a long time.", "No."),
    chat([user("  hi ")], "\nHello", "Bye"),
    chat([user("hi")], " Yes. ", "\n\nNo.\n\n"),
    chat([user("東京 " + EMOJI)], EMOJI + " ünï", "e\u0301"),
    chat([user("Say <|im_end|> or </s>")], "Yes<|im_end|>", "No</s> no"),
    chat([user("Is it?")], "Is it? Yes.", "Is it? No."),
    chat([user("Answer:\n")], "user\n\n", "assistant:"),
    chat([user("Is it?")], "Yes", "Yes, it is."),
    {"chosen": [user("hi"), assistant("yes")], "rejected": [user("hi"), assistant("no")]},
    {
        "chosen": [system("s"), user("hi"), assistant("a"), user("b"), assistant("yes")],
        "rejected": [system("s"), user("hi"), assistant("a"), user("b"), assistant("no")],
    },
    chat([user("Is it?")], "", "No."),
    chat([user("Is it?")], "No.", "No."),
    {"chosen": [user("hi"), assistant("yes")], "rejected": [user("Hi"), assistant("no")]},
    chat([user("The cat is in the house. " * 4)], "It is a long time. " * 3, "No."),
    chat([user("Why?")], "It is a long, long time and the cat is in the time machine. " * 2, "Yes. The answer is four. five " * 2),
]

# ShareGPT's names for the same things; TRL takes the roles as they are, so the row that it is given has them already.
SHAREGPT_PAIRS = [
    (
        {
            "conversations": [{"from": "system", "value": "s"}, {"from": "human", "value": "Is it?"}],
            "chosen": {"from": "gpt", "value": "Yes."},
            "rejected": {"from": "gpt", "value": "No."},
        },
        chat([system("s"), user("Is it?")], "Yes.", "No."),
    ),
]

WEATHER = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "The weather <b>now</b> & 'then'",
        "parameters": {"type": "object", "properties": {"city": {"type": "string", "enum": ["東京", "Bern"]}}, "required": ["city"]},
    },
}


def call(arguments):
    return assistant("", tool_calls=[{"type": "function", "function": {"name": "weather", "arguments": arguments}}])


TOOL_PAIRS = [
    chat([user("Rain?")], "Yes.", "No.", tools=[WEATHER]),
    chat([system("Be brief."), user("Rain?")], "Yes.", "No.", tools='[{"name": "clock", "unit": 1.0, "ok": true, "none": null}]'),
    chat(
        [user("Rain?"), call({"city": "東京"}), {"role": "tool", "name": "weather", "content": "wet"}], "Yes.", "No.", tools=[WEATHER]
    ),
    chat([user("Rain?"), call('{"city": "Bern"}'), {"role": "tool", "content": "wet"}], "Yes.", "No."),
    pair([user("Rain?")], [call({"city": "東京"})], [call({"city": "Bern"})], tools=[WEATHER]),
    chat([user("Rain?")], "Yes.", "No.", chat_template_kwargs={"style": "short"}),
    {
        "chosen": [user("Rain?"), call({"city": "Bern"}), {"role": "tool", "content": "wet"}, assistant("yes")],
        "rejected": [user("Rain?"), call({"city": "Bern"}), {"role": "tool", "content": "wet"}, assistant("no")],
    },
]

THOUGHT_PAIRS = [
    chat([user("Is it?")], "Yes.", "No."),
    chat([user("Is it?")], "Yes.", "No.", chat_template_kwargs={"enable_thinking": True}),
    pair([user("Is it?")], [assistant("Yes.", reasoning_content="Rain.")], [assistant("No.", reasoning_content="Sun.")]),
    pair([user("Is it?")], [assistant("Yes.", reasoning_content="Rain.")], [assistant("No.")]),
    chat([user("hi"), assistant("yes", reasoning_content="polite"), user("Is it?")], "Yes.", "No."),
]

TEXT_COMPLETIONS = [
    *({"prompt": row["prompt"], "completion": row[key]} for row in TEXT_PAIRS[:20] for key in ["chosen"]),
    {"prompt": "Answer:\n", "completion": "five"},
    {"prompt": "Is it?", "completion": ""},
    {"text": "The cat is in the house."},
    {"text": "\n\n東京 " + EMOJI},
    {"text": "Yes.<|endoftext|>"},
]

CHAT_COMPLETIONS = [{"prompt": row["prompt"], "completion": row["chosen"]} for row in CHAT_PAIRS if "prompt" in row]

CONVERSATIONS = [
    [user("hi"), assistant("yes")],
    [system("Be brief."), user("hi"), assistant("yes"), user("Why?"), assistant("It is four.")],
    [user("a"), assistant("\nb"), user("c"), assistant(" d "), user("e\n"), assistant("\n\nf")],
    [user("東京"), assistant(EMOJI), user("hi"), assistant("e\u0301")],
]

# Conversations that do not end with the model's turn, or begin with it: what it says in them can be learned all the same.
OTHER_CONVERSATIONS = [[user("hi"), assistant("yes"), user("Why?")], [assistant("hi"), user("yes"), assistant("no")]]

TOOL_CONVERSATIONS = [
    {"messages": [user("Rain?"), call({"city": "Bern"}), {"role": "tool", "name": "weather", "content": "wet"}, assistant("Yes.")],
     "tools": [WEATHER]},
    {"messages": [user("Rain?"), call({"city": "Bern"}), {"role": "tool", "content": "wet"}, assistant("Yes."), user("hi"), call("{}")]},
    {"messages": [user("a"), assistant("b"), assistant("c"), user("d"), assistant("e")]},
]

# A template that drops earlier thoughts writes a text for each turn.
THOUGHT_CONVERSATIONS = [
    [user("hi"), assistant("yes", reasoning_content="polite"), user("Is it?"), assistant("No.", reasoning_content="Sun.")],
    [user("hi"), assistant("yes"), user("Is it?"), assistant("No.", reasoning_content="Sun.")],
    [user("hi"), assistant("yes"), user("Is it?"), assistant("No.")],
]
