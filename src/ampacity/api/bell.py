"""The bell: it hears of every event from whoever wrote it, and wakes those who follow something."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from ampacity.control.plane import News, Plane

SETTLE_S = 0.002
"""Many events in a row ring once, but for those who wait for an end."""


class Bell:
    """Rings after every event, as long as somebody listens. All methods belong to the server's event loop.

    Take a :meth:`ticket`, look, and :meth:`wait` with the ticket: what came after the look has changed the ticket, so
    nothing is missed in between. Who waits for the end of one workload is rung for that end alone: :meth:`end_of`.

    The loop is woken only where somebody there has waited for it: what others write costs it nothing.
    """

    def __init__(self, plane: Plane) -> None:
        self._plane = plane
        self._lock = threading.Lock()  # held for a moment: by the loop, and by whoever wrote
        self._rings = 0
        self._next: asyncio.Future[None] | None = None
        self._settling: asyncio.TimerHandle | None = None
        self._ends: dict[str, set[asyncio.Future[None]]] = {}
        self._ended: set[str] = set()
        self._telling = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._hang_up: Callable[[], None] = lambda: None
        self._closed = False

    @property
    def closed(self) -> bool:
        return self._closed

    def ticket(self) -> int:
        self._follow()
        return self._rings

    async def wait(self, ticket: int, timeout_s: float) -> None:
        """Return when the bell has rung since the ticket was taken, when it is closed, or when the time is up."""
        with self._lock:
            if self._closed or self._rings != ticket:
                return
            if self._next is None:
                self._next = asyncio.get_running_loop().create_future()
            coming = self._next
        await asyncio.wait({coming}, timeout=timeout_s)

    @contextmanager
    def end_of(self, workload: str) -> Iterator[asyncio.Future[None]]:
        """A future for :meth:`wait_end`: done once the workload may have ended. Take it before you look."""
        self._follow()
        ending = asyncio.get_running_loop().create_future()
        with self._lock:
            if self._closed:
                ending.set_result(None)
            self._ends.setdefault(workload, set()).add(ending)
        try:
            yield ending
        finally:
            with self._lock:
                self._ends[workload].discard(ending)
                if not self._ends[workload]:
                    del self._ends[workload]

    async def wait_end(self, ending: asyncio.Future[None], timeout_s: float) -> None:
        """Return when the workload may have ended, when the bell is closed, or when the time is up."""
        if not ending.done():
            await asyncio.wait({ending}, timeout=timeout_s)

    def close(self) -> None:
        """Let everybody go, now and from now on."""
        with self._lock:
            self._closed = True
            self._ended.update(self._ends)
        self._hang_up()
        self._tell()
        self._ring()

    def _follow(self) -> None:
        if self._loop is None and not self._closed:
            self._loop = asyncio.get_running_loop()
            self._hang_up = self._plane.follow(self._hear)

    def _hear(self, news: News) -> None:
        """In the thread that wrote."""
        with self._lock:
            self._rings += 1
            ended = news.ended & self._ends.keys()
            self._ended |= ended
            wanted = bool(ended) or (self._next is not None and self._settling is None)
            if self._telling or self._closed or not wanted:
                return
            self._telling = True
        assert self._loop is not None, "it is the loop that began to follow"
        with suppress(RuntimeError):  # the loop has ended: nobody is left to be told
            self._loop.call_soon_threadsafe(self._tell)

    def _tell(self) -> None:
        with self._lock:
            self._telling = False
            ended, self._ended = self._ended, set()
            endings = [ending for workload in ended for ending in self._ends.get(workload, ())]
            if self._next is not None and self._settling is None and self._loop is not None:
                self._settling = self._loop.call_later(SETTLE_S, self._ring)
        for ending in endings:
            if not ending.done():
                ending.set_result(None)

    def _ring(self) -> None:
        with self._lock:
            coming, self._next, self._settling = self._next, None, None
        if coming is not None and not coming.done():
            coming.set_result(None)
