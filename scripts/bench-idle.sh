#!/bin/bash
# What an idle mqlb costs (CPU of all its threads) and how fast it wakes (SYN to SYN-ACK), by
# AF_PACKET and AF_XDP, beside the same with `poll busy`. Installs what is missing, builds, and
# measures for some three minutes. Run as root, on a machine with at least two CPUs that does
# nothing else. docs/bench.md says what is measured.
#
#   scripts/bench-idle.sh [--runs N] [--only NAME,...] [--json FILE]
#   scripts/bench-idle.sh --quick     shows within seconds that all works; the figures mean nothing
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/packages.sh

case "${1:-}" in
  -h | --help) exec /usr/bin/python3 scripts/bench/idle.py --help ;;
esac
if [ "$(id -u)" -ne 0 ]; then
  echo "bench-idle: network namespaces need root" >&2
  exit 1
fi
# shellcheck disable=SC2086  # one word per package
install_packages $build_packages $bench_packages
build=${MQLB_BUILD:-build}
[ -f "$build/build.ninja" ] || meson setup "$build" >/dev/null
ninja -C "$build" --quiet app/mqlb/mqlb app/mqlbctl/mqlbctl
exec /usr/bin/python3 scripts/bench/idle.py "$@"
