#!/bin/sh
# Builds the libFuzzer targets with clang and runs each for a while, from the seeds in the tree.
#
#   scripts/fuzz.sh [SECONDS [TARGET...]]     30 s, all targets
#
# Inputs that are found stay in build-fuzz/corpus/TARGET and are used again; an input that breaks a
# target is left as build-fuzz/TARGET-crash-..., and the exit status is 1.
set -eu
cd "$(dirname "$0")/.."
seconds=${1:-30}
[ $# -eq 0 ] || shift
case $seconds in
  '' | *[!0-9]*) echo "usage: $0 [SECONDS [TARGET...]]" >&2; exit 2 ;;
esac
if [ $# -eq 0 ]; then
  for source in tests/fuzz/*_fuzz.cc; do
    set -- "$@" "$(basename "$source" _fuzz.cc)"
  done
fi
if [ ! -f build-fuzz/build.ninja ]; then
  CXX=${CXX:-clang++} meson setup build-fuzz -Dfuzz=true --buildtype=debugoptimized
fi
programs=
for target in "$@"; do
  if [ ! -f "tests/fuzz/${target}_fuzz.cc" ]; then
    echo "$0: no target '$target'" >&2
    exit 2
  fi
  programs="$programs tests/fuzz/fuzz_$target tests/fuzz/corpus_$target"
done
# shellcheck disable=SC2086  # a list of words
ninja -C build-fuzz -j2 $programs

status=0
for target in "$@"; do
  corpus=build-fuzz/corpus/$target
  mkdir -p "$corpus"
  "build-fuzz/tests/fuzz/corpus_$target" write "tests/fuzz/corpus/$target.txt" "$corpus"
  log=build-fuzz/$target.log
  if "build-fuzz/tests/fuzz/fuzz_$target" -max_total_time="$seconds" -timeout=10 -max_len=4096 \
    -print_final_stats=1 -artifact_prefix="build-fuzz/$target-" "$corpus" >"$log" 2>&1; then
    runs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")
    echo "$target: $runs inputs in $seconds s, nothing found"
  else
    echo "$target: FAILED, all of it in $log" >&2
    grep -E 'ERROR|runtime error|does not hold|Test unit written' "$log" >&2 || tail -20 "$log" >&2
    status=1
  fi
done
exit $status
