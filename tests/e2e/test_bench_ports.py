"""scripts/bench-ports: every program forwards what it is said to, and the tables say so."""

import json
import os
import subprocess
import sys
import tempfile

import pytest

from scripts.bench import memif, pmd, ports
from tests.support import netns

pytestmark = [pytest.mark.ipv4, pytest.mark.skipif(
    os.cpu_count() < 2, reason="a CPU is for what is measured")]


@pytest.fixture(autouse=True)
def left_behind():
    def places():
        return [n for n in os.listdir(tempfile.gettempdir()) if n.startswith("mqlb-ports-")]
    before = places()
    yield
    assert places() == before


def test_the_tables(tmp_path):
    file = tmp_path / "ports.json"
    done = subprocess.run([sys.executable, "scripts/bench/ports.py", "--quick", "--json", file],
                          cwd=netns.ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    tables = json.loads(file.read_text(encoding="utf-8"))
    assert [t["name"] for t in tables] == ["ports-null", "ports-ring", "ports-memif"]
    for table in tables:
        assert set(table) == {"name", "title", "command", "columns", "rows", "notes"}
        assert all(len(row) == len(table["columns"]) for row in table["rows"])
        assert table["title"] in done.stdout
    null, ring, shared = (t["rows"] for t in tables)
    assert [row[0] for row in null] == ["dpdk-testpmd io", "dpdk-testpmd macswap",
                                        "mqlb, drops as foreign-mac"]
    assert len(ring) == 8 and ring[1][-1] == "1.00"
    splicing = [float(row[-1]) for row in ring if row[0].startswith("mqlb: receive")]
    assert len(splicing) == 2 and min(splicing) > 1  # more than a swap of addresses
    assert shared[0][0] == "4,000"


def test_a_capture_is_played_through_memif_ports():
    played = memif.run(clients=5, publishes=400, repeats=2, huge=False)
    assert played["connections"] == 10 and played["publishes"] == 4000
    # Each message has a segment of its own, and so have CONNECT, DISCONNECT and FIN.
    assert played["to_broker"] >= 4000 + 2 * 10
    assert 0 < played["net_cost"] <= played["cost"]


def test_testpmd_that_cannot_start_is_not_measured():
    with pytest.raises(RuntimeError, match="testpmd ended with status"):
        pmd.testpmd(["net_nothing0"], "io", 0.1, huge=False)


def sample(at, packets, cpu=0.0):
    return {"time": at, "packets": packets, "loops": 0, "idle": 0, "cpu": cpu, "load": 0.0,
            "demand": 0.0}


@pytest.mark.parametrize("packets, seconds, counted", [
    ([0, 0, 100, 200, 200], 2, 200),      # without what is before and after
    ([0, 40, 140, 240, 250], 2, 200),     # nor what is less than half of the best
    ([0, 60, 160], 2, 160),
])
def test_only_the_plateau_counts(packets, seconds, counted):
    use = memif.plateau([sample(at, n) for at, n in enumerate(packets)])
    assert (use["time"], use["packets"]) == (seconds, counted)


@pytest.mark.parametrize("taken", [[], [sample(0, 5)], [sample(0, 5), sample(1, 5)]])
def test_nothing_seen_is_no_result(taken):
    with pytest.raises(RuntimeError, match="before anything could be measured"):
        memif.plateau(taken)


@pytest.mark.parametrize("work, load, limit", [
    (0.3, 0.95, "mqlb-replay"), (0.9, 0.8, "mqlb"), (0.3, 0.5, "neither")])
def test_the_limit_is_named(work, load, limit):
    run = {"connections": 1, "clients": 1, "publishes": 1, "to_broker": 1, "rate": 1, "cost": 1,
           "net_cost": 1, "work": work, "idle_loops": 0.5, "cpu": 1, "load_cpu": 0.1, "load_demand": load}
    (note,) = (n for n in ports.memif_table([run])["notes"] if n.startswith("The limit is"))
    assert note.startswith(f"The limit is {limit}") and note[len("The limit is " + limit)] in ".'"
