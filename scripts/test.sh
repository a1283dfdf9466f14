#!/bin/bash
# Builds and tests everything, as CI does. Needs root: packages are installed, namespaces are made.
#
#   scripts/test.sh        all: three builds, the suites unit, engine, golden, bench, e2e
#   scripts/test.sh unit   the unit suite only, with what is installed
#
# The last line is "N passed, N failed", summed over all suites.
set -uo pipefail
cd "$(dirname "$0")/.."
. scripts/packages.sh

results=()  # JUnit files, one for each run of a suite
failed=0

step() {
  printf '\n== %s\n' "$*"
}

build() {  # DIRECTORY [MESON-OPTION...]
  local directory=$1
  shift
  step "build: $directory" "$@"
  if [ ! -f "$directory/build.ninja" ]; then
    meson setup "$directory" "$@" || return
  fi
  ninja -C "$directory"
}

meson_suite() {  # DIRECTORY SUITE...
  local directory=$1 suite
  shift
  for suite in "$@"; do
    step "suite: $suite in $directory"
    results+=("$directory/meson-logs/$suite.junit.xml")
    rm -f "${results[-1]}"
    meson test -C "$directory" --no-rebuild --suite "$suite" --logbase "$suite" \
      --print-errorlogs || failed=1
  done
}

pytest_suite() {  # DIRECTORY SUITE [FAMILIES]
  local directory=$1 suite=$2 families=${3:-ipv4}
  step "suite: $suite in $directory, $families"
  results+=("$directory/meson-logs/$suite-$families.junit.xml")
  rm -f "${results[-1]}"
  MQLB_FAMILY=$families MQLB_BUILD=$directory /usr/bin/python3 -m pytest -q -c "tests/$suite/pytest.ini" \
    --rootdir "tests/$suite" --junitxml "${results[-1]}" --durations 10 "tests/$suite" || failed=1
}

finish() {
  echo
  /usr/bin/python3 scripts/sum_results.py "${results[@]}" || failed=1
  exit "$failed"
}

# Everything that could be left behind lives in namespaces of its own: processes, mounts (named
# network namespaces among them) and temporary files go when this script does, however it ends.
contain() {
  local directory child status
  directory=$(mktemp -d)
  setpriv --pdeathsig KILL unshare --pid --fork --kill-child --mount --mount-proc \
    "$0" contained "$directory" &
  child=$!
  trap 'kill -KILL $child; rmdir "$directory"; exit 130' INT TERM HUP
  wait "$child"
  status=$?
  rmdir "$directory"
  return "$status"
}

contained() {
  mkdir -p /run/netns
  mount -t tmpfs tmpfs /run/netns && mount -t tmpfs tmpfs "$1" || exit 1
  export TMPDIR=$1
  if ! build build; then
    results+=("the build in build")
    finish
  fi
  # For its warnings.
  CXX=clang++ build build-clang -Dtests=false -Doptimization=0 ||
    results+=("the build in build-clang")
  meson_suite build unit engine engine-families
  pytest_suite build golden
  pytest_suite build bench
  if build build-asan -Doptimization=1 -Dcpp_args=-g1 -Dwerror=false \
    -Db_sanitize=address,undefined -Db_lundef=false
  then
    meson_suite build-asan unit engine
    pytest_suite build-asan golden
  else
    results+=("the build in build-asan")
  fi
  for families in ipv4 ipv6 ipv6-ipv4 ipv4-ipv6; do
    pytest_suite build e2e "$families"
  done
  finish
}

case "${1:-all}" in
  unit)
    build build || { results+=("the build in build"); finish; }
    meson_suite build unit
    finish
    ;;
  all)
    # shellcheck disable=SC2086  # one word per package
    install_packages $build_packages $run_packages $test_packages $bench_packages || exit 1
    contain
    ;;
  contained) contained "$2" ;;
  *)
    sed -n '2,/^set/{/^#/s/^# \?//p}' "$0"
    exit 2
    ;;
esac
