"""One run of one candidate: each phase, and the proof that the balancer kept clients together."""

import collections
import os
import time

from scripts.bench import load, measure, network


class Sizes:
    """How much each phase does."""

    def __init__(self, quick):
        self.connects = 600 if quick else 20000
        self.idle = 300 if quick else 9000  # a balancer has two files for each
        self.clients = 50 if quick else 200
        self.seconds = 0.4 if quick else 3
        self.baseline = 0.2 if quick else 0.5


FIRST = 8  # connections before memory is measured


class NotSticky(AssertionError):
    """A candidate did not do what is being compared."""


def check_clients(name, reports, connects, proxied):
    """Every connection arrived, each Client ID at one broker only, and every broker had some."""
    homes = collections.defaultdict(dict)
    for report in reports:
        for client_id, count in report["clients"].items():
            homes[client_id][report["listen"]] = count["connections"]
    wandering = [i for i, brokers in homes.items() if len(brokers) > 1]
    twice = [i for i, brokers in homes.items() if i.startswith("c") and sum(brokers.values()) == 2]
    total = sum(r["connections"] for r in reports)
    if wandering:
        raise NotSticky(f"{name}: {len(wandering)} of {len(homes)} Client IDs met several brokers")
    if connects and len(twice) != connects // 2:
        raise NotSticky(f"{name}: {len(twice)} of {connects // 2} Client IDs connected twice")
    if sum(r["malformed"] for r in reports) or not all(r["connections"] for r in reports):
        raise NotSticky(f"{name}: malformed packets, or a broker without clients")
    if sum(r["proxied"] for r in reports) != (total if proxied else 0):
        raise NotSticky(f"{name}: {total} connections, but not so many PROXY headers")
    return total


class Costs:
    """Turns the use of the balancer's CPU into what one thing (connection, message) costs."""

    def __init__(self, candidate, sampler, seconds):
        self._candidate, self._sampler = candidate, sampler
        self.baseline = sampler.over(seconds)
        self._idle_share = self.baseline["charged"] / self.baseline["seconds"]
        self._empty = measure.empty_poll_cost(candidate, sampler) if candidate.is_mqlb else None

    def measured(self, phase, count_of, **options):
        """Runs a phase; the report has `cost` and, without polling in vain, `net_cost`, in us, and
        the `frames` on the balancer's veths for each thing."""
        run = load.Load(self._candidate, phase, self._sampler, **options)
        loops = self._candidate.loops() if self._empty else None
        frames = self._candidate.net.frames()
        report = run.go()
        use = report["use"]
        vain = self._idle_share * use["seconds"]
        if self._empty:
            vain = self._empty * (self._candidate.loops()[1] - loops[1])
        things = report[count_of]
        report["rate"] = things / report["seconds"]
        report["cost"] = use["charged"] / things * 1e6
        report["net_cost"] = max(use["charged"] - vain, 0) / things * 1e6
        report["frames"] = (self._candidate.net.frames() - frames) / things
        report["own_cost"] = use["own"] / things * 1e6
        return report


def connect(costs, sizes):
    # Each Client ID twice, from different addresses.
    return costs.measured("connect", "connections", connections=sizes.connects,
                          ids=sizes.connects // 2, window=64, prefix="c")


def throughput(costs, sizes):
    return costs.measured("publish", "messages", connections=sizes.clients,
                          seconds=sizes.seconds, credit=8, payload=16, prefix="p")


def latency(costs, sizes, rate):
    return costs.measured("latency", "messages", connections=sizes.clients, payload=16,
                          seconds=sizes.seconds, rate=rate, prefix="l")


def run_traffic(kind, sizes, phases, rate):
    """{phase: report} of one candidate in a network of its own; with `sinks` what brokers saw."""
    results = {}
    with network.Network() as net, measure.MemoryGroup(net.prefix) as group:
        with kind(net, group) as candidate, load.Sinks(candidate) as sinks:
            costs = Costs(candidate, measure.Sampler(candidate), sizes.baseline)
            results["baseline"] = costs.baseline
            if "connect" in phases:
                results["connect"] = connect(costs, sizes)
            if "throughput" in phases:
                results["throughput"] = throughput(costs, sizes)
            if "latency" in phases:
                results["latency"] = latency(costs, sizes, rate)
            reports = sinks.stop()
            connects = sizes.connects if "connect" in phases else 0
            results["connections"] = check_clients(kind.name, reports, connects,
                                                   proxied=kind.name != "direct")
            results["messages"] = sum(r["messages_qos0"] + r["messages_qos1"] for r in reports)
            check_messages(kind.name, results)
    return results


def check_messages(name, results):
    sent = sum(results[p]["sent"] for p in ("throughput", "latency") if p in results)
    if results["messages"] != sent:
        raise NotSticky(f"{name}: {sent} messages were sent, {results['messages']} arrived")


def saturation(kind, sizes):
    """QoS 1 messages a second that a candidate carries, each client waiting for its PUBACK."""
    with network.Network() as net, measure.MemoryGroup(net.prefix) as group:
        with kind(net, group) as candidate, load.Sinks(candidate):
            report = load.Load(candidate, "publish", qos=1, credit=1, payload=16, prefix="s",
                               connections=sizes.clients, seconds=sizes.seconds / 2).go()
            return report["messages"] / report["seconds"]


class Memory:
    """What is taken at one moment: by the candidate, by the kernel for it, by the whole kernel."""

    def __init__(self, candidate, group):
        self.user = measure.user_bytes(candidate.processes())
        self.kernel = group.kernel_bytes()
        self.slab = measure.slab_bytes()


def _memory(kind, connections, max_flows):
    """Memory before and with so many idle connections."""
    with network.Network() as net, measure.MemoryGroup(net.prefix) as group:
        with kind(net, group, max_flows) as candidate, load.Sinks(candidate):
            # The first connections bring what does not grow with their number.
            load.Load(candidate, "connect", connections=FIRST, prefix="w").go()
            before = Memory(candidate, group)
            if not connections:
                return before, before
            idle = load.Load(candidate, "idle", connections=connections, window=64, prefix="i")
            time.sleep(0.2)  # what is freed only after a grace period
            after = Memory(candidate, group)
            idle.go()
            return before, after


def run_memory(kind, sizes):
    """Bytes for one idle connection, "user", "kernel" (None: not told) and "slab" of the whole
    machine; and those of the "process" altogether."""
    n = sizes.idle
    # A flow that has ended is kept for some seconds.
    before, after = _memory(kind, n, n + FIRST if kind.is_mqlb else None)
    slab = (after.slab - before.slab) / n
    if kind.is_mqlb:
        # All is taken at the start: the base is a daemon that has room for a few.
        before, _ = _memory(kind, 0, FIRST)
    kernel = None if after.kernel is None else (after.kernel - before.kernel) / n
    return {"user": (after.user - before.user) / n, "kernel": kernel, "slab": slab,
            "process": after.user}


def machine():
    """One line for the notes."""
    with open("/proc/cpuinfo", encoding="utf-8") as f:
        model = next((l.split(":")[1].strip() for l in f if l.startswith("model name")), "?")
    return f"{os.cpu_count()} CPUs ({model}), Linux {os.uname().release}"
