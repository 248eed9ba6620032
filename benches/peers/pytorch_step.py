"""One optimiser step of slpo's presets in PyTorch: forward, backward, clip to 1.0, AdamW. Prints one JSON object.

    python pytorch_step.py --preset nano [--task lm|dpo] [--steps 20] [--compile] [--rows N] [--tokens N] [--prompt N]
                             [--device cuda] [--precision bf16]

bf16 is autocast (weights, sums and the loss in f32); on a GPU, tf32 is what products round to, and the peak is what PyTorch allocated there.
"""
import argparse
import json
import resource
import statistics
import time

import torch
import torch.nn.functional as F
from torch import nn

PRESETS = {  # dim, layers, heads, hidden, vocabulary, rows, tokens
    "nano": (64, 4, 4, 192, 512, 16, 64),
    "micro": (128, 4, 4, 384, 512, 16, 128),
    "stories15m": (288, 6, 6, 768, 32000, 4, 256),
    "gpt2s": (768, 12, 12, 2048, 50304, 1, 512),
}


def rotate(x, cos, sin):
    a, b = x.chunk(2, dim=-1)
    return torch.cat((a * cos - b * sin, b * cos + a * sin), dim=-1)


class Block(nn.Module):
    def __init__(self, dim, heads, hidden):
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.RMSNorm(dim, eps=1e-5), nn.RMSNorm(dim, eps=1e-5)
        self.qkv, self.o = nn.Linear(dim, 3 * dim, bias=False), nn.Linear(dim, dim, bias=False)
        self.gate_up, self.down = nn.Linear(dim, 2 * hidden, bias=False), nn.Linear(hidden, dim, bias=False)

    def forward(self, x, cos, sin):
        rows, tokens, dim = x.shape
        q, k, v = (y.view(rows, tokens, self.heads, -1).transpose(1, 2) for y in self.qkv(self.norm1(x)).chunk(3, dim=-1))
        y = F.scaled_dot_product_attention(rotate(q, cos, sin), rotate(k, cos, sin), v, is_causal=True)
        x = x + self.o(y.transpose(1, 2).reshape(rows, tokens, dim))
        gate, up = self.gate_up(self.norm2(x)).chunk(2, dim=-1)
        return x + self.down(F.silu(gate) * up)


class Decoder(nn.Module):
    def __init__(self, dim, layers, heads, hidden, vocabulary, tokens):
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, dim)
        nn.init.normal_(self.embedding.weight, std=0.02)
        self.blocks = nn.ModuleList(Block(dim, heads, hidden) for _ in range(layers))
        self.norm = nn.RMSNorm(dim, eps=1e-5)
        width = dim // heads
        angles = torch.outer(torch.arange(tokens).float(), 1e4 ** (-torch.arange(0, width, 2).float() / width))
        self.register_buffer("cos", angles.cos())
        self.register_buffer("sin", angles.sin())

    def forward(self, tokens, start=0):
        """Logits from position `start` on."""
        x = self.embedding(tokens)
        for block in self.blocks:
            x = block(x, self.cos, self.sin)
        return F.linear(self.norm(x[:, start:]), self.embedding.weight)


def sequence_log_probs(model, tokens, completion_start):
    logits, targets = model(tokens[:, :-1], completion_start - 1), tokens[:, completion_start:]
    return -F.cross_entropy(logits.flatten(0, 1), targets.flatten(), reduction="none").view(tokens.shape[0], -1).sum(1)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--preset", choices=PRESETS, required=True)
    parser.add_argument("--task", choices=["lm", "dpo"], default="lm")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--rows", type=int)
    parser.add_argument("--tokens", type=int)
    parser.add_argument("--prompt", type=int, default=0, help="tokens that the two sequences of a pair begin with, which are not predicted")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--precision", choices=["f32", "tf32", "bf16"], default="f32")
    arguments = parser.parse_args()
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    torch.manual_seed(0)
    dim, layers, heads, hidden, vocabulary, rows, tokens = PRESETS[arguments.preset]
    rows, tokens, device = arguments.rows or rows, arguments.tokens or tokens, arguments.device
    torch.backends.cuda.matmul.allow_tf32 = arguments.precision == "tf32"
    model = Decoder(dim, layers, heads, hidden, vocabulary, tokens).to(device)
    reference = None
    if arguments.task == "dpo":
        reference = Decoder(dim, layers, heads, hidden, vocabulary, tokens).to(device)
        reference.load_state_dict(model.state_dict())
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, betas=(0.9, 0.95), weight_decay=0.1, fused=True)
    run, frozen = model, reference
    if arguments.compile:
        run = torch.compile(model)
        frozen = torch.compile(reference) if reference else None
    sequences = 2 * rows if reference else rows
    batch = torch.randint(vocabulary, (sequences, tokens + 1), device=device)
    completion_start = max(arguments.prompt, 1)
    if reference:
        batch[rows:, :arguments.prompt] = batch[:rows, :arguments.prompt]

    def loss():
        if reference is None:
            return F.cross_entropy(run(batch[:, :-1]).flatten(0, 1), batch[:, 1:].flatten())
        with torch.no_grad():
            before = sequence_log_probs(frozen, batch, completion_start)
        gain = sequence_log_probs(run, batch, completion_start) - before
        return -F.logsigmoid(0.1 * (gain[:rows] - gain[rows:])).mean()

    def step():
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast(device, torch.bfloat16, enabled=arguments.precision == "bf16"):
            value = loss()
        value.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        if device == "cuda":
            torch.cuda.synchronize()
        return value.detach()

    first_loss = step()
    for _ in range(2):
        step()
    times = []
    for _ in range(arguments.steps):
        start = time.perf_counter()
        last_loss = step()
        times.append(1e3 * (time.perf_counter() - start))
    peak = torch.cuda.max_memory_allocated() / 2**20 if device == "cuda" else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    ms = statistics.median(times)
    print(json.dumps({"preset": arguments.preset, "task": arguments.task, "ms": ms, "tok_s": 1e3 * sequences * tokens / ms, "peak_mib": peak,
                      "params": sum(p.numel() for p in model.parameters()), "first_loss": first_loss.item(), "loss": last_loss.item(),
                      "torch": torch.__version__}))


if __name__ == "__main__":
    main()
