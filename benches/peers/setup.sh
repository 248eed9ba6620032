#!/usr/bin/env bash
# Sets up the peers that compare.py measures in one folder: PyTorch in a virtual environment, candle and burn built from crates.io.
#
#     benches/peers/setup.sh [FOLDER]        default: benches/peers/installed, which git ignores
#
# The Rust peers are compiled for this processor, so that the loops which they leave to the compiler use all of its vectors. A peer that cannot
# be had is named at the end, and compare.py leaves it out.
set -uo pipefail
here="$(cd "$(dirname "$0")" && pwd)"
folder="$(realpath -m "${1:-$here/installed}")"
mkdir -p "$folder" || exit 1
missing=()

[ -x "$folder/venv/bin/python" ] || python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch || missing+=(PyTorch)

for peer in candle burn; do
    (cd "$here/$peer" && CARGO_TARGET_DIR="$folder/target" RUSTFLAGS="-C target-cpu=native" cargo build --release --locked) &&
        cp "$folder/target/release/$peer-step" "$folder/" || missing+=("$peer")
done

if [ ${#missing[@]} -gt 0 ]; then
    echo "not set up: ${missing[*]}" >&2
    exit 1
fi
echo "PyTorch, candle and burn are in $folder"
