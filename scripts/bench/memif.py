"""mqlb between two memif ports, and mqlb-replay at the other end of both."""

import json
import os
import subprocess
import time

from scripts.bench import pmd
from scripts.bench.network import LOAD_CPU
from scripts.scenario import catalogue, words
from scripts.scenario.conversation import Conversation
from tests.support import capture_file, mqtt

BROKERS = ["198.18.1.31:1883", "198.18.1.32:1883"]
_TARGET = "198.18.0.10:1883"
_CLIENT_NETWORK = "198.18.0.128/25"
_AT_ONCE = 4  # messages that a client sends before it waits for an acknowledgement
_INTERVAL = 0.25  # seconds between samples


def write_capture(path, publishes):
    """One client that connects, publishes 16 bytes again and again, and disconnects."""
    recorder = catalogue.Recorder()
    talk = words.begin(Conversation(recorder).handshake(), "memif")
    for n in range(publishes):
        talk.client.send(mqtt.publish("bench", b"sixteen bytes...", version=mqtt.V311))
        if n % _AT_ONCE == _AT_ONCE - 1:
            talk.server.ack()
    talk.server.ack()
    talk.close(mqtt.disconnect())
    capture = capture_file.Capture()
    for at, frame, length in sorted(recorder.frames, key=lambda item: item[0]):
        capture.packets.append(capture_file.Packet(catalogue.BEGINNING + at, frame, length))
    capture_file.write(path, capture, "pcap")


def devices(place, role):
    return [f"net_memif{n},role={role},id={n},socket={place.path('memif.sock')},socket-abstract=no"
            for n in range(2)]


def replay_command(place, huge, *arguments):
    return [pmd.program("mqlb-replay"), *pmd.memory(huge, 256), "--no-pci", "--no-telemetry",
            "--file-prefix", place.prefix + "-replay", "--lcores", f"0@{LOAD_CPU}",
            *(word for device in devices(place, "client") for word in ("--vdev", device)),
            "--", "--live", "--client-port", "net_memif0", "--broker-port", "net_memif1",
            *(f"--broker-address={b}" for b in BROKERS), "--target", _TARGET,
            "--client-network", _CLIENT_NETWORK, "--json", *arguments]


def samples(lb, process):
    """One each interval until the process has ended."""
    taken = []
    while process.poll() is None:
        try:
            load = pmd.thread_cpu(process.pid, process.pid)
            demand = pmd.thread_demand(process.pid, process.pid)
        except (OSError, IndexError):
            break  # it ended just now
        taken.append({**lb.sample(), "load": load, "demand": demand})
        time.sleep(_INTERVAL)
    return taken


def plateau(taken):
    """Sums of the intervals in which at least half as many frames came as in the best one."""
    steps = [{key: b[key] - a[key] for key in a} for a, b in zip(taken, taken[1:])]
    best = max((s["packets"] / s["time"] for s in steps), default=0)
    chosen = [s for s in steps if s["packets"] and s["packets"] / s["time"] >= best / 2]
    if not chosen:
        raise RuntimeError("mqlb-replay ended before anything could be measured")
    return {key: sum(s[key] for s in chosen) for key in chosen[0]}


def empty_poll(lb):
    """Seconds of CPU for a loop that finds nothing. The ports are not connected yet, so it is
    rather too little."""
    lb.ctl("set poll busy")
    use = lb.over(0.2)
    lb.ctl("set poll adaptive")
    return use["cpu"] / use["loops"]


def run(clients, publishes, repeats, huge):
    """Figures of one play; an error unless every byte arrived."""
    with pmd.Place() as place:
        capture = place.path("publish.pcap")
        write_capture(capture, publishes)
        servers = devices(place, "server")
        with pmd.Daemon(place, pmd.balancer(servers), servers, huge) as lb:
            empty = empty_poll(lb)
            # The captured server acknowledges at once, brokers of its own making after 40 ms.
            command = replay_command(place, huge, "--clients", str(clients), "--repeat",
                                     str(repeats), "--speed", "max", "--brokers", "capture",
                                     capture)
            with open(place.path("report"), "w+", encoding="utf-8") as report, pmd.Place.popen(
                    command, stdin=subprocess.DEVNULL, stdout=report, stderr=subprocess.PIPE,
                    text=True, env={**os.environ, "RUNTIME_DIRECTORY": place.directory}) as play:
                try:
                    taken = samples(lb, play)
                    _, errors = play.communicate(timeout=60)
                finally:
                    if play.poll() is None:
                        play.kill()
                report.seek(0)
                text = report.read()
            if play.returncode != 0:
                raise RuntimeError(f"mqlb-replay ended with status {play.returncode}: "
                                   f"{errors[-2000:]}")
            counters = lb.counters()
    connections = json.loads(text)["connections"]
    if len(connections) != clients * repeats or any(c["problem"] for c in connections):
        raise RuntimeError("not all connections were played")
    use = plateau(taken)
    work = max(use["cpu"] - empty * use["idle"], 0)
    return {"connections": len(connections), "clients": clients,
            "publishes": clients * repeats * publishes,
            "to_broker": counters["event", "packets-to-broker"],
            "rate": use["packets"] / use["time"], "cost": use["cpu"] / use["packets"],
            "net_cost": work / use["packets"], "work": work / use["time"],
            "idle_loops": use["idle"] / use["loops"], "cpu": use["cpu"] / use["time"],
            "load_cpu": use["load"] / use["time"], "load_demand": use["demand"] / use["time"]}
