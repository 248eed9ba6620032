"""Loads LoRA adapters that slpo wrote and compares peft's logits with slpo's; then has peft write adapters for slpo to load.

    peft_adapter.py FOLDER...

Each FOLDER is an adapter (adapter_config.json, adapter_model.safetensors) with `base/`, the model it belongs to, `merged/`, the model with
the adapter merged by slpo, and `slpo.json`: {"tokens": [...], "logits": [[...], ...]}, slpo's logits with the adapter. Writes
FOLDER/peft, an adapter that peft made, with FOLDER/peft/logits.json. Prints one line for each; exit status 1 where one differs.

Needs: pip install torch transformers peft
"""

import json
import pathlib
import sys

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import AutoModelForCausalLM

# Both sides compute in f32, in another order.
TOLERANCE = 2e-4


def load(folder):
    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager")


def logits(model, tokens):
    with torch.no_grad():
        return model(torch.tensor([tokens])).logits[0]


def main():
    failed = False
    for folder in map(pathlib.Path, sys.argv[1:]):
        ours = json.loads((folder / "slpo.json").read_text())
        expected = torch.tensor(ours["logits"])
        adapted = PeftModel.from_pretrained(load(folder / "base"), folder).eval()
        differences = {
            "adapter": (logits(adapted, ours["tokens"]) - expected).abs().max().item(),
            "merged by peft": (logits(adapted.merge_and_unload(), ours["tokens"]) - expected).abs().max().item(),
            "merged by slpo": (logits(load(folder / "merged"), ours["tokens"]) - expected).abs().max().item(),
        }
        bad = not all(difference <= TOLERANCE for difference in differences.values())
        change = (logits(load(folder / "base"), ours["tokens"]) - expected).abs().max().item()
        bad |= change < 1e-3
        failed |= bad
        shown = ", ".join(f"{name} {difference:.2e}" for name, difference in differences.items())
        print(f"{folder.name}: {shown}; the base differs by {change:.2e}: {'DIFFERS' if bad else 'equal'}")
        write_with_peft(folder, ours["tokens"])
    return 1 if failed else 0


def write_with_peft(folder, tokens):
    settings = json.loads((folder / "adapter_config.json").read_text())
    config = LoraConfig(
        r=4,
        lora_alpha=8,
        target_modules=settings["target_modules"],
        use_rslora=True,
        fan_in_fan_out=settings["fan_in_fan_out"],
        init_lora_weights=False,
        task_type="CAUSAL_LM",
    )
    torch.manual_seed(1)
    model = get_peft_model(load(folder / "base"), config).eval()
    model.save_pretrained(folder / "peft")
    values = logits(model, tokens).tolist()
    (folder / "peft" / "logits.json").write_text(json.dumps({"tokens": tokens, "logits": values}))


if __name__ == "__main__":
    sys.exit(main())
