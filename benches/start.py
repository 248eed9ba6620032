#!/usr/bin/env python3
"""How long people wait until the first step: data made up here, `slpo` run on it, seconds and peak memory.

    python3 benches/start.py --slpo target/release/slpo [--threads 2] [--tokenizer MODEL] [--folder DIR]

The data are random words, the same ones each time. Needs no packages. The files take about 140 MB.
"""

import argparse
import os
import random
import subprocess
import tempfile
import time

WORDS = [a + b + c for a in "bdfgklmnprst" for b in ("a", "e", "i", "o", "u", "ee", "oa") for c in ("", "n", "st", "ll", "ck")]
ROUNDS = 3


def text(rng, least, most):
    return " ".join(rng.choice(WORDS) for _ in range(rng.randint(least, most)))


def write(path, lines, row):
    rng = random.Random(0)
    with open(path, "w") as file:
        for _ in range(lines):
            file.write(row(rng) + "\n")
    return os.path.getsize(path) / 1e6


def pair(rng):
    return '{"prompt": "%s", "chosen": " %s", "rejected": " %s"}' % (text(rng, 5, 8), text(rng, 2, 6), text(rng, 2, 6))


def completion(rng):
    return '{"prompt": "%s", "completion": " %s"}' % (text(rng, 8, 20), text(rng, 10, 40))


def measure(command):
    """Seconds and peak MiB of a command, the least of some rounds: whatever else runs can only add."""
    best = (float("inf"), 0.0)
    for _ in range(ROUNDS):
        started = time.time()
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        said = process.stderr.read().decode()
        _, status, usage = os.wait4(process.pid, 0)
        if status != 0:
            raise SystemExit(f"{' '.join(command)}: {said}")
        best = min(best, (time.time() - started, usage.ru_maxrss / 1024))
    return best


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--slpo", required=True)
    parser.add_argument("--threads", default="2")
    parser.add_argument("--tokenizer", help="a tokenizer.json or a folder with one; bytes otherwise")
    parser.add_argument("--folder")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        place = lambda name: os.path.join(folder, name)
        sizes = [write(place("pairs.jsonl"), 50_000, pair), write(place("rows.jsonl"), 100_000, completion)]
        sizes.append(write(place("text.txt"), 400_000, lambda rng: text(rng, 30, 70)))
        slpo = lambda *words: [arguments.slpo, *words, "--threads", arguments.threads]
        small = place("small.txt")
        write(small, 200, lambda rng: text(rng, 30, 70))
        tokenizer = ["--tokenizer", arguments.tokenizer] if arguments.tokenizer else []
        subprocess.run(slpo("train", "--data", small, *tokenizer, "--steps", "1", "--out", place("base")), check=True, capture_output=True)
        runs = [
            ("slpo data, 50,000 pairs", sizes[0], slpo("data", place("pairs.jsonl"), "--model", place("base"))),
            ("slpo align, 50,000 pairs", sizes[0], slpo("align", "--model", place("base"), "--data", place("pairs.jsonl"), "--steps", "1")),
            ("slpo sft, 100,000 rows", sizes[1], slpo("sft", "--model", place("base"), "--data", place("rows.jsonl"), "--steps", "1")),
            ("slpo train, text", sizes[2], slpo("train", "--data", place("text.txt"), *tokenizer, "--held-out", "0", "--steps", "1")),
        ]
        print("| until the first step | MB | s | peak MiB |\n|---|---:|---:|---:|")
        for number, (name, size, command) in enumerate(runs):
            if command[1] != "data":
                out = place(f"out{number}")
                command = ["sh", "-c", f'rm -rf "$0"; exec "$@" --out "$0"', out, *command]
            seconds, peak = measure(command)
            print(f"| {name} | {size:.1f} | {seconds:.2f} | {peak:.0f} |", flush=True)


if __name__ == "__main__":
    main()
