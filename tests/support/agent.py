"""Helper programs that run in a namespace and are asked over their standard input.

One JSON object a line: {"call": NAME, ...arguments} is answered by {"result": ...} or
{"error": TEXT}. The program ends when its standard input does.
"""

import asyncio
import json
import resource
import select
import subprocess
import sys
import time
import traceback

from tests.support import netns


class Agent:
    """The asking side: starts `python3 -m module` in a namespace."""

    def __init__(self, namespace, module):
        self._buffer = b""
        self.process = namespace.popen([sys.executable, "-m", module], cwd=netns.ROOT,
                                       stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def start(self, name, **arguments):
        """Sends a call; result() fetches its answer, so that several agents work at once."""
        line = json.dumps({"call": name, **arguments}) + "\n"
        self.process.stdin.write(line.encode())
        self.process.stdin.flush()

    def result(self, timeout=60):
        answer = json.loads(self._read_line(timeout))
        if "error" in answer:
            raise RuntimeError(f"{self.process.args[-1]}: {answer['error']}")
        return answer["result"]

    def call(self, name, timeout=60, **arguments):
        self.start(name, **arguments)
        return self.result(timeout)

    def _read_line(self, timeout):
        end = time.monotonic() + timeout
        fd = self.process.stdout.fileno()
        while b"\n" not in self._buffer:
            ready, _, _ = select.select([fd], [], [], max(0, end - time.monotonic()))
            if not ready:
                raise TimeoutError(f"{self.process.args[-1]}: no answer in {timeout} s")
            data = self.process.stdout.read1(1 << 20)
            if not data:
                raise RuntimeError(f"{self.process.args[-1]} ended with {self.process.wait()}")
            self._buffer += data
        line, self._buffer = self._buffer.split(b"\n", 1)
        return line

    def close(self):
        self.process.stdin.close()
        try:
            self.process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process.stdout.close()


def use_all_files():
    """Raises the soft limit of open files to the hard one."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


async def answer(handlers, line):
    """Runs one line of the protocol against {name: coroutine function} and writes the reply."""
    try:
        arguments = json.loads(line)
        reply = {"result": await handlers[arguments.pop("call")](**arguments)}
    except Exception:  # whatever went wrong belongs into the test's report
        reply = {"error": traceback.format_exc()}
    sys.stdout.write(json.dumps(reply) + "\n")
    sys.stdout.flush()


async def serve(handlers):
    """The program's side; calls are answered one after the other."""
    reader = asyncio.StreamReader(limit=1 << 26)
    await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while line := await reader.readline():
        await answer(handlers, line)
