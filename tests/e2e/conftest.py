"""Fixtures that the end-to-end tests share: one network, and each kind of broker started once."""

import os

import pytest

from tests.support import agent, brokers, daemon, netns, steady as steady_client

SINK_PORT = 1885


def pytest_collection_modifyitems(config, items):
    """MQLB_FAMILY chooses the network (tests.support.netns), and so which tests make sense."""
    if netns.FAMILIES == "ipv4":
        return
    if "-" in netns.FAMILIES:
        left_out = [item for item in items if not item.get_closest_marker("mixed")]
    else:
        left_out = [item for item in items if item.get_closest_marker("ipv4")]
    config.hook.pytest_deselected(items=left_out)
    items[:] = [item for item in items if item not in left_out]


class SinkHost(agent.Agent):
    """A sink on its broker host."""

    def __init__(self, topology, host):
        self.namespace = topology.brokers[host - 1]
        super().__init__(self.namespace, "tests.support.sink")
        self.name, self.address, self.port = f"sink{host}", netns.broker_address(host), SINK_PORT
        self.listen()

    def listen(self):
        self.call("listen", address=self.address, port=self.port)


@pytest.fixture(scope="session")
def topology(request):
    """The network. Real brokers, if a test needs them, begin to start here: they take long."""
    if os.geteuid() != 0:
        pytest.exit("the end-to-end tests make network namespaces: run them as root", 2)
    wanted = {name for item in request.session.items for name in item.fixturenames}
    with netns.Topology() as network:
        if "rabbits" in wanted:
            network.rabbits = [brokers.RabbitMq(network, host) for host in (1, 2)]
        if "mosquittos" in wanted:
            network.mosquittos = [brokers.Mosquitto(network, host) for host in (1, 2)]
        yield network


@pytest.fixture(scope="session")
def rabbits(topology):
    return [node.ready() for node in topology.rabbits]


@pytest.fixture(scope="session")
def mosquittos(topology):
    return [node.ready() for node in topology.mosquittos]


@pytest.fixture(scope="session")
def sink_hosts(topology):
    hosts = [SinkHost(topology, host) for host in (1, 2, 3)]
    yield hosts
    for host in hosts:
        host.close()


@pytest.fixture
def sinks(sink_hosts):
    """Three sinks without records of earlier tests; whatever a test sets is undone after it."""
    for sink in sink_hosts:
        sink.call("close_all")
        sink.call("forget")
    yield sink_hosts
    for sink in sink_hosts:
        sink.call("set", mode="serve", limit=None, note_sequences=False, keep_half_closed=False)


@pytest.fixture(scope="session")
def load_hosts(topology):
    agents = [agent.Agent(host, "tests.support.load") for host in topology.clients]
    yield agents
    for each in agents:
        each.close()


@pytest.fixture
def loads(load_hosts):
    """An agent for many clients on each client host, without connections."""
    yield load_hosts
    for each in load_hosts:
        each.call("close", how="reset")


@pytest.fixture
def steady(topology):
    """Makes steady.Steady: a client that must stay undisturbed while something else happens."""
    return lambda **options: steady_client.Steady(topology.clients[0], **options)


@pytest.fixture(scope="session")
def balancer(topology):
    """Makes a balancer with these parts of a configuration."""
    return lambda *parts, **options: daemon.Daemon(topology, daemon.config(*parts), **options)
