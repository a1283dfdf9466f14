"""Real brokers in broker namespaces: RabbitMQ, and Mosquitto behind HAProxy.

RabbitMQ (MQTT 3.1, 3.1.1) reads the PROXY protocol itself and tells by its management interface
which address each client has. Mosquitto (MQTT 5 too) does not: HAProxy takes the header off in
front of it and logs the address; at another port, how each connection ended. Everything of a node
is under the run's directory, and a node's own services (Erlang distribution, epmd, management)
listen on its namespace's loopback only.
"""

import base64
import http.client
import json
import os
import re
import shutil
import subprocess
from dataclasses import dataclass

from tests.support import netns, wait

_RABBITMQ_HOME = "/usr/lib/rabbitmq/lib"
_RABBITMQ_CONF = """\
listeners.tcp = none
mqtt.listeners.tcp.default = {address}:{port}
mqtt.proxy_protocol = {proxy}
loopback_users = none
collect_statistics_interval = 1000
mqtt.allow_anonymous = true
mqtt.tcp_listen_options.backlog = 4096
mqtt.tcp_listen_options.nodelay = true
management.sample_retention_policies.global.minute = 1
management.sample_retention_policies.basic.minute = 1
management.sample_retention_policies.detailed.minute = 1
management.tcp.ip = 127.0.0.1
management.tcp.port = 15672
log.console = false
log.file.level = info
"""
# One scheduler per node and no busy waiting: the machine's cores are for the balancer.
_ERLANG_ARGS = "+S 1:1 +sbwt none +sbwtdcpu none +sbwtdio none " \
               "-kernel inet_dist_use_interface {127,0,0,1}"


def _append(path):
    return open(path, "ab")


class RabbitMq:
    """A RabbitMQ node. The constructor starts it; ready() awaits it."""

    def __init__(self, topology, host, port=1883, proxy_protocol=True):
        self.namespace = topology.brokers[host - 1]
        self.address, self.port = netns.broker_address(host), port
        self.name = f"rabbit{host}"
        self.directory = topology.path(self.name)
        os.makedirs(self.directory)
        self._write("rabbitmq.conf", _RABBITMQ_CONF.format(
            address=self.address, port=port, proxy=str(proxy_protocol).lower()))
        self._write("enabled_plugins", "[rabbitmq_management,rabbitmq_mqtt].\n")
        self._log = os.path.join(self.directory, "console.log")
        with _append(self._log) as log:
            self.process = self.namespace.popen([self._server()], env=self._environment(),
                                                stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def _write(self, name, text):
        with open(os.path.join(self.directory, name), "w", encoding="ascii") as f:
            f.write(text)

    @staticmethod
    def _server():
        for version in sorted(os.listdir(_RABBITMQ_HOME)):
            path = os.path.join(_RABBITMQ_HOME, version, "sbin", "rabbitmq-server")
            if os.path.exists(path):
                return path
        raise FileNotFoundError("rabbitmq-server is not installed")

    def _environment(self):
        def inside(name):
            return os.path.join(self.directory, name)
        return {
            "PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": self.directory, "LANG": "C.UTF-8",
            "RABBITMQ_NODENAME": f"{self.name}@localhost",
            "RABBITMQ_CONF_ENV_FILE": "/dev/null",
            "RABBITMQ_CONFIG_FILE": inside("rabbitmq"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": inside("enabled_plugins"),
            "RABBITMQ_MNESIA_BASE": inside("mnesia"), "RABBITMQ_LOG_BASE": inside("log"),
            "RABBITMQ_GENERATED_CONFIG_DIR": inside("generated"),
            "RABBITMQ_PID_FILE": inside("pid"), "ERL_CRASH_DUMP": inside("erl_crash.dump"),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": _ERLANG_ARGS,
            "ERL_EPMD_ADDRESS": "127.0.0.1", "ERL_EPMD_PORT": "4369",
        }

    def ready(self, timeout=120):
        """Waits until the node takes MQTT clients and answers for them."""
        wait.until(self._started, timeout, f"{self.name} is up, see {self._log}", interval=0.1)
        return self

    def _started(self):
        if self.process.poll() is not None:
            with open(self._log, encoding="utf-8", errors="replace") as f:
                raise RuntimeError(f"{self.name} ended at start:\n{f.read()[-3000:]}")
        try:
            self.namespace.connect((self.address, self.port), timeout=1).close()
            self.api("/api/overview")
            return True
        except (OSError, http.client.HTTPException):
            return False

    def api(self, path):
        """GET of the management interface, decoded."""
        connection = http.client.HTTPConnection("127.0.0.1", 15672, timeout=20)
        connection.sock = self.namespace.connect(("127.0.0.1", 15672), timeout=20)
        token = base64.b64encode(b"guest:guest").decode()
        try:
            connection.request("GET", path, headers={"Authorization": f"Basic {token}"})
            response = connection.getresponse()
            body = response.read()
        finally:
            connection.close()
        if response.status != 200:
            raise http.client.HTTPException(f"{path}: {response.status} {body[:200]!r}")
        return json.loads(body)

    def peers(self):
        """{Client ID: (address, port)} of the MQTT clients, as the broker sees them."""
        rows = self.api("/api/connections?columns=peer_host,peer_port,protocol,"
                        "variable_map.client_id")
        return {row["variable_map"]["client_id"]: (row["peer_host"], row["peer_port"])
                for row in rows if "client_id" in row.get("variable_map", {})}

    def accepted(self):
        """(Client ID, address) of all MQTT clients so far, as the broker logged them."""
        log = os.path.join(self.directory, "log", f"{self.name}@localhost.log")
        with open(log, encoding="utf-8", errors="replace") as f:
            return [(match[2], match[1].strip("[]")) for match in _ACCEPTED.finditer(f.read())]

    def stop(self):
        """Ends the node in order, as its service manager would."""
        self.process.terminate()
        self.process.wait(timeout=60)


_ACCEPTED = re.compile(r"accepting MQTT connection <[^>]*> \((\S+):\d+ -> .*client id: (\S+)\)")

_HAPROXY_CONF = """\
global
    maxconn 4000
    log {log} format raw local0
defaults
    mode tcp
    timeout connect 5s
    timeout client 1h
    timeout server 1h
frontend mqtt
    bind {endpoint} accept-proxy
    log global
    option logasap
    tcp-request inspect-delay 10s
    tcp-request content set-var(sess.id) req.payload(0,0),mqtt_field_value(connect,client_identifier) if {{ req.payload(0,0),mqtt_is_valid }}
    tcp-request content accept if {{ req.payload(0,0),mqtt_is_valid }}
    log-format "peer=%ci:%cp id=%[var(sess.id)]"
    default_backend mosquitto
frontend ends
    bind {ends} accept-proxy
    log global
    log-format "ended=%ts written=%B"
    default_backend mosquitto
backend mosquitto
    server local 127.0.0.1:1882
"""
_MOSQUITTO_CONF = """\
listener 1882 127.0.0.1
allow_anonymous true
persistence false
set_tcp_nodelay true
max_connections -1
log_dest stderr
"""
ENDED = re.compile(r"ended=(\S+) written=(\d+)$")
_LOG_LINE = re.compile(r"peer=(\S+):(\d+) id=(.*)$")


@dataclass(frozen=True)
class Endpoint:
    """What a pool needs of a node."""

    name: str
    address: str
    port: int


class Mosquitto:
    """A Mosquitto node behind an HAProxy that takes PROXY headers. Started by the constructor."""

    def __init__(self, topology, host, port=1884):
        self.namespace = topology.brokers[host - 1]
        self.address, self.port = netns.broker_address(host), port
        self.ends_port = port + 10
        self.name = f"mosquitto{host}"
        self.directory = topology.path(self.name)
        os.makedirs(self.directory)
        shutil.chown(self.directory, "mosquitto")
        self.haproxy_log = os.path.join(self.directory, "haproxy.log")
        self.mosquitto_log = os.path.join(self.directory, "mosquitto.conf.out")
        self._processes = []
        self._start(["/usr/sbin/mosquitto", "-c"], "mosquitto.conf",
                    _MOSQUITTO_CONF)
        self._start(["/usr/sbin/haproxy", "-db", "-f"], "haproxy.cfg",
                    _HAPROXY_CONF.format(log="stdout", endpoint=netns.endpoint(self.address, port),
                                         ends=netns.endpoint(self.address, self.ends_port)))

    def _start(self, argv, name, text):
        path = os.path.join(self.directory, name)
        with open(path, "w", encoding="ascii") as f:
            f.write(text)
        log_path = self.haproxy_log if name == "haproxy.cfg" else path + ".out"
        with _append(log_path) as log:
            self._processes.append(self.namespace.popen(
                [*argv, path], stdin=subprocess.DEVNULL, stdout=log, stderr=log))

    def ready(self, timeout=20):
        wait.until(self._started, timeout, f"{self.name} is up, see {self.directory}")
        return self

    def _started(self):
        if any(p.poll() is not None for p in self._processes):
            raise RuntimeError(f"{self.name} ended at start, see {self.directory}")
        try:
            for destination in (("127.0.0.1", 1882), (self.address, self.port)):
                self.namespace.connect(destination, timeout=1).close()
            return True
        except OSError:
            return False

    def logged_at_end(self):
        """The node for a pool, by the port whose connections are logged when they end."""
        return Endpoint(self.name, self.address, self.ends_port)

    def peers(self):
        """{Client ID: (address, port)}: what HAProxy logged, the last one of each Client ID."""
        found = {}
        with open(self.haproxy_log, encoding="utf-8", errors="replace") as f:
            for line in f:
                if match := _LOG_LINE.search(line.rstrip()):
                    found[match[3]] = (match[1], int(match[2]))
        return found
