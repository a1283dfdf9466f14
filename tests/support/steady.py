"""A client that exchanges messages all the time, to show that it is left alone."""

import threading
import time

from tests.support import mqtt, netns


class Steady:
    """A context: a connected client that sends itself a message every few milliseconds.

    Leaving the context asserts that every message came back as sent, none later than `worst`
    seconds, and that the connection is still the same one.
    """

    def __init__(self, namespace, client_id="steady", port=1883, worst=3.0, version=mqtt.V311):
        self.exchanged, self.slowest, self.error = 0, 0.0, None
        self._worst = worst
        self._client = mqtt.Client(namespace.connect((netns.VIP, port), timeout=worst), version)
        code = self._client.connect(client_id)
        assert code == 0, f"{client_id}: CONNACK {code}"
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run)

    @property
    def local(self):
        """The client's own address and port."""
        return self._client.sock.getsockname()[:2]

    def _run(self):
        try:
            while not self._end.wait(0.005):
                self._exchange()
        except (OSError, AssertionError) as error:
            self.error = error

    def _exchange(self):
        began = time.monotonic()
        self._client.echo(b"message %d" % self.exchanged)
        self.slowest = max(self.slowest, time.monotonic() - began)
        self.exchanged += 1

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, kind, *_):
        self._end.set()
        self._thread.join()
        try:
            if kind is None:
                assert self.error is None, f"after {self.exchanged} messages: {self.error!r}"
                self._exchange()
                assert self.slowest <= self._worst, f"a message took {self.slowest:.2f} s"
        finally:
            self._client.sock.close()
