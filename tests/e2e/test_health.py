"""Active health checks: real brokers, brokers that break, and what operators see and set."""

import contextlib
import os
import re
import time

import pytest
from scapy.layers.inet import TCP

from tests.support import agent, brokers, capture, daemon, mqtt, netns, wait

# Milliseconds, and in a row until a backend is down.
INTERVAL, TIMEOUT, FALL = 200, 300, 3
# From a broker's end until it must be known; with what a busy machine takes.
KNOWN = (INTERVAL * FALL + TIMEOUT) / 1000 + 1.0
CHECK_PORTS = range(65528, 65536)
RST = 4
MSS = 1440 if netns.BROKERS.is_ipv6 else 1460
HTTP_PORT = 18083


def checked_pool(name, nodes, kind, *settings, version="v2", port=1883):
    return daemon.pool(name, nodes, f"pool set {name} check {kind}",
                       f"pool set {name} check-interval {INTERVAL}",
                       f"pool set {name} check-timeout {TIMEOUT}",
                       f"pool set {name} check-fall {FALL}",
                       *(f"pool set {name} {setting}" for setting in settings),
                       port=port, proxy_protocol=version)


def health(lb):
    """{(pool, backend): row}"""
    return {(row["pool"], row["backend"]): row for row in lb.show("health")}


def row_of(lb, backend):
    (row,) = [row for row in lb.show("health") if row["backend"] == backend]
    return row


def await_state(lb, backend, state, timeout=KNOWN):
    return wait.until(lambda: (row := row_of(lb, backend))["state"] == state and row, timeout,
                      f"{backend} is {state}")


def await_checks(lb, more, timeout=30):
    """Waits until each backend was checked so many times more, and returns the rows."""
    before = {key: row["checks"] for key, row in health(lb).items()}

    def done():
        rows = health(lb)
        return all(row["checks"] >= before[key] + more for key, row in rows.items()) and rows
    return wait.until(done, timeout, f"{more} more checks")


class Logs:
    """What brokers log from now on."""

    # RabbitMQ's own remark on the first MQTT client ever; nothing that the client did.
    _OF_ITS_OWN = "client call timeout was"

    def __init__(self, rabbits, mosquittos):
        self._from = {}
        for node in rabbits:
            self._note(os.path.join(node.directory, "log", f"{node.name}@localhost.log"))
        for node in mosquittos:
            self._note(node.haproxy_log)
            self._note(node.mosquitto_log)

    def _note(self, path):
        self._from[path] = os.path.getsize(path)

    def lines(self):
        for path, begin in self._from.items():
            with open(path, encoding="utf-8", errors="replace") as f:
                f.seek(begin)
                yield from (f"{os.path.basename(path)}: {line.rstrip()}" for line in f)

    def ended(self):
        """(HAProxy's termination state, bytes to the client) of connections that are over."""
        return [(match[1], int(match[2])) for line in self.lines()
                if (match := brokers.ENDED.search(line))]

    def complaints(self):
        # That a node is up was tried by connecting to it from its own namespace.
        tried = re.compile(rf"{re.escape(netns.BROKERS.prefix)}1[1-3]\]?:\d+ \[")
        bad = re.compile(r"error|warning|alert|crit|emerg|malformed|invalid|closed while|"
                         r"protocol|network|reset|abort", re.IGNORECASE)
        return [line for line in self.lines()
                if bad.search(line) and self._OF_ITS_OWN not in line and not tried.search(line)]


@pytest.mark.parametrize("kind", ["mqtt", "tcp"])
def test_real_brokers_are_up_and_do_not_complain(balancer, topology, rabbits, mosquittos, kind):
    logs = Logs(rabbits, mosquittos)
    proxied = [node.logged_at_end() for node in mosquittos]
    pools = [("rabbit-v1", rabbits, "v1", "3.1.1"), ("rabbit-v2", rabbits, "v2", "3.1.1"),
             ("mosquitto-v1", proxied, "v1", "3.1.1"), ("mosquitto-v2", proxied, "v2", "3.1.1")]
    if kind == "mqtt":  # which RabbitMQ speaks 3.1.1 only
        pools += [("mosquitto5-v1", proxied, "v1", "5"), ("mosquitto5-v2", proxied, "v2", "5")]
    parts = [checked_pool(name, nodes, kind, "check-timeout 5000", f"check-mqtt-version {version}",
                          version=proxy, port=1883 + number)
             for number, (name, nodes, proxy, version) in enumerate(pools)]
    with balancer(*parts) as lb, contextlib.ExitStack() as stack:
        recorders = [stack.enter_context(capture.Recorder(topology.brokers[host]))
                     for host in (0, 1)]
        rows = await_checks(lb, 12)
        for row in rows.values():
            assert (row["state"], row["last"], row["fails"]) == ("up", "passed", 0), row
            assert row["options"].startswith(f"mss {MSS} scale"), row
        assert lb.counters()["drop", "check-consumed"] > 100
        segments = [f[TCP] for r in recorders for f in r.so_far()
                    if TCP in f and {f[TCP].sport, f[TCP].dport} & set(CHECK_PORTS)]
        assert len(segments) > 200
        # A broker that a connection tells nothing may end it as it likes; a check ends in order.
        assert not any(s.flags & RST and s.sport in CHECK_PORTS for s in segments)
        ended = logs.ended()
    # Those to Mosquitto. It is asked for a CONNACK, of 4 bytes and in MQTT 5 of 11, or for nothing.
    assert len(ended) >= 40
    assert {state for state, _ in ended} == {"--"}  # neither end broke it off
    assert {written for _, written in ended} == ({4, 11} if kind == "mqtt" else {0})
    assert logs.complaints() == []
    if kind == "mqtt":
        accepted = [client_id for node in rabbits for client_id, _ in node.accepted()]
        assert sum(client_id.startswith("mqlb-check-") for client_id in accepted) >= 40
        for version in ("p2", "p5"):  # 3.1.1 and 5
            assert sum("as mqlb-check-" in line and f"({version}," in line
                       for line in logs.lines()) >= 40


@pytest.mark.mixed
@pytest.mark.parametrize("proxy", ["v1", "v2"])
@pytest.mark.parametrize("version", ["3.1.1", "5"])
def test_what_a_broker_sees(balancer, sinks, proxy, version):
    with balancer(checked_pool("mqtt", sinks, "mqtt", f"check-mqtt-version {version}",
                               "check-client-id probe.", version=proxy)) as lb:
        rows = await_checks(lb, 5)
        assert all(row["state"] == "up" and row["fails"] == 0 for row in rows.values()), rows
        # The last check of each may be under way.
        records = [r for sink in sinks for r in sink.call("records") if r["end"] is not None]
    assert len(records) >= 12
    for r in records:
        assert r["proxy"] == int(proxy[1])
        address, port = r["peer"]
        assert address in netns.SNAT[:2] and port in CHECK_PORTS
        assert list(r["source"]) == [address, port]
        assert r["destination"][1] == sinks[0].port
        assert r["client_id"].startswith("probe.")
        assert r["version"] == (mqtt.V5 if version == "5" else mqtt.V311)
        assert r["end"] == "closed"
    assert len({r["client_id"] for r in records}) == 3
    assert {r["peer"][0] for r in records} == set(netns.SNAT[:2])


def refuse(sink):
    sink.call("refuse")


def be_off(sink):
    netns.link_down(sink.namespace)


NAMED = [
    ("refuses", refuse, "connection refused"),
    ("is off", be_off, "timeout: SYN not answered"),
    ("is silent", lambda s: s.call("set", mode="silent"), "timeout without CONNACK"),
    ("closes", lambda s: s.call("set", mode="close"), "closed without CONNACK"),
    ("resets", lambda s: s.call("set", mode="reset"), "connection reset"),
    ("wants a password", lambda s: s.call("set", connack_code=5), "CONNACK 5: not authorized"),
    ("answers nonsense", lambda s: s.call("set", connack_code=77),
     "malformed CONNACK: unknown code 0x4d"),
]


@pytest.mark.parametrize("how,why", [row[1:] for row in NAMED], ids=[row[0] for row in NAMED])
def test_a_failing_broker_is_named_and_passed_over(balancer, topology, sinks, how, why):
    victim = sinks[0]
    with balancer(checked_pool("mqtt", sinks, "mqtt")) as lb:
        await_checks(lb, 2)
        ids = [i for i in (f"id {n}" for n in range(60)) if lb.route(i, "mqtt") == victim.name]
        try:
            how(victim)
            began = time.monotonic()
            row = await_state(lb, victim.name, "down")
            assert time.monotonic() - began < KNOWN
            # A SYN that the kernel answers before the listener is gone may draw either.
            assert row["why"] == why or (why == "closed without CONNACK" and
                                         row["why"] == "connection reset"), row
            (backend,) = [b for b in lb.show("backends") if b["backend"] == victim.name]
            assert backend["state"] == "down" and backend["why"] == f"check: {row['why']}"
            assert all(lb.route(i, "mqtt") != victim.name for i in ids)
            with mqtt.Client(topology.clients[0].connect((netns.VIP, 1883)), mqtt.V311) as client:
                assert client.connect(ids[0]) == 0
            others = [r for r in health(lb).values() if r["backend"] != victim.name]
            assert all(r["state"] == "up" and r["fails"] == 0 for r in others), others
        finally:
            victim.call("set", mode="serve", connack_code=0)
            if how is refuse:
                victim.listen()
            if how is be_off:
                netns.link_up(victim.namespace)
        await_state(lb, victim.name, "up", timeout=10)
        assert all(lb.route(i, "mqtt") == victim.name for i in ids)


def ends(sinks):
    return [r["end"] for sink in sinks for r in sink.call("records")]


def test_a_daemon_that_ends_leaves_no_check_half_open(balancer, sinks):
    for _ in range(5):
        with balancer(checked_pool("mqtt", sinks, "mqtt", "check-interval 100")) as lb:
            await_checks(lb, 1)
    assert set(wait.until(lambda: None not in (e := ends(sinks)) and e, 2, "ends")) == {"closed"}
    for sink in sinks:
        sink.call("forget")
        sink.call("set", mode="silent")
    with balancer(checked_pool("mqtt", sinks, "mqtt", "check-timeout 60000")):
        wait.until(lambda: len(ends(sinks)) == len(sinks), 5, "a check at each")
        assert set(ends(sinks)) == {None}
    assert wait.until(lambda: None not in (e := ends(sinks)) and e, 2, "ends") == (
        ["reset"] * len(sinks))


@pytest.fixture
def web(topology):
    servers = []
    for host in (1, 2):
        server = agent.Agent(topology.brokers[host - 1], "tests.support.http_status")
        server.call("listen", address=netns.broker_address(host), port=HTTP_PORT)
        servers.append(server)
    yield servers
    for server in servers:
        server.close()


def test_http(balancer, sinks, web):
    with balancer(checked_pool("mqtt", sinks[:2], "http", "check-http-path /ready?node=1")) as lb:
        rows = await_checks(lb, 4)
        assert all(r["state"] == "up" and r["why"] == "HTTP status 200" for r in rows.values())
        assert all(r["checked"].endswith(f":{HTTP_PORT}") for r in rows.values())
        # The node is being evacuated.
        web[0].call("set", status=503)
        row = await_state(lb, sinks[0].name, "down")
        assert row["why"] == "HTTP status 503, not 200"
        assert row_of(lb, sinks[1].name)["state"] == "up"
        web[0].call("set", status=200)
        await_state(lb, sinks[0].name, "up")
        lb.ctl("pool set mqtt check-http-status 204")
        await_state(lb, sinks[1].name, "down")
    for address, port, request in web[0].call("seen"):
        assert address in netns.SNAT[:2] and port in CHECK_PORTS
        assert request.startswith("GET /ready?node=1 HTTP/1.1\r\nHost: ")
    # Only HTTP: the brokers' own port was left alone.
    assert all(sink.call("records") == [] for sink in sinks[:2])


def test_settings_change_live_and_survive(balancer, sinks):
    with balancer(daemon.pool("mqtt", sinks)) as lb:
        assert lb.show("health") == []
        lb.commands("pool set mqtt check-interval 150", "pool set mqtt check-user a user",
                    "pool set mqtt check-password s e c r e t # and more",
                    "pool set mqtt check mqtt")
        rows = await_checks(lb, 3)
        assert {r["state"] for r in rows.values()} == {"up"}
        (settings,) = lb.show("checks")
        assert (settings["check"], settings["user"], settings["password"]) == ("mqtt", "a user",
                                                                               "***")
        assert "s e c r e t" not in lb.ctl("show checks") + lb.ctl("show health")
        config = lb.ctl("show config")
        assert "pool set mqtt check-password s e c r e t # and more\n" in config
        with pytest.raises(daemon.CommandFailed, match="from 100 to"):
            lb.ctl("pool set mqtt check-interval 99")
        # A broker that leaves is checked no more; the others go on.
        lb.ctl(f"backend remove mqtt {sinks[2].name}")
        assert {r["backend"] for r in lb.show("health")} == {s.name for s in sinks[:2]}
        sinks[2].call("forget")
        await_checks(lb, 3)
        lb.ctl("pool set mqtt check none")
        assert lb.show("health") == []
        assert {b["state"] for b in lb.show("backends")} <= {"up", "retired"}
        assert [r for r in sinks[2].call("records") if r["end"] is None] == []
    with balancer(_pools_of(config)) as again:
        rows = await_checks(again, 2)
        assert {r["state"] for r in rows.values()} == {"up"}


def _pools_of(config):
    """The lines behind those that daemon.config() adds itself."""
    return "".join(line + "\n" for line in config.splitlines()
                   if not line.startswith(("port ", "address ", "snat ", "core ")))
