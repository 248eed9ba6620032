"""How time and memory of one optimiser step grow: with the length of a sequence, the width, the vocabulary and the threads. Prints four tables.

    cargo build --release
    python3 benches/scaling.py --slpo target/release/slpo [--preset micro] [--steps 5] [--rounds 3] [--tables length,width,vocabulary,threads]

Each figure is a process of its own, run once in each of --rounds rounds through a table: the median over the rounds of the median step, the
fastest step of all, operations a second in that one, and the most memory that was resident at once.
"""
import argparse
import json
import os
import statistics
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
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError as error:
        sys.exit(f"{slpo} does not run: {error.strerror}")
    if done.returncode != 0:
        sys.exit(f"{' '.join(command)} failed:\n{done.stderr}")
    return json.loads(done.stdout)


def row(value, runs):
    fastest = min(run["fastest_ms"] for run in runs)
    gflop_s = max(run["gflop_s"] * run["ms"] / run["fastest_ms"] for run in runs)
    memory = [run["peak_mib"] for run in runs]
    memory = "unknown" if None in memory else f"{statistics.median(memory):.0f}"
    ms = statistics.median(run["ms"] for run in runs)
    return f"| {value} | {ms:.1f} | {fastest:.1f} | {gflop_s:.0f} | {memory} | {runs[0]['params']} |"


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--slpo", required=True)
    parser.add_argument("--preset", default="micro")
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--tables", default=",".join(TABLES))
    arguments = parser.parse_args()
    for name in arguments.tables.split(","):
        column, values, extra = TABLES[name]
        runs = {value: [] for value in values}
        for _ in range(arguments.rounds):
            for value in values:
                runs[value].append(measure(arguments.slpo, arguments.preset, arguments.steps, extra(value)))
        print(f"\n| {column} | ms | fastest ms | GFLOP/s | peak MiB | parameters |\n|---:|---:|---:|---:|---:|---:|")
        for value in values:
            print(row(value, runs[value]), flush=True)


if __name__ == "__main__":
    main()
