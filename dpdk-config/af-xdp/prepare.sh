#!/bin/bash
# Prepares interfaces for AF_XDP: prepare.sh QUEUES INTERFACE... ; QUEUES is the number of data cores.
set -euo pipefail
if [ $# -lt 2 ]; then
  sed -n '2p' "$0" | cut -c3-
  exit 2
fi
queues=$1
shift
"$(dirname "$0")/../af-packet/prepare.sh" "$@"
for interface in "$@"; do
  # veth has its number of queues from birth: ip link add ... numrxqueues N numtxqueues N
  ethtool -L "$interface" combined "$queues" 2>/dev/null ||
    echo "$interface: has a fixed number of queues; see that it is $queues" >&2
done
# The driver locks the memory that it shares with the kernel.
ulimit -l unlimited 2>/dev/null || echo "raise the limit of locked memory (ulimit -l)" >&2
