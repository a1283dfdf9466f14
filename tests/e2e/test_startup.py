"""Starting and ending the daemon, and what it says when it cannot start."""

import json
import os
import shutil
import signal
import subprocess
import tempfile

import pytest
from scapy.layers.inet import ICMP, IP, TCP
from scapy.layers.l2 import ARP, Ether
from scapy.packet import Raw
from scapy.utils import rdpcap, wrpcap

from tests.support import daemon, mqtt, netns, wait

FAR = "2001:db8:1::1" if netns.BROKERS.is_ipv6 else "198.19.0.1"
# Name, line, a word of the message.
BAD_LINES = [
    ("unknown command", "frobnicate", "frobnicate"),
    ("missing words", "pool add", "incomplete"),
    ("not an address", "address add clients 198.18.0.300/24", "198.18.0.300"),
    ("not a number", "set rst-per-second many", "many"),
    ("number out of range", f"listener add l {netns.endpoint(netns.VIP, 70000)} pool mqtt",
     "70000"),
    ("the same name twice", "pool add mqtt snat outside", "mqtt"),
    ("weight 0", f"backend add mqtt heavy {netns.endpoint(netns.broker_address(9), 1883)} weight 0",
     "1000"),
]
# What only the whole file shows has no line: the message names the object.
BAD_WHOLES = [
    ("unknown pool", f"listener add l {netns.endpoint(netns.VIP, 1884)} pool nowhere", "nowhere"),
    ("unknown SNAT", "pool add q snat nowhere", "nowhere"),
    ("table size no prime", "pool set mqtt table-size 65536", "prime"),
    ("broker out of reach", f"backend add mqtt far {netns.endpoint(FAR, 1883)}", "far"),
]


def write(tmp_path, text):
    path = tmp_path / "mqlb.conf"
    path.write_text(text)
    return str(path)


def check(path, *more):
    return subprocess.run([daemon.program("mqlb"), "--no-shconf", "--no-huge", "--no-pci",
                           "--", "--config", path, *more],
                          capture_output=True, text=True, timeout=30, check=False)


def sound(sinks):
    return daemon.config("# how the machine is wired\n\n", daemon.pool("mqtt", sinks))


def test_check_accepts_a_sound_file(tmp_path, sinks):
    done = check(write(tmp_path, sound(sinks)), "--check")
    assert (done.returncode, done.stderr) == (0, "")


def complaint(topology, path, text, how):
    """The one message about the file, after its name and a colon."""
    if how == "check":
        done = check(path, "--check")
    else:
        refused = daemon.Daemon(topology, text)
        path = refused.config
        done = topology.balancer.run(refused.command(), capture_output=True, text=True,
                                     timeout=30, check=False)
        assert "mqlb: ready" not in done.stdout
    assert done.returncode == 1
    (message,) = [m for m in done.stderr.splitlines() if m.startswith(f"{path}:")]
    return message.removeprefix(f"{path}:")


@pytest.mark.parametrize("how", ["check", "start"])
@pytest.mark.parametrize("line, word", [b[1:] for b in BAD_LINES], ids=[b[0] for b in BAD_LINES])
def test_bad_line_is_named(tmp_path, sinks, topology, line, word, how):
    text = sound(sinks) + line + "\nset poll busy\n"
    message = complaint(topology, write(tmp_path, text), text, how)
    assert message.startswith(f"{sound(sinks).count(chr(10)) + 1}: ")
    assert word in message


@pytest.mark.parametrize("how", ["check", "start"])
@pytest.mark.parametrize("line, word", [b[1:] for b in BAD_WHOLES], ids=[b[0] for b in BAD_WHOLES])
def test_bad_whole_is_refused(tmp_path, sinks, topology, line, word, how):
    text = sound(sinks) + line + "\n"
    message = complaint(topology, write(tmp_path, text), text, how)
    assert word in message


def test_missing_file(tmp_path):
    done = check(str(tmp_path / "none.conf"), "--check")
    assert done.returncode == 1 and "none.conf" in done.stderr


@pytest.mark.parametrize("arguments", [[], ["--config"], ["--frobnicate", "x"]])
def test_wrong_arguments(arguments):
    done = subprocess.run([daemon.program("mqlb"), "--no-shconf", "--no-huge", "--no-pci",
                           "--", *arguments], capture_output=True, text=True, timeout=30,
                          check=False)
    assert done.returncode not in (0, -signal.SIGABRT, -signal.SIGSEGV)
    assert done.stderr


def test_device_that_is_not_there(topology, sinks):
    text = sound(sinks).replace("net_af_packet1", "net_af_packet7")
    done = topology.balancer.run(daemon.Daemon(topology, text).command(), capture_output=True,
                                 text=True, timeout=30, check=False)
    assert done.returncode == 1
    assert "net_af_packet7" in done.stderr


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signal_ends_it_in_order(balancer, sinks, number):
    lb = balancer(daemon.pool("mqtt", sinks)).start()
    assert lb.stop(number) == 0
    assert not os.path.exists(lb.socket)


def test_shutdown_command_ends_it_in_order(balancer, sinks):
    lb = balancer(daemon.pool("mqtt", sinks)).start()
    lb.ctl("shutdown")
    lb.process.wait(timeout=20)
    assert lb.stop() == 0


def test_shell_status(balancer, sinks):
    with balancer(daemon.pool("mqtt", sinks)) as lb:
        assert "dpdk" in lb.ctl("show version")
        with pytest.raises(daemon.CommandFailed) as failed:
            lb.ctl("show nonsense")
        assert failed.value.status == 1
    with pytest.raises(daemon.CommandFailed) as failed:
        lb.ctl("show version")
    assert failed.value.status == 2


def test_configuration_shown_is_the_configuration_read(balancer, sinks, tmp_path):
    with balancer(daemon.pool("mqtt", sinks)) as lb:
        shown = lb.ctl("show config")
    again = write(tmp_path, shown)
    assert check(again, "--check").returncode == 0
    for line in daemon.pool("mqtt", sinks).splitlines():
        assert line in shown


@pytest.mark.parametrize("cores, roles", [(1, ""), (2, ""), (2, "core add 1 role worker\n"
                                                     "core add 2 role proxy\n")])
def test_cores(balancer, sinks, loads, cores, roles):
    """On one core or two, with roles together or apart: clients are served."""
    with balancer(roles, daemon.pool("mqtt", sinks), data_cores=cores) as lb:
        answers = loads[0].call("open", destination=[netns.VIP, 1883], clients=[
            [f"core-{n}", netns.client_addresses(1)[0], 0] for n in range(300)])
        assert [a for a in answers if a[0] != 0] == []
        assert loads[0].call("echo", rounds=3) == 900
        rows = lb.show("cores")
        assert len(rows) == cores
        assert loads[0].call("close") == 300


def test_objects_come_and_go_at_run_time(balancer, sinks, topology):
    """Pools, backends and listeners come and go while the daemon runs."""
    with balancer() as lb:
        for line in daemon.pool("late", sinks[:1]).splitlines():
            lb.ctl(line)
        with mqtt.Client(topology.clients[0].connect((netns.VIP, 1883))) as client:
            assert client.connect("late") == 0
            lb.commands("listener remove late")
            client.echo(b"still here")
            with pytest.raises(OSError):
                topology.clients[0].connect((netns.VIP, 1883), timeout=5)


CLIENT, CLIENT_MAC = "198.18.0.7", "02:00:00:00:00:07"
PORT_MAC = "02:70:63:61:70:00"  # what net_pcap gives its first device
NOBODY = 65534
ANSWERS = ("arp-answered", "icmp-echo", "syn-answered", "rst-to-client")


def frames_of_a_client():
    ether = Ether(src=CLIENT_MAC, dst=PORT_MAC)
    vip = ether / IP(src=CLIENT, dst=netns.VIP)
    return [
        Ether(src=CLIENT_MAC, dst="ff:ff:ff:ff:ff:ff") / ARP(
            op="who-has", hwsrc=CLIENT_MAC, psrc=CLIENT, pdst=netns.CLIENT_GATEWAY),
        ether / IP(src=CLIENT, dst=netns.CLIENT_GATEWAY) / ICMP(id=7, seq=3) / Raw(b"hello"),
        vip / TCP(sport=4000, dport=1883, seq=100, flags="S", options=[("MSS", 1460)]),
        vip / TCP(sport=4001, dport=1883, seq=500, ack=900, flags="A"),
    ]


@pytest.fixture
def pcap_directory():
    """With mqlb, its configuration and what comes in at its ports; others may use it."""
    path = tempfile.mkdtemp(prefix="mqlb-pcap-")
    os.chmod(path, 0o777)
    shutil.copy(daemon.program("mqlb"), path)
    with open(os.path.join(path, "mqlb.conf"), "w", encoding="ascii") as f:
        f.write(daemon.config("pool add m snat outside\nbackend add m b1 198.18.1.11:1883\n"
                              f"listener add m {netns.VIP}:1883 pool m\n"
                              ).replace("net_af_packet", "net_pcap"))
    wrpcap(os.path.join(path, "in0.pcap"), frames_of_a_client())
    wrpcap(os.path.join(path, "in1.pcap"), [])
    yield path
    shutil.rmtree(path)


def command_on_files(cores):
    """Without privileges if it was not so already."""
    drop = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"]
    vdevs = [f"--vdev=net_pcap{n},rx_pcap=in{n}.pcap,tx_pcap=out{n}.pcap" for n in (0, 1)]
    return [*(drop if os.geteuid() == 0 else []), "./mqlb", "--no-shconf", "--no-huge", "-m", "512",
            "--no-pci", "--no-telemetry", "--lcores",
            ",".join(f"{n}@(0-1)" for n in range(cores + 1)), *vdevs,
            "--", "--config", "mqlb.conf", "--socket", "mqlb.sock"]


@pytest.mark.ipv4
@pytest.mark.parametrize("cores", [1, 2])
def test_ports_that_are_files(pcap_directory, cores):
    """What is captured comes in once, what goes out is written: no privileges, no network."""
    socket_path = os.path.join(pcap_directory, "mqlb.sock")

    def count():
        done = subprocess.run([daemon.program("mqlbctl"), "--socket", socket_path, "show", "json",
                               "counters", "all"], capture_output=True, text=True, check=False)
        rows = json.loads(done.stdout) if done.returncode == 0 else []
        return {row["name"]: row["value"] for row in rows}

    with subprocess.Popen(command_on_files(cores), cwd=pcap_directory, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, text=True) as process:
        try:
            wait.until(lambda: sum(count().get(name, 0) for name in ANSWERS) >= len(ANSWERS)
                       or process.poll() is not None, 20, "all frames are answered")
            counters = count()
            process.terminate()
            errors = process.communicate(timeout=20)[1]
        finally:
            process.kill()
    assert process.returncode == 0, errors
    assert {name: counters[name] for name in (*ANSWERS, "unknown-flow")} == {
        name: 1 for name in (*ANSWERS, "unknown-flow")}
    assert_answered(rdpcap(os.path.join(pcap_directory, "out0.pcap")))


def assert_answered(frames):
    to_client = [f for f in frames if f.dst == CLIENT_MAC]
    assert all(f.src == PORT_MAC for f in to_client)
    (arp,) = [f[ARP] for f in to_client if ARP in f]
    assert (arp.op, arp.psrc, arp.hwsrc) == (2, netns.CLIENT_GATEWAY, PORT_MAC)
    (echo,) = [f for f in to_client if ICMP in f]
    assert (echo[IP].src, echo[ICMP].type, echo[ICMP].id, echo[ICMP].seq) == (
        netns.CLIENT_GATEWAY, 0, 7, 3)
    assert bytes(echo[ICMP].payload) == b"hello"
    answers = {f[TCP].dport: f[TCP] for f in to_client if TCP in f}
    assert len(to_client) == 4 and set(answers) == {4000, 4001}
    assert (answers[4000].flags, answers[4000].ack) == ("SA", 101)
    assert (answers[4001].flags, answers[4001].seq) == ("R", 900)
