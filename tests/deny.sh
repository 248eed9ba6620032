#!/bin/sh
# Licences, sources and duplicate versions of the dependencies, then known advisories: each where it can be had, else "skipped: …".
set -eu
cd "$(dirname "$0")/.."
if ! cargo deny --version >/dev/null 2>&1; then
    echo "skipped: cargo-deny is not installed (cargo install --locked cargo-deny)"
    exit 0
fi
cargo deny --offline check licenses bans sources
log=$(mktemp)
trap 'rm -f "$log"' EXIT
if cargo deny check advisories >"$log" 2>&1; then
    cat "$log"
elif grep -q "failed to fetch advisory database" "$log"; then
    echo "skipped: the advisory database cannot be reached from here"
else
    cat "$log"
    exit 1
fi
