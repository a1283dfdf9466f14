"""scripts/bench-idle: it measures an idle daemon, and its table says what it saw."""

import json
import os
import subprocess
import sys

import pytest

from scripts.bench import idle
from tests.support import guardian, netns

pytestmark = [pytest.mark.ipv4, pytest.mark.skipif(
    os.cpu_count() < 2, reason="the balancer needs a CPU for itself")]


@pytest.fixture(autouse=True)
def left_behind():
    before = guardian.namespaces("mqlb-peers")
    yield
    assert guardian.namespaces("mqlb-peers") == before


def test_the_table(tmp_path):
    file = tmp_path / "idle.json"
    done = subprocess.run([sys.executable, "scripts/bench/idle.py", "--quick", "--json", str(file)],
                          cwd=netns.ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    (table,) = json.loads(file.read_text(encoding="utf-8"))
    assert set(table) == {"name", "title", "command", "columns", "rows", "notes"}
    assert table["name"] == "idle" and table["title"] in done.stdout
    machine, *rows = table["rows"]
    assert float(machine[4].split(" / ")[1]) > 0
    assert [row[:2] for row in rows] == [
        [kind.title, mode] for kind in idle.KINDS.values() for mode in idle.MODES]
    used = {}
    for row in rows:
        assert len(row) == len(table["columns"])
        cpu, p50, p99 = (float(row[i].split(" / ")[1].replace(",", "")) for i in (2, 4, 5))
        assert 0 < p50 <= p99 < 1e6 * idle.TIMEOUT
        used[tuple(row[:2])] = cpu
    for kind in idle.KINDS.values():
        assert 0 < used[kind.title, "adaptive"] < used[kind.title, "busy"]


@pytest.mark.parametrize("values, goal, answer", [
    ([1, 5, 90], 5, "yes"), ([1, 5.1, 6], 5, "no"), ([100], 100, "yes")])
def test_the_verdict_is_of_the_median(values, goal, answer):
    assert idle.verdict(values, goal) == answer


@pytest.mark.parametrize("count, share, index", [(100, 0.99, 99), (100, 0.5, 50), (1, 0.99, 0)])
def test_percentiles(count, share, index):
    assert idle.percentile(list(range(count)), share) == index


def test_silence_is_not_measured():
    class Silent:
        @staticmethod
        def probe():
            return None
    with pytest.raises(RuntimeError, match="3 of 3 SYNs were not answered"):
        idle.wake_ups(Silent, 3)
