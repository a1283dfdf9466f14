"""Measures all parts and writes their tables into README.md and docs/performance.md.

    bench.sh [--only PART,...] [--quick] [--tables-only]

What was measured stays in build/bench/, a file for each part, so that parts can be measured one by
one and the tables be made again. docs/performance.md says what each part is.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, ROOT)

from scripts.bench import engine, facts, goals, pages, start  # noqa: E402
from tests.support import daemon  # noqa: E402

# Parts that are scripts of their own, with --json FILE and --quick. A case of mqlb-bench that is
# called as one of them is run by it.
SCRIPTS = {"instructions": "scripts/bench-instructions.sh", "peers": "scripts/bench-peers.sh",
           "ports": "scripts/bench-ports.sh", "idle": "scripts/bench-idle.sh"}
# What they do not choose by themselves.
_SCRIPTS_PAGES = dict.fromkeys(("instructions", "idle", "peers"), "no hugepages")
PARTS = ("engine", "instructions", "start", "ports", "idle", "peers")


class PartFailed(RuntimeError):
    """A part did not come to its end; others may."""


class Store:
    """The files under build/bench."""

    def __init__(self, directory):
        self._directory = directory
        os.makedirs(directory, exist_ok=True)

    def path(self, name):
        return os.path.join(self._directory, f"{name}.json")

    def read(self, name, otherwise):
        try:
            with open(self.path(name), encoding="utf-8") as f:
                return json.load(f)
        except FileNotFoundError:
            return otherwise
        except ValueError as error:
            raise pages.BadTable(f"{self.path(name)}: {error}") from error

    def write(self, name, value):
        with open(self.path(name) + ".new", "w", encoding="utf-8") as f:
            json.dump(value, f, indent=1, ensure_ascii=False)
            f.write("\n")
        os.replace(self.path(name) + ".new", self.path(name))

    def note(self, part, ghz, used_pages):
        """Where and when a part was measured."""
        known = self.read("machine", {})
        known[part] = {"machine": facts.machine(ghz), "pages": used_pages, "date": facts.today()}
        self.write("machine", {p: known[p] for p in PARTS if p in known})


def words(text):
    chosen = text.split(",")
    for word in chosen:
        if word not in PARTS:
            raise argparse.ArgumentTypeError(f"{word!r} is none of {', '.join(PARTS)}")
    return [part for part in PARTS if part in chosen]


def arguments():
    parser = argparse.ArgumentParser(
        prog="bench.sh", description="measures, and writes the tables of README.md and "
                                     "docs/performance.md, which says what they mean")
    parser.add_argument("--only", type=words, default=list(PARTS), metavar="PART,...",
                        help=", ".join(PARTS))
    parser.add_argument("--quick", action="store_true",
                        help="shows that all works; its figures mean nothing and go to "
                             "build/bench/quick/, as do the documents with them")
    parser.add_argument("--tables-only", action="store_true",
                        help="measures nothing: writes the tables from what is in build/bench/")
    return parser.parse_args()


def say(text):
    print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)


def measure_engine(store, options, ghz):
    program = daemon.program("mqlb-bench")
    measured = {"cases": {}}
    failures = []
    elsewhere = [case for case in SCRIPTS if os.path.exists(os.path.join(ROOT, SCRIPTS[case]))]
    for case in engine.cases(program, elsewhere):
        say(f"mqlb-bench {case}")
        try:
            measured["cases"][case] = engine.run(program, case, options.quick, facts.huge_free())
        except engine.BenchFailed as error:
            failures.append(str(error))
    store.write("engine", measured)
    used = {facts.pages_of(case["command"]) for case in measured["cases"].values()}
    store.note("engine", ghz, " and ".join(sorted(used)))
    if failures:
        raise PartFailed("; ".join(failures))


def measure_start(store, options, ghz):
    store.write("start", start.tables(options.quick, "scripts/bench.sh --only start"))
    store.note("start", ghz, "no hugepages")


def measure_script(part, store, options, ghz):
    """A script that writes its tables itself."""
    script = os.path.join(ROOT, SCRIPTS[part])
    if not os.path.exists(script):
        say(f"{SCRIPTS[part]} is not there: left out")
        return
    done = subprocess.run([script, "--json", store.path(part) + ".new",
                           *(["--quick"] if options.quick else [])], cwd=ROOT, check=False)
    if done.returncode != 0:
        raise PartFailed(f"{SCRIPTS[part]} ended with status {done.returncode}")
    os.replace(store.path(part) + ".new", store.path(part))
    store.note(part, ghz, _SCRIPTS_PAGES.get(part))


def measure(store, options):
    """All parts that are asked for; returns what went wrong."""
    ghz = engine.clock(daemon.program("mqlb-bench"))
    failures = []
    for part in options.only:
        say(f"part {part}")
        try:
            if part == "engine":
                measure_engine(store, options, ghz)
            elif part == "start":
                measure_start(store, options, ghz)
            else:
                measure_script(part, store, options, ghz)
        except (PartFailed, engine.BenchFailed, AssertionError, RuntimeError, OSError,
                subprocess.SubprocessError) as error:
            failures.append(f"{part}: {error}")
            say(failures[-1])
    return failures


def tables_of(store):
    """({part: [table, ...]}, what mqlb-bench wrote) of all parts that were measured."""
    measured = store.read("engine", None)
    parts = {part: pages.check_all(store.read(part, []), store.path(part))
             for part in PARTS if part != "engine"}
    parts["engine"] = engine.tables(measured, "scripts/bench.sh --only engine") if measured else []
    parts["goals"] = [goals.table(measured, parts)]
    return parts


def write_tables(store, into=None):
    pages.rewrite(ROOT, tables_of(store), facts.line(store.read("machine", {})), into)


def main():
    options = arguments()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    directory = os.path.join(daemon.build_directory(), "bench")
    into = None
    if options.quick:
        directory = into = os.path.join(directory, "quick")
    store = Store(directory)
    try:
        failures = [] if options.tables_only else measure(store, options)
        write_tables(store, into)
    except KeyboardInterrupt:
        return 130
    except (pages.BadTable, OSError) as error:
        failures = [str(error)]
    for failure in failures:
        print(f"bench: {failure}", file=sys.stderr)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
