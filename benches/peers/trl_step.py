"""One step of TRL's DPOTrainer on a random Llama of slpo's presets, on a CPU. Prints one JSON object, as pytorch_step.py does.

    python trl_step.py --preset micro|stories15m [--steps N] [--prompt N] [--cached]

TRL runs the reference in each step, unless --cached has it compute the reference's log-probabilities before the first (its
precompute_ref_log_probs). Rows are random characters, one token each, so that all sequences have the preset's length.
"""
import argparse
import copy
import json
import logging
import os
import random
import resource
import statistics
import string
import tempfile
import time
import warnings

os.environ.setdefault("HF_HUB_OFFLINE", "1")
warnings.filterwarnings("ignore")

import datasets
import torch
import transformers
from pytorch_step import PRESETS
from tokenizers import Tokenizer, decoders, models
from trl import DPOConfig, DPOTrainer

WARM_UP = 2


def tokenizer():
    names = ["<s>", "<unk>", "</s>", *string.printable[:95]]
    made = Tokenizer(models.BPE({name: at for at, name in enumerate(names)}, [], unk_token="<unk>"))
    made.decoder = decoders.Fuse()
    made.add_special_tokens(names[:3])
    fast = transformers.PreTrainedTokenizerFast(tokenizer_object=made, eos_token="</s>", pad_token="</s>")
    fast.clean_up_tokenization_spaces = False
    return fast


def model(preset):
    dim, layers, heads, hidden, vocabulary, _, tokens = PRESETS[preset]
    config = transformers.LlamaConfig(
        vocab_size=vocabulary, hidden_size=dim, intermediate_size=hidden, num_hidden_layers=layers, num_attention_heads=heads,
        max_position_embeddings=tokens + 8, tie_word_embeddings=True, bos_token_id=0, eos_token_id=2, pad_token_id=2)
    return transformers.LlamaForCausalLM(config)


def rows(count, tokens, prompt):
    """Pairs of `tokens` tokens each, the last of which ends the sequence."""
    draw = lambda length: "".join(random.choices(string.ascii_letters, k=length))
    one = lambda: {"prompt": draw(prompt), "chosen": draw(tokens - prompt - 1), "rejected": draw(tokens - prompt - 1)}
    return [one() for _ in range(count)]


class Clock(transformers.TrainerCallback):
    def __init__(self):
        self.times = []

    def on_step_begin(self, *_, **__):
        self.start = time.perf_counter()

    def on_step_end(self, *_, **__):
        self.times.append(1000 * (time.perf_counter() - self.start))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--preset", choices=PRESETS, required=True)
    parser.add_argument("--task", choices=["dpo"], default="dpo")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--prompt", type=int, default=0, help="tokens of a prompt; TRL needs one at least")
    parser.add_argument("--cached", action="store_true")
    asked = parser.parse_args()
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    datasets.disable_progress_bars()
    logging.disable(logging.WARNING)
    random.seed(0)
    torch.manual_seed(0)
    *_, count, tokens = PRESETS[asked.preset]
    steps = asked.steps + WARM_UP
    with tempfile.TemporaryDirectory() as folder:
        config = DPOConfig(
            output_dir=folder, use_cpu=True, report_to="none", bf16=False, max_steps=steps, max_length=None, beta=0.1,
            per_device_train_batch_size=count, max_grad_norm=1.0, logging_steps=1, save_strategy="no", gradient_checkpointing=False,
            disable_tqdm=True, learning_rate=1e-4, lr_scheduler_type="constant", precompute_ref_log_probs=asked.cached)
        policy, clock = model(asked.preset), Clock()
        trainer = DPOTrainer(
            model=policy, ref_model=copy.deepcopy(policy), args=config, train_dataset=datasets.Dataset.from_list(rows(count, tokens, max(asked.prompt, 1))),
            processing_class=tokenizer(), callbacks=[clock])
        trainer.log = lambda logs, *_, **__: trainer.state.log_history.append(dict(logs))
        trainer.train()
    losses = [record["loss"] for record in trainer.state.log_history if "loss" in record]
    print(json.dumps({
        "peer": "trl", "preset": asked.preset, "task": "dpo", "first_loss": losses[0], "loss": losses[-1],
        "ms": statistics.median(clock.times[WARM_UP:]), "threads": torch.get_num_threads(),
        "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }))


main()
