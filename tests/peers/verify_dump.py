#!/usr/bin/env python3
"""Dumps losses and gradients that PyTorch computed, for `slpo verify`.

    python verify_dump.py FOLDER

needs torch and safetensors. For DPO, in F64, F32, F16 and BF16, with token log-probabilities and masks beside the sums
(`dpo-F32.safetensors`, …); the same with the prompt in the sums (`dpo-unmasked.safetensors`); and slpo-exact (`exact.safetensors`).
"""
import pathlib
import sys

import torch
import torch.nn.functional as F
from safetensors.torch import save_file

FOLDER = pathlib.Path(sys.argv[1])
BETA = 0.1


def pairs(dtype: torch.dtype, masked: bool) -> dict[str, torch.Tensor]:
    """DPO on the sums of random token log-probabilities: three pairs, two prompt tokens, completions of up to five."""
    torch.manual_seed(0)
    dump = {}
    sums = {}
    for side in ("chosen", "rejected"):
        lengths = torch.tensor([[3], [5], [4]])
        position = torch.arange(7).expand(3, 7)
        mask = (position >= 2) & (position < 2 + lengths)
        dump[f"{side}_mask"] = mask
        for model in ("policy", "reference"):
            tokens = F.logsigmoid(torch.randn(3, 7, dtype=torch.float64)).to(dtype)
            dump[f"{model}_{side}_token_logps"] = tokens
            kept = tokens.double() * mask if masked else tokens.double()
            sums[f"{model}_{side}_logps"] = kept.sum(-1).to(dtype)
    policy = [sums[f"policy_{side}_logps"].requires_grad_() for side in ("chosen", "rejected")]
    reference = [sums[f"reference_{side}_logps"] for side in ("chosen", "rejected")]
    wide = torch.float64 if dtype == torch.float64 else torch.float32
    margin = (policy[0].to(wide) - reference[0].to(wide)) - (policy[1].to(wide) - reference[1].to(wide))
    loss = -F.logsigmoid(BETA * margin).mean()
    loss.backward()
    dump |= {name: values.detach() for name, values in sums.items()}
    dump["loss"] = loss.detach().to(dtype)
    dump["grad_policy_chosen_logps"], dump["grad_policy_rejected_logps"] = policy[0].grad, policy[1].grad
    return {name: values.contiguous() for name, values in dump.items()}


def exact_target(reference: list[torch.Tensor], tokens: list[list[int]]) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
    """The targets and weights of both completions by the definition: every prefix's mass under Q*, from products of probabilities."""
    fork = next(t for t, (w, l) in enumerate(zip(*tokens)) if w != l)
    p = [logits.softmax(-1) for logits in reference]
    prefix = [torch.cumprod(torch.stack([p[s][t, y] for t, y in enumerate(tokens[s])]), 0) for s in (0, 1)]
    moved = prefix[1][-1]
    targets, weights = [], []
    for s, sign in ((0, 1.0), (1, -1.0)):
        rows, weight = [], []
        for t, token in enumerate(tokens[s]):
            before = prefix[s][t - 1] if t else torch.ones((), dtype=torch.float64)
            mass = before * p[s][t]
            total = before
            if t == fork:
                mass = mass.clone()
                mass[tokens[0][t]] += moved
                mass[tokens[1][t]] -= moved
            elif t > fork:
                mass = mass.clone()
                mass[token] += sign * moved
                total = before + sign * moved
            rows.append(mass / total)
            counted = 1.0 if s == 0 else (0.0 if t <= fork else 1.0 - moved / before)
            weight.append(torch.as_tensor(counted, dtype=torch.float64))
        targets.append(torch.stack(rows))
        weights.append(torch.stack(weight))
    return targets, weights


def exact() -> dict[str, torch.Tensor]:
    """Two pairs over five tokens, of which 4 ends a completion."""
    torch.manual_seed(1)
    chosen, rejected = [[0, 1, 4], [2, 0, 1, 4]], [[0, 2, 3, 4], [3, 4]]
    reference = torch.randn(4, 4, 5, dtype=torch.float64)
    reference[2, 0:2] = reference[0, 0:2]
    reference[3, 0] = reference[1, 0]
    logits = torch.randn(4, 4, 5, dtype=torch.float64).requires_grad_()
    loss = 0.0
    for b in (0, 1):
        tokens = [chosen[b], rejected[b]]
        rows = [reference[b], reference[2 + b]]
        targets, weights = exact_target(rows, tokens)
        for s, sequence in ((0, b), (1, 2 + b)):
            log_p = logits[sequence, : len(tokens[s])].log_softmax(-1)
            q = targets[s]
            loss = loss + (weights[s] * (torch.xlogy(q, q) - q * log_p).sum(-1)).sum() / 2
    loss.backward()
    padded = lambda rows: torch.tensor([row + [-100] * (4 - len(row)) for row in rows])
    return {
        "logits": logits.detach(), "reference_logits": reference, "y_w": padded(chosen), "y_l": padded(rejected),
        "loss": loss.detach(), "grad_logits": logits.grad,
    }


for name, dtype in (("F64", torch.float64), ("F32", torch.float32), ("F16", torch.float16), ("BF16", torch.bfloat16)):
    save_file(pairs(dtype, True), FOLDER / f"dpo-{name}.safetensors")
save_file(pairs(torch.float64, False), FOLDER / "dpo-unmasked.safetensors")
save_file(exact(), FOLDER / "exact.safetensors")
