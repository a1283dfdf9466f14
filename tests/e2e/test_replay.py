"""mqlb-replay: against the daemon, other balancers, and without ports."""

import os
import select
import shutil
import signal
import socket
import subprocess
import tempfile

import pytest
from scapy.layers.inet import IP, TCP
from scapy.layers.inet6 import ICMPv6ND_NS, IPv6
from scapy.layers.l2 import ARP, Ether

from tests.support import agent, capture, daemon, mqtt, netns, replay, wait

IS_IPV6 = netns.CLIENTS.is_ipv6
PORTS = {"sinks": 1885, "rabbit": 1883, "mosquitto": 1884, "played": 1886}
HAPROXY = netns.client_addresses(2)[0], 1890
NOBODYS_ADDRESS = netns.CLIENTS.address(99)
NOBODY = 65534
VERSIONS = {"session-31": mqtt.V31, "session-311": mqtt.V311, "session-5": mqtt.V5}
# (broker kind, capture): RabbitMQ 3.10 does not speak MQTT 5.
SPOKEN = [("rabbit", "session-31"), ("rabbit", "session-311"), ("mosquitto", "session-311"),
          ("mosquitto", "session-5")]


def target(kind):
    return netns.endpoint(netns.VIP, PORTS[kind])


@pytest.fixture(scope="module")
def lb(balancer, rabbits, mosquittos, sink_hosts):
    with balancer(
            "set closing-timeout 1\n",
            daemon.pool("sinks", sink_hosts, "listener set sinks max-connect 70000",
                        port=PORTS["sinks"]),
            daemon.pool("rabbit", rabbits, port=PORTS["rabbit"]),
            daemon.pool("mosquitto", mosquittos, port=PORTS["mosquitto"]),
            daemon.pool("played", replay.nodes(), "listener set played max-connect 70000",
                        port=PORTS["played"])) as started:
        yield started


@pytest.fixture(scope="module")
def host(topology):
    made = replay.Host(topology)
    yield made
    made.close()


def record(namespace, client_id, version=mqtt.V311, **connect):
    """The frames of a real client: CONNECT, SUBSCRIBE, PUBLISH, PINGREQ, DISCONNECT."""
    with capture.Recorder(namespace) as recorder:
        sock = namespace.connect((netns.VIP, PORTS["sinks"]))
        port = sock.getsockname()[1]
        with mqtt.Client(sock, version) as client:
            assert client.connect(client_id, **connect) == 0
            client.send(mqtt.subscribe("echo", version=version))
            client.expect(mqtt.SUBACK)
            client.echo(b"there and back")
            client.send(mqtt.pingreq())
            client.expect(mqtt.PINGRESP)
            client.send(mqtt.disconnect())
            assert client.receive() is None
        return recorder.until_closed(port)


def payload_frames(frames):
    """Where frames with payload from the client are."""
    sent = ((i, Ether(data)[IPv6 if IS_IPV6 else IP]) for i, (_, data) in enumerate(frames))
    return [i for i, ip in sent if ip.dst == netns.VIP and ip[TCP].payload]


def with_losses(frames):
    """As if CONNECT and PUBLISH had been lost behind the place of capture, and were repeated."""
    again = payload_frames(frames)[0:3:2]
    return [copy for i, frame in enumerate(frames) for copy in [frame] * (2 if i in again else 1)]


@pytest.fixture(scope="module")
def captures(lb, topology, sink_hosts, tmp_path_factory):
    """{name: (file, sha256 of what the client says)}."""
    directory = tmp_path_factory.mktemp("captures")
    found = {}

    def keep(name, frames, client_id):
        (digest,) = digests(sink_hosts, client_id)
        found[name] = capture.write(directory / f"{name}.pcap", frames), digest

    for name, version in VERSIONS.items():
        frames = record(topology.clients[0], name, version)
        keep(name, frames, name)
    frames = record(topology.clients[0], "losses")
    keep("losses", with_losses(frames), "losses")
    keep("64-kib", record(topology.clients[0], "64-kib", user="u", password=b"p" * 65530), "64-kib")
    return found


def digests(sinks, client_id):
    """Of what came from clients of this name."""
    return [r["sha256"] for sink in sinks for r in sink.call("records")
            if r["client_id"] == client_id]


def problems(report):
    return [c["problem"] for c in report["connections"] if c["problem"]]


def played_from(row):
    """The address."""
    return row["played_as"].rpartition(":")[0].strip("[]")


def peers_seen(kind, nodes):
    """{Client ID: its addresses}, as the brokers saw them."""
    if kind == "mosquitto":
        return {name: peer[0] for node in nodes for name, peer in node.peers().items()}
    return {name: address for node in nodes for name, address in node.accepted()}


@pytest.mark.parametrize("speed", ["1", "max"])
@pytest.mark.parametrize("kind, name", SPOKEN)
def test_real_brokers(host, captures, rabbits, mosquittos, kind, name, speed):
    """Sessions are played to their end, and the broker sees them come from the client network.

    Its bytes may differ: it may answer PINGREQ before it passes on a message, or have properties.
    """
    status, report, errors = host.play("--speed", speed, "--ignore-server-bytes",
                                       captures[name][0], target=target(kind))
    assert (status, problems(report)) == (0, []), errors
    (row,) = report["connections"]
    assert row["end"] == "closed" and played_from(row) == replay.FIRST_CLIENT
    assert row["to_client"]["arrived"] >= 11  # CONNACK, SUBACK, PINGRESP
    nodes = {"rabbit": rabbits, "mosquitto": mosquittos}[kind]
    wait.until(lambda: peers_seen(kind, nodes).get(name) == replay.FIRST_CLIENT, 10,
               f"{name} seen at {kind}")


@pytest.mark.mixed
@pytest.mark.parametrize("name", [*VERSIONS, "losses", "64-kib"])
def test_bytes_reach_the_broker(host, captures, sinks, name):
    path, digest = captures[name]
    status, report, errors = host.play(path, target=target("sinks"))
    assert (status, problems(report)) == (0, []), errors
    wait.until(lambda: digests(sinks, name), 5, "the sink's record")
    assert digests(sinks, name) == [digest]


def test_again_and_again(host, captures, sinks):
    """Runs from the same addresses follow each other at once: no old connection is in the way."""
    for _ in range(3):
        status, report, errors = host.play(captures["session-311"][0], target=target("sinks"))
        assert (status, problems(report)) == (0, []), errors


BOTH_SIDES = [
    ("stub", "session-311", [], 1),
    ("capture-31", "session-31", ["--brokers", "capture"], 1),
    ("capture-5", "session-5", ["--brokers", "capture"], 1),
    ("many", "session-311", ["--clients", "200"], 200),
    ("many-and-again", "session-5", ["--clients", "20", "--repeat", "3", "--speed", "max"], 60),
    ("losses", "losses", ["--brokers", "capture"], 1),
    ("64-kib", "64-kib", ["--brokers", "capture"], 1),
    ("64-kib-max", "64-kib", ["--speed", "max", "--clients", "3"], 3),
]


@pytest.mark.mixed
@pytest.mark.parametrize("name, options, count", [r[1:] for r in BOTH_SIDES],
                         ids=[r[0] for r in BOTH_SIDES])
def test_both_sides(host, captures, lb, name, options, count):
    """The daemon between played clients and played brokers: all bytes arrive, both ways."""
    status, report, errors = host.play(*host.both_sides(*options), captures[name][0],
                                       target=target("played"))
    assert (status, problems(report)) == (0, []), errors
    rows = report["connections"]
    assert len(rows) == count
    for row in rows:
        assert row["to_broker"]["expected"] == row["to_broker"]["arrived"] > 0
        assert row["to_client"]["expected"] == row["to_client"]["arrived"] > 0
        assert row["proxy_header"] == f"v2 {row['played_as']} > {target('played')}"
        route = lb.route_row(row["client_id"], "played") if count < 10 else None
        assert route is None or route["endpoint"] == row["backend"]
    if count == 200:
        assert {row["backend"] for row in rows} == set(replay.BROKERS)
    if name == "losses":
        assert rows[0]["segments"]["played"] > 9
    wait.until(lambda: lb.flows_in_use() == 0, 30, "no flow is left", interval=0.1)


def test_against_haproxy(host, captures, topology, tmp_path):
    """Another balancer on the clients' network, with a broker behind it."""
    namespace = topology.clients[1]
    path = tmp_path / "haproxy.cfg"
    path.write_text(f"""\
defaults
    mode tcp
    timeout connect 5s
    timeout client 1m
    timeout server 1m
frontend mqtt
    bind {netns.endpoint(*HAPROXY)}
    default_backend sink
backend sink
    server sink 127.0.0.1:1885 send-proxy-v2
""")
    sink = agent.Agent(namespace, "tests.support.sink")
    sink.call("listen", address="127.0.0.1", port=1885)
    haproxy = namespace.popen(["/usr/sbin/haproxy", "-db", "-f", str(path)])
    try:
        wait.until(lambda: is_open(namespace, *HAPROXY), 10, "HAProxy is up")
        for name in ("session-31", "session-5", "64-kib"):
            status, report, errors = host.play(
                "--clients", 20, "--speed", "max", captures[name][0],
                target=netns.endpoint(*HAPROXY))
            assert (status, problems(report)) == (0, []), errors
            assert digests([sink], name) == [captures[name][1]]
            assert len(digests([sink], f"{name}-19")) == 1
    finally:
        haproxy.terminate()
        haproxy.wait()
        sink.close()


def is_open(namespace, address, port):
    try:
        namespace.connect((address, port), timeout=1).close()
        return True
    except OSError:
        return False


def test_nobody_answers(host, captures):
    status, report, errors = host.play("--patience", 2, captures["session-311"][0],
                                       target=netns.endpoint(NOBODYS_ADDRESS, 1883))
    assert (status, report) == (2, None)
    protocol = "neighbour solicitations" if IS_IPV6 else "ARP"
    assert f"mqlb-replay: {NOBODYS_ADDRESS} does not answer {protocol}" in errors


def conducts(conduct):
    return [f"--broker={b}:{conduct}" for b in replay.BROKERS]


@pytest.mark.parametrize("conduct, problem", [
    ("refuse", "no broker took the client: CONNACK server unavailable"),
    ("silent", "no broker took the client: CONNACK server unavailable"),
    ("reset", "no broker took the client: CONNACK server unavailable"),
    ("mute", "stalled: waited for reply 1 of the broker"),
])
def test_brokers_that_fail(host, captures, lb, conduct, problem):
    status, report, errors = host.play(
        *host.both_sides("--patience", 5), *conducts(conduct), captures["session-311"][0],
        target=target("played"))
    assert (status, problems(report)) == (1, [problem]), errors
    wait.until(lambda: lb.flows_in_use() == 0, 30, "no flow is left", interval=0.1)


@pytest.mark.parametrize("sink_values, problem", [
    ({"connack_code": 5}, "the broker refused the client: CONNACK code 5"),
    ({"mode": "silent"}, "stalled: waited for reply 1 of the broker"),
    ({"mode": "reset"}, "the broker refused the client: CONNACK code 3"),
])
def test_brokers_of_others_that_fail(host, captures, sinks, sink_values, problem):
    """That brokers may answer otherwise does not mean that they may refuse."""
    for sink in sinks:
        sink.call("set", **sink_values)
    try:
        status, report, errors = host.play("--patience", 2, "--ignore-server-bytes",
                                           captures["session-311"][0], target=target("sinks"))
    finally:
        for sink in sinks:
            sink.call("set", connack_code=0)
    assert (status, problems(report)) == (1, [problem]), errors


def test_nothing_listens(host, captures):
    status, report, _ = host.play(captures["session-311"][0], target=netns.endpoint(netns.VIP, 9))
    assert (status, problems(report)) == (1, ["refused"])


def test_interrupt_ends_it_with_a_report(host, captures, sinks, lb):
    """What is open is reset; what was not played to its end is a difference."""
    with host.start("--clients", 5, "--speed", 0.001, "--ignore-server-bytes",
                    captures["session-311"][0], target=target("sinks")) as process:
        wait.until(lambda: sum(sink.call("count") for sink in sinks) == 5, 60, "all are connected")
        process.send_signal(signal.SIGINT)
        report, errors = finish(process)
    assert process.returncode == 1
    assert "interrupted" in errors
    assert problems(report) == ["not played to its end"] * 5
    wait.until(lambda: sum(sink.call("count") for sink in sinks) == 0, 5, "all are gone")
    wait.until(lambda: lb.flows_in_use() == 0, 30, "no flow is left", interval=0.1)


def finish(process):
    out, errors = process.communicate(timeout=20)
    return replay.parse(out), errors


def asks_for(frame):
    """Whose link address is asked for, if one is."""
    if ICMPv6ND_NS in frame:
        return frame[ICMPv6ND_NS].tgt
    return frame[ARP].pdst if ARP in frame else None


def test_interrupt_while_it_asks(host, captures, topology):
    namespace = topology.clients[0]
    kind = 0x86DD if IS_IPV6 else 0x0806
    with namespace:
        sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(kind))
        sock.bind(("eth0", kind))
    with sock, host.start("--patience", 60, captures["session-311"][0],
                          target=netns.endpoint(NOBODYS_ADDRESS, 1883)) as process:
        while select.select([sock], [], [], 20)[0]:
            if asks_for(Ether(sock.recv(2048))) == NOBODYS_ADDRESS:
                break
        process.send_signal(signal.SIGINT)
        report, _ = finish(process)
    assert (process.returncode, problems(report)) == (1, ["not played to its end"])


def test_list(captures):
    done = replay.run("--list", captures["session-5"][0], captures["64-kib"][0])
    assert (done.returncode, done.stderr) == (0, "")
    rows = [line.split() for line in done.stdout.splitlines()[1:]]
    assert [row[2:4] for row in rows] == [["session-5", "5.0"], ["64-kib", "3.1.1"]]


WRONG = [
    ("nothing", [], "no capture is named"),
    ("unknown option", ["--frobnicate", "x"], "--frobnicate"),
    ("no configuration", ["--offline", "CAPTURE"], "--config"),
    ("no client port", ["--live", "--target", "198.18.0.10:1883", "CAPTURE"], "--client-port"),
    ("no target", ["--live", "--client-port", "p", "CAPTURE"], "--target"),
    ("no EAL", ["--live", "--client-port", "p", "--target", "198.18.0.10:1883", "CAPTURE"], "EAL"),
    ("half of a broker side", ["--live", "--client-port", "p", "--target", "198.18.0.10:1883",
                               "--broker-port", "q", "CAPTURE"], "belong together"),
    ("conduct of nobody", ["--live", "--client-port", "p", "--target", "198.18.0.10:1883",
                           "--broker", "198.18.1.1:1883:mute", "CAPTURE"], "198.18.1.1:1883"),
    ("gateway of the other family", ["--live", "--client-port", "p", "--target",
                                     "[2001:db8::10]:1883", "--gateway", "198.18.0.1", "CAPTURE"],
     "--gateway: 198.18.0.1 leads to no [2001:db8::10]:1883"),
    ("live only", ["--offline", "--config", "c", "--gateway", "198.18.0.1", "CAPTURE"],
     "--gateway is for --live"),
    ("offline only", ["--live", "--client-port", "p", "--target", "198.18.0.10:1883",
                      "--output", "o", "CAPTURE"], "--output is for --offline"),
    ("not a number", ["--list", "--clients", "many", "CAPTURE"], "many"),
    ("no configuration there", ["--offline", "--config", "/nowhere.conf", "CAPTURE"],
     "/nowhere.conf"),
]


@pytest.mark.parametrize("arguments, word", [row[1:] for row in WRONG], ids=[r[0] for r in WRONG])
def test_wrong_usage(captures, arguments, word):
    path = captures["session-5"][0]
    done = replay.run(*[path if a == "CAPTURE" else a for a in arguments])
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("mqlb-replay: ") and word in done.stderr.splitlines()[0]


@pytest.mark.parametrize("content", [None, b"", b"no capture\n", "cut"])
def test_unreadable_capture(captures, tmp_path, content):
    path = tmp_path / "broken.pcap"
    if content == "cut":
        with open(captures["session-5"][0], "rb") as f:
            content = f.read()[:-5]
    if content is not None:
        path.write_bytes(content)
    done = replay.run("--list", path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("mqlb-replay: ") and "broken.pcap" in done.stderr


@pytest.fixture
def open_directory():
    """A directory that others may use, with mqlb-replay in it."""
    path = tempfile.mkdtemp(prefix="mqlb-replay-")
    os.chmod(path, 0o777)
    shutil.copy(daemon.program("mqlb-replay"), path)
    yield path
    shutil.rmtree(path)


def as_nobody(directory, *arguments, program="mqlb-replay", environment=None):
    return subprocess.run(
        ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups",
         os.path.join(directory, program), *arguments],
        cwd=directory, env=environment or {}, capture_output=True, text=True, timeout=60,
        check=False)


@pytest.mark.parametrize("foreign", [False, True])
def test_offline_needs_no_privileges(captures, open_directory, foreign):
    """Nor a directory of its own for the EAL: a foreign one in the way is no hindrance."""
    for name in ("session-5", "64-kib"):
        shutil.copy(captures[name][0], open_directory)
    environment = {}
    if foreign:
        runtime = os.path.join(open_directory, "runtime")
        os.makedirs(os.path.join(runtime, "dpdk"), mode=0o700)
        environment["RUNTIME_DIRECTORY"] = runtime
    with open(os.path.join(open_directory, "lb.conf"), "w", encoding="ascii") as f:
        f.write(daemon.config(daemon.pool("played", replay.nodes(),
                                          "listener set played max-connect 70000")))
    done = as_nobody(open_directory, "--offline", "--config", "lb.conf", "--brokers", "capture",
                     "--clients", "50", "--output", "out.pcapng", "--json",
                     "session-5.pcap", "64-kib.pcap", environment=environment)
    assert done.returncode == 0, done.stderr
    totals = replay.parse(done.stdout)["totals"]
    assert (totals["connections"], totals["equal"]) == (100, 100)
    output = os.path.join(open_directory, "out.pcapng")
    assert os.stat(output).st_uid == NOBODY
    assert os.path.getsize(output) > 50 * 65536
