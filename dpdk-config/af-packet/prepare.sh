#!/bin/bash
# Prepares interfaces for AF_PACKET or AF_XDP: prepare.sh INTERFACE...
#
# The kernel must not own an address there, nor answer in IPv6, nor join or leave checksums to
# hardware: mqlb drops frames over the MTU and checksums that are only begun. On veth do the same at
# the other end of each pair, where such frames come from.
set -euo pipefail
for interface in "$@"; do
  ip address flush dev "$interface"
  if [ -d "/proc/sys/net/ipv6/conf/$interface" ]; then
    echo 1 >"/proc/sys/net/ipv6/conf/$interface/disable_ipv6"
  fi
  ethtool -K "$interface" rx off tx off gso off gro off tso off lro off 2>/dev/null ||
    ethtool -K "$interface" rx off tx off gso off gro off tso off
  ip link set "$interface" promisc on up
done
