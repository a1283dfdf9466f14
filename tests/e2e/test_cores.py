"""Workers and proxies on several cores: whatever core a frame comes to, it gets to its owner."""

import pytest

from tests.support import agent, daemon, mqtt, netns
from tests.support.bulk import exchange_bulk

HELD = 4000
ROUNDS = 3
BULK = 2 << 20
ROLES = {1: "worker", 2: "worker", 3: "proxy", 4: "proxy"}  # by lcore
# Buffers that a core keeps at hand for frames of its own making.
AT_HAND = 64


@pytest.fixture
def lb(balancer, sink_hosts):
    roles = "".join(f"core add {lcore} role {role}\n" for lcore, role in ROLES.items())
    settings = "set max-flows 20000\nset closing-timeout 1\nset snat-quarantine 1\n"
    with balancer(roles, settings, daemon.pool("mqtt", sink_hosts), data_cores=len(ROLES),
                  queues=len(ROLES)) as started:
        yield started


@pytest.fixture
def load_processes(topology):
    agents = [agent.Agent(topology.clients[n % 2], "tests.support.load") for n in range(2)]
    yield agents
    for each in agents:
        each.close()


@pytest.mark.mixed
def test_two_workers_and_two_proxies(lb, topology, sinks, load_processes):
    each = HELD // len(load_processes)
    for number, load in enumerate(load_processes):
        addresses = netns.client_addresses(1 + number)
        load.start("open", destination=[netns.VIP, 1883], clients=[
            [f"held-{number}-{i}", addresses[i % len(addresses)], 0] for i in range(each)])
    for load in load_processes:
        assert [a for a in load.result(timeout=100) if a[0] != 0] == []

    # Each core has its share.
    cores = {row["lcore"]: row for row in lb.show("cores")}
    assert {lcore: row["role"] for lcore, row in cores.items()} == ROLES
    for row in cores.values():
        assert HELD * 0.4 < row["flows"] < HELD * 0.6
    assert sum(row["flows"] for row in cores.values()) == 2 * HELD

    # Every message comes back as it was sent, and so do many bytes at once.
    for load in load_processes:
        load.start("echo", rounds=ROUNDS)
    assert sum(load.result(timeout=100) for load in load_processes) == ROUNDS * HELD
    for n in range(4):
        with topology.clients[0].connect((netns.VIP, 1883), timeout=30) as sock:
            client = mqtt.Client(sock, mqtt.V311)
            assert client.connect(f"bulk-{n}") == 0
            exchange_bulk(client, BULK)

    for load, how in zip(load_processes, ("disconnect", "reset")):
        load.call("close", how=how)
    lb.idle(timeout=60)
    expect_accounts(lb)


def expect_accounts(lb):
    """Hand-overs are counted, and nothing was lost on the way between cores."""
    cores = lb.show("cores")
    counters = lb.counters()
    # AF_PACKET spreads frames by a hash of its own, so about half of them miss their owner.
    for row in cores:
        assert row["handed_over"] > 0.1 * row["rx_packets"]
    assert sum(row["handed_over"] for row in cores) == counters["event", "frames-handed-over"]
    assert counters["drop", "ring-full"] == 0
    assert counters["event", "messages-lost"] == 0
    for row in lb.show("ports"):
        assert (row["spread"], row["missteered"]) == ("hand-over", 0)
    assert lb.buffers_in_use() <= AT_HAND * len(ROLES)
