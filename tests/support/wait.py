"""Waiting for something to become true, never for time to pass."""

import time


class TimedOut(AssertionError):
    """What was awaited did not happen in time."""


def until(condition, timeout, what, interval=0.02):
    """Calls `condition` until it answers something true, and returns that answer.

    `interval` bounds how often a condition is asked that cannot be waited for as an event (a log
    file, an HTTP interface).
    """
    end = time.monotonic() + timeout
    while True:
        answer = condition()
        if answer:
            return answer
        if time.monotonic() > end:
            raise TimedOut(f"not within {timeout} s: {what} (last answer: {answer!r})")
        time.sleep(interval)
