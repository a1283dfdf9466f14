"""How many instructions each step of a spliced packet takes, by valgrind, beside a plain NAT.

    bench-instructions.sh [--json FILE] [--quick]

Needs a build with debug information in build-instructions, and one to run in build. A step is told
by the source lines of an instruction: its own, or, where that is a helper that was inlined
(addresses, byte order, the C++ library), the line that uses the helper.
"""

import argparse
import collections
import json
import os
import re
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))

from scripts.bench import callgrind, engine, tables  # noqa: E402
from tests.support import daemon, netns  # noqa: E402

FLOWS = 1000
BURST = 32  # bench::kBurst
STEPS = ("parse", "look up", "rewrite", "decide and account", "I/O of the rig", "other")
PARSE, LOOK_UP, REWRITE, DECIDE, IO, OTHER = STEPS
# The first that fits, for each line from the innermost to what has inlined it: file and function.
_RULES = [
    (r"lib/wire/packet\.cc$", "", PARSE),
    (r"lib/flow/[^/]+$", "", LOOK_UP),
    (r"lib/engine/addresses\.\w+$", "", LOOK_UP),
    (r"lib/splice/[^/]+$", "", REWRITE),
    (r"app/mqlb-bench/nat\.cc$", r"\brewrite\b", REWRITE),
    (r"app/mqlb-bench/nat\.\w+$", "", DECIDE),
    (r"lib/engine/[^/]+$", "", DECIDE),
    (r"app/mqlb-bench/[^/]+$", "", IO),
    (r"/rte_\w+\.h$", "", IO),
]
# For what no rule fits: a helper that was not inlined.
_HELPERS = [(r"lib/wire/checksum\.\w+$", REWRITE), (r"lib/wire/[^/]+$", PARSE)]
# What is measured in turn (cases.cc), each after a dump of what was before it.
PARTS = (("to broker", 66), ("to broker", 1514), ("to client", 66), ("to client", 1514))
# The function that has only measured work in it, and one of it that each packet or burst calls.
PATHS = {"spliced": ("*bench::run_burst*", r"wire::parse_packet\("),
         "plain NAT": ("*bench::Nat::run*", r"wire::parse_packet\(")}


class NotCounted(RuntimeError):
    """valgrind did not come to its end, or counted something else."""


def place_of(chain, library=""):
    """(step, file) of an instruction, from [(function, file), ...]; `library`: what it is in."""
    if re.search(r"/librte_\w+\.so", library):
        return IO, os.path.basename(library).split(".")[0]
    for function, file in chain:
        for pattern, name, step in _RULES:
            if re.search(pattern, file) and re.search(name, function):
                return step, short(file)
    for _, file in chain:
        for pattern, step in _HELPERS:
            if re.search(pattern, file):
                return step, short(file)
    return OTHER, "other"


def short(file):
    """Without what comes before the tree; the same for a header and its source."""
    found = re.search(r"((?:lib|app)/[^/]+/[^/]+)\.\w+$", file)
    return found.group(1) if found else os.path.basename(file)


def places(profile, program):
    """{(step, file): instructions} of a profile."""
    own = sorted({a for ob, a, _ in profile.cost if ob == program})
    chains = callgrind.source_chains(program, own)
    out = collections.Counter()
    for (ob, address, _), number in profile.cost.items():
        chain = chains.get(address, []) if ob == program else []
        out[place_of(chain, ob or "")] += number
    return out


def sums(counted, index):
    """{step: instructions}, or of files, of each part of each path."""
    out = {}
    for path, parts in counted.items():
        out[path] = [collections.Counter() for _ in parts]
        for total, part in zip(out[path], parts):
            for place, number in part.items():
                total[place[index]] += number
    return out


def count(program, path, directory):
    """[{(step, file): instructions for one packet}] of the parts, in one run under valgrind."""
    toggle, each = PATHS[path]
    out = os.path.join(directory, path.replace(" ", "-"))
    argv = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={out}", "--dump-instr=yes",
            "--collect-atstart=no", f"--toggle-collect={toggle}",
            "--dump-before=*measure_direction*", program, *engine.eal_arguments((FLOWS,), 0),
            "--", "--flows", str(FLOWS), "--runs", "1", "--json", "spliced"]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise NotCounted(f"valgrind: {done.stderr[-1000:]}")
    files = [f"{out}.{part}" for part in range(2, len(PARTS) + 1)] + [out]
    return [_per_packet(file, program, each) for file in files]


def _per_packet(file, program, each):
    if not os.path.exists(file):
        raise NotCounted("measure_direction is not called once for each direction and size")
    with open(file, encoding="utf-8", errors="replace") as f:
        profile = callgrind.Profile(f)
    packets = profile.called(each)
    if packets == 0 or packets % BURST:
        raise NotCounted(f"{packets} packets were counted")
    return {place: n / packets for place, n in places(profile, program).items()}


def cycles(program, quick):
    """{(direction, path): cycles} of one packet of 66 bytes, without valgrind."""
    argv = [program, *engine.eal_arguments((FLOWS,), 0), "--", "--flows", str(FLOWS),
            *(["--runs", "1"] if quick else []), "--json", "spliced"]
    done = subprocess.run(argv, capture_output=True, text=True, check=True)
    figures = {f["what"]: f["median"] for f in json.loads(done.stdout)}
    return {(way, path): figures[f"{name} {way}, 66 bytes"]
            for way in ("to broker", "to client")
            for path, name in (("spliced", "spliced packet"), ("plain NAT", "plain NAT"))}


def table(by_step, measured, command):
    """`by_step`: {path: [{step: instructions}] by part}; `measured`: what cycles() gives."""
    columns, rows = ["step"], [[step] for step in (*STEPS, "all")]
    for way, path, each in _small(by_step):
        columns += [f"{way}: {path}", "cycles"]
        total = sum(each.values())
        for row in rows:
            n = total if row[0] == "all" else each[row[0]]
            row += [tables.number(n), tables.number(measured[way, path] * n / total)]
    kept = [row for row in rows if any(cell != "0.00" for cell in row[1::2])]
    return {"name": "instructions", "title": f"Instructions of one packet by step, {FLOWS:,} flows",
            "command": command, "columns": columns, "rows": kept,
            "notes": [*_NOTES, _sizes_note(by_step)]}


def files_table(by_file, command):
    """Where in the source, those with most of a spliced packet's first."""
    parts = list(_small(by_file))
    most = {file: max(each[file] for _, _, each in parts) for _, _, each in parts for file in each}
    files = sorted((f for f in most if most[f] >= 1), key=lambda f: (-most[f], f))
    return {"name": "instructions-files",
            "title": f"Instructions of one packet by source file, {FLOWS:,} flows",
            "command": command,
            "columns": ["file", *(f"{way}: {path}" for way, path, _ in parts)],
            "rows": [[f"`{f}`", *(tables.number(each[f]) for _, _, each in parts)] for f in files],
            "notes": ["As above: helpers count for the file that uses them. Less than one "
                      "instruction is left out."]}


def _small(sums_of_parts):
    """(direction, path, sums) of packets of 66 bytes."""
    for part, (way, size) in enumerate(PARTS):
        if size == 66:
            for path in PATHS:
                yield way, path, sums_of_parts[path][part]


_NOTES = [
    "Counted by `valgrind --tool=callgrind` in the functions that handle a burst; making the "
    "frames is not in it. A packet of 66 bytes.",
    "Cycles: those of the whole packet, measured without valgrind in the same run of this script, "
    "divided as the instructions are; no step was measured by itself. A step that waits for memory "
    "takes more, with many flows above all looking up.",
    "Parse: lib/wire/packet.cc. Look up: lib/flow and lib/engine/addresses. Rewrite: lib/splice; "
    "the NAT's function of that name. Decide and account: the rest of lib/engine; of the NAT. I/O "
    "of the rig: app/mqlb-bench and DPDK's buffers. Helpers (other headers) count for who uses "
    "them. Other: the C library."]


def _sizes_note(by_step):
    """Whether a full frame takes as many as a small one."""
    most = max(abs(sum(parts[i + 1].values()) - sum(parts[i].values()))
               for parts in by_step.values() for i in (0, 2))
    return (f"A packet of 1,514 bytes takes as many, within {tables.number(most)} instructions: "
            "its payload is not touched.")


def main():
    parser = argparse.ArgumentParser(prog="bench-instructions.sh",
                                     description="instructions of each step of a spliced packet")
    parser.add_argument("--json", metavar="FILE", help="writes the table there too")
    parser.add_argument("--quick", action="store_true", help="fewer runs for the cycles")
    options = parser.parse_args()
    program = os.path.join(netns.ROOT, "build-instructions/app/mqlb-bench/mqlb-bench")
    try:
        with tempfile.TemporaryDirectory(prefix="mqlb-instructions-") as directory:
            counted = {path: count(program, path, directory) for path in PATHS}
        measured = cycles(daemon.program("mqlb-bench"), options.quick)
    except (NotCounted, callgrind.BadProfile, OSError, subprocess.SubprocessError) as error:
        print(f"bench-instructions: {error}", file=sys.stderr)
        return 1
    command = "scripts/bench-instructions.sh"
    made = [table(sums(counted, 0), measured, command), files_table(sums(counted, 1), command)]
    print(tables.text(made))
    if options.json:
        with open(options.json, "w", encoding="utf-8") as f:
            json.dump(made, f, indent=1, ensure_ascii=False)
            f.write("\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
