"""slpo beside PyTorch, candle and burn on one machine, interleaved: each round runs every program once, and the table has the medians.

    cargo build --release
    benches/peers/setup.sh [FOLDER]
    python3 benches/peers/compare.py --slpo target/release/slpo [--peers FOLDER] [--presets nano,micro] [--tasks lm,dpo] [--compile]
                                     [--prompt N] [--cached] [--trl] [--precision bf16]

With --precision bf16 both round the operands of their products, PyTorch by autocast; slpo in f32 has a column beside them.
With --cached, for --tasks dpo, slpo with the reference's log-probabilities known before has a column beside it.
With --trl, for --tasks dpo, TRL's DPOTrainer has two columns: with the reference run in each step, and known before.
With --prompt, the two sequences of a pair begin with the same N tokens, which are not predicted; only PyTorch and TRL are compared then.

Without --peers the folder is benches/peers/installed. A peer that is not set up is named and left out. A run of a peer may take --limit (10)
times what slpo's steps take, and 120 s for starting and compiling; one that takes longer, fails, or does not learn what it trains on has that in
its cell and does not run again.
"""
import argparse
import json
import math
import pathlib
import statistics
import subprocess
import sys

STEPS = {"nano": 100, "micro": 40, "stories15m": 8, "gpt2s": 3}
VOCABULARY = {"nano": 512, "micro": 512, "stories15m": 32000, "gpt2s": 50304}
WARM_UP = 3
START_SECONDS = 120
HERE = pathlib.Path(__file__).parent


class Missed(Exception):
    """What a cell says instead of a figure."""


def peers(folder, compiled, trl):
    """The commands of the peers that are in the folder, by the name of their column."""
    python, pytorch = folder / "venv/bin/python", HERE / "pytorch_step.py"
    found = {"torch eager": [python, pytorch]}
    if compiled:
        found["torch compile"] = [python, pytorch, "--compile"]
    if trl:
        command = [python, HERE / "trl_step.py"]
        found |= {"trl": command, "trl cached": [*command, "--cached"]}
    found |= {"candle": [folder / "candle-step"], "burn": [folder / "burn-step"]}
    for name in [name for name, command in found.items() if not command[0].exists()]:
        print(f"{name}: not set up in {folder}, left out", file=sys.stderr)
        del found[name]
    return found


def measure(command, seconds=None):
    """The JSON object that a program prints last."""
    command = [str(part) for part in command]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=seconds)
    except OSError as error:
        sys.exit(f"{command[0]} does not run: {error.strerror}")
    except subprocess.TimeoutExpired:
        raise Missed(f"over {seconds:.0f} s") from None
    if done.returncode != 0:
        print(f"{' '.join(command)} failed:\n{done.stderr}", file=sys.stderr)
        raise Missed("failed")
    return json.loads(done.stdout.strip().splitlines()[-1])


def check(run):
    """Steps on one batch start at the loss of a guess, which a random model has within half a nat, and lower it."""
    guess = math.log(2 if run["task"] == "dpo" else VOCABULARY[run["preset"]])
    if not (abs(run["first_loss"] - guess) < 0.5 and run["loss"] < run["first_loss"]):
        print(f"{run}: the loss is not that of this model", file=sys.stderr)
        raise Missed("wrong loss")
    return run


def rounds(slpo, others, shape, count, limit):
    """What each program printed in each round, by name; a string where a peer missed."""
    steps = STEPS[shape[1]]
    runs = {name: [] for name in ["slpo", *others]}
    for _ in range(count):
        own = measure([*slpo, *shape, "--steps", str(steps)])
        runs["slpo"].append(own)
        seconds = START_SECONDS + limit * (steps + WARM_UP) * own["ms"] / 1000
        for name, command in others.items():
            if isinstance(runs[name], str):
                continue
            try:
                run = measure([*command, *shape, "--steps", str(steps)], seconds)
                runs[name].append(run if name.startswith("slpo") else check(run))
            except Missed as missed:
                runs[name] = str(missed)
    return runs


def medians(runs, key):
    return {name: of if isinstance(of, str) else statistics.median(run[key] for run in of) for name, of in runs.items()}


def ratio(values):
    """slpo's value over the least of the peers', whatever their precision."""
    least = min((value for name, value in values.items() if not name.startswith("slpo") and not isinstance(value, str)), default=None)
    return f"{values['slpo'] / least:.2f}" if least else ""


def cells(values, digits):
    return [value if isinstance(value, str) else f"{value:.{digits}f}" for value in values.values()]


def row(cells_of_row):
    print(f"| {' | '.join(cells_of_row)} |", flush=True)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--slpo", required=True)
    parser.add_argument("--peers", type=pathlib.Path, default=HERE / "installed", help="the folder given to setup.sh")
    parser.add_argument("--presets", default="nano,micro,stories15m")
    parser.add_argument("--tasks", default="lm")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--limit", type=float, default=10, help="how many times slpo's time a peer may take")
    parser.add_argument("--prompt", type=int, default=0, help="tokens that the sequences of a pair share, with --tasks dpo")
    parser.add_argument("--cached", action="store_true", help="also slpo with a cached reference, with --tasks dpo")
    parser.add_argument("--trl", action="store_true", help="also TRL's DPOTrainer, with --tasks dpo; needs trl and datasets")
    parser.add_argument("--compile", action="store_true", help="also torch.compile, which needs a C++ compiler")
    parser.add_argument("--precision", choices=["f32", "bf16"], default="f32", help="bf16: only PyTorch is compared")
    arguments = parser.parse_args()
    others = peers(arguments.peers.absolute(), arguments.compile, arguments.trl)
    prompt = ["--prompt", str(arguments.prompt)] if arguments.prompt else []
    if prompt or arguments.precision == "bf16":
        others = {name: command for name, command in others.items() if name.startswith(("torch", "trl"))}
    if arguments.precision == "bf16":
        others = {name: [*command, "--precision", "bf16"] for name, command in others.items()}
        others["slpo f32"] = [arguments.slpo, "bench", "step", "--json"]
    if arguments.cached:
        others["slpo cached"] = [arguments.slpo, "bench", "step", "--json", "--cached-reference"]
    names = ["slpo", *others]
    ms_columns, mib_columns = [f"{name} ms" for name in names], [f"{name} MiB" for name in names]
    row(["preset", "task", *ms_columns, "ratio to the best", *mib_columns, "ratio to the least"])
    row(["---", "---", *["---:"] * (2 * len(names) + 2)])
    for task in arguments.tasks.split(","):
        for preset in arguments.presets.split(","):
            slpo = [arguments.slpo, "bench", "step", "--json", "--precision", arguments.precision]
            runs = rounds(slpo, others, ["--preset", preset, "--task", task, *prompt], arguments.rounds, arguments.limit)
            ms, mib = medians(runs, "ms"), medians(runs, "peak_mib")
            row([preset, task, *cells(ms, 1), ratio(ms), *cells(mib, 0), ratio(mib)])


if __name__ == "__main__":
    try:
        main()
    except Missed:
        sys.exit("slpo itself failed: nothing to compare with")
