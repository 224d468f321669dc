"""A thread that sends, round by round, and has a short while for its last words."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

EVERY_S = 1.0
LAST_WORDS_S = 2.0
"""How long the end of a process waits for what is still to be sent."""

log = logging.getLogger(__name__)


class Rounds:
    """Calls ``send`` once a second until it is closed; ``send`` is told whether that is the last time.

    Args:
        hang_up: gives up the connection, so that a ``send`` which still waits for an answer ends.
    """

    def __init__(self, name: str, send: Callable[[bool], None], hang_up: Callable[[], None]) -> None:
        self._send, self._hang_up = send, hang_up
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        """Send what is there, for a short while, and end. Safe to call twice, and before the start."""
        self._ending.set()
        self._wait()
        self._hang_up()
        self._wait()

    def _wait(self) -> None:
        if self._thread.is_alive():
            self._thread.join(LAST_WORDS_S)

    def _run(self) -> None:
        while True:
            last = self._ending.is_set()
            try:
                self._send(last)
            except Exception:
                log.exception("a round of %s failed", self._thread.name)
            if last:
                return
            self._ending.wait(EVERY_S)
