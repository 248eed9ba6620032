"""Trains with TRL and with slpo on the same rows, with the same settings, and compares every step.

    trainers.py SLPO WORK MODEL...

SLPO is the binary, WORK an empty folder, each MODEL a folder with config.json and model.safetensors. Those without a tokenizer.json
get one of one token a character. 20 steps of DPO, cDPO, IPO, hinge and robust DPO (DPOTrainer), of fine-tuning (SFTTrainer) and of DPO on a LoRA
adapter (peft). Each step takes all rows at once, so that no order has to be agreed on. Prints a table of the worst errors by loss and model,
and the metrics of `--metric-names trl` that TRL does not log, or logs as another number; exit status 1 where there is one, or an error is
larger than what f32 explains.

Needs: pip install torch transformers trl peft datasets
"""

import csv
import json
import math
import pathlib
import shutil
import string
import subprocess
import sys

import quiet

import datasets
import torch
import transformers
from peft import PeftModel
from safetensors.torch import load_file
from tokenizers import Tokenizer, decoders, models
from transformers import AutoModelForCausalLM, PreTrainedTokenizerFast
from trl import DPOConfig, DPOTrainer, SFTConfig, SFTTrainer
from trl.trainer.utils import disable_dropout_in_model

STEPS, WARMUP, RATE, DECAY, BETA, EPSILON, SEED = 20, 4, 5e-4, 0.1, 0.1, 0.1, 7

# Two programs in f32 that add in another order. A loss of the first steps is off by some roundings of its log-probabilities. From there
# on, AdamW moves every weight by its rate in the direction of the gradient's sign, so weights whose gradient is no more than rounding
# move differently: the errors of weights, and so of losses, grow with the steps.
FIRST, FIRST_STEPS, LATER, NORM = 1e-5, 5, 1e-4, 1e-3
# What TRL logs is a sum of f32 numbers: log-probabilities of some 100 nats, whose differences are the rewards.
ROUNDED = 1e-3
# Robust DPO is a difference, (1−ε)/(1−2ε)·ℓ(x) − ε/(1−2ε)·ℓ(−x). Where it is 0, both terms are 0.22 for this ε, and rounding is relative
# to them.
CANCELLING = 0.22

ROWS = [
    {"prompt": "The cat sat on", "chosen": " the mat.", "rejected": " the moon, and then it flew away."},
    {"prompt": "Once upon a time", "chosen": ", there was a dog.", "rejected": " no."},
    {"prompt": "Two and two", "chosen": " are four.", "rejected": " are five."},
    {"prompt": "She said: ", "chosen": "yes", "rejected": "perhaps not today"},
    {"prompt": "A b c", "chosen": " d e f g", "rejected": " x y z"},
    {"prompt": "", "chosen": "It rains.", "rejected": "Rains it."},
]

# Name: what slpo is asked for, and TRL's losses with their weights. TRL has no cDPO; it is 2(1−ε)·sigmoid − (1−2ε)·robust.
LOSSES = {
    "dpo": (["--loss", "dpo"], ["sigmoid"], [1.0]),
    "cdpo": (["--loss", "cdpo"], ["sigmoid", "robust"], [2 * (1 - EPSILON), -(1 - 2 * EPSILON)]),
    "ipo": (["--loss", "ipo", "--length-normalize"], ["ipo"], [1.0]),
    "hinge": (["--loss", "hinge"], ["hinge"], [1.0]),
    "robust": (["--loss", "robust"], ["robust"], [1.0]),
}


def with_tokenizer(source, folder):
    """A copy of the model, with a tokenizer of one token a character where it has none."""
    shutil.copytree(source, folder)
    if (folder / "tokenizer.json").exists():
        return
    names = ["<s>", "<unk>", "</s>", *string.printable[:95]]
    tokenizer = Tokenizer(models.BPE({name: at for at, name in enumerate(names)}, [], unk_token="<unk>"))
    tokenizer.decoder = decoders.Fuse()
    tokenizer.add_special_tokens(names[:3])
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="</s>", clean_up_tokenization_spaces=False)
    fast.save_pretrained(folder)


def rows_of(folder):
    """The rows that have a prompt: TRL's IPO counts the first token of a sequence too, which nothing predicts."""
    tokenizer = PreTrainedTokenizerFast.from_pretrained(folder)
    return [row for row in ROWS if tokenizer(row["prompt"])["input_ids"]]


class Slpo:
    """The binary, and where it works."""

    def __init__(self, binary, work):
        self.binary, self.work, self.runs = binary, work, 0

    def train(self, command, folder, rows, flags, steps=STEPS, rate=RATE):
        """The steps' records, and the run's folder."""
        self.runs += 1
        out = self.work / f"run{self.runs}"
        data = self.work / "rows.jsonl"
        data.write_text("".join(json.dumps(row) + "\n" for row in rows))
        settings = ["--steps", steps, "--warmup", min(WARMUP, steps - 1), "--learning-rate", rate, "--weight-decay", DECAY, "--clip", 1.0]
        line = [command, "--model", folder, "--data", data, "--out", out, "--batch", len(rows), "--seed", SEED, "--json", *settings, *flags]
        line += ["--metric-names", "trl"]
        done = subprocess.run([self.binary, *map(str, line)], capture_output=True, text=True)
        if done.returncode:
            raise SystemExit(f"slpo {' '.join(map(str, line))}: {done.stderr}")
        records = [json.loads(record) for record in (out / "metrics.jsonl").read_text().splitlines()]
        with open(out / "metrics.csv", newline="") as table:
            named = {int(row["step"]): row for row in csv.DictReader(table) if row["loss"]}
        return [record | {"named": named[record["step"]]} for record in records if "loss" in record], out


def factor(step):
    """slpo's learning rate as a part of its peak: a linear warm-up, then half a cosine to a tenth. `step` counts from 0."""
    step += 1
    if step <= WARMUP:
        return step / WARMUP
    progress = min((step - WARMUP) / max(STEPS - WARMUP, 1), 1.0)
    return 0.1 + 0.9 * 0.5 * (1 + math.cos(math.pi * progress))


def optimizer(model):
    """AdamW as slpo has it: matrices decay, vectors do not."""
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    groups = [
        {"params": [parameter for parameter in trained if parameter.ndim > 1], "weight_decay": DECAY},
        {"params": [parameter for parameter in trained if parameter.ndim <= 1], "weight_decay": 0.0},
    ]
    adamw = torch.optim.AdamW(groups, lr=RATE, betas=(0.9, 0.95), eps=1e-8)
    return adamw, torch.optim.lr_scheduler.LambdaLR(adamw, factor)


class Recording:
    """A trainer that keeps the loss of every step as it was computed: what it logs is rounded."""

    def compute_loss(self, *arguments, **more):
        loss = super().compute_loss(*arguments, **more)
        self.seen.append(loss.item())
        return loss


class RecordingDpo(Recording, DPOTrainer):
    pass


class RecordingSft(Recording, SFTTrainer):
    pass


def settings(work, rows):
    return {
        "output_dir": str(work / "trl"), "use_cpu": True, "report_to": "none", "bf16": False, "max_steps": STEPS, "max_length": None,
        "per_device_train_batch_size": len(rows), "max_grad_norm": 1.0, "logging_steps": 1, "save_strategy": "no",
        "gradient_checkpointing": False, "disable_tqdm": True, "seed": SEED,
    }


def steps_of(trainer):
    """(loss, gradient's norm, what is logged) of every step."""
    trainer.seen = []
    # Its log goes to standard output, where the table belongs.
    trainer.remove_callback(transformers.trainer_callback.PrinterCallback)
    trainer.train()
    logged = [record for record in trainer.state.log_history if "grad_norm" in record]
    assert len(trainer.seen) == len(logged) == STEPS, (len(trainer.seen), len(logged))
    return [(loss, float(record["grad_norm"]), record) for loss, record in zip(trainer.seen, logged)]


def load(folder):
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager")
    disable_dropout_in_model(model)
    return model


def dpo(work, folder, rows, types, weights, model):
    arguments = DPOConfig(**settings(work, rows), beta=BETA, label_smoothing=EPSILON, loss_type=types, loss_weights=weights)
    tokenizer = PreTrainedTokenizerFast.from_pretrained(folder)
    data = datasets.Dataset.from_list(rows)
    return steps_of(RecordingDpo(model, None, arguments, train_dataset=data, processing_class=tokenizer, optimizers=optimizer(model)))


def sft(work, folder, rows):
    arguments = SFTConfig(**settings(work, rows))
    tokenizer = PreTrainedTokenizerFast.from_pretrained(folder)
    data = datasets.Dataset.from_list([{"prompt": row["prompt"], "completion": row["chosen"]} for row in rows])
    model = load(folder)
    return steps_of(RecordingSft(model, arguments, train_dataset=data, processing_class=tokenizer, optimizers=optimizer(model)))


def first_adapter(slpo, folder, rows):
    """The adapter with which slpo begins: that of a run too short and too slow to move it, and B back at 0."""
    _, out = slpo.train("align", folder, rows, ["--loss", "dpo", "--lora-rank", 4], steps=1, rate=1e-30)
    model = PeftModel.from_pretrained(load(folder), out, is_trainable=True)
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            assert parameter.abs().max() < 1e-20, name
            parameter.data.zero_()
    assert load_file(out / "adapter_model.safetensors")
    return model


def compare(slpo, folder, name):
    """The steps of both programs for one loss."""
    rows = rows_of(folder)
    if name == "sft":
        ours, _ = slpo.train("sft", folder, [{"prompt": row["prompt"], "completion": row["chosen"]} for row in rows], [])
        return ours, sft(slpo.work, folder, rows)
    if name == "lora":
        model = first_adapter(slpo, folder, rows)
        ours, _ = slpo.train("align", folder, rows, ["--loss", "dpo", "--lora-rank", 4])
        return ours, dpo(slpo.work, folder, rows, ["sigmoid"], [1.0], model)
    flags, types, weights = LOSSES[name]
    ours, _ = slpo.train("align", folder, rows, flags)
    return ours, dpo(slpo.work, folder, rows, types, weights, load(folder))


def errors(ours, theirs, least):
    """The worst relative errors: of the first losses, of all losses, of all gradient norms. A loss counts as at least `least`."""
    assert len(ours) == len(theirs) == STEPS, (len(ours), len(theirs))
    apart = lambda a, b, least: abs(a - b) / max(abs(b), least)
    losses = [apart(record["loss"], loss, least) for record, (loss, *_) in zip(ours, theirs)]
    norms = [apart(record["gradient_norm"], norm, 1e-3) for record, (_, norm, _) in zip(ours, theirs)]
    return max(losses[:FIRST_STEPS]), max(losses), max(norms)


def other_names(ours, theirs):
    """The metrics of TRL's names that it does not log, or logs as another number."""
    apart = lambda name, own, logged: name not in logged or abs(float(own) - float(logged[name])) > ROUNDED * max(abs(float(own)), 1.0)
    named = lambda record: ((name, own) for name, own in record["named"].items() if "/" in name)
    # During the warm-up the policy has hardly left the reference: whether a pair is won is decided by rounding there.
    is_tie = lambda name, record: name == "rewards/accuracies" and record["step"] <= WARMUP
    other = lambda record, logged: {name for name, own in named(record) if not is_tie(name, record) and apart(name, own, logged)}
    return sorted(set().union(*(other(record, logged) for record, (_, _, logged) in zip(ours, theirs))))


def main():
    quiet.libraries()
    binary, work, *sources = sys.argv[1:]
    slpo = Slpo(binary, pathlib.Path(work))
    failed = False
    print(f"worst relative errors of {STEPS} steps: losses of the first {FIRST_STEPS} | all losses | gradient norms")
    for source in map(pathlib.Path, sources):
        label = source.parent.name if source.name == "hf" else source.name
        folder = slpo.work / label
        with_tokenizer(source, folder)
        for name in [*LOSSES, "sft", "lora"]:
            ours, theirs = compare(slpo, folder, name)
            first, later, norm = errors(ours, theirs, CANCELLING if name == "robust" else 1e-3)
            # A run in which nothing moves would agree on anything.
            moved = abs(theirs[0][0] - theirs[-1][0]) > 1e-3 * abs(theirs[0][0])
            others = other_names(ours, theirs)
            good = first <= FIRST and later <= LATER and norm <= NORM and moved and not others
            failed |= not good
            path = f"{theirs[0][0]:.4f} → {theirs[-1][0]:.4f}"
            verdict = " ".join(["equal" if good else "DIFFERS", *others])
            print(f"{label:32} {name:7} {first:.1e} | {later:.1e} | {norm:.1e}   {path}  {verdict}", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
