"""Has transformers save models in half precision and in several files, with the logits that it computes from those files in f32.

    sharded_models.py OUT FOLDER...

Writes OUT/NAME-f16 and OUT/NAME-bf16 for each FOLDER, each with `logits.json`: {"tokens": [...], "logits": [...]}, those of the last position.

Needs: pip install torch transformers
"""

import json
import pathlib
import sys

import torch
from transformers import AutoModelForCausalLM

TOKENS = [3, 10, 17, 24, 31, 38, 45, 52]


def load(folder):
    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager")


out, *folders = map(pathlib.Path, sys.argv[1:])
for folder in folders:
    for kind, dtype in (("f16", torch.float16), ("bf16", torch.bfloat16)):
        written = out / f"{folder.name}-{kind}"
        load(folder).to(dtype).save_pretrained(written, max_shard_size="20KB")
        with torch.no_grad():
            logits = load(written)(torch.tensor([TOKENS])).logits[0, -1]
        (written / "logits.json").write_text(json.dumps({"tokens": TOKENS, "logits": logits.tolist()}))
