"""Loads model folders that slpo wrote and compares transformers' logits with slpo's own.

    transformers_roundtrip.py FOLDER...

Each FOLDER is a model with `slpo.json` beside its config.json: {"tokens": [...], "logits": [[...], ...]}, slpo's logits of every
position. Prints one line for each; exit status 1 where one differs by more than the tolerance.

Needs: pip install torch transformers
"""

import json
import pathlib
import sys

import torch
from transformers import AutoModelForCausalLM

# Both sides compute in f32, in another order: some units in the seventh digit of logits up to about 30.
TOLERANCE = 2e-4


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
        difference = (theirs - torch.tensor(ours["logits"])).abs().max().item()
        bad = bool(wrong) or not difference <= TOLERANCE
        failed |= bad
        print(f"{folder.name}: {type(model).__name__}, largest difference {difference:.2e} {wrong or ''} {'DIFFERS' if bad else 'equal'}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
