# Debian packages, for scripts that source this: what to build with, what to run with, what to test
# with; and install_packages, which installs those that are missing.

build_packages="g++ meson ninja-build pkg-config libdpdk-dev libxxhash-dev libsodium-dev
  libexpected-dev libpcap-dev libcmocka-dev"
instruction_packages="binutils valgrind"
run_packages="iproute2 ethtool python3 rabbitmq-server"
test_packages="clang mosquitto mosquitto-clients haproxy python3-pytest python3-pytest-timeout
  openssl python3-paho-mqtt python3-scapy tcpdump tshark"
lint_packages="clang-format clang-tidy"
bench_packages="iproute2 ethtool python3 haproxy nginx libnginx-mod-stream libnginx-mod-stream-js
  python3-scapy dpdk-dev"

missing_packages() {
  for package in "$@"; do
    dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q ' installed$' || echo "$package"
  done
}

# Brokers come as services that start when installed; here they must not. An existing policy of the
# machine stays in force as it is.
install_packages() {
  local missing policy=/usr/sbin/policy-rc.d own_policy=
  missing=$(missing_packages "$@")
  [ -n "$missing" ] || return 0
  echo "installing:" $missing
  if [ ! -e "$policy" ]; then
    own_policy=$policy
    trap 'rm -f "$own_policy"' EXIT
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod +x "$policy"
  fi
  export DEBIAN_FRONTEND=noninteractive
  # shellcheck disable=SC2086  # one word per package
  apt-get -qq update && apt-get -qq -y --no-install-recommends install $missing >/dev/null
  local status=$?
  if [ -n "$own_policy" ]; then
    rm -f "$own_policy"
    trap - EXIT
  fi
  return "$status"
}
