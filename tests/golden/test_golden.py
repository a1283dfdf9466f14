"""Each row of rows.py: what mqlb-replay makes of a capture is what expected/NAME.txt says."""

import difflib
import itertools
import os
import shutil
import subprocess

import pytest
from scapy.layers.l2 import Ether

from tests.golden import replay
from tests.golden.rows import ROWS

_MOST_DIFFERENCES = 80  # lines of a diff that are shown
_COMMAND = "/usr/bin/python3 -m pytest tests/golden --update -k {}"


def expected_path(name):
    return os.path.join(replay.EXPECTED, name + ".txt")


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_row(row, outcomes, request):
    outcome = outcomes[row.name].result()
    actual = replay.text_of(row, outcome)
    path = expected_path(row.name)
    if request.config.getoption("--update"):
        os.makedirs(replay.EXPECTED, exist_ok=True)
        with open(path, "w", encoding="ascii") as f:
            f.write(actual)
        return
    if not os.path.exists(path):
        pytest.fail(f"{path} is missing; look at what {_COMMAND.format(row.name)} writes there",
                    pytrace=False)
    with open(path, encoding="ascii") as f:
        expected = f.read()
    if actual != expected:
        pytest.fail(explain(row, expected, actual, outcome), pytrace=False)


def explain(row, expected, actual, outcome):
    """What is different, and the first packet that is, taken apart."""
    diff = list(difflib.unified_diff(expected.splitlines(), actual.splitlines(), "expected",
                                     "actual", n=2, lineterm=""))
    hidden = len(diff) - _MOST_DIFFERENCES
    text = [f"{row.name}: {row.shows}", *diff[:_MOST_DIFFERENCES]]
    text += [f"... and {hidden} lines more"] if hidden > 0 else []
    known = expected.partition(f"\n{replay.PACKETS} ")[2].splitlines()[1:]
    for old, new in itertools.zip_longest(known, replay.shortened(outcome.lines)):
        if old != new:
            text += ["", "the first packet that differs", f"expected: {old}", f"actual:   {new}"]
            if new in outcome.lines:
                text.append(take_apart(outcome, outcome.lines.index(new)))
            break
    text.append(f"\nif the new output is right: {_COMMAND.format(row.name)}")
    return "\n".join(text)


def take_apart(outcome, index):
    if shutil.which("tshark"):
        done = subprocess.run(["tshark", "-V", "-r", os.path.join(outcome.directory, replay.OUTPUT),
                               "-Y", f"frame.number == {index + 1}"],
                              capture_output=True, text=True, check=False)
        if done.returncode == 0:
            return done.stdout
    return Ether(outcome.packets[index].data).show(dump=True)


def test_expected_files_have_rows():
    """A row that is renamed or taken out takes its expected file along."""
    stale = set(os.listdir(replay.EXPECTED)) - {row.name + ".txt" for row in ROWS}
    assert not stale, f"no row has these expected files: {sorted(stale)}"


def test_inputs_are_used():
    configs = {row.config for row in ROWS} | {word[:-5] for row in ROWS for word in row.options
                                              if word.endswith(".conf")}
    captures = {name for row in ROWS for name in row.captures}
    assert not {name[:-5] for name in os.listdir(replay.CONFIGS)} - configs
    assert not {name[:-4] for name in os.listdir(replay.RECORDED)} - captures


def test_names_are_unique():
    names = [row.name for row in ROWS]
    assert len(names) == len(set(names))
