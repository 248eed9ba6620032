#!/bin/sh
# Licences, advisories, sources and duplicate versions of the dependencies, where cargo-deny is installed.
set -eu
cd "$(dirname "$0")/.."
if cargo deny --version >/dev/null 2>&1; then
    exec cargo deny check
fi
echo "skipped: cargo-deny is not installed (cargo install --locked cargo-deny)"
