#!/bin/bash
# Gives network cards to DPDK: prepare.sh HUGEPAGES PCI-ADDRESS...
#
#   HUGEPAGES     number of 2 MiB pages on the cards' NUMA nodes, e.g. 1024 for 2 GiB
#   PCI-ADDRESS   e.g. 0000:3b:00.0; its kernel interface must be down and not your way in
#
# Undo: dpdk-devbind.py --bind=DRIVER PCI-ADDRESS, DRIVER as printed below.
# The IOMMU must be on: intel_iommu=on iommu=pt (or AMD's, on by default) on the kernel's command
# line. Cards of the mlx4 and mlx5 drivers stay with the kernel and need hugepages only.
set -euo pipefail
if [ $# -lt 2 ]; then
  sed -n '2,/^set/{/^#/s/^# \?//p}' "$0"
  exit 2
fi
pages=$1
shift

driver_of() {
  basename "$(readlink -f "/sys/bus/pci/devices/$1/driver" 2>/dev/null || echo none)"
}

for address in "$@"; do
  [ -d "/sys/bus/pci/devices/$address" ] || { echo "$address: no such device" >&2; exit 1; }
  node=$(cat "/sys/bus/pci/devices/$address/numa_node")
  [ "$node" -ge 0 ] || node=0
  echo "$pages" >"/sys/devices/system/node/node$node/hugepages/hugepages-2048kB/nr_hugepages"
  got=$(cat "/sys/devices/system/node/node$node/hugepages/hugepages-2048kB/nr_hugepages")
  [ "$got" -ge "$pages" ] || { echo "node $node: only $got of $pages hugepages" >&2; exit 1; }
done

modprobe vfio-pci
if ! ls /sys/kernel/iommu_groups/* >/dev/null 2>&1; then
  # A virtual machine without IOMMU: works, but the card can then write to any memory.
  echo "no IOMMU: vfio runs unprotected" >&2
  echo 1 >/sys/module/vfio/parameters/enable_unsafe_noiommu_mode
fi
for address in "$@"; do
  driver=$(driver_of "$address")
  case "$driver" in
    mlx4_core | mlx5_core) echo "$address: stays with $driver" ;;
    vfio-pci) echo "$address: is with vfio-pci already" ;;
    *)
      echo "$address: from $driver to vfio-pci"
      dpdk-devbind.py --bind=vfio-pci "$address"
      ;;
  esac
done
