#!/bin/sh
# Builds summary.wasm from summary.c. Debian: apt-get install clang lld wasi-libc libclang-rt-14-dev-wasm32
set -eu
here=$(cd "$(dirname "$0")" && pwd)
exec "${CLANG:-clang}" --target=wasm32-wasi -O2 -Wall -Wextra -Werror -Wl,--strip-all \
    -o "${1:-$here/summary.wasm}" "$here/summary.c"
