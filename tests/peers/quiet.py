"""What `fixtures.py` and `trainers.py` set up alike: TRL and its libraries offline, on one thread, and silent.

To be imported before them: some read their environment only then.
"""

import logging
import os
import warnings

os.environ.update(HF_HUB_OFFLINE="1", HF_HUB_DISABLE_PROGRESS_BARS="1", TOKENIZERS_PARALLELISM="false", CUDA_VISIBLE_DEVICES="")
warnings.filterwarnings("ignore")

import datasets
import torch
import transformers


def libraries():
    """Lets the libraries say nothing but errors, and torch use one thread."""
    datasets.disable_progress_bars()
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    for name in ("trl", "trl.trainer.dpo_trainer", "trl.trainer.sft_trainer", "accelerate", "datasets"):
        logging.getLogger(name).setLevel(logging.ERROR)
    torch.set_num_threads(1)
