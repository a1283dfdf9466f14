"""Removes what a run leaves: processes in its namespaces, the namespaces, its directory.

The only clean-up there is. It runs as a process of its own, in its own session, and begins when
its standard input ends: when the run closes it, or when the run dies of whatever cause, SIGKILL
included. A line `keep` on standard input makes it leave everything in place.
"""

import os
import shutil
import signal
import subprocess
import sys
import time

NETNS_DIR = "/run/netns"


def namespaces(prefix):
    """The named network namespaces of a run."""
    try:
        return sorted(n for n in os.listdir(NETNS_DIR) if n.startswith(prefix + "-"))
    except FileNotFoundError:
        return []


def processes_in(names):
    """Process ids whose network namespace is one of `names`, without the caller's."""
    wanted = set()
    for name in names:
        try:
            wanted.add(os.stat(os.path.join(NETNS_DIR, name)).st_ino)
        except FileNotFoundError:
            pass
    found = []
    for entry in os.listdir("/proc"):
        if not entry.isdigit() or int(entry) == os.getpid():
            continue
        try:
            if os.stat(f"/proc/{entry}/ns/net").st_ino in wanted:
                found.append(int(entry))
        except OSError:
            pass  # ended meanwhile, or a zombie, which has no namespace
    return found


def kill_all(names, timeout=10):
    """Kills every process in the namespaces; several rounds, as they may be starting others."""
    end = time.monotonic() + timeout
    while (pids := processes_in(names)) and time.monotonic() < end:
        for pid in pids:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        time.sleep(0.02)
    return pids


def clean(prefix, directory=None):
    """Removes everything of a run. Returns what could not be removed, for the caller to report."""
    names = namespaces(prefix)
    left = [f"process {pid}" for pid in kill_all(names)]
    for name in names:
        subprocess.run(["ip", "netns", "delete", name], check=False)
    left += namespaces(prefix)
    if directory:
        shutil.rmtree(directory, ignore_errors=True)
        left += [directory] if os.path.exists(directory) else []
    return left


def main():
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    prefix, directory = sys.argv[1:]
    if sys.stdin.readline().strip() == "keep":
        return 0
    left = clean(prefix, directory)
    if left:
        print("not cleaned up:", ", ".join(left), file=sys.stderr)
    return 1 if left else 0


if __name__ == "__main__":
    sys.exit(main())
