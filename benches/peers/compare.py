"""slpo beside PyTorch on one machine, interleaved: each round runs every program once, and the table has the medians over the rounds.

    cargo build --release
    python3 -m venv peers && peers/bin/pip install torch
    peers/bin/python benches/peers/compare.py --slpo target/release/slpo [--presets nano,micro] [--tasks lm,dpo] [--rounds 3] [--compile]
"""
import argparse
import json
import pathlib
import statistics
import subprocess
import sys

STEPS = {"nano": 100, "micro": 40, "stories15m": 8, "gpt2s": 3}


def measure(command):
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        sys.exit(f"{' '.join(command)} failed:\n{done.stderr}")
    return json.loads(done.stdout.strip().splitlines()[-1])


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--slpo", required=True)
    parser.add_argument("--presets", default="nano,micro,stories15m")
    parser.add_argument("--tasks", default="lm")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--compile", action="store_true", help="also torch.compile, which needs a C++ compiler")
    arguments = parser.parse_args()
    peer = [sys.executable, str(pathlib.Path(__file__).with_name("pytorch_step.py"))]
    print("| preset | task | slpo ms | torch eager ms | torch compile ms | ratio to the better | slpo MiB | torch MiB | memory ratio |")
    print("|---|---|---:|---:|---:|---:|---:|---:|---:|")
    for task in arguments.tasks.split(","):
        for preset in arguments.presets.split(","):
            shape = ["--preset", preset, "--task", task, "--steps", str(STEPS[preset])]
            programs = {"slpo": [arguments.slpo, "bench", "step", "--json", *shape], "eager": [*peer, *shape]}
            if arguments.compile:
                programs["compile"] = [*peer, *shape, "--compile"]
            runs = {name: [] for name in programs}
            for _ in range(arguments.rounds):
                for name, command in programs.items():
                    runs[name].append(measure(command))
            ms = {name: statistics.median(run["ms"] for run in of) for name, of in runs.items()}
            mib = {name: statistics.median(run["peak_mib"] for run in of) for name, of in runs.items()}
            best = min(value for name, value in ms.items() if name != "slpo")
            compiled = f"{ms['compile']:.1f}" if "compile" in ms else ""
            print(f"| {preset} | {task} | {ms['slpo']:.1f} | {ms['eager']:.1f} | {compiled} | {ms['slpo'] / best:.2f} | {mib['slpo']:.0f} | "
                  f"{mib['eager']:.0f} | {mib['slpo'] / mib['eager']:.2f} |", flush=True)


if __name__ == "__main__":
    main()
