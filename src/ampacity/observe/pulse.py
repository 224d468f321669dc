"""A process that samples once a second: it wakes on whole seconds, and at once when it is to end."""

from __future__ import annotations

import os
import select
import signal
import time

PERIOD_S = 1.0
END_SIGNALS = (signal.SIGTERM, signal.SIGINT)


class Pulse:
    """Waits for the next beat. ``lease``: the reading end of a pipe whose other end the one that started this process
    holds open; its end is told once. Makes the process's handlers of SIGTERM and SIGINT its own."""

    def __init__(self, lease: int | None, *, period_s: float = PERIOD_S) -> None:
        self._lease, self._period_s = lease, period_s
        self.ending = False
        self.orphaned = False
        self._wakeup, write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(write, warn_on_full_buffer=False)
        for signum in END_SIGNALS:
            signal.signal(signum, self._end)

    def wait(self) -> float:
        """Sleep until the next whole period, or the order to end. The time (seconds since the epoch)."""
        until = (time.time() // self._period_s + 1) * self._period_s
        while not self.ending and (left_s := until - time.time()) > 0:
            watched = [self._wakeup] if self._lease is None else [self._wakeup, self._lease]
            ready, _, _ = select.select(watched, [], [], min(left_s, self._period_s))
            if self._wakeup in ready:
                os.read(self._wakeup, 64)
            if self._lease is not None and self._lease in ready and not os.read(self._lease, 64):
                self.orphaned, self._lease = True, None
                break
        return time.time()

    def _end(self, signum: int, frame: object) -> None:
        self.ending = True
