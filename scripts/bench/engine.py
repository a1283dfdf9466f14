"""mqlb-bench: which cases are run with how many flows, and its figures as tables.

What a run keeps is {"cases": {case: {"command": what was typed, "figures": [what --json wrote]}}}.
"""

import json
import os
import re
import subprocess
import tempfile

from scripts.bench.tables import number

SLOTS = 65537

# Flows by case: those that the goals are for, and few that fit the caches. Others get mqlb-bench's
# own choice.
FLOWS = {
    "spliced": (1000, 100_000, 1_000_000, 4_000_000, 10_000_000),
    "connections": (0, 100_000, 1_000_000),
    "floods": (1000, 100_000, 1_000_000),
    "split": (1000, 100_000),
    "memory": (100_000, 1_000_000, 10_000_000),
    "maglev": (),
}
TITLES = {
    "spliced": "Spliced packets, cycles for one",
    "connections": "Whole connections beside standing flows",
    "floods": "Packets of a flood beside standing flows",
    "split": "Worker and proxy on a core each, beside one core with both roles",
    "memory": "Memory of one data core, all of it taken at the start",
    "maglev": f"Maglev tables of {SLOTS:,} slots",
}
_RANGE = "Median of the runs, (least-most)."
_BESIDE = ("Flows in random order, 32 packets at a time, from a burst of frames handed to the "
           "core until it has passed on what it sends; no port. Plain NAT: the same frames over "
           "the same tables, without what the splice needs. Tax: the ratio of the two in one run.")
_NOTES = {
    "spliced": [_BESIDE],
    "connections": ["From the SYN until both records are given back."],
    "floods": ["Where each second is a SYN: the mean of both kinds."],
    "split": ["Packets each way: both cores at the same time. Connections and packets that came to "
              "the wrong core and are handed over: in turns. One core / slower: how much more the "
              "split carries."],
    "maglev": ["The slots that differ when a broker joins are those that differ when it leaves."],
}
_KINDS = (("spliced packet ", "spliced"), ("plain NAT ", "plain NAT"), ("splice tax ", "tax"))


class BenchFailed(RuntimeError):
    """mqlb-bench ended with a complaint."""


def megabytes_for(flows):
    """Room for the tables of the core and those of the plain NAT, and for packet buffers."""
    return 512 + max(flows, default=1_000_000) * 640 // 1_000_000


def eal_arguments(flows, huge_free, lcores="0"):
    """`huge_free`: bytes of free hugepages; they are used if that is enough."""
    room = megabytes_for(flows)
    pages = ["--in-memory"] if huge_free >= room << 20 else ["--no-huge", "--no-shconf"]
    return [*pages, "--no-pci", "-m", str(room), "-l", lcores]


def cases(program, elsewhere=()):
    """The names of the cases that mqlb-bench has, without those that another script runs."""
    usage = subprocess.run([program], capture_output=True, text=True, check=False).stderr
    found = re.findall(r"^  (\S+)  +\S", usage, re.MULTILINE)
    if not found:
        raise BenchFailed(f"{program} does not say which cases it has: {usage[-500:]}")
    return [case for case in found if case not in elsewhere]


def arguments(case, quick, huge_free):
    flows = FLOWS.get(case, ())
    if quick and case != "maglev":
        flows = (1000,)
    out = [*eal_arguments(flows, huge_free, "0,1" if case == "split" else "0"), "--"]
    if flows:
        out += ["--flows", ",".join(map(str, flows))]
    return out + (["--runs", "1"] if quick else []) + ["--json", case]


def run(program, case, quick, huge_free):
    """One case, measured."""
    argv = arguments(case, quick, huge_free)
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as errors:
        with subprocess.Popen([program, *argv], stdout=out, stderr=errors) as process:
            # Ended, but still known to the kernel.
            os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
            share = _share(process.pid)
        out.seek(0)
        errors.seek(0)
        if process.returncode != 0:
            raise BenchFailed(f"mqlb-bench {case}: {errors.read().decode()[-500:]}")
        return {"command": "mqlb-bench " + " ".join(argv), "share": share,
                "figures": json.load(out)}


def _share(pid):
    """Of the time in which the main thread could run, how much of it did."""
    with open(f"/proc/{pid}/schedstat", encoding="ascii") as f:
        ran, waited, _ = map(int, f.read().split())
    return ran / max(ran + waited, 1)


def disturbed(case):
    """What to say if others had the CPU as well; the time stamp counter goes on meanwhile."""
    share = case.get("share", 1)
    if share >= 0.97:
        return []
    return [f"Disturbed: mqlb-bench had its CPU for {100 * share:.0f} % of the time only."]


def clock(program):
    """GHz of the time stamp counter, as mqlb-bench tells it."""
    argv = [program, *eal_arguments((1000,), 0), "--", "--runs", "1", "maglev"]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    found = re.search(r"time stamp counter: ([\d.]+) GHz", done.stderr)
    return float(found.group(1)) if found else None


def flows_text(flows):
    return f"{flows:,} flows" if flows else "value"


def value_text(figure):
    """Median (least-most), or one value where there is no more."""
    middle, least, most = (number(figure[key]) for key in ("median", "least", "most"))
    return middle if least == most else f"{middle} ({least}-{most})"


def table(name, case, command):
    """Any case as a table: a row for each thing, a column for each number of standing flows."""
    figures = case["figures"]
    flows = sorted({f["flows"] for f in figures})
    rows = {}
    for figure in figures:
        rows.setdefault((figure["what"], figure["unit"]), {})[figure["flows"]] = figure
    kinds = name == "spliced"
    made = []
    for (what, unit), cells in rows.items():
        head = _split(what) if kinds else [what]
        made.append([*head, *(value_text(cells[n]) if n in cells else "-" for n in flows), unit])
    columns = ["packet", "path"] if kinds else ["what"]
    return {
        "name": f"engine-{name}", "title": TITLES.get(name, f"mqlb-bench: {name}"),
        "command": command, "columns": [*columns, *map(flows_text, flows), "unit"], "rows": made,
        "notes": [f"`{case['command']}`. {_RANGE}", *_NOTES.get(name, []),
                  *disturbed(case)]}


def _split(what):
    """Direction and size of the packet, and the path it took."""
    for prefix, path in _KINDS:
        if what.startswith(prefix):
            return [what.removeprefix(prefix), path]
    return [what, "-"]


def tables(measured, command):
    return [table(name, case, command) for name, case in measured["cases"].items()]


class Figures:
    """What was measured, by case, thing and standing flows."""

    def __init__(self, measured):
        cases_made = (measured or {"cases": {}})["cases"]
        self._all = {(case, f["what"], f["flows"]): f
                     for case, made in cases_made.items() for f in made["figures"]}

    def get(self, case, what, flows=0):
        """The figure, or nothing."""
        return self._all.get((case, what, flows))

    def worst(self, case, prefix, flows):
        """Of the figures that are called so that with the greatest median, or nothing."""
        return max((f for (c, what, n), f in self._all.items()
                    if c == case and n == flows and what.startswith(prefix)),
                   key=lambda f: f["median"], default=None)
