#!/bin/bash
# mqlb beside HAProxy and nginx on one network of namespaces: rates, CPU time, memory and latency.
# Installs what is missing, builds, and measures for some six minutes. Run as root, on a machine
# with at least two CPUs that does nothing else. docs/bench.md says what is measured.
#
#   scripts/bench-peers.sh [--runs N] [--only NAME,...] [--phases NAME,...] [--rate N] [--json FILE]
#   scripts/bench-peers.sh --quick     shows within seconds that all works; the figures mean nothing
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/packages.sh

case "${1:-}" in
  -h | --help) exec /usr/bin/python3 scripts/bench/peers.py --help ;;
esac
if [ "$(id -u)" -ne 0 ]; then
  echo "bench-peers: network namespaces need root" >&2
  exit 1
fi
# shellcheck disable=SC2086  # one word per package
install_packages $build_packages $bench_packages
build=${MQLB_BUILD:-build}
[ -f "$build/build.ninja" ] || meson setup "$build" >/dev/null
ninja -C "$build" --quiet app/mqlb/mqlb app/mqlbctl/mqlbctl tests/load/mqtt-{load,sink}
exec /usr/bin/python3 scripts/bench/peers.py "$@"
