"""The network of the comparison, made anew for each candidate of each run.

    clients .20-.36           balancer            brokers .11-.14
       eth0 ---- lb-clients [          ] lb-brokers ---- eth0
    198.18.0.0/24                              198.18.1.0/24
       direct ------------------------------------- direct      198.18.2.0/24

Receiving is steered (RPS) to CPU 1 at the balancer's ends and to CPU 0 at all others, so that what
the kernel does for the balancer's packets is done on the balancer's CPU, whoever sent them.
"""

import os
import subprocess
import sys
import tempfile

from tests.support import guardian, netns

VIP = netns.VIP
PORT = 1883
BROKERS = range(11, 15)
# A prime number of addresses: a Client ID that comes again comes from another one.
CLIENTS = range(20, 37)
LB_CLIENTS, LB_BROKERS = netns.LB_CLIENTS, netns.LB_BROKERS
LOAD_CPU, BALANCER_CPU = 0, 1

_OFFLOADS = ["tx", "off", "rx", "off", "gso", "off", "gro", "off", "tso", "off"]


def broker_addresses(network=1):
    return [f"198.18.{network}.{n}" for n in BROKERS]


def client_addresses(network=0):
    return [f"198.18.{network}.{n}" for n in CLIENTS]


class Network:
    """A context; what daemon.Daemon asks of a topology is here too."""

    _count = 0

    def __init__(self):
        Network._count += 1
        self.prefix = f"mqlb-peers{os.getpid()}n{Network._count}"
        self.directory = self.clients = self.balancer = self.brokers = None
        self._guardian = None

    def __enter__(self):
        guardian.clean(self.prefix)
        self.directory = tempfile.mkdtemp(prefix=self.prefix + "-")
        os.chmod(self.directory, 0o755)
        self._guardian = subprocess.Popen(
            [sys.executable, "-m", "tests.support.guardian", self.prefix, self.directory],
            cwd=netns.ROOT, stdin=subprocess.PIPE, start_new_session=True, text=True)
        try:
            self._build()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        for namespace in (self.clients, self.balancer, self.brokers):
            if namespace:
                namespace.close()
        self._guardian.stdin.close()
        if self._guardian.wait(timeout=60) != 0:
            raise RuntimeError(f"{self.prefix}: clean-up was not complete")

    def path(self, name):
        return os.path.join(self.directory, name)

    def give_balancer_addresses(self):
        """For balancers that are the kernel's own sockets."""
        self.balancer.ip(f"addr add {VIP}/24 dev {LB_CLIENTS}",
                         f"addr add {netns.BROKER_GATEWAY}/24 dev {LB_BROKERS}")

    def frames(self):
        """Frames that went over the balancer's veths so far, counted at their other ends."""
        return sum(self._frames(namespace) for namespace in (self.clients, self.brokers))

    @staticmethod
    def _frames(namespace):
        with namespace, open("/proc/thread-self/net/dev", encoding="ascii") as f:
            (words,) = (line.split() for line in f if line.lstrip().startswith("eth0:"))
        return int(words[2]) + int(words[10])

    def _build(self):
        self.clients, self.balancer, self.brokers = (
            self._make(name) for name in ("clients", "balancer", "brokers"))
        self._wire(self.clients, "eth0", self.balancer, LB_CLIENTS)
        self._wire(self.brokers, "eth0", self.balancer, LB_BROKERS)
        self._wire(self.clients, "direct", self.brokers, "direct")
        self.clients.ip(*(f"addr add {a}/24 dev eth0" for a in client_addresses()),
                        *(f"addr add {a}/24 dev direct" for a in client_addresses(2)))
        self.brokers.ip(*(f"addr add {a}/24 dev eth0" for a in broker_addresses()),
                        *(f"addr add {a}/24 dev direct" for a in broker_addresses(2)))

    def _make(self, name):
        namespace = netns.Namespace(self.prefix, name)
        namespace.sysctl(net__ipv6__conf__all__disable_ipv6=1,
                         net__ipv6__conf__default__disable_ipv6=1,
                         net__ipv4__ip_local_port_range="1024 65535",
                         net__ipv4__tcp_tw_reuse=1,
                         net__ipv4__tcp_max_syn_backlog=16384,
                         net__core__somaxconn=16384)
        namespace.ip("link set lo up")
        return namespace

    def _wire(self, host, interface, other, other_interface):
        host.ip(f"link add {interface} type veth peer name {other_interface} netns {other.name}")
        for namespace, name in ((host, interface), (other, other_interface)):
            namespace.ip(f"link set {name} up")
            namespace.run(["ethtool", "-K", name, *_OFFLOADS], stdout=subprocess.DEVNULL)
            cpu = BALANCER_CPU if namespace is self.balancer else LOAD_CPU
            write_sys(namespace, f"class/net/{name}/queues/rx-0/rps_cpus", f"{1 << cpu:x}")


def write_sys(namespace, path, value):
    """Writes to /sys as the namespace sees it."""
    subprocess.run(["ip", "netns", "exec", namespace.name, "sh", "-c",
                    f"echo {value} >/sys/{path}"], check=True)
