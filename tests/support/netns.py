"""The test network: client hosts, a balancer and broker hosts, each in a network namespace.

    client1 .21  client2 .22          broker1 .11  broker2 .12  broker3 .13
        \\         /                          \\        |        /
       [ br-clients ]                        [  br-brokers   ]          (namespace `switch`)
             |                                       |
        lb-clients        balancer              lb-brokers
        198.18.0.0/24                           198.18.1.0/24

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

from tests.support import guardian

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

VIP = "198.18.0.10"
CLIENT_GATEWAY = "198.18.0.1"
BROKER_GATEWAY = "198.18.1.1"
SNAT = [f"198.18.1.{n}" for n in range(100, 110)]
LB_CLIENTS, LB_BROKERS = "lb-clients", "lb-brokers"

_CLONE_NEWNET = 0x40000000
_libc = ctypes.CDLL(None, use_errno=True)


def client_addresses(host):
    """The kernel's addresses of client host 1 or 2: its main one and fifteen others."""
    return [f"198.18.0.{20 + host}"] + [f"198.18.0.{40 + 20 * host + n}" for n in range(15)]


def unowned_addresses():
    """Client-side addresses that no kernel has: for hosts that tests play packet by packet."""
    return [f"198.18.0.{n}" for n in range(128, 250)]


def broker_address(host):
    return f"198.18.1.{10 + host}"


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
        sock = self.socket()
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
            self._address(host, client_addresses(n), f"198.18.1.0/24 via {CLIENT_GATEWAY}")
        for n in range(1, self._counts[1] + 1):
            host = self._make(f"broker{n}")
            self.brokers.append(host)
            self._wire(host, "eth0", "br-brokers", f"b{n}")
            self._address(host, [broker_address(n)], f"198.18.0.0/24 via {BROKER_GATEWAY}")

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
    def _address(host, addresses, route):
        host.ip(*(f"addr add {a}/24 dev eth0" for a in addresses), f"route add {route}")
        host.sysctl(net__ipv4__ip_local_port_range="1024 65535",
                    net__core__somaxconn=16384,
                    net__ipv4__tcp_max_syn_backlog=16384)
