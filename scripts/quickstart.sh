#!/bin/bash
# From a fresh Debian 12 to a balancer between two RabbitMQ nodes: installs what is missing, builds,
# makes a test network in namespaces, and shows what mqlb does. Run as root.
#
#   scripts/quickstart.sh           shows it and cleans up
#   scripts/quickstart.sh --keep    leaves everything running, and says how to look at it
#   scripts/quickstart.sh --clean   ends what --keep left
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/packages.sh

case "${1:-}" in
  '' | --keep | --clean) ;;
  *) sed -n '2,/^set/{/^#/s/^# \?//p}' "$0"; exit 2 ;;
esac
if [ "$(id -u)" -ne 0 ]; then
  echo "quickstart: network namespaces need root" >&2
  exit 1
fi

if [ "${1:-}" != --clean ]; then
  # shellcheck disable=SC2086  # one word per package
  install_packages $build_packages $run_packages
  [ -f build/build.ninja ] || meson setup build >/dev/null
  echo "building"
  ninja -C build --quiet
fi
exec /usr/bin/python3 scripts/quickstart.py "$@"
