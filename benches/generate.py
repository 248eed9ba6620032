#!/usr/bin/env python3
"""How fast text is written: `slpo bench generate` beside the plain loop of benches/peers/generate.c, in turns.

    python3 benches/generate.py --slpo target/release/slpo [--presets stories15m,gpt2s] [--rounds 5]

Needs gcc. Prints tokens a second (medians of the rounds), and the share of the memory's reading that slpo's weights take.
"""

import argparse
import json
import os
import statistics
import subprocess
import tempfile

# Width, width of the feed-forward part, layers, heads, vocabulary.
SHAPES = {"stories15m": (288, 768, 6, 6, 32000), "gpt2s": (768, 2048, 12, 12, 50304)}
TOKENS = 128


def output(command, threads):
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": str(threads)}, check=False)
    if done.returncode != 0:
        raise SystemExit(f"{' '.join(command)}: {done.stderr}")
    return done.stdout


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--slpo", required=True)
    parser.add_argument("--presets", default="stories15m,gpt2s")
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    source = os.path.join(os.path.dirname(os.path.abspath(__file__)), "peers", "generate.c")
    with tempfile.TemporaryDirectory() as folder:
        plain = os.path.join(folder, "generate")
        subprocess.run(["gcc", "-Ofast", "-march=native", "-fopenmp", source, "-lm", "-o", plain], check=True)
        for preset in arguments.presets.split(","):
            shape = [str(number) for number in SHAPES[preset]]
            for threads in (1, 2):
                bench = [arguments.slpo, "bench", "--json", "--threads", str(threads)]
                ours, theirs, shares = [], [], []
                for _ in range(arguments.rounds):
                    found = json.loads(output(bench[:2] + ["generate", "--preset", preset, "--tokens", str(TOKENS)] + bench[2:], threads))
                    theirs.append(float(output([plain, *shape, str(TOKENS), "3"], threads)))
                    reading = json.loads(output(bench[:2] + ["peak"] + bench[2:], threads))["read_gb_s"]
                    ours.append(found["tok_s"])
                    shares.append(found["gb_s"] / reading)
                ours, theirs, share = map(statistics.median, (ours, theirs, shares))
                print(f"{preset}, {threads} threads: slpo {ours:.1f} tokens/s, the plain loop {theirs:.1f}, of reading {100 * share:.0f} %")


if __name__ == "__main__":
    main()
