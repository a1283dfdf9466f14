#!/bin/bash
# DPDK's own forwarder beside mqlb on null and ring ports, and mqlb behind memif. Installs what is
# missing, builds, and measures for some three minutes, on two CPUs that have nothing else to do.
# docs/bench.md says what is measured.
#
#   scripts/bench-ports.sh [--runs N] [--only null,ring,memif] [--huge] [--json FILE]
#   scripts/bench-ports.sh --quick    shows within seconds that all works; the figures mean nothing
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/packages.sh

case "${1:-}" in
  -h | --help) exec /usr/bin/python3 scripts/bench/ports.py --help ;;
esac
# Only installing needs root.
# shellcheck disable=SC2086  # one word per package
install_packages $build_packages $bench_packages
build=${MQLB_BUILD:-build}
[ -f "$build/build.ninja" ] || meson setup "$build" >/dev/null
ninja -C "$build" --quiet app/mqlb/mqlb app/mqlbctl/mqlbctl app/mqlb-replay/mqlb-replay \
  app/mqlb-bench/mqlb-bench
exec /usr/bin/python3 scripts/bench/ports.py "$@"
