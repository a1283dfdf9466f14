"""The results of all runs as tables: for the terminal, and as JSON for whoever prints them."""

import statistics

from scripts.bench import candidates, phases

PEER = "haproxy"
_TITLES = {kind.name: kind.title for kind in candidates.ALL}
_NONE = "-"


def number(value):
    """Three significant digits or all before the point."""
    size = abs(value)
    return f"{value:,.{0 if size >= 100 else 1 if size >= 10 else 2}f}"


def spread(values):
    """min / median / max."""
    if not values:
        return _NONE
    return " / ".join(number(v) for v in (min(values), statistics.median(values), max(values)))


def percent(values):
    return f"{100 * statistics.median(values):.0f} %" if values else _NONE


class Results:
    """What all runs measured, by candidate."""

    def __init__(self, runs, phase):
        self._runs, self._phase = runs, phase
        self.names = [kind.name for kind in candidates.ALL if kind.name in runs[0]]

    def values(self, name, figure):
        """One value a run; `figure` is a function of a phase's report, or nothing without one."""
        return [v for run in self._runs if (v := self._value(run, name, figure)) is not None]

    def _value(self, run, name, figure):
        report = run.get(name, {}).get(self._phase)
        return None if report is None else figure(report)

    def ratio(self, name, figure, inverse=False, peer=PEER):
        """To the peer, made within each run; of these the median."""
        ratios = []
        for run in self._runs:
            mine, theirs = (self._value(run, n, figure) for n in (name, peer))
            if inverse:
                mine, theirs = theirs, mine
            if mine is not None and theirs:
                ratios.append(mine / theirs)
        return f"{statistics.median(ratios):.2f}" if ratios else _NONE


def rate(report):
    return report["rate"]


def cost(report):
    return report["cost"]


def net_cost(report):
    return report["net_cost"]


def balancer_busy(report):
    return report["use"]["charged"] / report["use"]["seconds"]


def load_busy(report):
    return report["use"]["load_busy"]


def useful_share(report):
    """Of the balancer's CPU: what is used, without empty polls."""
    return balancer_busy(report) * report["net_cost"] / report["cost"] if report["cost"] else 0


def share_of(kind):
    """Of the time on the balancer's CPU that was not idle, by the kernel's sampling."""
    def share(report):
        use = report["use"]
        return use[kind] / max(use["user"] + use["system"] + use["softirq"], 1e-9)
    return share


def kernel_share(report):
    return share_of("system")(report) + share_of("softirq")(report)


def kinds(results, name):
    shares = (results.values(name, share_of(kind)) for kind in ("user", "system", "softirq"))
    return " / ".join(f"{100 * statistics.median(share):.0f}" for share in shares)


def cost_table(runs, phase, thing, count):
    """Rate and CPU time of one thing."""
    results = Results(runs, phase)
    rows = []
    for name in results.names:
        row = [_TITLES[name], spread(results.values(name, rate)), results.ratio(name, rate)]
        if name == "direct":
            rows.append(row + [_NONE] * 9 + [percent(results.values(name, load_busy))])
            continue
        rows.append(row + [
            spread(results.values(name, cost)), results.ratio(name, cost),
            results.ratio(name, cost, peer="nginx"),
            spread(results.values(name, net_cost)), results.ratio(name, net_cost),
            *(number(statistics.median(results.values(name, lambda r, f=f: r[f])))
              for f in ("frames", "own_cost")),
            kinds(results, name), percent(results.values(name, balancer_busy)),
            percent(results.values(name, load_busy))])
    return {
        "name": f"peers-{phase}", "title": f"{count}: rate, and CPU time of the balancer",
        "columns": ["balancer", f"{thing}s/s", "to HAProxy", f"CPU us/{thing}", "to HAProxy",
                    "to nginx", "without empty polls", "to HAProxy", "frames", "own threads us",
                    "user/system/softirq %", "CPU 1 busy", "CPU 0 busy"],
        "rows": rows,
        "notes": [_COST_NOTE, _EMPTY_NOTE, *limits(results)]}


_COST_NOTE = (
    "CPU us: all time in which CPU 1 was not idle (user, system, interrupts and softirq, the "
    "receiving side of the balancer's veths included), less that of threads that are neither the "
    "balancer's nor the kernel's network. Own threads: what the kernel charges to the balancer's "
    "threads, softirqs that interrupt them included. Frames: on the balancer's veths, for one; a "
    "balancer with sockets puts waiting messages into one segment. CPU 0 carries clients and brokers.")
_EMPTY_NOTE = (
    "Without empty polls: mqlb polls, so it uses time when there is nothing to do. Its count of "
    "loops that found nothing, times what such a loop takes (measured in the same run, without "
    "traffic), is taken off; of the others what they use when idle.")


_EQUALS_NOTE = (
    "In every run each Client ID met one broker only, all connections behind a balancer had a "
    "PROXY header, and no message was lost.")


def limits(results):
    """What held each candidate back, where that was not itself."""
    notes = []
    for name in results.names:
        load, useful, kernel = (results.values(name, f)
                                for f in (load_busy, useful_share, kernel_share))
        if name == "direct" or not load:
            continue
        load, useful, kernel = (statistics.median(v) for v in (load, useful, kernel))
        if load >= 0.9 > useful:
            notes.append(
                f"{_TITLES[name]}: the rate is not the balancer's limit but that of CPU 0, which "
                f"clients, brokers and their ends of the veths keep {100 * load:.0f} % busy; CPU 1 "
                f"has work for {100 * useful:.0f} % of the time.")
        if name.startswith("mqlb") and kernel >= 0.5:
            notes.append(
                f"{_TITLES[name]}: {100 * kernel:.0f} % of its CPU time is the kernel's (veth, "
                "softirq, packet sockets, interrupts between the CPUs): the veths are the limit.")
    return notes


def latency_table(runs, at):
    results = Results(runs, "latency")
    for run in runs:  # what the balancer adds, within each run
        floor = run.get("direct", {}).get("latency")
        for name in results.names:
            report = run[name]["latency"]
            report["added"] = report["p99_us"] - floor["p99_us"] if floor else None
    rows = []
    for name in results.names:
        row = [_TITLES[name]]
        row += [spread(results.values(name, lambda r, f=f: r[f]))
                for f in ("p50_us", "p99_us", "p999_us")]
        if name == "direct":
            rows.append(row + [_NONE] * 6)
            continue
        row += [spread(results.values(name, lambda r: r["added"])),
                results.ratio(name, lambda r: r["added"])]
        for figure in (cost, net_cost):
            row += [spread(results.values(name, figure)), results.ratio(name, figure)]
        rows.append(row)
    return {
        "name": "peers-latency",
        "title": f"Round trip of QoS 1 publishes at {at:,.0f} a second, us",
        "columns": ["balancer", "p50", "p99", "p99.9", "p99 above direct", "to HAProxy",
                    "CPU us/message", "to HAProxy", "without empty polls", "to HAProxy"],
        "rows": rows,
        "notes": ["From when the message was due until its PUBACK, so a stall counts for every "
                  "message that it delays. The rate is half of what the slowest balancer carries.",
                  _EMPTY_NOTE]}


def memory_table(runs, connections):
    results = Results(runs, "memory")

    def total(report):
        return None if report["kernel"] is None else report["user"] + report["kernel"]

    for run in runs:  # the balancer's part of the whole kernel's difference, within each run
        floor = run.get("direct", {}).get("memory")
        for name in results.names:
            run[name]["memory"]["slab_above"] = (
                run[name]["memory"]["slab"] - floor["slab"] if floor else None)
    rows = []
    for name in results.names:
        if name == "direct":
            continue
        rows.append([_TITLES[name],
                     *(spread(results.values(name, lambda r, f=f: r[f]))
                       for f in ("user", "kernel")),
                     spread(results.values(name, total)), results.ratio(name, total, inverse=True),
                     spread(results.values(name, lambda r: r["slab_above"])),
                     spread(results.values(name, lambda r: r["process"] / 2**20))])
    return {
        "name": "peers-memory", "title": f"Bytes for one of {connections:,} idle connections",
        "columns": ["balancer", "user", "kernel", "both", "HAProxy's is times", "slab above direct",
                    "processes, MiB"],
        "rows": rows,
        "notes": [
            "User: growth of the processes' proportional set size. Kernel: growth of what is "
            "charged to the balancer's memory control group (sockets, files, page tables), a lower "
            "bound.",
            "mqlb takes its memory at the start: user is the proportional set size with max-flows "
            f"{connections:,} and that many connections, less that of a daemon with room for "
            f"{phases.FIRST}. By record sizes it is 64 + 12 bytes and a hash entry for the worker "
            "and 64 + 8 for the proxy.",
            "Slab above direct, to check: growth of the machine's slab, less that without a "
            "balancer, where clients and brokers have the same sockets. Others disturb it.",
        ]}


def make(runs, at, options):
    """The tables of the phases that were run."""
    sizes = phases.Sizes(options.quick)
    made = []
    if "connect" in options.phases:
        made.append(cost_table(runs, "connect", "connection",
                               f"{sizes.connects:,} MQTT connections, 64 at a time"))
    if "throughput" in options.phases:
        made.append(cost_table(runs, "throughput", "message",
                               f"QoS 0 messages of 16 bytes from {sizes.clients} clients"))
    if "latency" in options.phases:
        made.append(latency_table(runs, at))
    if "memory" in options.phases:
        made.append(memory_table(runs, sizes.idle))
    for table in made:
        table["command"] = command(options)
        table["notes"].insert(0, f"Min / median / max of {options.runs} runs; ratios are made "
                                 f"within a run, of them the median. {phases.machine()}.")
        if table["name"] != "peers-memory":
            table["notes"] += [_EQUALS_NOTE, *foreign_note(runs)]
    return [{key: table[key] for key in ("name", "title", "command", "columns", "rows", "notes")}
            for table in made]


def command(options):
    """What to type to get these tables again."""
    out = f"scripts/bench-peers.sh --runs {options.runs}"
    if options.only != [kind.name for kind in candidates.ALL]:
        out += " --only " + ",".join(options.only)
    if len(options.phases) < 4:
        out += " --phases " + ",".join(options.phases)
    if options.rate:
        out += f" --rate {options.rate:g}"
    return out + (" --quick" if options.quick else "")


def foreign_note(runs):
    shares = [report["use"]["foreign"] / report["use"]["seconds"]
              for run in runs for results in run.values() for report in results.values()
              if isinstance(report, dict) and "use" in report]
    if max(shares, default=0) < 0.02:
        return []
    return [f"Other threads of the machine took up to {100 * max(shares):.0f} % of CPU 1 in a "
            "phase (taken off)."]


def brief(results):
    """One line for somebody who waits."""
    parts = []
    for phase in ("connect", "throughput"):
        if phase in results:
            report = results[phase]
            parts.append(f"{phase} {report['rate']:,.0f}/s at {report['cost']:.2f} us "
                         f"({report['net_cost']:.2f})")
    if "latency" in results:
        parts.append("p50/p99 {p50_us:.0f}/{p99_us:.0f} us".format(**results["latency"]))
    if "memory" in results:
        report = results["memory"]
        kernel = "?" if report["kernel"] is None else f"{report['kernel']:.0f}"
        parts.append(f"{report['user']:.0f} + {kernel} bytes")
    return ", ".join(parts)


def text(made):
    """For a terminal."""
    out = []
    for table in made:
        lines = [table["columns"], *table["rows"]]
        widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
        out += ["", table["title"], "-" * len(table["title"])]
        out += ["  ".join(map(str.ljust, line, widths)).rstrip() for line in lines]
        out += ["  * " + note for note in table["notes"]]
    return "\n".join(out)
