"""The programs at both ends: mqtt-load in the clients' namespace, mqtt-sink in the brokers'."""

import json
import os
import select
import signal
import subprocess
import time

from scripts.bench import candidates, network
from tests.support import daemon


def program(name):
    return os.path.join(daemon.build_directory(), "tests", "load", name)


def read_line(process, timeout, what):
    """A line of its standard output, which is unbuffered here."""
    end = time.monotonic() + timeout
    line = b""
    while not line.endswith(b"\n"):
        ready, _, _ = select.select([process.stdout], [], [], max(0, end - time.monotonic()))
        got = os.read(process.stdout.fileno(), 1 << 16) if ready else None
        if not got:
            process.kill()
            raise RuntimeError(f"{what}: " + ("no answer in time" if got is None else
                                              f"ended with status {process.wait()}"))
        line += got
    return line.decode()


def _start(namespace, argv):
    return namespace.popen(candidates.on_cpus(network.LOAD_CPU) + argv, stdin=subprocess.PIPE,
                           stdout=subprocess.PIPE, bufsize=0)


class Sinks:
    """The brokers, as a context; stop() returns what each has counted."""

    def __init__(self, candidate):
        listen = [word for a in candidate.listeners() for word in ("--listen", a)]
        self._process = _start(candidate.net.brokers, [program("mqtt-sink"), *listen])
        read_line(self._process, 10, "mqtt-sink")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()

    def stop(self):
        if self._process is None:
            return []
        process, self._process = self._process, None
        process.send_signal(signal.SIGTERM)
        out, _ = process.communicate(timeout=20)
        if process.returncode != 0:
            raise RuntimeError(f"mqtt-sink ended with status {process.returncode}")
        return json.loads(out)


class Load:
    """One phase of clients: begins where they are ready, goes when told."""

    def __init__(self, candidate, phase, sampler=None, **options):
        words = [w for k, v in options.items() for w in (f"--{k}", str(v))]
        words += [w for f in (sampler.files if sampler else ()) for w in ("--sample", f)]
        words += [w for a in candidate.destinations() for w in ("--to", a)]
        words += [w for a in candidate.sources() for w in ("--from", a)]
        self._what = f"{candidate.name}: mqtt-load {phase}"
        self._sampler = sampler
        self._process = _start(candidate.net.clients, [program("mqtt-load"), phase, *words])
        try:
            line = read_line(self._process, 60, self._what)
            if line != "begin\n":
                raise RuntimeError(f"{self._what}: unexpected {line!r}")
        except BaseException:
            self._process.kill()
            raise

    def go(self, timeout=120):
        """Returns the report, with `use` of the CPUs if there is a sampler."""
        self._process.stdin.write(b"go\n")
        report = json.loads(read_line(self._process, timeout, self._what))
        self._process.communicate(timeout=10)
        if self._sampler:
            report["use"] = self._sampler.use(report["seconds"], report["before"], report["after"])
        return report
