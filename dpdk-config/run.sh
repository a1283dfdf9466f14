#!/bin/bash
# Starts mqlb with the EAL arguments of a folder: run.sh FOLDER CONFIG [MQLB-ARGUMENT...]
# MQLB names the program if it is not in the path.
set -euo pipefail
if [ $# -lt 2 ]; then
  sed -n '2,/^set/{/^#/s/^# \?//p}' "$0"
  exit 2
fi
folder=$1 config=$2
shift 2
mapfile -t arguments < <(sed 's/[[:space:]]*#.*//; /^[[:space:]]*$/d' "$folder/eal-args")
exec "${MQLB:-mqlb}" "${arguments[@]}" -- --config "$config" "$@"
