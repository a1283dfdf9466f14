#!/bin/bash
# Checks the format of all C++ files, or with --fix puts it right.
set -euo pipefail
cd "$(dirname "$0")/.."
if [ "${1:-}" = --fix ]; then mode=(-i); else mode=(--dry-run --Werror); fi
git ls-files -z '*.cc' '*.hh' | xargs -0 -r clang-format "${mode[@]}"
