"""Loads model folders that slpo wrote and compares transformers' logits with slpo's own.

    transformers_roundtrip.py FOLDER...

Each FOLDER is a model with `slpo.json` beside its config.json: {"tokens": [...], "logits": [[...], ...]}, slpo's logits of the last
positions. It may also hold "greedy": the most likely tokens that slpo writes after those, "texts": pairs of a text and the ids that slpo
gives it (BOS included), and "chat": messages with the text that slpo makes of them. Prints one line for each; exit status 1 where one differs,
the logits by more than the tolerance.

Needs: pip install torch transformers
"""

import json
import pathlib
import sys

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

# Both sides compute in f32, in another order: some units in the seventh digit of logits up to about 30.
TOLERANCE = 2e-4


def greedy_differs(model, ours):
    """Whether generate() writes other tokens."""
    prompt, expected = torch.tensor([ours["tokens"]]), ours["greedy"]
    settings = {"do_sample": False, "temperature": None, "top_k": None, "top_p": None, "max_new_tokens": len(expected)}
    with torch.no_grad():
        new = model.generate(prompt, attention_mask=torch.ones_like(prompt), pad_token_id=0, **settings)[0, prompt.shape[1] :]
    return new.tolist() != expected


def tokenizer_differs(folder, ours):
    """Whether the folder's tokenizer gives a text other ids, or a conversation another text."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    ids = any(tokenizer(text)["input_ids"] != expected for text, expected in ours["texts"])
    chats = ours.get("chat", [])
    rendered = (tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True) for messages, _ in chats)
    return ids or any(text != expected for text, (_, expected) in zip(rendered, chats))


def main():
    failed = False
    for folder in map(pathlib.Path, sys.argv[1:]):
        ours = json.loads((folder / "slpo.json").read_text())
        model, info = AutoModelForCausalLM.from_pretrained(
            folder, dtype=torch.float32, attn_implementation="eager", output_loading_info=True
        )
        wrong = {key: sorted(info[key]) for key in ("missing_keys", "unexpected_keys", "mismatched_keys") if info[key]}
        with torch.no_grad():
            theirs = model(torch.tensor([ours["tokens"]])).logits[0]
        logits = torch.tensor(ours["logits"])
        difference = (theirs[-len(logits) :] - logits).abs().max().item()
        if "greedy" in ours and greedy_differs(model, ours):
            wrong["greedy"] = "other tokens"
        if "texts" in ours and tokenizer_differs(folder, ours):
            wrong["tokenizer"] = "other ids or texts"
        bad = bool(wrong) or not difference <= TOLERANCE
        failed |= bad
        print(f"{folder.name}: {type(model).__name__}, largest difference {difference:.2e} {wrong or ''} {'DIFFERS' if bad else 'equal'}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
