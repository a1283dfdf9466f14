"""SNAT ports that run out: seen coming, said in MQTT, and given back."""

from tests.support import daemon, mqtt, netns, wait

PORTS = 10  # of each address; there are two


def dial(topology):
    return mqtt.Client(topology.clients[0].connect((netns.VIP, 1883)))


def test_ports_run_out(balancer, topology, sinks, steady):
    sink = sinks[0]
    text = (f"snat set outside ports 2000 {2000 + PORTS - 1}\n" +
            daemon.pool("mqtt", [sink], "set closing-timeout 1", "set snat-quarantine 0"))
    with balancer(text) as lb:
        def states():
            return {row["state"] for row in lb.show("snat")}

        with steady(worst=5):
            clients = [dial(topology) for _ in range(2 * PORTS - 2)]
            assert [c.connect(f"port-{n}") for n, c in enumerate(clients)] == [0] * len(clients)
            assert states() <= {"warning", "exhausted"}
            warning = f"19 of 20 SNAT ports toward {netns.endpoint(sink.address, sink.port)} are in use"
            wait.until(lambda: warning in lb.errors(), 5, "the warning")
            # The last port, and one client too many: told in MQTT, and nobody else is disturbed.
            clients.append(dial(topology))
            assert clients[-1].connect("last") == 0
            assert states() == {"exhausted"}
            assert {row["used_percent"] for row in lb.show("snat")} == {100}
            with dial(topology) as client:
                assert client.connect("one too many") == 3
            wait.until(lambda: lb.counters()["end", "snat-exhausted"] == 1, 5, "its end")
            for client in clients:
                client.sock.close()
            wait.until(lambda: lb.flows_in_use() == 1, 10, "the ports are free")
            wait.until(lambda: "enough again" in lb.errors(), 5, "that it is over")
            with dial(topology) as client:
                assert client.connect("welcome") == 0
        lb.idle()
