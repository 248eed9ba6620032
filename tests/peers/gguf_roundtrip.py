"""Loads GGUF files that slpo wrote by transformers, and compares its logits with slpo's own.

    gguf_roundtrip.py FOLDER...

Each FOLDER holds `model.gguf` in F32 and `slpo.json`: {"tokens": [...], "logits": [[...], ...]}, slpo's logits of the folder that the file
was written from. A family whose GGUF files transformers does not read (GPT-NeoX) is read by llama.cpp's `gguf` package alone. Prints one
line for each; exit status 1 where one differs.

Needs: pip install torch transformers gguf accelerate
"""

import json
import pathlib
import sys

import gguf
import torch
from transformers import AutoModelForCausalLM
from transformers.modeling_gguf_pytorch_utils import GGUF_SUPPORTED_ARCHITECTURES

# Both sides compute in f32, in another order: some units in the seventh digit of logits up to about 30.
TOLERANCE = 2e-4


def sizes_of_gpt2(reader):
    """What transformers takes from its defaults although the file has it: the number of positions and of tokens."""
    embedding = next(tensor for tensor in reader.tensors if tensor.name == "token_embd.weight")
    return {"n_positions": reader.get_field("gpt2.context_length").contents(), "vocab_size": int(embedding.shape[1])}


def main():
    failed = False
    for folder in map(pathlib.Path, sys.argv[1:]):
        reader = gguf.GGUFReader(folder / "model.gguf")
        architecture = reader.get_field("general.architecture").contents()
        if architecture not in GGUF_SUPPORTED_ARCHITECTURES:
            print(f"{folder.name}: {architecture}, {len(reader.tensors)} tensors and {len(reader.fields)} keys are read")
            continue
        ours = json.loads((folder / "slpo.json").read_text())
        sizes = sizes_of_gpt2(reader) if architecture == "gpt2" else {}
        model = AutoModelForCausalLM.from_pretrained(
            folder, gguf_file="model.gguf", dtype=torch.float32, attn_implementation="eager", **sizes
        )
        with torch.no_grad():
            theirs = model(torch.tensor([ours["tokens"]])).logits[0]
        logits = torch.tensor(ours["logits"])
        difference = (theirs[-len(logits) :] - logits).abs().max().item()
        bad = not difference <= TOLERANCE
        failed |= bad
        print(f"{folder.name}: {architecture}, largest difference {difference:.2e} {'DIFFERS' if bad else 'equal'}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
