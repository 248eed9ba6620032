#!/bin/sh
# Trains for a while and prints, for each quarter of the run, the median step time and the memory in use.
#   tests/soak.sh SLPO TEXT [SECONDS] [PRESET…]
# SLPO is the release binary, TEXT a text file of at least a few hundred kilobytes; an hour in all and nano and micro unless told otherwise.
# SOAK_PREFIX goes before the binary ("taskset -c 1"), SOAK_OPTIONS after its own ("--threads 1"); SOAK_SAMPLES is a folder that keeps
# the samples: seconds since the start, step, nanoseconds a step since the sample before, resident KiB, processor ticks. Of the two times
# of a step the second is the processor's alone, which other programs do not disturb. Reads /proc, so it needs Linux.
set -eu
[ $# -ge 2 ] || { sed -n '2,8s/^# *//p' "$0" >&2; exit 2; }
slpo=$1 text=$2 seconds=${3:-3600}
if [ $# -gt 3 ]; then shift 3; else set -- nano micro; fi
share=$((seconds / $#))
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
kept=${SOAK_SAMPLES:-$folder}
mkdir -p "$kept"

# The middle value of the numbers on standard input.
median() { sort -n | awk '{ x[NR] = $1 } END { print NR ? x[int((NR + 1) / 2)] : "-" }'; }

# The last whole step in the metrics of run $1, 0 before the first.
last_step() {
    tail -n 8 "$1/metrics.jsonl" 2>/dev/null | sed -n '/"gradient_norm"/s/.*"step":\([0-9]*\)[,}].*/\1/p' | tail -n 1 | grep . || echo 0
}

# Interrupts process $1 and waits for it; one that does not stop within a minute fails the soak.
stop() {
    kill -INT "$1"
    (sleep 60; kill -KILL "$1") 2>/dev/null &
    guard=$!
    code=0
    wait "$1" || code=$?
    kill "$guard" 2>/dev/null || true
    [ "$code" -eq 130 ] || { echo "soak: the run ended with exit code $code after ctrl-C" >&2; exit 1; }
}

ticks=$(getconf CLK_TCK)
printf '%-8s %-8s %9s %12s %12s %12s %12s\n' preset quarter steps 'ms/step' 'CPU ms/step' 'RSS MiB' 'peak MiB'
for preset in "$@"; do
    run=$folder/$preset samples=$kept/$preset.samples
    : >"$samples"
    # shellcheck disable=SC2086 # the two variables are lists of words
    ${SOAK_PREFIX:-} "$slpo" train --data "$text" --out "$run" --preset "$preset" --steps 4000000000 --checkpoint-every 1000 \
        --eval-every 500 --json ${SOAK_OPTIONS:-} >/dev/null 2>"$folder/$preset.log" &
    process=$!
    begun=$(date +%s) before=0 last=$(date +%s%N)
    while [ $(($(date +%s) - begun)) -lt "$share" ]; do
        sleep 2
        [ -r "/proc/$process/status" ] || { cat "$folder/$preset.log" >&2; exit 1; }
        now=$(date +%s%N)
        step=$(last_step "$run")
        rss=$(awk '/^VmRSS/ { print $2 }' "/proc/$process/status")
        spent=$(awk '{ print $14 + $15 }' "/proc/$process/stat")
        [ "$step" -gt "$before" ] && echo "$(($(date +%s) - begun)) $step $(((now - last) / (step - before))) $rss $spent" >>"$samples"
        before=$step last=$now
    done
    peak=$(awk '/^VmHWM/ { print int($2 / 1024) }' "/proc/$process/status")
    stop "$process"
    for quarter in 1 2 3 4; do
        awk -v share="$share" -v quarter="$quarter" '$1 > share * (quarter - 1) / 4 && $1 <= share * quarter / 4' "$samples" >"$folder/part"
        printf '%-8s %-8s %9s %12s %12s %12s %12s\n' "$preset" "$quarter" "$(tail -n 1 "$folder/part" | awk '{ print $2 }')" \
            "$(awk '{ print $3 }' "$folder/part" | median | awk '{ printf "%.3f", $1 / 1e6 }')" \
            "$(awk -v ticks="$ticks" 'NR == 1 { s = $2; t = $5 } END { if ($2 > s) printf "%.3f", 1000 * ($5 - t) / ticks / ($2 - s) }' "$folder/part")" \
            "$(awk '{ print $4 }' "$folder/part" | median | awk '{ printf "%.1f", $1 / 1024 }')" "$peak"
    done
done
