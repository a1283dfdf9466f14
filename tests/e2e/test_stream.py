"""The bytes of a connection: the first ones, many of them, the last ones."""

import socket

import pytest

from tests.support import daemon, mqtt, netns, tcp, wait
from tests.support.bulk import digest, exchange_bulk, receive

BULK = 200 << 20
WRAP = 1 << 32


@pytest.fixture(scope="module")
def lb(balancer, sink_hosts):
    with balancer(daemon.pool("mqtt", sink_hosts, "listener set mqtt max-connect 300000")) as d:
        yield d


@pytest.fixture
def dial(lb, topology):
    """Makes an mqtt.Client that is connected by TCP; `sequence` chooses its initial number."""
    opened = []

    def connect(version=mqtt.V311, sequence=None, timeout=30, receive_buffer=None):
        sock = topology.clients[0].socket(netns.family_of(netns.VIP))
        opened.append(sock)
        sock.settimeout(timeout)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if receive_buffer:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        if sequence is not None:
            tcp.set_initial_sequence(sock, sequence)
        sock.connect((netns.VIP, 1883))
        return mqtt.Client(sock, version)

    yield connect
    for sock in opened:
        sock.close()


def record_of(sinks, client_id):
    rows = [r for sink in sinks for r in sink.call("records") if r["client_id"] == client_id]
    assert len(rows) == 1, f"{client_id} has {len(rows)} connections"
    return rows[0]


@pytest.mark.mixed
@pytest.mark.parametrize("version", mqtt.VERSIONS)
def test_packets_pipelined_behind_connect(sinks, dial, version):
    sent = mqtt.Connect("pipelined", version).encode() \
        + mqtt.subscribe("echo", version=version) \
        + mqtt.publish("echo", b"early", version=version) + mqtt.pingreq()
    client = dial(version)
    client.send(sent)
    assert client.expect(mqtt.CONNACK).code() == 0
    client.expect(mqtt.SUBACK)
    assert client.expect(mqtt.PUBLISH).publication(version) == ("echo", b"early")
    client.expect(mqtt.PINGRESP)
    record = record_of(sinks, "pipelined")
    assert (record["bytes"], record["sha256"]) == (len(sent), digest(sent))


# The longest password there is, and a CONNECT of over four such fields.
@pytest.mark.mixed
@pytest.mark.parametrize("fields", [1, 4])
def test_large_connect(sinks, dial, fields):
    filler = {"password": b"p" * 65535} if fields == 1 else {
        "password": b"p" * 65535, "will": mqtt.Will("w" * 65535, b"x" * 65535)}
    user = "u" if fields == 1 else "u" * 65535
    packet = mqtt.Connect("large", user=user, **filler).encode()
    assert len(packet) > fields * 65535
    client = dial()
    client.send(packet)
    assert client.expect(mqtt.CONNACK).code() == 0
    client.echo(b"after")
    sent = packet + mqtt.publish("echo", b"after")
    record = record_of(sinks, "large")
    assert (record["bytes"], record["sha256"]) == (len(sent), digest(sent))


@pytest.mark.mixed
@pytest.mark.parametrize("version", mqtt.VERSIONS)
def test_connect_byte_by_byte(sinks, dial, version):
    packet = mqtt.Connect("slow", version, user="u", password="p").encode()
    client = dial(version)
    for i, _ in enumerate(packet):
        # A byte is acknowledged before the next one leaves: none shares a segment. The last one
        # may stay unacknowledged until the broker has it.
        client.send(packet[i:i + 1])
        if i + 1 < len(packet):
            wait.until(lambda: tcp.unacknowledged(client.sock) == 0, 5, f"ACK of byte {i}", 0.001)
    assert client.expect(mqtt.CONNACK).code() == 0
    client.echo(b"and then")
    record = record_of(sinks, "slow")
    assert record["sha256"] == digest(packet + mqtt.publish("echo", b"and then", version=version))


@pytest.mark.mixed
def test_half_closing_client_still_receives(sinks, dial):
    for sink in sinks:
        sink.call("set", keep_half_closed=True)
    client = dial()
    assert client.connect("half") == 0
    client.send(mqtt.publish("sink/send", b"100000"))
    client.sock.shutdown(socket.SHUT_WR)
    assert receive(client, 100000) == digest(tcp.pattern(100000))
    wait.until(lambda: record_of(sinks, "half")["half_closed"], 5, "the FIN at the broker")
    for sink in sinks:
        sink.call("close_all")
    assert client.receive() is None


@pytest.mark.mixed
def test_fin_and_reset_reach_the_other_side(sinks, dial, lb):
    for client_id, end, expected in (("fin", socket.socket.close, "closed"),
                                     ("reset", tcp.reset, "reset")):
        client = dial()
        assert client.connect(client_id) == 0
        end(client.sock)
        wait.until(lambda: record_of(sinks, client_id)["end"] == expected, 5, f"{client_id} passed")
    client = dial()
    assert client.connect("closed by the broker") == 0
    for sink in sinks:
        sink.call("close_all")
    assert client.receive() is None


@pytest.mark.parametrize("before_wrap", [
    None, 1, pytest.param(20, marks=pytest.mark.mixed), 100 << 20])
def test_200_megabytes_each_way(sinks, dial, before_wrap):
    """Also with the client's sequence numbers wrapping: in the SYN, in CONNECT, in the data."""
    sequence = None if before_wrap is None else WRAP - before_wrap
    client = dial(sequence=sequence)
    if sequence is not None:
        assert tcp.send_sequence(client.sock) == (sequence + 1) % WRAP
    assert client.connect("bulk") == 0
    exchange_bulk(client, BULK)
    if sequence is not None:
        assert tcp.send_sequence(client.sock) < sequence


@pytest.mark.parametrize("side", ["broker", "balancer"])
def test_200_megabytes_as_the_answers_sequence_wraps(sinks, dial, side):
    """The broker's own sequence numbers wrap in one case, those that the client sees in the other.

    Neither can be chosen. Both are spread evenly: among enough connections one starts right.
    """
    for sink in sinks:
        sink.call("set", note_sequences=True)
    chosen = None
    for n in range(500):
        client = dial()
        assert client.connect(f"wrap {n}") == 0
        start = tcp.receive_sequence(client.sock)
        if side == "broker":
            start = record_of(sinks, f"wrap {n}")["sequence"]
        if WRAP - (150 << 20) < start < WRAP - (1 << 20):
            chosen = client
            break
        tcp.reset(client.sock)
    assert chosen, "none of 500 connections started just below the wrap"
    exchange_bulk(chosen, BULK)


@pytest.mark.mixed
def test_slow_reader_closes_and_opens_its_window(sinks, dial):
    size = 4 << 20
    client = dial(receive_buffer=4096)
    assert client.connect("slow reader") == 0
    client.send(mqtt.publish("sink/send", str(size).encode()))
    # The window fills: data waits at the broker until the client reads.
    wait.until(lambda: tcp.unread(client.sock) > 1000, 5, "data in the client's buffer")
    assert receive(client, size) == digest(tcp.pattern(size))
