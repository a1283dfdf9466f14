"""The option --update, and the runs of all selected rows, several at a time."""

import concurrent.futures
import os
import tempfile

import pytest

from tests.golden import replay
from tests.support import daemon

# A run waits more than it works: the EAL's start takes longer than most replays.
_AT_ONCE = 4


def pytest_addoption(parser):
    parser.addoption("--update", action="store_true",
                     help="write the expected files of the selected rows anew")


@pytest.fixture(scope="session")
def program():
    path = daemon.program("mqlb-replay")
    if not os.path.exists(path):
        pytest.exit(f"{path} is not there: build it, or name a build in MQLB_BUILD", 2)


@pytest.fixture(scope="session")
def outcomes(request, program):
    """{name: future of an Outcome} of the rows that are selected."""
    rows = [item.callspec.params["row"] for item in request.session.items
            if "row" in getattr(getattr(item, "callspec", None), "params", {})]
    with tempfile.TemporaryDirectory(prefix="mqlb-golden-") as directory:
        with concurrent.futures.ThreadPoolExecutor(_AT_ONCE) as executor:
            yield {row.name: executor.submit(replay.play, row, os.path.join(directory, row.name))
                   for row in rows}
            executor.shutdown(cancel_futures=True)
