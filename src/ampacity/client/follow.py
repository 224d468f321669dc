"""Following a stream over cuts and restarts, so that every line comes once."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator
from contextlib import closing

from ampacity.api.wire import EndReason, StreamLine, error_from_wire
from ampacity.model.errors import NotRunning

FIRST_PAUSE_S = 0.05
LONGEST_PAUSE_S = 1.0


class Patience:
    """How long one keeps asking for a control plane that is gone, with growing pauses."""

    def __init__(
        self,
        limit_s: float,
        *,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._limit_s = limit_s
        self._sleep = sleep
        self._clock = clock
        self._until: float | None = None
        self._pause_s = FIRST_PAUSE_S

    def renew(self) -> None:
        """It answered."""
        self._until = None
        self._pause_s = FIRST_PAUSE_S

    def pause(self, because: NotRunning) -> None:
        """Wait a little. Raises ``because`` when the time is up."""
        now = self._clock()
        if self._until is None:
            self._until = now + self._limit_s
        if now >= self._until:
            raise because
        self._sleep(min(self._pause_s, self._until - now))
        self._pause_s = min(2 * self._pause_s, LONGEST_PAUSE_S)


Opener = Callable[[str | None], Generator[StreamLine | None, None, None]]
"""Opens the stream at a cursor; ``None`` = where it begins."""


def follow(open_at: Opener, *, renew: Callable[[], None], patience: Patience) -> Iterator[StreamLine]:
    """The content lines of a stream until it ends in order, each once.

    Lines are given out when the cursor after them has come; those without are asked for again. ``renew`` is called
    before it is tried anew. Raises ``NotRunning`` at once when the first call is not answered, later when the patience
    is at its end; and the stream's own error.
    """
    cursor: str | None = None
    answered = False
    while True:
        cut = NotRunning("The control plane has shut down.")
        pending: list[StreamLine] = []
        try:
            with closing(open_at(cursor)) as lines:
                for line in lines:
                    answered = True
                    patience.renew()
                    if line is None:
                        continue
                    if line.error is not None:
                        raise error_from_wire(line.error, status=500)
                    if line.end is not None:
                        if line.end is EndReason.SHUTDOWN:
                            break
                        return
                    if line.cursor is None:
                        pending.append(line)
                        continue
                    cursor = line.cursor
                    yield from pending
                    pending = []
        except NotRunning as error:
            if not answered:
                raise
            cut = error
        renew()
        patience.pause(cut)
