"""One capture played by very many clients: all of them equal, in bounded time and memory."""

import json
import os
import pty
import re
import subprocess

from tests.golden import replay
from tests.support import daemon

CLIENTS = 100_000
SECONDS = 100  # a few, without sanitizers on a machine that has nothing else to do
MEGABYTES = 1500  # likewise some 230


def test_hundred_thousand(program, tmp_path):
    """As a user on a terminal sees it: progress, and at the end what it took."""
    directory = str(tmp_path)
    capture = replay.write_capture("mqtt311-session", directory)
    config = replay.copy_config("three-brokers", directory)
    with open(os.path.join(directory, config), "a", encoding="ascii") as f:
        f.write(f"set max-flows {CLIENTS}\n")
    command = [daemon.program("mqlb-replay"), "--offline", "--config", config, "--json",
               "--clients", str(CLIENTS), "--rate", "20000", "--speed", "max", capture]
    terminal, own_end = pty.openpty()
    environment = {**os.environ, "RUNTIME_DIRECTORY": directory, "ASAN_OPTIONS": "detect_leaks=0"}
    with open(os.path.join(directory, "report.json"), "wb") as report:
        process = subprocess.Popen(command, cwd=directory, stdin=subprocess.DEVNULL, stdout=report,
                                   stderr=own_end, env=environment)
    os.close(own_end)
    shown = b""
    try:
        while True:
            try:
                data = os.read(terminal, 4096)
            except OSError:  # the other end is closed
                break
            shown += data
    finally:
        process.kill()
        process.wait()
        os.close(terminal)
    assert process.returncode == 0, shown[-2000:]

    text = shown.decode()
    played = [int(n) for n in re.findall(rf"played (\d+) of {CLIENTS} connections", text)]
    assert played and played == sorted(played) and played[-1] <= CLIENTS
    cost = re.search(rf"{CLIENTS} connections in ([\d.]+) s, at most (\d+) MB of memory", text)
    assert cost, text[-500:]
    assert float(cost[1]) < SECONDS and int(cost[2]) < MEGABYTES

    with open(os.path.join(directory, "report.json"), encoding="utf-8") as f:
        report = json.load(f)
    assert report["totals"]["connections"] == report["totals"]["equal"] == CLIENTS
    assert report["counters"]["event"]["spliced"] == CLIENTS
    assert len({row["client_id"] for row in report["connections"]}) == CLIENTS
    assert len({row["played_as"] for row in report["connections"]}) == CLIENTS
    share = {}
    for row in report["connections"]:
        share[row["backend"]] = share.get(row["backend"], 0) + 1
    for count in share.values():
        assert abs(count - CLIENTS / len(share)) < CLIENTS / len(share) / 10, share
