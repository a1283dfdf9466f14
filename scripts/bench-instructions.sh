#!/bin/bash
# Counts with valgrind the instructions of each step of a spliced packet, beside a plain NAT's. They
# do not depend on what else the machine does. Installs what is missing, builds with debug
# information in build-instructions, and counts for some half a minute.
#
#   scripts/bench-instructions.sh [--json FILE] [--quick]
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/packages.sh

case "${1:-}" in
  -h | --help) exec /usr/bin/python3 scripts/bench/instructions.py --help ;;
esac
# shellcheck disable=SC2086  # one word per package
install_packages $build_packages $instruction_packages
build=${MQLB_BUILD:-build}
[ -f "$build/build.ninja" ] || meson setup "$build" >/dev/null
# The release's instructions, with the lines that they come from.
[ -f build-instructions/build.ninja ] || meson setup build-instructions \
  --buildtype=debugoptimized -Doptimization=3 -Ddebug=true >/dev/null
for directory in "$build" build-instructions; do
  ninja -C "$directory" --quiet app/mqlb-bench/mqlb-bench
done
exec /usr/bin/python3 scripts/bench/instructions.py "$@"
