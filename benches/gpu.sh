#!/usr/bin/env bash
# Everything that a GPU is needed for, in one call of under ten minutes, on a machine with no network and no Rust: carry a release binary
# and the test binary `cuda` (cargo test --workspace --test cuda --no-run) there, with benches/peers/pytorch_step.py beside this script.
#
#   OUT=results benches/gpu.sh SLPO CUDA_TEST
#
# $OUT gets the machine, the suite's output, the steps' figures as JSON lines (ours, and PyTorch's where it is installed), the time of each
# kernel where ncu is, and compute-sanitizer's report where that is.
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
export CXX=none # the suite is for the GPU: kernels compiled for the processor are tested elsewhere
try suite 120 "$suite" --nocapture --test-threads 4
torch="$(dirname "$0")/peers/pytorch_step.py"
for precision in bf16 f32; do
    for preset in gpt2s micro nano; do
        for task in lm dpo; do
            rows=(); [ "$preset" = gpt2s ] && rows=(--rows 16 --tokens 1024)
            [ "$preset/$task" = gpt2s/dpo ] && rows=(--rows 4 --tokens 1024)
            step=(--preset "$preset" --task "$task" --steps 10 "${rows[@]}" --device cuda --precision "$precision")
            try "step-$precision-$preset-$task" 30 "$slpo" bench step "${step[@]}" --json
            [ "$precision/$preset" = bf16/gpt2s ] && try "step-torch-$task" 90 python3 "$torch" "${step[@]}" --compile
        done
    done
done
gpt2s=(bench step --preset gpt2s --rows 16 --tokens 1024 --device cuda --precision bf16)
try profile 40 "$slpo" "${gpt2s[@]}" --steps 5 --profile --json
if command -v ncu >/dev/null; then
    try kernels 60 ncu --clock-control none --metrics gpu__time_duration.sum --csv --launch-skip 1600 --launch-count 900 "$slpo" "${gpt2s[@]}" --steps 1
fi
if command -v compute-sanitizer >/dev/null; then
    try sanitizer 120 compute-sanitizer --error-exitcode 9 "$suite" every_op_on_random_shapes --test-threads 1
    try racecheck 120 compute-sanitizer --tool racecheck --error-exitcode 9 "$suite" attention --test-threads 1
else
    echo "compute-sanitizer: skipped, it is not installed" | tee -a "$out/summary.txt"
fi
cat "$out"/step-*.txt
