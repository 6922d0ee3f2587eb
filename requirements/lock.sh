#!/usr/bin/env bash
# Writes the hash-locked requirements anew. Index addresses and machine paths stay out of the files.
set -euo pipefail
cd "$(dirname "$0")/.."
export CUSTOM_COMPILE_COMMAND="make lock"
compile() {
    local out=$1
    shift
    .venv/bin/pip-compile --quiet --generate-hashes --allow-unsafe --strip-extras \
        --no-emit-index-url --no-emit-trusted-host --no-emit-find-links --no-emit-options \
        --output-file "$out" "$@"
}
extras=(--extra agent --extra hub --extra tui pyproject.toml)
compile requirements/run.txt "${extras[@]}" requirements/run.in
compile requirements/dev.txt --constraint requirements/run.txt "${extras[@]}" requirements/run.in requirements/dev.in
