"""mqlb beside HAProxy and nginx, on the same namespaces, veths, cores, clients and brokers.

    peers.py [--runs N] [--only NAME,...] [--phases NAME,...] [--rate N] [--quick] [--json FILE]

Candidates: direct, mqlb-afpacket, mqlb-afxdp, haproxy, nginx.
Phases: connect, throughput, latency, memory. docs/bench.md says what is measured and how.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))

from scripts.bench import candidates, network, phases, tables  # noqa: E402

PHASES = ("connect", "throughput", "latency", "memory")


def words(allowed):
    def parse(text):
        chosen = text.split(",")
        for word in chosen:
            if word not in allowed:
                raise argparse.ArgumentTypeError(f"{word!r} is none of {', '.join(allowed)}")
        return [word for word in allowed if word in chosen]
    return parse


def arguments():
    names = [kind.name for kind in candidates.ALL]
    parser = argparse.ArgumentParser(
        prog="bench-peers.sh", description="mqlb beside HAProxy and nginx; see docs/bench.md")
    parser.add_argument("--runs", type=int, default=5, help="of everything (default 5)")
    parser.add_argument("--only", type=words(names), default=names, metavar="NAME,...",
                        help="candidates: " + ", ".join(names))
    parser.add_argument("--phases", type=words(PHASES), default=list(PHASES), metavar="NAME,...",
                        help=", ".join(PHASES))
    parser.add_argument("--rate", type=float, metavar="N",
                        help="messages a second of the latency phase (default: half of what the "
                             "slowest candidate carries)")
    parser.add_argument("--quick", action="store_true",
                        help="one run of a few hundred connections: shows only that all works")
    parser.add_argument("--json", metavar="FILE", help="writes the tables there too")
    parsed = parser.parse_args()
    if parsed.quick:
        parsed.runs = 1
    return parsed


def say(text):
    print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)


def choose_rate(kinds, sizes):
    """Half of what the slowest balancer carries, so that all have the same to do."""
    rates = {kind.name: phases.saturation(kind, sizes) for kind in kinds if kind.name != "direct"}
    say("QoS 1 messages a second at most: " +
        ", ".join(f"{name} {rate:,.0f}" for name, rate in rates.items()))
    return round(min(rates.values(), default=2000) / 2, -2) or 100


def run_all(options):
    """[{candidate: {phase: report}}], one for each run."""
    kinds = [kind for kind in candidates.ALL if kind.name in options.only]
    sizes = phases.Sizes(options.quick)
    rate = options.rate
    if "latency" in options.phases and not rate:
        rate = choose_rate(kinds, sizes)
    runs = []
    for number in range(options.runs):
        run = {}
        # Another order each time: what drifts in the machine meets all alike.
        for kind in kinds[number % len(kinds):] + kinds[:number % len(kinds)]:
            run[kind.name] = results = {}
            if set(options.phases) - {"memory"}:
                results |= phases.run_traffic(kind, sizes, options.phases, rate)
            if "memory" in options.phases:
                results["memory"] = phases.run_memory(kind, sizes)
            say(f"run {number + 1}/{options.runs} {kind.name}: " + tables.brief(results))
        runs.append(run)
    return runs, rate


def main():
    options = arguments()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    if os.cpu_count() < 2:
        print("bench-peers: one CPU is for the balancer, another for all else", file=sys.stderr)
        return 1
    # What this starts inherits it; balancers are put on the other CPU.
    os.sched_setaffinity(0, {network.LOAD_CPU})
    try:
        runs, rate = run_all(options)
    except KeyboardInterrupt:
        return 130
    except (AssertionError, RuntimeError, OSError, subprocess.SubprocessError) as error:
        print(f"bench-peers: {error}", file=sys.stderr)
        return 1
    made = tables.make(runs, rate, options)
    print(tables.text(made))
    if options.json:
        with open(options.json, "w", encoding="utf-8") as f:
            json.dump(made, f, indent=1, ensure_ascii=False)
            f.write("\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
