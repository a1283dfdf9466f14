#!/bin/bash
# Runs clang-tidy, with the checks that .clang-tidy names, over all C++ files or those given.
set -euo pipefail
cd "$(dirname "$0")/.."
[ -f build-clang/build.ninja ] || CXX=clang++ meson setup build-clang >/dev/null
if [ $# -gt 0 ]; then files=("$@"); else mapfile -t files < <(git ls-files 'app/*.cc' 'lib/*.cc'); fi
printf '%s\0' "${files[@]}" | xargs -0 -n 4 -P "$(nproc)" clang-tidy --quiet -p build-clang
