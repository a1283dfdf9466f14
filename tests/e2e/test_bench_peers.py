"""scripts/bench-peers: each balancer does what is compared; what does not is not measured."""

import fcntl
import json
import os
import struct
import subprocess
import sys
import termios

import pytest

from scripts.bench import candidates, load, measure, network, phases
from tests.support import guardian, netns, wait

pytestmark = [pytest.mark.ipv4, pytest.mark.skipif(
    os.cpu_count() < 2, reason="the balancer needs a CPU for itself")]

SIZES = phases.Sizes(quick=True)
TRAFFIC = ("connect", "throughput", "latency")


@pytest.fixture(autouse=True)
def left_behind():
    before = guardian.namespaces("mqlb-peers")
    yield
    assert guardian.namespaces("mqlb-peers") == before


class AfXdpAnywhere(candidates.MqlbAfXdp):
    """Without what needs sight of the kernel's threads, and matters for comparisons only."""

    def pinned_polls(self, before):
        return []


@pytest.mark.parametrize("kind", [candidates.Direct, candidates.MqlbAfPacket, AfXdpAnywhere,
                                  candidates.HAProxy, candidates.Nginx],
                         ids=lambda kind: kind.name)
def test_all_connections_and_messages_arrive_and_clients_stay(kind):
    results = phases.run_traffic(kind, SIZES, TRAFFIC, rate=500)
    assert results["connect"]["connections"] == SIZES.connects
    assert results["connections"] == SIZES.connects + 2 * SIZES.clients
    assert results["latency"]["sent"] == pytest.approx(500 * SIZES.seconds, abs=1)
    assert results["throughput"]["messages"] > 0
    assert results["messages"] == results["throughput"]["sent"] + results["latency"]["sent"]
    for phase in TRAFFIC:
        assert results[phase]["use"]["load_busy"] > 0
        if kind.name != "direct":
            assert 0 <= results[phase]["net_cost"] <= results[phase]["cost"]
            # Where most loops are empty, what is left without them is within the error.
            assert results[phase]["net_cost"] > 0 or phase != "throughput"


def unacknowledged(sock):
    """Bytes that the other side has not acknowledged (SIOCOUTQ, which is TIOCOUTQ)."""
    return struct.unpack("i", fcntl.ioctl(sock, termios.TIOCOUTQ, b"\0\0\0\0"))[0]


class Scattering(candidates.HAProxy):
    """Does not care for the Client ID."""

    name = "scattering"
    balance = "balance random"


class Bare(candidates.HAProxy):
    """Does not say who the client is."""

    name = "bare"
    send_proxy = ""


@pytest.mark.parametrize("kind, complaint", [(Scattering, "met several brokers"),
                                             (Bare, "not so many PROXY headers")])
def test_what_does_something_else_is_not_compared(kind, complaint):
    with pytest.raises(phases.NotSticky, match=complaint):
        phases.run_traffic(kind, SIZES, ["connect"], rate=None)


@pytest.mark.parametrize("kind", [candidates.HAProxy, candidates.Nginx, candidates.MqlbAfPacket],
                         ids=lambda kind: kind.name)
def test_a_connect_in_pieces_meets_the_same_broker(kind):
    """Also for what reads the Client ID in a script."""
    with network.Network() as net, measure.MemoryGroup(net.prefix) as group:
        with kind(net, group) as candidate, load.Sinks(candidate) as sinks:
            packet = b"\x10\x13\0\4MQTT\4\2\0\x3c\0\7clientX"
            for cut in (0, 1, 5, 15, 20):
                sock = net.clients.connect((netns.VIP, network.PORT))
                if cut:
                    sock.sendall(packet[:cut])
                    wait.until(lambda s=sock: unacknowledged(s) == 0, 5, "the first piece taken")
                sock.sendall(packet[cut:])
                assert sock.recv(4, 0x100) == b"\x20\2\0\0"  # MSG_WAITALL
                sock.close()
            seen = [c for r in sinks.stop() for i, c in r["clients"].items() if i == "clientX"]
    assert [c["connections"] for c in seen] == [5]


def test_the_tables(tmp_path):
    file = tmp_path / "tables.json"
    done = subprocess.run(
        [sys.executable, "scripts/bench/peers.py", "--quick", "--json", str(file),
         "--only", "direct,mqlb-afpacket,haproxy"],
        cwd=netns.ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    tables = json.loads(file.read_text(encoding="utf-8"))
    assert [t["name"] for t in tables] == ["peers-connect", "peers-throughput", "peers-latency",
                                           "peers-memory"]
    for table in tables:
        assert set(table) == {"name", "title", "command", "columns", "rows", "notes"}
        assert all(len(row) == len(table["columns"]) for row in table["rows"])
        (own,) = (row for row in table["rows"] if row[0] == "HAProxy")
        assert "1.00" in own
        assert table["title"] in done.stdout
    assert len(tables[0]["rows"]) == 3
