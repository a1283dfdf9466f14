"""The test network: client hosts, a balancer and broker hosts, each in a network namespace.

    client1 .21  client2 .22          broker1 .11  broker2 .12  broker3 .13
        \\         /                          \\        |        /
       [ br-clients ]                        [  br-brokers   ]          (namespace `switch`)
             |                                       |
        lb-clients        balancer              lb-brokers
        198.18.0.0/24                           198.18.1.0/24

With MQLB_FAMILY=ipv6 in the environment the networks are 2001:db8:0:c::/64 and 2001:db8:0:b::/64,
and hosts have the same numbers there; ipv6-ipv4 is IPv6 for clients only, ipv4-ipv6 for brokers.
The balancer's two interfaces carry no kernel address: DPDK owns them. Nothing is ever made in the
caller's own namespace. guardian.py removes all of it, however the caller ends.
"""

import ctypes
import os
import socket
import subprocess
import sys
import tempfile
import threading
from dataclasses import dataclass

from tests.support import guardian

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

LB_CLIENTS, LB_BROKERS = "lb-clients", "lb-brokers"


@dataclass(frozen=True)
class Network:
    """One side's addresses: all that is common to them, and its length in bits."""

    prefix: str
    length: int

    def address(self, number):
        return f"{self.prefix}{number}"

    def __str__(self):
        return f"{self.address(0)}/{self.length}"

    @property
    def is_ipv6(self):
        return ":" in self.prefix


_CLIENTS = {"ipv4": Network("198.18.0.", 24), "ipv6": Network("2001:db8:0:c::", 64)}
_BROKERS = {"ipv4": Network("198.18.1.", 24), "ipv6": Network("2001:db8:0:b::", 64)}

# What clients and what brokers speak: "ipv4", "ipv6", or "ipv6-ipv4" for clients and brokers apart.
FAMILIES = os.environ.get("MQLB_FAMILY", "ipv4")
CLIENTS, BROKERS = _CLIENTS[FAMILIES.split("-")[0]], _BROKERS[FAMILIES.split("-")[-1]]

VIP = CLIENTS.address(10)
CLIENT_GATEWAY, BROKER_GATEWAY = CLIENTS.address(1), BROKERS.address(1)
SNAT = [BROKERS.address(n) for n in range(100, 110)]

_CLONE_NEWNET = 0x40000000
_libc = ctypes.CDLL(None, use_errno=True)


def client_addresses(host):
    """The kernel's addresses of client host 1 or 2: its main one and fifteen others."""
    return [CLIENTS.address(n) for n in (20 + host, *range(40 + 20 * host, 55 + 20 * host))]


def unowned_addresses():
    """Client-side addresses that no kernel has: for hosts that tests play packet by packet."""
    return [CLIENTS.address(n) for n in range(128, 250)]


def broker_address(host):
    return BROKERS.address(10 + host)


def endpoint(address, port):
    """As configurations and URLs write it."""
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def alone(address):
    """The address as a network of its own, for ip(8)."""
    return f"{address}/{128 if ':' in address else 32}"


def family_of(address):
    return socket.AF_INET6 if ":" in address else socket.AF_INET


def _setns(fd):
    if _libc.setns(fd, _CLONE_NEWNET) != 0:
        error = ctypes.get_errno()
        raise OSError(error, "setns: " + os.strerror(error))


class Namespace:
    """A named network namespace. `with namespace:` puts the calling thread into it.

    What is made inside (a socket, a process) stays there after the block.
    """

    def __init__(self, prefix, name):
        self.name = f"{prefix}-{name}"
        subprocess.run(["ip", "netns", "add", self.name], check=True)
        self._fd = os.open(os.path.join(guardian.NETNS_DIR, self.name), os.O_RDONLY)
        self._outer = threading.local()
        self.network = None  # of its addresses

    def __enter__(self):
        outer = os.open(f"/proc/self/task/{threading.get_native_id()}/ns/net", os.O_RDONLY)
        _setns(self._fd)
        self._outer.__dict__.setdefault("stack", []).append(outer)
        return self

    def __exit__(self, *_):
        outer = self._outer.stack.pop()
        _setns(outer)
        os.close(outer)

    def close(self):
        os.close(self._fd)

    def socket(self, family=socket.AF_INET, kind=socket.SOCK_STREAM, proto=0):
        with self:
            return socket.socket(family, kind, proto)

    def connect(self, destination, source=None, timeout=10):
        """A connected TCP socket; `source` is an (address, port) to bind, port 0 for any."""
        sock = self.socket(family_of(destination[0]))
        try:
            sock.settimeout(timeout)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if source:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                sock.bind(source)
            sock.connect(destination)
        except BaseException:
            sock.close()
            raise
        return sock

    def popen(self, argv, **options):
        """A process inside. In its own session: an interrupt at the keyboard is the test's."""
        options.setdefault("start_new_session", True)
        with self:
            return subprocess.Popen(argv, **options)

    def run(self, argv, **options):
        options.setdefault("check", True)
        with self:
            return subprocess.run(argv, **options)

    def sysctl(self, **values):
        """sysctl(net__ipv4__ip_forward=1); two underscores stand for a slash."""
        with self:
            for key, value in values.items():
                with open("/proc/sys/" + key.replace("__", "/"), "w", encoding="ascii") as f:
                    f.write(str(value))

    def ip(self, *lines):
        """Runs lines of ip(8) in one process."""
        self.run(["ip", "-batch", "-"], input="\n".join(lines) + "\n", text=True,
                 stdout=subprocess.DEVNULL)

    def mac(self, interface="eth0"):
        """The hardware address, as text."""
        out = self.run(["ip", "-o", "link", "show", interface], capture_output=True, text=True)
        words = out.stdout.split()
        return words[words.index("link/ether") + 1]


class Topology:
    """The whole network, as a context: made on entry, removed on exit or when the process ends.

    `keep()` leaves it in place; `guardian.clean(prefix, directory)` then removes it later.
    """

    def __init__(self, clients=2, brokers=3, label=None):
        self.prefix = f"mqlb-{label or os.getpid()}"
        self.directory = None
        self.clients, self.brokers = [], []
        self.balancer = self.switch = None
        self._counts = (clients, brokers)
        self._guardian = None

    def __enter__(self):
        # A run of the same process id that was cut off together with its guardian.
        guardian.clean(self.prefix)
        self.directory = tempfile.mkdtemp(prefix=self.prefix + "-")
        self._guardian = subprocess.Popen(
            [sys.executable, "-m", "tests.support.guardian", self.prefix, self.directory],
            cwd=ROOT, stdin=subprocess.PIPE, start_new_session=True, text=True)
        try:
            self._build()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_):
        self.close()

    def keep(self):
        """Ends supervision; the network and its processes stay."""
        self._guardian.stdin.write("keep\n")
        self._end_guardian()

    def close(self):
        """Removes everything; safe to call again."""
        if self._guardian:
            for namespace in [*self.clients, *self.brokers, self.balancer, self.switch]:
                if namespace:
                    namespace.close()
            self._end_guardian()

    def _end_guardian(self):
        self._guardian.stdin.close()
        status = self._guardian.wait(timeout=60)
        self._guardian = None
        if status != 0:
            raise RuntimeError(f"{self.prefix}: clean-up was not complete")

    def path(self, name):
        """A path in the run's own directory."""
        return os.path.join(self.directory, name)

    def _make(self, name):
        namespace = Namespace(self.prefix, name)
        namespace.sysctl(net__ipv6__conf__all__disable_ipv6=1,
                         net__ipv6__conf__default__disable_ipv6=1)
        namespace.ip("link set lo up")
        return namespace

    def _build(self):
        self.switch = self._make("switch")
        self.switch.ip(*(f"link add {b} up type bridge forward_delay 0 stp_state 0 mcast_snooping 0"
                         for b in ("br-clients", "br-brokers")))
        # Where the kernel lets IP look into bridged frames, it drops the malformed ones.
        if os.path.exists("/proc/sys/net/bridge"):
            self.switch.sysctl(**{f"net__bridge__bridge-nf-call-{tables}": 0
                                  for tables in ("iptables", "ip6tables", "arptables")})
        self.balancer = self._make("balancer")
        self._wire(self.balancer, LB_CLIENTS, "br-clients", "lbc")
        self._wire(self.balancer, LB_BROKERS, "br-brokers", "lbb")
        for n in range(1, self._counts[0] + 1):
            host = self._make(f"client{n}")
            self.clients.append(host)
            self._wire(host, "eth0", "br-clients", f"c{n}")
            self._address(host, CLIENTS, client_addresses(n))
            route(host)
        for n in range(1, self._counts[1] + 1):
            host = self._make(f"broker{n}")
            self.brokers.append(host)
            self._wire(host, "eth0", "br-brokers", f"b{n}")
            self._address(host, BROKERS, [broker_address(n)])
            route(host)

    def attach(self, name, interfaces):
        """A further host; its interfaces, {name: bridge}, carry no kernel address.

        The caller closes it.
        """
        host = self._make(name)
        for interface, bridge in interfaces.items():
            self._wire(host, interface, bridge, f"{name}-{bridge[3]}")
        return host

    def _wire(self, host, interface, bridge, port):
        """A veth pair: `interface` in the host, `port` on the bridge.

        Checksums are complete on the wire and no frame is over the MTU, as on a real network:
        DPDK's AF_PACKET driver sees neither partial checksums nor segments that are yet to be cut.
        """
        self.switch.ip(
            f"link add {port} type veth peer name {interface} netns {host.name}",
            f"link set {port} master {bridge} up")
        host.ip(f"link set {interface} up")
        for namespace, name in ((self.switch, port), (host, interface)):
            namespace.run(["ethtool", "-K", name, "tx", "off", "rx", "off", "gso", "off",
                           "gro", "off", "tso", "off"], stdout=subprocess.DEVNULL)

    @staticmethod
    def _address(host, network, addresses):
        host.network = network
        if network.is_ipv6:
            # Nothing but what tests send: no address or packet of the kernel's own accord.
            for scope in ("all", "default", "eth0"):
                host.sysctl(**{f"net__ipv6__conf__{scope}__{key}": value for key, value in (
                    ("addr_gen_mode", 1), ("accept_dad", 0), ("accept_ra", 0),
                    ("router_solicitations", 0), ("keep_addr_on_down", 1), ("disable_ipv6", 0))})
            # A broker that starts while a test has its host's link down can listen all the same.
            host.sysctl(net__ipv6__ip_nonlocal_bind=1)
        host.ip(*(f"addr add {a}/{network.length} dev eth0" for a in addresses))
        host.sysctl(net__ipv4__ip_local_port_range="1024 65535",
                    net__core__somaxconn=16384,
                    net__ipv4__tcp_max_syn_backlog=16384)


def route(host):
    """A client's or broker's way to the other network; a link that goes down takes it along."""
    if CLIENTS.is_ipv6 == BROKERS.is_ipv6:
        other, gateway = ((BROKERS, CLIENT_GATEWAY) if host.network is CLIENTS else
                          (CLIENTS, BROKER_GATEWAY))
        host.ip(f"route add {other} via {gateway}")


def link_down(host):
    host.ip("link set eth0 down")


def link_up(host):
    host.ip("link set eth0 up")
    route(host)
