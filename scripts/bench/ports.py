"""Ports: DPDK's own forwarder beside mqlb on the same drivers, and mqlb behind shared memory.

    ports.py [--runs N] [--only null,ring,memif] [--huge] [--quick] [--json FILE]

null   net_null: frames come from nowhere and go nowhere. dpdk-testpmd forwards them; mqlb gets
       empty frames, which it must drop by name: the ceiling of its receive-and-drop path.
ring   net_ring: frames of spliced flows, by `mqlb-bench ports`; dpdk-testpmd passes frames round.
memif  net_memif: mqlb and, in another process, mqlb-replay as all clients and brokers.

Needs neither root nor hugepages. docs/bench.md says what is measured and how to read it.
"""

import argparse
import json
import os
import re
import signal
import statistics
import subprocess
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))

from scripts.bench import memif, peers, phases, pmd, tables  # noqa: E402
from scripts.bench.network import LOAD_CPU  # noqa: E402

_BENCH_ROWS = {"ring ports, MACs swapped": "mqlb-bench: receive, swap MACs, send",
               "by ring ports": "mqlb: receive, splice, send",
               "in process": "mqlb: splice, without ports"}
_WAYS = ("to broker, 66 bytes", "to client, 66 bytes")


class Sizes:
    """How much is measured in each run."""

    def __init__(self, quick):
        self.seconds = 0.3 if quick else 2
        self.bench_runs = 1 if quick else 5
        self.flows = 100 if quick else 1000
        self.clients = 20 if quick else 200
        self.publishes = 200 if quick else 2000
        self.repeats = 1 if quick else 10


def run_null(sizes, huge):
    """{row: (packets, CPU seconds)}; and by which name mqlb drops them."""
    devices = ["net_null0", "net_null1"]
    results = {f"testpmd {mode}": pmd.testpmd(devices, mode, sizes.seconds, huge)
               for mode in ("io", "macswap")}
    with pmd.Place() as place, pmd.Daemon(place, pmd.bare(devices), devices, huge) as lb:
        use = lb.over(sizes.seconds)
        drops = [name for (group, name), n in lb.counters().items() if group == "drop" and n]
    if len(drops) != 1:
        raise RuntimeError(f"mqlb dropped frames of null ports for several reasons: {drops}")
    results["reason"] = drops[0]
    results["mqlb drop"] = use["packets"], use["cpu"]
    return results


def run_ring(sizes, huge):
    """{row: cycles}; testpmd's are (packets, CPU seconds)."""
    devices = ["net_ring0", "net_ring1"]
    results = {f"testpmd {mode}": pmd.testpmd(devices, mode, sizes.seconds, huge, first=True)
               for mode in ("io", "macswap")}
    done = subprocess.run(
        [pmd.program("mqlb-bench"), *pmd.memory(huge, 512), "--no-pci", "--no-telemetry",
         "--file-prefix", f"mqlb-ports{os.getpid()}", "-l", str(pmd.DATA_CPU), "--",
         "--flows", str(sizes.flows), "--runs", str(sizes.bench_runs), "--json", "ports"],
        capture_output=True, text=True, timeout=300, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"mqlb-bench ended with status {done.returncode}: {done.stderr[-2000:]}")
    results["ghz"] = float(re.search(r"time stamp counter: ([\d.]+) GHz", done.stderr)[1])
    for row in json.loads(done.stdout):
        for name, title in _BENCH_ROWS.items():
            for way in _WAYS:
                if row["what"] == f"{name} {way}":
                    results[f"{title}, {way}"] = row["median"]
    return results


def run_memif(sizes, huge):
    return memif.run(sizes.clients, sizes.publishes, sizes.repeats, huge)


SECTIONS = {"null": run_null, "ring": run_ring, "memif": run_memif}


def nanoseconds(result):
    packets, cpu = result
    return 1e9 * cpu / packets


def millions(result):
    packets, cpu = result
    return packets / cpu / 1e6


def null_table(runs):
    rows, floor = [], [nanoseconds(r["testpmd macswap"]) for r in runs]
    (reason,) = {r["reason"] for r in runs}
    for name, title in (("testpmd io", "dpdk-testpmd io"),
                        ("testpmd macswap", "dpdk-testpmd macswap"),
                        ("mqlb drop", f"mqlb, drops as {reason}")):
        values = [nanoseconds(r[name]) for r in runs]
        rows.append([title, tables.spread([millions(r[name]) for r in runs]),
                     tables.spread(values),
                     tables.number(statistics.median(v / f for v, f in zip(values, floor)))])
    return {"name": "ports-null", "title": "Null ports: frames a core can take in",
            "columns": ["program", "million frames/s", "ns/frame", "to macswap"], "rows": rows,
            "notes": ["net_null gives as many empty frames as are asked for. testpmd sends them on "
                      "(to nowhere); mqlb has to look at each, counts why it drops it, and gives "
                      "its buffer back: the ceiling of its receive-and-drop path; nothing is "
                      "spliced."]}


def ring_table(runs):
    titles = [f"{title}, {way}" for way in _WAYS for title in _BENCH_ROWS.values()]
    cycles = {t: [r[t] for r in runs] for t in titles}
    for name in ("testpmd io", "testpmd macswap"):
        cycles["dpdk-" + name] = [r["ghz"] * nanoseconds(r[name]) for r in runs]
    swap = _BENCH_ROWS["ring ports, MACs swapped"]
    rows = []
    for title in ["dpdk-testpmd io", "dpdk-testpmd macswap", *titles]:
        way = next((w for w in _WAYS if title.endswith(w)), None)
        floor = cycles[f"{swap}, {way}" if way else "dpdk-testpmd macswap"]
        ratio = statistics.median(v / f for v, f in zip(cycles[title], floor))
        millions_a_second = [1000 * r["ghz"] / v for r, v in zip(runs, cycles[title])]
        rows.append([title, tables.spread(cycles[title]), tables.spread(millions_a_second),
                     tables.number(ratio)])
    return {"name": "ports-ring", "title": "Ring ports: a spliced packet, port I/O included",
            "columns": ["what", "cycles/packet", "million packets/s", "to MACs swapped"],
            "rows": rows,
            "notes": ["mqlb-bench: bursts of 32 frames of random flows, put into a ring before the "
                      "clock runs and taken from the other port's after it; the three ways take "
                      "turns burst by burst. Without ports, giving the buffers back is included.",
                      "dpdk-testpmd passes 1,024 frames of 64 bytes round between two ring ports; "
                      "cycles are CPU time times the time stamp counter's "
                      f"{runs[0]['ghz']:.2f} GHz."]}


def memif_table(runs):
    def values(figure):
        return [r[figure] for r in runs]
    work, load = (statistics.median(values(f)) for f in ("work", "load_demand"))
    limit = "neither's CPU: they wait for each other"
    if max(work, load) > 0.75:
        limit = "mqlb-replay" if load > work else "mqlb"
    return {"name": "ports-memif", "title": "memif: mqlb and mqlb-replay in two processes",
            "columns": ["publishes", "thousand frames/s through mqlb", "CPU us/frame",
                        "without empty polls", "loops without work", "mqlb's data core busy",
                        "without empty polls", "mqlb-replay busy", "or waiting for CPU 0"],
            "rows": [[f"{runs[0]['publishes']:,}",
                      tables.spread([v / 1000 for v in values("rate")]),
                      *(tables.spread([1e6 * v for v in values(f)]) for f in ("cost", "net_cost")),
                      *(tables.percent(values(f))
                        for f in ("idle_loops", "cpu", "work", "load_cpu", "load_demand"))]],
            "notes": [f"{runs[0]['clients']} clients at a time connect, publish 16 bytes with QoS "
                      f"0 {runs[0]['publishes'] // runs[0]['connections']:,} times and leave. "
                      "Clients and brokers are one thread of mqlb-replay, which builds and checks "
                      "each frame; every byte arrived. Figures are of the time in which most "
                      "frames came.",
                      f"The limit is {limit}.",
                      "Without empty polls: less mqlb's loops that found nothing (show cores), "
                      "times what one takes while the ports are not connected."]}


_TABLES = {"null": null_table, "ring": ring_table, "memif": memif_table}


def make(results, options):
    made = []
    for name in options.only:
        table = _TABLES[name](results[name])
        command = f"scripts/bench-ports.sh --runs {options.runs}"
        if options.only != list(SECTIONS):
            command += " --only " + ",".join(options.only)
        table["command"] = (command + (" --huge" if options.huge else "") +
                            (" --quick" if options.quick else ""))
        pages = "hugepages" if options.huge else "ordinary pages, no hugepages"
        table["notes"].insert(0, f"Min / median / max of {options.runs} runs, one core, {pages}. "
                                 f"Time is CPU time of the core's thread. {phases.machine()}.")
        made.append({key: table[key]
                     for key in ("name", "title", "command", "columns", "rows", "notes")})
    return made


def run_all(options):
    sizes = Sizes(options.quick)
    results = {name: [] for name in options.only}
    for number in range(options.runs):
        for name in options.only:
            results[name].append(SECTIONS[name](sizes, options.huge))
            peers.say(f"run {number + 1}/{options.runs} {name} done")
    return results


def arguments():
    parser = argparse.ArgumentParser(
        prog="bench-ports.sh", description="Ports of DPDK under mqlb; see docs/bench.md")
    parser.add_argument("--runs", type=int, default=5, help="of everything (default 5)")
    parser.add_argument("--only", type=peers.words(list(SECTIONS)), default=list(SECTIONS),
                        metavar="NAME,...", help=", ".join(SECTIONS))
    parser.add_argument("--huge", action="store_true", help="use hugepages (some 256 MiB)")
    parser.add_argument("--quick", action="store_true",
                        help="one short run: shows only that all works")
    parser.add_argument("--json", metavar="FILE", help="writes the tables there too")
    parsed = parser.parse_args()
    if parsed.quick:
        parsed.runs = 1
    return parsed


def main():
    options = arguments()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    if os.cpu_count() < 2:
        print("bench-ports: one CPU is for what is measured, another for all else",
              file=sys.stderr)
        return 1
    os.sched_setaffinity(0, {LOAD_CPU})
    try:
        made = make(run_all(options), options)
    except KeyboardInterrupt:
        return 130
    except (AssertionError, RuntimeError, OSError, subprocess.SubprocessError) as error:
        print(f"bench-ports: {error}", file=sys.stderr)
        return 1
    print(tables.text(made))
    if options.json:
        with open(options.json, "w", encoding="utf-8") as f:
            json.dump(made, f, indent=1, ensure_ascii=False)
            f.write("\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
