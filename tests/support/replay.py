"""mqlb-replay, in a namespace of its own with an interface on each side of the balancer."""

import itertools
import json
import subprocess
from dataclasses import dataclass

from tests.support import daemon, netns

CLIENT_PORT, BROKER_PORT = "net_af_packet0", "net_af_packet1"
# No kernel has addresses of it.
CLIENT_NETWORK = "2001:db8:0:c:1::/80" if netns.CLIENTS.is_ipv6 else "198.18.0.128/26"
FIRST_CLIENT = "2001:db8:0:c:1::1" if netns.CLIENTS.is_ipv6 else "198.18.0.129"
_ADDRESSES = [netns.BROKERS.address(n) for n in (31, 32, 33)]
BROKERS = [netns.endpoint(address, 1883) for address in _ADDRESSES]
_INTERFACES = {"re-clients": "br-clients", "re-brokers": "br-brokers"}
_runs = itertools.count()


@dataclass
class Node:
    """A broker that mqlb-replay plays, for daemon.pool()."""

    name: str
    address: str
    port: int


def nodes():
    return [Node(f"played{n}", address, 1883) for n, address in enumerate(_ADDRESSES)]


def run(*arguments, **options):
    """Without ports."""
    return subprocess.run([daemon.program("mqlb-replay"), *map(str, arguments)], text=True,
                          capture_output=True, timeout=60, check=False, **options)


def parse(output):
    """The report; None if there is none."""
    return json.loads(output) if output else None


class Host:
    def __init__(self, topology):
        self.namespace = topology.attach("replay", _INTERFACES)
        self._directory = topology.directory

    def close(self):
        self.namespace.close()

    def command(self, *arguments, target=netns.endpoint(netns.VIP, 1883), network=CLIENT_NETWORK):
        devices = zip((CLIENT_PORT, BROKER_PORT), _INTERFACES)
        return [daemon.program("mqlb-replay"), "--no-shconf", "--no-huge", "-m", "128", "--no-pci",
                "--no-telemetry", "--file-prefix", f"replay{next(_runs)}", "--lcores", "0@(0-1)",
                *(f"--vdev={device},iface={interface}" for device, interface in devices),
                "--", "--live", "--client-port", CLIENT_PORT, "--target", target,
                "--client-network", network, "--json", *map(str, arguments)]

    def start(self, *arguments, **where):
        return self.namespace.popen(
            self.command(*arguments, **where), text=True, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            env={"RUNTIME_DIRECTORY": self._directory, "ASAN_OPTIONS": "detect_leaks=0"})

    def play(self, *arguments, timeout=90, **where):
        """Runs it to its end. Returns its status, the report, and what it said besides."""
        with self.start(*arguments, **where) as process:
            out, errors = process.communicate(timeout=timeout)
        return process.returncode, parse(out), errors

    def both_sides(self, *arguments):
        """The options to play the brokers too."""
        return ["--broker-port", BROKER_PORT, *(f"--broker-address={b}" for b in BROKERS),
                *arguments]
