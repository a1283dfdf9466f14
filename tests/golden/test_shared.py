"""Captures of other projects, which the tree does not hold: MQLB_PCAPS, or beside the tree.

No expected files: what is asserted is that each is played to its end, with the client's bytes at
the broker and the broker's at the client, and twice to the same output.
"""

import glob
import os
import shutil

import pytest

from tests.golden import replay
from tests.golden.rows import Row
from tests.support import netns

PCAPS = os.environ.get("MQLB_PCAPS", os.path.join(os.path.dirname(netns.ROOT), "shared", "pcaps"))
NAMES = [os.path.basename(path) for path in sorted(glob.glob(os.path.join(PCAPS, "*.pcap")))]


def test_captures_are_there():
    if not os.path.exists(os.path.join(PCAPS, "LISTING.tsv")):
        pytest.skip(f"no captures in {PCAPS}; MQLB_PCAPS names their directory")
    with open(os.path.join(PCAPS, "LISTING.tsv"), encoding="utf-8") as f:
        listed = [line.split("\t")[0] for line in f][1:]
    assert NAMES == sorted(listed)


def connections(name):
    """TCP streams with a CONNECT, as the listing counts them."""
    with open(os.path.join(PCAPS, "LISTING.tsv"), encoding="utf-8") as f:
        row = next(line.split("\t") for line in f if line.startswith(name + "\t"))
    return int(row[7])


@pytest.mark.parametrize("brokers", ("stub", "capture"))
@pytest.mark.parametrize("name", NAMES)
def test_capture(name, brokers, program, tmp_path):
    shutil.copy(os.path.join(PCAPS, name), tmp_path)
    row = Row(name, "", options=("--brokers", brokers), twice=True)
    outcome = replay.play_files(row, [name], str(tmp_path))
    report = outcome.report()
    assert outcome.status == 0, report["connections"]
    assert len(report["connections"]) == connections(name), report["skipped"]
    for connection in report["connections"]:
        for way in ("to_broker", "to_client"):
            counts = connection[way]
            assert counts["difference"] is None and counts["arrived"] == counts["expected"]
        assert connection["to_broker"]["arrived"] > 0 and connection["problem"] is None
        assert connection["backend"] == "b1"
