#!/bin/sh
# Trains for a while and prints, for the first and the last quarter, the median step time and the memory in use.
#   tests/soak.sh SLPO TEXT [SECONDS] [PRESET…]
# SLPO is the release binary, TEXT a text file of at least a few hundred kilobytes; an hour in all and nano and micro unless told otherwise.
# Reads /proc, so it needs Linux.
set -eu
[ $# -ge 2 ] || { sed -n '2,5s/^# *//p' "$0" >&2; exit 2; }
slpo=$1 text=$2 seconds=${3:-3600}
if [ $# -gt 3 ]; then shift 3; else set -- nano micro; fi
share=$((seconds / $#))
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

# The middle value of the numbers on standard input.
median() { sort -n | awk '{ x[NR] = $1 } END { print NR ? x[int((NR + 1) / 2)] : "-" }'; }

printf '%-8s %-6s %8s %12s %12s %12s\n' preset quarter steps 'ms/step' 'RSS MiB' 'peak MiB'
for preset in "$@"; do
    run=$folder/$preset samples=$folder/$preset.samples
    "$slpo" train --data "$text" --out "$run" --preset "$preset" --steps 4000000000 --checkpoint-every 1000 --eval-every 500 \
        --json >/dev/null 2>"$folder/$preset.log" &
    process=$!
    begun=$(date +%s) before=0 last=$(date +%s%N)
    while [ $(($(date +%s) - begun)) -lt "$share" ]; do
        sleep 2
        [ -r "/proc/$process/status" ] || { cat "$folder/$preset.log" >&2; exit 1; }
        now=$(date +%s%N)
        step=$(grep -c '"gradient_norm"' "$run/metrics.jsonl" 2>/dev/null || true)
        rss=$(awk '/^VmRSS/ { print $2 }' "/proc/$process/status")
        [ "${step:-0}" -gt "$before" ] && echo "$step $(((now - last) / (step - before))) $rss" >>"$samples"
        before=${step:-0} last=$now
    done
    peak=$(awk '/^VmHWM/ { print int($2 / 1024) }' "/proc/$process/status")
    kill -INT "$process"
    wait "$process" || [ $? -eq 130 ]
    count=$(wc -l <"$samples") quarter=$((count / 4))
    for part in first last; do
        if [ "$part" = first ]; then cut="head -n $quarter"; else cut="tail -n $quarter"; fi
        nanoseconds=$($cut "$samples" | awk '{ print $2 }' | median)
        rss=$($cut "$samples" | awk '{ print $3 }' | median)
        steps=$($cut "$samples" | tail -n 1 | awk '{ print $1 }')
        printf '%-8s %-6s %8s %12s %12s %12s\n' "$preset" "$part" "$steps" \
            "$(echo "$nanoseconds" | awk '{ printf "%.2f", $1 / 1e6 }')" "$(echo "$rss" | awk '{ printf "%.1f", $1 / 1024 }')" "$peak"
    done
done
