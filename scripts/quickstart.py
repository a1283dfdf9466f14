"""What mqlb does, shown on a network of namespaces: the second half of quickstart.sh."""

import json
import os
import signal
import subprocess
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from tests.support import agent, brokers, daemon, guardian, mqtt, netns, wait  # noqa: E402

LABEL = "quickstart"
STATE = "/run/mqlb-quickstart.json"
CLIENT_ID = "mqttx_client1"
TOPIC = "quickstart/inbox"
MANY = 1000


class Report:
    """Steps as they happen, and the table at the end."""

    def __init__(self):
        self.rows = []

    def step(self, text):
        print(f"\n== {text}", flush=True)

    def check(self, what, seen, good):
        self.rows.append((what, seen, good))
        print(f"   {what}: {seen}{'' if good else '   <-- not as it should be'}", flush=True)

    def table(self):
        widths = [max(len(str(row[i])) for row in self.rows) for i in (0, 1)]
        print("\n" + "-" * (sum(widths) + 8))
        for what, seen, good in self.rows:
            print(f"{what:<{widths[0]}}  {seen!s:<{widths[1]}}  {'ok' if good else 'FAILED'}")
        return all(good for _, _, good in self.rows)


def dial(host, address, port, clean=False):
    """mqttx_client1 from this address and port; returns (client, session present)."""
    client = mqtt.Client(host.connect((netns.VIP, 1883), source=(address, port)))
    client.send(mqtt.Connect(CLIENT_ID, clean=clean).encode())
    connack = client.expect(mqtt.CONNACK)
    assert connack.code() == 0, f"CONNACK {connack.code()}"
    return client, connack.body[0] == 1


def whereabouts(nodes, client_id, source):
    """The node that has the client at this source address, as the node itself says."""
    def find():
        for node in nodes:
            if node.peers().get(client_id) == source:
                return node
        return None
    return wait.until(find, 15, f"{client_id} from {source} at a broker", interval=0.3)


def show_one_client(report, topology, lb, nodes):
    """The same broker before and after a change of address, with the session kept."""
    first = (netns.client_addresses(1)[0], 50001)
    second = (netns.client_addresses(2)[3], 40022)
    report.step(f"{CLIENT_ID} connects from {netns.endpoint(*first)} and subscribes to {TOPIC}")
    client, _ = dial(topology.clients[0], *first)
    client.send(mqtt.subscribe(TOPIC, qos=1))
    client.expect(mqtt.SUBACK)
    home = whereabouts(nodes, CLIENT_ID, first)
    print(lb.ctl(f"show flows client-id {CLIENT_ID}"), end="")
    report.check(f"broker of {CLIENT_ID}", home.name, True)
    report.check("client address the broker reports", netns.endpoint(*first), True)
    client.send(mqtt.publish(TOPIC, b"to myself"))
    got = client.expect(mqtt.PUBLISH).publication()
    report.check("published and received", got[1].decode(), got == (TOPIC, b"to myself"))

    report.step(f"It goes away; meanwhile another client of {home.name} publishes for it")
    client.send(mqtt.disconnect())
    assert client.receive() is None
    client.sock.close()
    sender_id = next(f"sender{n}" for n in range(100) if lb.route(f"sender{n}", "rabbit") == home.name)
    with mqtt.Client(topology.clients[0].connect((netns.VIP, 1883))) as sender:
        assert sender.connect(sender_id) == 0
        sender.send(mqtt.publish(TOPIC, b"while you were away", qos=1))
        sender.expect(mqtt.PUBACK)

    report.step(f"It connects again, from {netns.endpoint(*second)}")
    client, present = dial(topology.clients[1], *second)
    again = whereabouts(nodes, CLIENT_ID, second)
    report.check("broker after the change of address", again.name, again is home)
    report.check("client address the broker reports now", netns.endpoint(*second), True)
    report.check("session still there", present, present)
    got = client.expect(mqtt.PUBLISH).publication()
    report.check("message kept for it", got[1].decode(), got == (TOPIC, b"while you were away"))
    client.sock.close()


def show_spread(report, topology, lb, nodes):
    report.step(f"{MANY} Client IDs connect")
    before = {row["backend"]: row["selected"] for row in lb.show("backends")}
    loads = [agent.Agent(host, "tests.support.load") for host in topology.clients]
    for n, load in enumerate(loads):
        addresses = netns.client_addresses(n + 1)
        load.start("open", destination=[netns.VIP, 1883], window=50, clients=[
            [f"device-{i}", addresses[i % len(addresses)], 0] for i in range(n, MANY, len(loads))])
    refused = [a for load in loads for a in load.result(timeout=120) if a[0] != 0]
    report.check("connected", MANY - len(refused), not refused)
    print(lb.ctl("show backends"), end="")
    for row in lb.show("backends"):
        share = (row["selected"] - before[row["backend"]]) / MANY
        report.check(f"share of {row['backend']}", f"{share:.1%}",
                     0.9 < share * len(nodes) < 1.1)
    for load in loads:
        load.call("close")
        load.close()


def attach_hints(topology, lb):
    ctl = f"{daemon.program('mqlbctl')} --socket {lb.socket}"
    enter = f"ip netns exec {topology.prefix}"
    with open(STATE, "w", encoding="utf-8") as f:
        json.dump({"prefix": topology.prefix, "directory": topology.directory}, f)
    print(f"""
Everything keeps running.
  The shell:        {ctl}
  One command:      {ctl} show backends
  As a client:      {enter}-client1 mosquitto_sub -h {netns.VIP} -i {CLIENT_ID} -t {TOPIC}
                    (mosquitto_sub: package mosquitto-clients)
  A broker's view:  {enter}-broker1 curl -su guest:guest http://127.0.0.1:15672/api/connections
  Files:            {topology.directory}
  The end:          scripts/quickstart.sh --clean""")


def clean():
    """Ends what --keep left, if there is anything."""
    directory = None
    try:
        with open(STATE, encoding="utf-8") as f:
            directory = json.load(f)["directory"]
        os.unlink(STATE)
    except FileNotFoundError:
        pass
    left = guardian.clean(f"mqlb-{LABEL}", directory)
    if left:
        print("not cleaned up:", ", ".join(left), file=sys.stderr)
    return 1 if left else 0


def run(keep):
    report = Report()
    clean()
    with netns.Topology(clients=2, brokers=2, label=LABEL) as topology:
        report.step("Starting two RabbitMQ nodes that take the PROXY protocol (about 15 s)")
        nodes = [brokers.RabbitMq(topology, host) for host in (1, 2)]
        for node in nodes:
            node.ready()
        text = daemon.config(daemon.pool("rabbit", nodes))
        report.step("Starting mqlb with this configuration")
        print("   " + text.strip().replace("\n", "\n   "))
        lb = daemon.Daemon(topology, text).start()
        show_one_client(report, topology, lb, nodes)
        show_spread(report, topology, lb, nodes)
        good = report.table()
        if keep:
            attach_hints(topology, lb)
            topology.keep()
        else:
            status = lb.stop()
            assert status == 0, f"mqlb ended with status {status}: {lb.errors()}"
    return 0 if good else 1


def main():
    if sys.argv[1:] == ["--clean"]:
        return clean()
    # Also where a shell that started this in the background had SIGINT ignored.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    try:
        return run(keep="--keep" in sys.argv[1:])
    except KeyboardInterrupt:
        return 130
    except (AssertionError, RuntimeError, OSError, subprocess.SubprocessError) as error:
        print(f"quickstart: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
