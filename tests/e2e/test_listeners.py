"""Several pools and listeners: clients go by what they say, and what is not MQTT passes unread."""

import ssl
import subprocess

import pytest

from tests.support import daemon, mqtt, netns, wait

TCP_PORT = 8883


@pytest.fixture
def lb(balancer, sink_hosts):
    """Two pools with one sink each behind one listener, all three behind another one in mode tcp."""
    text = (daemon.pool("main", sink_hosts[:1]) +
            "pool add cars snat outside\npool set cars proxy-protocol v2\n" +
            daemon.backend_line("cars", sink_hosts[1]) + "\n" +
            daemon.pool("raw", sink_hosts, "listener set raw mode tcp", port=TCP_PORT))
    with balancer(text) as started:
        yield started


def dial(topology, port=1883, version=mqtt.V311):
    return mqtt.Client(topology.clients[0].connect((netns.VIP, port)), version)


def served_by(sinks, client_id):
    return [s.name for s in sinks if any(r["client_id"] == client_id and r["end"] is None
                                         for r in s.call("records"))]


def test_rules_send_clients_to_pools_live(lb, topology, sinks, steady):
    first, cars = sinks[0].name, sinks[1].name
    with steady(client_id="stays"):
        for client_id in ("car-1", "bus-1"):
            with dial(topology) as client:
                assert client.connect(client_id) == 0
                assert served_by(sinks, client_id) == [first]
        lb.commands("rule add main cars client-id car-* pool cars",
                    "rule add main new protocol 5.0 pool cars")
        for client_id, version, expected in (
                ("car-2", mqtt.V311, cars), ("bus-2", mqtt.V311, first), ("bus-3", mqtt.V5, cars),
                ("car-3", mqtt.V5, cars)):
            with dial(topology, version=version) as client:
                assert client.connect(client_id) == 0
                assert served_by(sinks, client_id) == [expected]
                spoken = "5.0" if version == mqtt.V5 else "3.1.1"
                (route,) = lb.show(f"route listener main protocol {spoken} client-id {client_id}")
                rule = "cars" if client_id.startswith("car") else "new" if expected == cars else ""
                assert (route["backend"], route["rule"]) == (expected, rule)
                (flow,) = lb.show(f"flows client-id {client_id}")
                assert flow["pool"] == ("cars" if expected == cars else "main")
        lb.commands("rule set main new client-id bus-*")
        with dial(topology, version=mqtt.V5) as client:
            assert client.connect("ship-1") == 0
            assert served_by(sinks, "ship-1") == [first]
        assert [r["rule"] for r in lb.show("rules") if r["listener"] == "main"] == [
            "cars", "new", ""]
        with pytest.raises(daemon.CommandFailed, match="uses pool 'cars'"):
            lb.commands("pool remove cars")
        lb.commands("rule remove main cars", "rule remove main new", "pool remove cars")
        with dial(topology) as client:
            assert client.connect("car-4") == 0
            assert served_by(sinks, "car-4") == [first]


@pytest.mark.mixed
def test_tcp_keeps_an_address_at_its_broker(lb, topology, sinks):
    homes = {}
    for address in netns.client_addresses(1)[:6]:
        for n in range(3):
            client_id = f"raw-{address}-{n}"
            sock = topology.clients[0].connect((netns.VIP, TCP_PORT), source=(address, 0))
            with mqtt.Client(sock) as client:
                assert client.connect(client_id) == 0
                homes.setdefault(address, []).extend(served_by(sinks, client_id))
    assert all(len(set(names)) == 1 for names in homes.values())
    assert len({names[0] for names in homes.values()}) > 1


@pytest.mark.parametrize("policy", ["round-robin", "least-connections"])
def test_tcp_by_turn_or_load(lb, topology, sinks, policy):
    lb.commands(f"pool set raw key {policy}")
    clients = [dial(topology, TCP_PORT) for _ in range(9)]
    assert [c.connect(f"turn-{n}") for n, c in enumerate(clients)] == [0] * 9
    assert [s.call("count") for s in sinks] == [3, 3, 3]
    for client in clients:
        client.sock.close()


def test_route_of_a_client_that_is_not_read(lb):
    for key, fallback, picks in (("client-id", "source-address", "source-address"),
                                 ("user-name", "client-id", "source-address"),
                                 ("user-name", "round-robin", "round-robin"),
                                 ("least-connections", "spread", "least-connections")):
        lb.commands(f"pool set raw key {key}", f"pool set raw fallback {fallback}")
        with pytest.raises(daemon.CommandFailed,
                           match=f"mode tcp: it reads no Client ID; pool raw picks by {picks}"):
            lb.show("route listener raw client-id x")


def test_tcp_without_broker_is_reset(lb, topology, sinks):
    lb.commands(*(f"backend set raw {s.name} state maintenance" for s in sinks))
    # The reset may be there before connect() looks whether it has succeeded.
    with pytest.raises(ConnectionResetError), \
            topology.clients[0].connect((netns.VIP, TCP_PORT)) as sock:
        sock.sendall(b"\x16\x03\x01")
        sock.recv(1)


def answers(namespace, address):
    try:
        namespace.connect(address).close()
    except ConnectionRefusedError:
        return False
    return True


def test_counts_of_a_new_listener_and_backend_begin_at_0(lb, topology, sinks):
    """They get the ids of removed ones."""
    lb.commands("set closing-timeout 1", "set snat-quarantine 0", "listener remove raw",
                "pool remove raw", *(f"listener set main {s}" for s in (
                    "max-connections 9", "source-rate 90 burst 99", "client-id-rate 3 per 60")))
    for n in range(5):
        with dial(topology) as client:
            assert client.connect(f"before-{n % 2}") == 0
            (row,) = lb.show("listeners")
            assert row["connections"] >= 1
    (row,) = lb.show("listeners")
    assert (row["accepted"], row["spliced"]) == (5, 5)
    assert (row["max_connections"], row["connect_rate"], row["source_connections"],
            row["source_rate"], row["client_id_rate"]) == (9, "0", 0, "90 burst 99", "3 per 60")
    lb.idle()
    vip, (first, second) = netns.endpoint(netns.VIP, 1883), sinks[:2]
    lb.commands("listener remove main", f"backend remove main {first.name}",
                f"listener add next {vip} pool main",
                f"backend add main next {netns.endpoint(second.address, second.port)}")
    (row,) = lb.show("listeners")
    assert (row["listener"], row["max_connections"], row["source_rate"], row["client_id_rate"]) == (
        "next", 0, "0", "0")
    assert [row[c] for c in ("accepted", "spliced", "refused", "connections")] == [0] * 4
    (row,) = (r for r in lb.show("backends") if r["pool"] == "main")
    assert [row[c] for c in ("backend", "selected", "established", "bytes_to_backend",
                             "bytes_to_client")] == ["next", 0, 0, 0, 0]
    with dial(topology) as client:
        assert client.connect("after") == 0
        (row,) = lb.show("listeners")
        assert [row[c] for c in ("accepted", "spliced", "flows", "connections")] == [1] * 4


@pytest.mark.mixed
def test_tls_passes(balancer, topology, tmp_path):
    """A TLS handshake with a server behind the balancer, and bytes both ways."""
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2",
                    "-subj", "/CN=broker", "-keyout", str(key), "-out", str(certificate)],
                   check=True, capture_output=True)
    host = topology.brokers[0]
    server = host.popen(["openssl", "s_server", "-accept",
                         netns.endpoint(netns.broker_address(1), TCP_PORT),
                         "-key", str(key), "-cert", str(certificate), "-rev", "-quiet"],
                        stdin=subprocess.DEVNULL)
    try:
        text = ("pool add tls snat outside\n"
                f"backend add tls server {netns.endpoint(netns.broker_address(1), TCP_PORT)}\n"
                f"listener add tls {netns.endpoint(netns.VIP, TCP_PORT)} pool tls\n"
                "listener set tls mode tcp\n")
        context = ssl.create_default_context(cafile=str(certificate))
        context.check_hostname = False
        wait.until(lambda: answers(host, (netns.broker_address(1), TCP_PORT)), 10, "the server")
        with balancer(text):
            raw = topology.clients[0].connect((netns.VIP, TCP_PORT))
            with context.wrap_socket(raw) as sock:
                sock.sendall(b"abc" * 1000 + b"\n")
                answer = b""
                while len(answer) < 3001:
                    answer += sock.recv(4096)
                assert answer == b"cba" * 1000 + b"\n"
    finally:
        server.terminate()
        server.wait()
