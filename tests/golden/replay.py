"""Runs mqlb-replay for a row, and puts what came of it into text that can be compared."""

import hashlib
import json
import os
import re
import shutil
import subprocess
from dataclasses import dataclass, field

import scripts.scenarios  # noqa: F401  (enters the scenarios)
from scripts import capture_text
from scripts.scenario import catalogue
from tests.support import capture_file, daemon, decode, netns

HERE = os.path.join(netns.ROOT, "tests", "golden")
CONFIGS, EXPECTED, RECORDED = (os.path.join(HERE, name)
                               for name in ("configs", "expected", "recorded"))
OUTPUT = "output.pcapng"
PACKETS = "packets:"  # begins the line before them
_COST = re.compile(r"mqlb-replay: \d+ connections in .* s, at most \d+ MB of memory\n")


@dataclass
class Outcome:
    """What one run gave. `packets`: of the output; `lines`: each as text."""

    status: int
    stdout: str
    stderr: str
    directory: str
    packets: list = field(default_factory=list)
    lines: list = field(default_factory=list)

    def report(self):
        return json.loads(self.stdout)


def write_capture(name, directory):
    """The capture of a scenario, or of a recorded text; returns the file's name."""
    path = os.path.join(directory, name + ".pcap")
    if name in catalogue.SCENARIOS:
        catalogue.write(name, path)
    else:
        capture_text.to_capture(os.path.join(RECORDED, name + ".txt"), path)
    return os.path.basename(path)


def copy_config(name, directory):
    shutil.copy(os.path.join(CONFIGS, name + ".conf"), directory)
    return name + ".conf"


def run(arguments, directory, timeout=120, ipv6=False):
    """Runs the program in this directory: names of files in its messages are short and constant."""
    environment = {**os.environ, "LC_ALL": "C", "RUNTIME_DIRECTORY": directory,
                   "ASAN_OPTIONS": "detect_leaks=0",
                   "UBSAN_OPTIONS": "print_stacktrace=1:halt_on_error=1"}
    done = subprocess.run([daemon.program("mqlb-replay"), *arguments], cwd=directory,
                          env=environment, capture_output=True, text=True, timeout=timeout,
                          stdin=subprocess.DEVNULL, check=False)
    outcome = Outcome(done.returncode, done.stdout, _COST.sub("", done.stderr), directory)
    path = os.path.join(directory, OUTPUT)
    if os.path.exists(path):
        capture = capture_file.read(path)
        outcome.packets = capture.packets
        outcome.lines = [packet_line(capture, packet, ipv6) for packet in capture.packets]
    return outcome


def play(row, directory):
    """Runs a row in a directory of its own."""
    os.makedirs(directory)
    return play_files(row, [write_capture(name, directory) for name in row.captures], directory)


def play_files(row, captures, directory):
    """Captures: files in the directory. Runs twice, and compares, if the row says so."""
    words = [copy_config(word[:-5], directory) if word.endswith(".conf") else word
             for word in row.options]
    if "--list" in words:
        return run([*words, *captures], directory)
    arguments = ["--offline", "--config", copy_config(row.config, directory), "--output", OUTPUT,
                 "--json", *words, *captures]
    outcome = run(arguments, directory, ipv6=row.ipv6)
    if row.twice:
        _assert_repeats(outcome, arguments)
    return outcome


def _assert_repeats(first, arguments):
    path = os.path.join(first.directory, OUTPUT)
    os.rename(path, path + ".1")
    second = run(arguments, first.directory)
    assert (second.status, second.stdout) == (first.status, first.stdout), "another report"
    with open(path, "rb") as a, open(path + ".1", "rb") as b:
        assert a.read() == b.read(), "the same arguments gave another output"


def packet_line(capture, packet, ipv6=False):
    seconds, nanoseconds = divmod(packet.time, 10**9)
    direction = {capture_file.IN: "in", capture_file.OUT: "out"}[packet.direction]
    interface = capture.interfaces[packet.interface].name
    return (f"{seconds}.{nanoseconds // 1000:06} {interface} {direction:3} "
            f"{decode.line(packet.data, ipv6)}")


def text_of(row, outcome):
    """What the expected file of a row holds."""
    lines = [f"# {row.shows}", f"exit {outcome.status}", *outcome.stderr.splitlines()]
    if outcome.status != 2 and "--list" not in row.options:
        lines += report_lines(outcome.report(), len(row.captures) > 1)
    else:
        lines += outcome.stdout.splitlines()
    lines += [f"{PACKETS} {len(outcome.lines)}", *shortened(outcome.lines)]
    return "\n".join(line.rstrip() for line in lines) + "\n"


def shortened(lines, most=400, shown=20):
    """A long list without its middle, of which a digest is left."""
    if len(lines) <= most:
        return lines
    middle = "\n".join(lines[shown:-shown]).encode()
    return [*lines[:shown],
            f"... {len(lines) - 2 * shown} more: {hashlib.sha256(middle).hexdigest()}",
            *lines[-shown:]]


def report_lines(report, with_capture=False):
    lines = [_connection_line(c, with_capture) for c in report["connections"]]
    lines = shortened(lines, 40)
    lines += shortened([_skipped_line(s, with_capture) for s in report["skipped"]], 20, 4)
    lines.append(_counts("totals", report["totals"]))
    lines += [_counts(group, counts) for group, counts in report["counters"].items()]
    return lines


def _skipped_line(s, with_capture):
    where = f"{s['capture']} " if with_capture else ""
    return f"skipped {where}record {s['record']}, {s['records']} in all: {s['what']}: {s['why']}"


def _connection_line(c, with_capture):
    parts = [f"{c['capture']} " if with_capture else "", f"record {c['record']}: {c['client']}"]
    parts.append(f" as {c['played_as']}" if c["played_as"] != c["client"] else "")
    parts.append(f" {c['version']} {_shortened_id(c['client_id'])!a}" if c["version"] else "")
    parts.append(f" > {c['backend']}")
    parts.append(f" (was {c['moved_from']})" if c.get("moved_from") else "")
    parts.append(f", {c['proxy_header']}" if c["proxy_header"] else "")
    parts += [_bytes_text(way, c[way]) for way in ("to_broker", "to_client")]
    if c["time_to_splice_us"] is not None:
        parts.append(f", spliced after {c['time_to_splice_us']} us")
    parts.append(_counts(",", c["segments"]) + f", {c['end']}")
    parts.append(f": PROBLEM: {c['problem']}" if c["problem"] else "")
    return "".join(parts)


def _shortened_id(text):
    return text if len(text) <= 64 else f"{text[:32]}... ({len(text)})"


def _bytes_text(way, direction):
    arrived, expected = direction["arrived"], direction["expected"]
    text = f", {way.replace('_', ' ')} {arrived} of {'?' if expected is None else expected}"
    if direction["difference"] is not None:
        text += f" WRONG AT {direction['difference']}"
    return text


def _counts(name, counts):
    return name + "".join(f" {key} {value}" for key, value in counts.items())
