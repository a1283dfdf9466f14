"""MQTT 3.1, 3.1.1 and 5.0 with real clients and real brokers through the balancer."""

import queue
import subprocess

import paho.mqtt.client as paho
import pytest
from paho.mqtt.packettypes import PacketTypes

from tests.support import daemon, mqtt, netns

# (broker kind, version): RabbitMQ 3.10 does not speak MQTT 5.
SPOKEN = [("rabbit", mqtt.V31), ("rabbit", mqtt.V311),
          ("mosquitto", mqtt.V31), ("mosquitto", mqtt.V311), ("mosquitto", mqtt.V5)]
NAMES = {mqtt.V31: "3.1", mqtt.V311: "3.1.1", mqtt.V5: "5.0"}
COMMAND_LINE = {mqtt.V31: "mqttv31", mqtt.V311: "mqttv311", mqtt.V5: "mqttv5"}
PORTS = {"rabbit": 1883, "mosquitto": 1884}

spoken = pytest.mark.parametrize("kind, version", SPOKEN,
                                 ids=[f"{k}-{NAMES[v]}" for k, v in SPOKEN])


@pytest.fixture(scope="module")
def lb(balancer, rabbits, mosquittos):
    with balancer(daemon.pool("rabbit", rabbits, port=PORTS["rabbit"]),
                  daemon.pool("mosquitto", mosquittos, port=PORTS["mosquitto"])) as started:
        yield started


def same_broker(lb, kind, *names):
    """Client IDs beginning with the names that all go to one broker, as these share no messages."""
    wanted = lb.route(names[0], kind)
    found = [names[0]]
    for name in names[1:]:
        found.append(next(f"{name}{n}" for n in range(100)
                          if lb.route(f"{name}{n}", kind) == wanted))
    return found


class Paho:
    """A paho client on a socket in a client namespace, with its messages in a queue."""

    def __init__(self, topology, kind, version, client_id, clean=True, will=None, host=0):
        self._namespace = topology.clients[host]
        options = {} if version == mqtt.V5 else {"clean_session": clean}
        self._start = {"clean_start": clean} if version == mqtt.V5 else {}
        if version == mqtt.V5 and not clean:
            properties = paho.Properties(PacketTypes.CONNECT)
            properties.SessionExpiryInterval = 3600
            self._start["properties"] = properties
        self.client = paho.Client(client_id, protocol=version, **options)
        # The hook that paho has for transports of one's own.
        self.client._create_socket_connection = lambda: self._namespace.connect(
            (netns.VIP, PORTS[kind]))
        if will:
            self.client.will_set(*will)
        self.messages, self._events = queue.Queue(), queue.Queue()
        self.client.on_message = lambda c, u, message: self.messages.put(message)
        self.client.on_connect = lambda c, u, flags, code, *_: self._events.put((code, flags))
        self.client.on_subscribe = lambda c, u, mid, *_: self._events.put(mid)
        self.client.connect(netns.VIP, PORTS[kind], **self._start)
        self.client.loop_start()
        code, self.flags = self._events.get(timeout=10)
        assert code == 0, f"CONNACK {code}"

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.client.disconnect()
        self.client.loop_stop()

    def subscribe(self, topic, qos):
        self.client.subscribe(topic, qos)
        self._events.get(timeout=10)

    def publish(self, topic, payload, qos=1, retain=False):
        self.client.publish(topic, payload, qos, retain).wait_for_publish(timeout=10)

    def message(self):
        got = self.messages.get(timeout=10)
        return got.topic, got.payload, got.retain

    def drop(self):
        """Ends without DISCONNECT."""
        self.client._sock_close()
        self.client.loop_stop()


@spoken
def test_qos(lb, topology, kind, version):
    near, far = same_broker(lb, kind, f"near-{version}", f"far-{version}")
    with Paho(topology, kind, version, near) as one, \
            Paho(topology, kind, version, far, host=1) as two:
        for qos in (0, 1, 2):
            topic = f"qos/{version}/{qos}"
            # RabbitMQ grants at most QoS 1 and then delivers with that.
            two.subscribe(topic, qos)
            payloads = [b"%d" % n * (1 + 400 * n) for n in range(20)]
            for payload in payloads:
                one.publish(topic, payload, qos)
            assert [two.message() for _ in payloads] == [(topic, p, False) for p in payloads]


@spoken
def test_retained_message(lb, topology, kind, version):
    near, far = same_broker(lb, kind, f"keeper-{version}", f"late-{version}")
    topic = f"retained/{version}"
    with Paho(topology, kind, version, near) as one:
        one.publish(topic, b"last words", retain=True)
    with Paho(topology, kind, version, far, host=1) as two:
        two.subscribe(topic, 1)
        assert two.message() == (topic, b"last words", True)


@spoken
def test_will(lb, topology, kind, version):
    near, far = same_broker(lb, kind, f"mortal-{version}", f"heir-{version}")
    topic = f"will/{version}"
    with Paho(topology, kind, version, far, host=1) as two:
        two.subscribe(topic, 1)
        one = Paho(topology, kind, version, near, will=(topic, b"gone", 1, False))
        one.drop()
        assert two.message() == (topic, b"gone", False)


@spoken
def test_persistent_session_from_another_address(lb, topology, kind, version):
    sleeper, sender = same_broker(lb, kind, f"sleeper-{version}", f"sender-{version}")
    topic = f"session/{version}"
    with Paho(topology, kind, version, sleeper, clean=False) as one:
        one.subscribe(topic, 1)
    with Paho(topology, kind, version, sender) as two:
        for n in range(5):
            two.publish(topic, b"%d" % n)
    with Paho(topology, kind, version, sleeper, clean=False, host=1) as again:
        if version != mqtt.V31:  # 3.1 has no session present flag
            assert again.flags["session present"] == 1
        assert [again.message() for _ in range(5)] == [(topic, b"%d" % n, False) for n in range(5)]
    with Paho(topology, kind, version, sleeper, clean=True) as last:  # ends the session
        assert last.flags["session present"] == 0


@spoken
def test_mosquitto_command_line_clients(lb, topology, kind, version):
    publisher, subscriber = same_broker(lb, kind, f"pub-{version}", f"sub-{version}")
    common = ["-h", netns.VIP, "-p", str(PORTS[kind]), "-V", COMMAND_LINE[version],
              "-t", f"shell/{version}", "-q", "1"]
    # The subscriber leaves a session behind, so that nothing depends on who is first.
    session = ["-c", "-i", subscriber, *common]
    if version == mqtt.V5:
        session += ["-x", "300"]
    host = topology.clients[1]
    host.run(["mosquitto_sub", "-E", *session], timeout=20)
    topology.clients[0].run(["mosquitto_pub", "-i", publisher, *common, "-l"],
                            input="one\ntwo\nthree\n", text=True, timeout=20)
    done = host.run(["mosquitto_sub", "-C", "3", *session], timeout=20,
                    stdout=subprocess.PIPE, text=True)
    assert done.stdout.split() == ["one", "two", "three"]
