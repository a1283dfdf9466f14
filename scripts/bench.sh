#!/bin/bash
# Measures mqlb and writes the tables of README.md and docs/performance.md. Installs what is missing
# and builds. Run as root, on a machine with at least two CPUs that does nothing else.
#
#   scripts/bench.sh [--only PART,...]   engine, instructions, start, ports, idle, peers
#   scripts/bench.sh --quick             shows that all works; no document is changed
#   scripts/bench.sh --tables-only       the tables again, from what is in build/bench/
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/packages.sh

for argument in "$@"; do
  case "$argument" in
    -h | --help | --tables-only) exec /usr/bin/python3 scripts/bench/run.py "$@" ;;
  esac
done
if [ "$(id -u)" -ne 0 ]; then
  echo "bench: network namespaces need root" >&2
  exit 1
fi
# shellcheck disable=SC2086  # one word per package
install_packages $build_packages $bench_packages
build=${MQLB_BUILD:-build}
[ -f "$build/build.ninja" ] || meson setup "$build" >/dev/null
ninja -C "$build" --quiet
exec /usr/bin/python3 scripts/bench/run.py "$@"
