"""The balancers that are compared: how each is configured, started and looked at."""

import os
import re
import signal
import subprocess

from scripts.bench import network
from tests.support import daemon, netns, wait

_NGINX_MODULES = "/usr/lib/nginx/modules"
# HAProxy 2.6 does not keep clients together if the hash is of the payload itself.
_CLIENT_ID = "req.payload(0,0),mqtt_field_value(connect,client_identifier)"
_CLIENT_ID_SCRIPT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "client_id.js")


def on_cpus(*cpus):
    return ["taskset", "-c", ",".join(map(str, cpus))]


def tasks_named(pattern, directory="/proc"):
    """Ids of the processes, or of the threads in /proc/PID/task, that are called so."""
    found = []
    for entry in filter(str.isdigit, os.listdir(directory)):
        try:
            with open(f"{directory}/{entry}/comm", encoding="utf-8", errors="replace") as f:
                if re.fullmatch(pattern, f.read().strip()):
                    found.append(int(entry))
        except OSError:
            pass  # ended meanwhile
    return found


class Candidate:
    """One balancer, running in a network. A context: started on entry, ended on exit."""

    name = title = None
    is_mqlb = False

    def __init__(self, net, group, max_flows=None):
        self.net, self._group, self.max_flows = net, group, max_flows
        self.process = None

    def __enter__(self):
        try:
            self.start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        if self.process:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()

    def start(self):
        raise NotImplementedError

    def destinations(self):
        return [f"{network.VIP}:{network.PORT}"]

    def sources(self):
        return network.client_addresses()

    def listeners(self):
        """Where the brokers listen."""
        return [f"{a}:{network.PORT}" for a in network.broker_addresses()]

    def processes(self):
        return [self.process.pid]

    def threads(self):
        """(process, thread) of what works on the balancer's CPU for this candidate alone."""
        return [(pid, pid) for pid in self.processes()]

    def _run(self, argv, ready):
        with open(self.net.path(f"{self.name}.log"), "wb") as log:
            self.process = self.net.balancer.popen(
                self._group.prefix() + on_cpus(network.BALANCER_CPU) + argv,
                stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT)

        def check():
            if self.process.poll() is not None:
                with open(self.net.path(f"{self.name}.log"), encoding="utf-8") as f:
                    raise RuntimeError(f"{self.name} ended at its start: {f.read()[-2000:]}")
            return ready()
        wait.until(check, 10, f"{self.name} to be ready")

    def _listens(self):
        out = self.net.balancer.run(["ss", "-Hltn"], capture_output=True, text=True).stdout
        return f"{network.VIP}:{network.PORT}" in out


class Direct(Candidate):
    """Clients connect to the brokers over a veth of their own, and do the hashing themselves."""

    name, title = "direct", "none (direct)"

    def start(self):
        pass

    def destinations(self):
        return self.listeners()

    def sources(self):
        return network.client_addresses(2)

    def listeners(self):
        return [f"{a}:{network.PORT}" for a in network.broker_addresses(2)]

    def processes(self):
        return []


class HAProxy(Candidate):
    name, title = "haproxy", "HAProxy"
    balance = "balance hash var(sess.cid)\n    hash-type consistent sdbm avalanche"
    send_proxy = "send-proxy-v2"

    def start(self):
        self.net.give_balancer_addresses()
        servers = "\n".join(f"    server broker{i} {a} {self.send_proxy}"
                            for i, a in enumerate(self.listeners()))
        with open(self.net.path("haproxy.cfg"), "w", encoding="utf-8") as f:
            f.write(f"""\
global
    nbthread 1
    maxconn 9900
defaults
    mode tcp
    timeout connect 5s
    timeout client 2h
    timeout server 2h
listen mqtt
    bind {network.VIP}:{network.PORT} backlog 16384
    tcp-request inspect-delay 10s
    tcp-request content reject unless {{ req.payload(0,0),mqtt_is_valid }}
    tcp-request content set-var(sess.cid) {_CLIENT_ID}
    {self.balance}
{servers}
""")
        self._run(["haproxy", "-db", "-f", self.net.path("haproxy.cfg")], self._listens)


class Nginx(Candidate):
    name, title = "nginx", "nginx (njs)"

    def start(self):
        self.net.give_balancer_addresses()
        servers = "\n".join(f"        server {a};" for a in self.listeners())
        with open(self.net.path("nginx.conf"), "w", encoding="utf-8") as f:
            f.write(f"""\
load_module {_NGINX_MODULES}/ngx_stream_module.so;
load_module {_NGINX_MODULES}/ngx_stream_js_module.so;
user root;
daemon off;
worker_processes 1;
worker_rlimit_nofile 20000;
pid {self.net.path("nginx.pid")};
error_log stderr error;
events {{
    worker_connections 19900;
}}
stream {{
    js_import mqtt from {_CLIENT_ID_SCRIPT};
    js_set $client_id mqtt.client_id;
    upstream brokers {{
        hash $client_id consistent;
{servers}
    }}
    server {{
        listen {network.VIP}:{network.PORT} backlog=16384;
        js_preread mqtt.preread;
        proxy_pass brokers;
        proxy_protocol on;
        proxy_connect_timeout 5s;
        proxy_timeout 2h;
        tcp_nodelay on;
    }}
}}
""")
        self._run(["nginx", "-p", self.net.directory, "-e", "stderr", "-c",
                   self.net.path("nginx.conf")], lambda: self._listens() and self._worker())

    def _worker(self):
        with open(f"/proc/{self.process.pid}/task/{self.process.pid}/children",
                  encoding="ascii") as f:
            return [int(pid) for pid in f.read().split()]

    def processes(self):
        return [self.process.pid, *self._worker()]


class _Daemon(daemon.Daemon):
    """mqlb with its control thread beside the load and its data thread on the balancer's CPU."""

    def __init__(self, net, text, devices, group):
        super().__init__(net, text)
        self._devices, self._group = devices, group

    def command(self):
        vdevs = [word for device in self._devices for word in ("--vdev", device)]
        return [*self._group.prefix(), *on_cpus(network.LOAD_CPU, network.BALANCER_CPU),
                daemon.program("mqlb"), "--no-shconf", "--no-huge", "-m", "512", "--no-pci",
                "--no-telemetry", "--file-prefix", self.name,
                "--lcores", f"0@{network.LOAD_CPU},1@{network.BALANCER_CPU}", *vdevs,
                "--", "--config", self.config, "--socket", self.socket]


class _Mqlb(Candidate):
    is_mqlb = True
    driver = options = None

    def start(self):
        lines = [f"port add clients device {self.driver}0 role client",
                 f"port add brokers device {self.driver}1 role backend",
                 f"address add clients {netns.CLIENT_GATEWAY}/24",
                 f"address add brokers {netns.BROKER_GATEWAY}/24",
                 "snat add outside range 198.18.1.100 198.18.1.103",
                 "pool add brokers snat outside",
                 "pool set brokers proxy-protocol v2",
                 *(f"backend add brokers broker{i} {a}" for i, a in enumerate(self.listeners())),
                 f"listener add mqtt {network.VIP}:{network.PORT} pool brokers"]
        if self.max_flows:
            lines.append(f"set max-flows {self.max_flows}")
        devices = [f"{self.driver}{i},iface={interface}{self.options}"
                   for i, interface in enumerate((network.LB_CLIENTS, network.LB_BROKERS))]
        self._daemon = _Daemon(self.net, "\n".join(lines) + "\n", devices, self._group)
        self._daemon.start()
        self.process = self._daemon.process

    def __exit__(self, *_):
        if self.process:
            status = self._daemon.stop()
            if status != 0:
                raise RuntimeError(f"mqlb ended with status {status}: {self._daemon.errors()}")

    def threads(self):
        pid = self.process.pid
        # "rte" or "lcore", by DPDK's version.
        (thread,) = tasks_named("(rte|lcore)-worker-1", f"/proc/{pid}/task")
        return [(pid, thread)]

    def loops(self):
        """(loops, loops that found nothing) of the data core so far."""
        (row,) = self._daemon.show("cores")
        return row["loops"], row["idle_loops"]

    def set_poll(self, mode):
        self._daemon.ctl(f"set poll {mode}")


class MqlbAfPacket(_Mqlb):
    name, title = "mqlb-afpacket", "mqlb, AF_PACKET"
    driver, options = "net_af_packet", ""


class MqlbAfXdp(_Mqlb):
    """veth receives for XDP on the CPU that sends, whatever RPS says, unless threads do it: these
    are put on the balancer's CPU, and come before the data core there, as a softirq would."""

    name, title = "mqlb-afxdp", "mqlb, AF_XDP"
    driver, options = "net_af_xdp", ",start_queue=0,queue_count=1"

    def start(self):
        before = tasks_named("napi/lb-.*")
        super().start()
        for interface in (network.LB_CLIENTS, network.LB_BROKERS):
            network.write_sys(self.net.balancer, f"class/net/{interface}/threaded", "1")
        self._polls = self.pinned_polls(before)

    def pinned_polls(self, before):
        """The kernel's threads that poll the veths; in a PID namespace they cannot be seen."""
        polls = [t for t in tasks_named("napi/lb-.*") if t not in before]
        if len(polls) != 2:
            raise RuntimeError(f"{len(polls)} threads poll the balancer's veths, not 2")
        for thread in polls:
            os.sched_setaffinity(thread, {network.BALANCER_CPU})
            os.sched_setscheduler(thread, os.SCHED_FIFO, os.sched_param(1))
        return polls

    def threads(self):
        return super().threads() + [(thread, thread) for thread in self._polls]


ALL = [Direct, MqlbAfPacket, MqlbAfXdp, HAProxy, Nginx]
