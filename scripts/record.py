#!/usr/bin/python3
"""Records what real clients and real brokers say to each other, for the golden suite. Needs root.

    scripts/record.py [--list] [NAME...]     all, or these, to tests/golden/recorded/NAME.txt

The network is that of the tests; the balancer's place is taken by a router, so that clients talk to
the broker directly. tcpdump listens on the client's interface. Each recording is another one:
sequence numbers, timestamps and losses are as they came.
"""

import argparse
import contextlib
import os
import shutil
import signal
import subprocess
import sys
import threading

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

import paho.mqtt.client as paho  # noqa: E402
from paho.mqtt.properties import PacketTypes, Properties  # noqa: E402

from scripts import bad_router, capture_text  # noqa: E402
from scripts.scenario.catalogue import BEGINNING  # noqa: E402
from tests.support import brokers, capture_file, netns, wait  # noqa: E402

DIRECTORY = os.path.join(netns.ROOT, "tests", "golden", "recorded")
BROKER = netns.broker_address(1)
_PATIENCE = 20  # seconds
_QUIET = 0.7  # seconds without a packet end a recording

_MOSQUITTO_CONF = f"""\
listener 1883 {BROKER}
allow_anonymous true
persistence false
set_tcp_nodelay true
"""

RECORDINGS = {}


def recording(broker):
    """Enters a function that makes clients talk; its name is the recording's, with dashes."""
    def enter(talk):
        RECORDINGS[talk.__name__.replace("_", "-")] = (broker, talk)
        return talk
    return enter


class Network:
    """Client, router and broker; a context."""

    def __init__(self):
        self._topology = netns.Topology(clients=1, brokers=1, label="record")

    def __enter__(self):
        topology = self._topology.__enter__()
        self.client, self.broker = topology.clients[0], topology.brokers[0]
        self.path = topology.path
        topology.balancer.ip(f"addr add {netns.CLIENT_GATEWAY}/24 dev {netns.LB_CLIENTS}",
                             f"addr add {netns.BROKER_GATEWAY}/24 dev {netns.LB_BROKERS}")
        topology.balancer.sysctl(net__ipv4__ip_forward=1)
        return self

    def __exit__(self, *exception):
        self._topology.__exit__(*exception)

    @contextlib.contextmanager
    def mosquitto(self):
        path = self.path("mosquitto.conf")
        with open(path, "w", encoding="ascii") as f:
            f.write(_MOSQUITTO_CONF)
        process = self.broker.popen(["/usr/sbin/mosquitto", "-c", path],
                                    stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            wait.until(self._answers, _PATIENCE, "mosquitto answers")
            yield
        finally:
            process.terminate()
            process.wait()

    @contextlib.contextmanager
    def rabbitmq(self):
        node = brokers.RabbitMq(self._topology, 1, proxy_protocol=False).ready()
        try:
            yield
        finally:
            node.stop()

    def _answers(self):
        try:
            self.client.connect((BROKER, 1883), timeout=1).close()
            return True
        except OSError:
            return False

    @contextlib.contextmanager
    def bad_line(self):
        """Loss, delay and reordering between client and broker, both ways."""
        balancer = self._topology.balancer
        sides = ((netns.LB_CLIENTS, self.client.mac()), (netns.LB_BROKERS, self.broker.mac()))
        balancer.sysctl(net__ipv4__ip_forward=0)
        try:
            with bad_router.BadRouter(balancer, sides):
                yield
        finally:
            balancer.sysctl(net__ipv4__ip_forward=1)

    @contextlib.contextmanager
    def captured(self, path):
        """Everything on the client's interface, until it has been quiet for a while."""
        process = self.client.popen(
            ["tcpdump", "-i", "eth0", "-w", path, "-U", "--immediate-mode", "-s", "0",
             "--time-stamp-precision", "nano", "tcp"], stderr=subprocess.PIPE, text=True)
        try:
            while "listening on" not in (line := process.stderr.readline()):
                if not line:
                    raise RuntimeError("tcpdump ended at its start")
            yield
            self._await_quiet(path)
        finally:
            process.send_signal(signal.SIGINT)
            process.communicate()

    @staticmethod
    def _await_quiet(path):
        size = -1
        pause = threading.Event()
        while size != (size := os.path.getsize(path)):
            pause.wait(_QUIET)


class Subscriber:
    """mosquitto_sub in the client's namespace, once it is subscribed; ends with its messages."""

    def __init__(self, network, *arguments):
        self._process = network.client.popen(
            ["stdbuf", "-oL", "mosquitto_sub", "-d", "-h", BROKER, "-W", str(_PATIENCE),
             *arguments],
            stdout=subprocess.PIPE, text=True)
        self._await("Subscribed")

    def _await(self, text):
        while text not in (line := self._process.stdout.readline()):
            if not line:
                raise RuntimeError(f"mosquitto_sub ended before '{text}'")

    def finish(self):
        self._process.communicate(timeout=_PATIENCE)

    def kill(self):
        self._process.kill()
        self._process.communicate()


def publish(network, *arguments, **options):
    network.client.run(["mosquitto_pub", "-h", BROKER, *arguments], timeout=_PATIENCE,
                       stdout=subprocess.DEVNULL, **options)


def publish_and_subscribe(network, version, qualities="012"):
    """A message of each QoS from one client to another. RabbitMQ 3.10 has no QoS 2."""
    common = ("-V", version, "-t", "house/kitchen")
    subscriber = Subscriber(network, *common, "-i", "listener", "-q", qualities[-1],
                            "-C", str(len(qualities)), "-k", "30")
    for qos in qualities:
        publish(network, *common, "-i", f"speaker-{qos}", "-q", qos, "-m", f"quality {qos}")
    subscriber.finish()


@recording("mosquitto")
def mosquitto_clients_31(network):
    publish_and_subscribe(network, "mqttv31")


@recording("mosquitto")
def mosquitto_clients_311(network):
    publish_and_subscribe(network, "mqttv311")


@recording("mosquitto")
def mosquitto_clients_5(network):
    publish_and_subscribe(network, "mqttv5")


@recording("rabbitmq")
def rabbitmq_31(network):
    publish_and_subscribe(network, "mqttv31", "01")


@recording("rabbitmq")
def rabbitmq_311(network):
    publish_and_subscribe(network, "mqttv311", "01")


@recording("mosquitto")
def retained_and_will(network):
    """A retained message meets a late subscriber; a client with a will is killed."""
    publish(network, "-i", "earlier", "-t", "state/lamp", "-r", "-q", "1", "-m", "on")
    watcher = Subscriber(network, "-i", "watcher", "-t", "state/#", "-C", "2", "-q", "1")
    mortal = Subscriber(network, "-i", "mortal", "-t", "nothing", "--will-topic", "state/mortal",
                        "--will-payload", "gone", "--will-qos", "1")
    mortal.kill()
    watcher.finish()
    publish(network, "-i", "cleaner", "-t", "state/lamp", "-r", "-n")


class PahoClient:
    """A client of the paho library whose steps are awaited; a context that ends in DISCONNECT."""

    def __init__(self, network, client_id, version, user=None, **connect):
        clean = {} if version == paho.MQTTv5 else {"clean_session": connect.pop("clean")}
        self._client = paho.Client(client_id, protocol=version, **clean)
        if user:
            self._client.username_pw_set(*user)
        self._events = {name: threading.Event() for name in ("connect", "subscribe", "message",
                                                             "disconnect")}
        for name, event in self._events.items():
            setattr(self._client, f"on_{name}", lambda *_, e=event: e.set())
        with network.client:
            self._client.connect(BROKER, 1883, keepalive=30, **connect)
        self._client.loop_start()
        self.await_("connect")

    def await_(self, name):
        assert self._events[name].wait(_PATIENCE), f"no {name}"
        self._events[name].clear()

    def subscribe(self, topic, qos):
        self._client.subscribe(topic, qos)
        self.await_("subscribe")

    def publish(self, topic, payload, qos):
        self._client.publish(topic, payload, qos).wait_for_publish(_PATIENCE)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._client.disconnect()
        self.await_("disconnect")
        self._client.loop_stop()


@recording("mosquitto")
def paho_session_311(network):
    """A session that is kept: what came meanwhile is there when the client returns."""
    with PahoClient(network, "keeper", paho.MQTTv311, clean=False) as keeper:
        keeper.subscribe("post", 2)
    with PahoClient(network, "postman", paho.MQTTv311, clean=True) as postman:
        postman.publish("post", b"letter", 2)
    with PahoClient(network, "keeper", paho.MQTTv311, clean=False) as keeper:
        keeper.await_("message")


@recording("mosquitto")
def paho_properties_5(network):
    """MQTT 5: session expiry and user properties, user name and password, a message to itself."""
    properties = Properties(PacketTypes.CONNECT)
    properties.SessionExpiryInterval = 60
    properties.ReceiveMaximum = 20
    properties.UserProperty = ("firmware", "1.2.3")
    with PahoClient(network, "echo-5", paho.MQTTv5, user=("device", "secret"),
                    clean_start=True, properties=properties) as client:
        client.subscribe("loop", 1)
        client.publish("loop", b"back to me", 1)
        client.await_("message")


@recording("rabbitmq")
def paho_rabbitmq_311(network):
    with PahoClient(network, "rabbit-echo", paho.MQTTv311, user=("guest", "guest"),
                    clean=True) as client:
        client.subscribe("loop", 1)
        client.publish("loop", b"back to me", 1)
        client.await_("message")


@recording("mosquitto")
def bad_line(network):
    """Some 12 KB there and 6 KB back over a line that loses and reorders."""
    payload = bytes(97 + (i * 37 + i // 251) % 26 for i in range(6000))
    with network.bad_line():
        subscriber = Subscriber(network, "-i", "far-away", "-t", "up/1", "-C", "1", "-q", "1")
        for n in "12":
            publish(network, "-i", f"uploader-{n}", "-t", f"up/{n}", "-q", "2", "-s", input=payload)
        subscriber.finish()


def record(network, name, talk):
    path = network.path(name + ".pcap")
    with network.captured(path):
        talk(network)
    capture = capture_file.read(path)
    first = capture.packets[0].time
    for packet in capture.packets:  # when it was is nobody's business
        packet.time += BEGINNING - first
    text = talk.__doc__ or "A message of each QoS from one client to another."
    with open(os.path.join(DIRECTORY, name + ".txt"), "w", encoding="ascii") as f:
        f.write(capture_text.encode(capture, f"{text}\nMade by scripts/record.py {name}"))
    print(f"{name}: {len(capture.packets)} packets")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--list", action="store_true", help="names only")
    parser.add_argument("names", nargs="*", metavar="NAME")
    arguments = parser.parse_args()
    if arguments.list:
        print("\n".join(RECORDINGS))
        return 0
    unknown = set(arguments.names) - set(RECORDINGS)
    if unknown:
        parser.error(f"no recording {unknown.pop()}; --list tells all")
    if os.geteuid() != 0 or not shutil.which("tcpdump"):
        parser.error("recording needs root, and tcpdump")
    os.makedirs(DIRECTORY, exist_ok=True)
    wanted = {name: RECORDINGS[name] for name in arguments.names or RECORDINGS}
    with Network() as network:
        for broker in ("mosquitto", "rabbitmq"):
            todo = {name: talk for name, (on, talk) in wanted.items() if on == broker}
            if todo:
                with getattr(network, broker)():
                    for name, talk in todo.items():
                        record(network, name, talk)
    return 0


if __name__ == "__main__":
    sys.exit(main())
