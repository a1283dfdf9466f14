"""scripts/bench: a quick run makes the tables of its parts, and changes no document of the tree."""

import os
import subprocess
import sys

import pytest

from scripts.bench import pages
from tests.support import daemon, guardian, netns

pytestmark = [pytest.mark.ipv4, pytest.mark.skipif(
    os.cpu_count() < 2, reason="the balancer needs a CPU for itself")]


def documents(root):
    out = {}
    for page in pages.PAGES:
        with open(os.path.join(root, page), encoding="utf-8") as f:
            out[page] = f.read()
    return out


def run(*options):
    return subprocess.run([sys.executable, "scripts/bench/run.py", *options], cwd=netns.ROOT,
                          capture_output=True, text=True, timeout=120, check=False)


def between(text, name):
    begin = f"<!-- table: {name} -->\n"
    return text[text.index(begin) + len(begin):].split("<!-- end -->")[0]


def test_a_quick_run():
    before = documents(netns.ROOT)
    namespaces = guardian.namespaces("mqlb-peers")
    done = run("--quick", "--only", "engine,start")
    assert done.returncode == 0, done.stderr
    assert documents(netns.ROOT) == before
    assert guardian.namespaces("mqlb-peers") == namespaces
    text = documents(os.path.join(daemon.build_directory(), "bench", "quick"))
    performance = text["docs/performance.md"]
    for name in ("engine-spliced", "engine-connections", "engine-floods", "engine-memory",
                 "engine-maglev", "start"):
        assert between(performance, name).count("\n|") >= 3, name
    assert "DPDK" in between(performance, "machine")
    assert "| yes |" in between(text["README.md"], "goals")


@pytest.mark.parametrize("options", [["--only", "nothing"], ["--only", ""], ["--frobnicate"]])
def test_wrong_options(options):
    done = run(*options)
    assert done.returncode == 2 and done.stderr
