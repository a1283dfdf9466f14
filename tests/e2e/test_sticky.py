"""A Client ID is always on the same broker, and the broker sees the client's own address."""

import collections

import pytest

from tests.support import daemon, netns, wait

IDS = [f"device-{n}" for n in range(1000)]

def open_all(loads, specs):
    """Opens clients, half on each host; returns {client id: (address, port)}."""
    for host, agent in enumerate(loads):
        agent.start("open", destination=[netns.VIP, 1883], clients=specs[host::len(loads)])
    found = {}
    for host, agent in enumerate(loads):
        part = specs[host::len(loads)]
        for spec, (code, *local) in zip(part, agent.result(timeout=120)):
            assert code == 0, f"{spec}: {code}"
            found[spec[0]] = tuple(local)
    return found


def specs_for(round_number, ids):
    """Each client's address differs from round to round, and the host too; the port is any."""
    specs = []
    for index, client_id in enumerate(ids):
        host = 1 + index % 2
        addresses = netns.client_addresses(host)
        specs.append([client_id, addresses[(index // 2 + round_number) % len(addresses)], 0])
    return specs


def seen_by(sinks):
    """{client id: [(sink name, record)]} of everything recorded."""
    found = collections.defaultdict(list)
    for sink in sinks:
        for record in sink.call("records"):
            found[record["client_id"]].append((sink.name, record))
    return found


@pytest.mark.mixed
@pytest.mark.parametrize("version", ["v1", "v2"])
def test_same_broker_from_any_address_and_port(balancer, sinks, loads, version):
    rounds = 5
    used = []
    with balancer(daemon.pool("mqtt", sinks, proxy_protocol=version)) as lb:
        for number in range(rounds):
            ids = IDS if number % 2 == 0 else IDS[1:] + IDS[:1]  # moves each ID to the other host
            used.append(open_all(loads, specs_for(number, ids)))
            for agent in loads:
                agent.call("close")
        routes = {client_id: lb.route(client_id, "mqtt") for client_id in IDS[:20]}
    seen = seen_by(sinks)
    assert set(seen) == set(IDS)
    share = collections.Counter()
    for client_id in IDS:
        names = {name for name, _ in seen[client_id]}
        assert len(names) == 1, f"{client_id} was on {names}"
        share.update(names)
        sources = sorted(tuple(record["source"]) for _, record in seen[client_id])
        assert sources == sorted(r[client_id] for r in used)
        assert len(set(address for address, _ in sources)) == rounds
        for _, record in seen[client_id]:
            assert record["proxy"] == int(version[1])
            assert record["destination"] == [netns.VIP, 1883]
            assert record["peer"][0] in netns.SNAT[:2]
    assert all(250 <= share[sink.name] <= 420 for sink in sinks), share
    assert all({route} == {name for name, _ in seen[i]} for i, route in routes.items())


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_rabbitmq_reports_the_clients_address(balancer, rabbits, loads, version):
    reports_the_clients_address(balancer, rabbits, loads, version)


@pytest.mark.mixed
@pytest.mark.parametrize("version", ["v1", "v2"])
def test_mosquitto_behind_haproxy_reports_the_clients_address(balancer, mosquittos, loads,
                                                              version):
    reports_the_clients_address(balancer, mosquittos, loads, version)


def reports_the_clients_address(balancer, nodes, loads, version):
    # Names of their own: HAProxy's log also holds the clients of the other runs.
    ids = [f"{nodes[0].name}-{version}-{n}" for n in range(200)]
    with balancer(daemon.pool("real", nodes, proxy_protocol=version)) as lb:
        for number in range(2):
            batch = ids[number * 100:number * 100 + 100]
            used = open_all(loads, specs_for(number, batch))

            def reported():
                peers = [(node.name, node.peers()) for node in nodes]
                found = {i: (name, p[i]) for name, p in peers for i in batch if i in p}
                return found if len(found) == len(batch) else None

            found = wait.until(reported, 30, "every Client ID at a broker", interval=0.5)
            assert {i: peer for i, (_, peer) in found.items()} == used
            assert all(name == lb.route(i, "real") for i, (name, _) in found.items())
            for agent in loads:
                assert agent.call("ended") == []
                agent.call("close")


def test_third_broker_added_under_load(balancer, sinks, loads):
    first, third = sinks[:2], sinks[2]
    with balancer(daemon.pool("mqtt", first)) as lb:
        before = sink_of_each(sinks, loads, keep=True)
        held = [agent.call("echo") for agent in loads]
        assert sum(held) == len(IDS)

        for agent in loads:
            agent.start("echo", text="add", rounds=20)
        lb.ctl(daemon.backend_line("mqtt", third))
        assert sum(agent.result(timeout=120) for agent in loads) == 20 * len(IDS)
        during = sink_of_each(sinks, loads)
        changed = [i for i in IDS if during[i] != before[i]]
        assert 0.28 * len(IDS) <= len(changed) <= (1 / 3 + 0.02) * len(IDS)
        assert {during[i] for i in changed} == {third.name}

        for agent in loads:
            agent.start("echo", text="remove", rounds=20)
        lb.ctl(f"backend remove mqtt {third.name}")
        assert sum(agent.result(timeout=120) for agent in loads) == 20 * len(IDS)
        assert sink_of_each(sinks, loads) == before
        assert all(agent.call("ended") == [] for agent in loads)


def sink_of_each(sinks, loads, keep=False):
    """Connects all IDs anew and returns {client id: sink name}; `keep` leaves them open."""
    open_all(loads, specs_for(0, IDS))
    found = {client_id: max(rows, key=lambda row: row[1]["opened"])[0]
             for client_id, rows in seen_by(sinks).items()}
    if not keep:
        for agent in loads:
            agent.call("close", newest=len(IDS) // len(loads))
    return found
