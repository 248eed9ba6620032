#!/usr/bin/env bash
# Everything that a GPU is needed for, in one call of under ten minutes, on a machine with no network and no Rust: carry a release binary
# and the test binary `cuda` (cargo test --release -p slpo-tests --test cuda --no-run) there.
#
#   OUT=results benches/gpu.sh SLPO CUDA_TEST
#
# $OUT gets the machine, the suite's output, the steps' figures as JSON lines, and compute-sanitizer's report where it is installed.
set -uo pipefail
slpo="$(realpath "$1")"
suite="$(realpath "$2")"
out="${OUT:-gpu-results}"
mkdir -p "$out"
began=$SECONDS
left() { echo $((570 - SECONDS + began)); }
try() { # name, longest seconds, command...
    local name="$1" longest="$2" rest
    shift 2
    rest="$(left)"
    if [ "$rest" -lt 10 ]; then echo "$name: left out, no time" | tee -a "$out/summary.txt"; return; fi
    timeout "$((rest < longest ? rest : longest))" "$@" >"$out/$name.txt" 2>"$out/$name.err"
    echo "$name: exit code $?, $SECONDS s" | tee -a "$out/summary.txt"
}

try machine 20 nvidia-smi
try devices 20 "$slpo" devices
try suite 200 "$suite" --nocapture --test-threads 4
for preset in nano micro gpt2s; do
    for task in lm dpo; do
        rows=(); [ "$preset" = gpt2s ] && rows=(--rows 16 --tokens 1024)
        [ "$preset/$task" = gpt2s/dpo ] && rows=(--rows 4 --tokens 1024)
        try "step-$preset-$task" 60 "$slpo" bench step --preset "$preset" --task "$task" --steps 10 "${rows[@]}" --device cuda --json
    done
done
try profile 60 "$slpo" bench step --preset gpt2s --steps 5 --rows 16 --tokens 1024 --profile --device cuda --json
if command -v compute-sanitizer >/dev/null; then
    try sanitizer 120 compute-sanitizer --error-exitcode 9 "$suite" every_op_on_random_shapes --test-threads 1
    try racecheck 120 compute-sanitizer --tool racecheck --error-exitcode 9 "$suite" attention --test-threads 1
else
    echo "compute-sanitizer: skipped, it is not installed" | tee -a "$out/summary.txt"
fi
cat "$out"/step-*.txt
