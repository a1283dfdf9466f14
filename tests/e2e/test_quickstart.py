"""scripts/quickstart: what it shows is so, and nothing of it stays."""

import os
import signal
import subprocess
import sys

import pytest

from tests.support import guardian, netns, wait

PREFIX = "mqlb-quickstart"


def start():
    return subprocess.Popen([sys.executable, "scripts/quickstart.py"], cwd=netns.ROOT, text=True,
                            stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


def test_it_shows_a_client_keep_its_broker_and_cleans_up():
    with start() as process:
        printed, _ = process.communicate(timeout=150)
    assert process.returncode == 0, printed
    rows = [line for line in printed.splitlines() if line.endswith(" ok")]
    assert len(rows) == 10, printed
    assert "FAILED" not in printed
    assert guardian.namespaces(PREFIX) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_nothing_stays_when_it_is_ended(number):
    with start() as process:
        wait.until(lambda: guardian.processes_in(guardian.namespaces(PREFIX)), 20, "a broker")
        os.kill(process.pid, number)
        process.communicate(timeout=60)
    wait.until(lambda: guardian.namespaces(PREFIX) == [], 30, "namespaces removed")
