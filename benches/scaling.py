"""How time and memory of one optimiser step grow: with the length of a sequence, the width, the vocabulary and the threads. Prints four tables.

    cargo build --release
    python3 benches/scaling.py --slpo target/release/slpo [--preset micro] [--steps 5] [--tables length,width,vocabulary,threads]

Each figure is a process of its own: the median step and the fastest of --steps, and the most memory that was resident at once.
"""
import argparse
import json
import os
import subprocess
import sys

LENGTHS = [256, 512, 1024, 2048, 4096, 8192]
WIDTHS = [64, 128, 256, 512, 1024]
VOCABULARIES = [512, 2048, 8192, 32768, 131072]


def threads():
    """1, 2, 4 … and as many as there are processors."""
    count, all_of_them = 1, os.cpu_count() or 1
    while count < all_of_them:
        yield count
        count *= 2
    yield all_of_them


# The first column, the values it goes through, and what the program is told for one of them.
TABLES = {
    "length": ("tokens of one row", LENGTHS, lambda n: ["--rows", "1", "--tokens", str(n)]),
    "width": ("width", WIDTHS, lambda n: ["--width", str(n)]),
    "vocabulary": ("vocabulary", VOCABULARIES, lambda n: ["--vocabulary", str(n)]),
    "threads": ("threads", list(threads()), lambda n: ["--threads", str(n)]),
}


def measure(slpo, preset, steps, extra):
    command = [slpo, "bench", "step", "--json", "--preset", preset, "--steps", str(steps), *extra]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        sys.exit(f"{' '.join(command)} failed:\n{done.stderr}")
    return json.loads(done.stdout)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--slpo", required=True)
    parser.add_argument("--preset", default="micro")
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--tables", default=",".join(TABLES))
    arguments = parser.parse_args()
    for name in arguments.tables.split(","):
        column, values, extra = TABLES[name]
        print(f"\n| {column} | ms | fastest ms | tokens/s | GFLOP/s | peak MiB | parameters |\n|---:|---:|---:|---:|---:|---:|---:|", flush=True)
        for value in values:
            run = measure(arguments.slpo, arguments.preset, arguments.steps, extra(value))
            memory = "unknown" if run["peak_mib"] is None else f"{run['peak_mib']:.0f}"
            print(f"| {value} | {run['ms']:.1f} | {run['fastest_ms']:.1f} | {run['tok_s']:.0f} | {run['gflop_s']:.0f} | {memory} | {run['params']} |",
                  flush=True)


if __name__ == "__main__":
    main()
