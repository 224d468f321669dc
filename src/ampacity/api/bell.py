"""The bell: one thread waits for the next event, for all who follow something.

Without it every follower would hold a thread of its own in ``plane.wait``.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

from ampacity.control.plane import News, Plane

log = logging.getLogger(__name__)

WAIT_S = 1.0
"""How long one ``plane.wait`` may take; also how long the thread may outlive the server."""

IDLE_S = 5.0
"""When nobody has listened for so long, it stops waiting."""

SETTLE_S = 0.002
"""Many events in a row ring once, while nobody waits for an end."""


class Bell:
    """Rings after every event, as long as somebody listens. All methods belong to the server's event loop.

    Take a :meth:`ticket`, look, and :meth:`wait` with the ticket: what came after the look has changed the ticket, so
    nothing is missed in between. Who waits for the end of one workload is rung for that end alone: :meth:`end_of`.
    """

    def __init__(self, plane: Plane) -> None:
        self._plane = plane
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="ampacity-api-bell")
        self._rings = 0
        self._seq: int | None = None
        self._listeners = 0
        self._next: asyncio.Future[None] | None = None
        self._ends: dict[str, set[asyncio.Future[None]]] = {}
        self._task: asyncio.Task[None] | None = None
        self._closed = False

    @property
    def closed(self) -> bool:
        return self._closed

    def ticket(self) -> int:
        return self._rings

    async def wait(self, ticket: int, timeout_s: float) -> None:
        """Return when the bell has rung since the ticket was taken, when it is closed, or when the time is up."""
        if self._closed or self._rings != ticket:
            return
        if self._next is None:
            self._next = asyncio.get_running_loop().create_future()
        await self._wait_for(self._next, timeout_s)

    @contextmanager
    def end_of(self, workload: str) -> Iterator[asyncio.Future[None]]:
        """A future for :meth:`wait_end`: done once the workload may have ended. Take it before you look."""
        ending = asyncio.get_running_loop().create_future()
        if self._closed:
            ending.set_result(None)
        self._ends.setdefault(workload, set()).add(ending)
        self._wake_up()
        try:
            yield ending
        finally:
            self._ends[workload].discard(ending)
            if not self._ends[workload]:
                del self._ends[workload]

    async def wait_end(self, ending: asyncio.Future[None], timeout_s: float) -> None:
        """Return when the workload may have ended, when the bell is closed, or when the time is up."""
        if not ending.done():
            await self._wait_for(ending, timeout_s)

    def _wake_up(self) -> None:
        if not self._closed and (self._task is None or self._task.done()):
            self._task = asyncio.create_task(self._listen())

    async def _wait_for(self, future: asyncio.Future[None], timeout_s: float) -> None:
        self._wake_up()
        self._listeners += 1
        try:
            await asyncio.wait({future}, timeout=timeout_s)
        finally:
            self._listeners -= 1

    def close(self) -> None:
        """Let everybody go, now and from now on."""
        self._closed = True
        self._tell_ends(None)
        self._ring()
        self._thread.shutdown(wait=False, cancel_futures=True)

    def _ring(self) -> None:
        self._rings += 1
        if self._next is not None and not self._next.done():
            self._next.set_result(None)
        self._next = None

    def _tell_ends(self, ended: Collection[str] | None) -> None:
        """To those who wait for one of these ends; to all of them when it is not known which there were."""
        for workload in list(self._ends) if ended is None else ended:
            for ending in self._ends.get(workload, ()):
                if not ending.done():
                    ending.set_result(None)

    async def _listen(self) -> None:
        loop = asyncio.get_running_loop()
        self._seq = None
        wanted_at = loop.time()
        while loop.time() - wanted_at < IDLE_S:  # those who were rung for are not there while they look
            try:
                news = await loop.run_in_executor(self._thread, self._listen_once)
            except Exception:
                if self._closed:
                    return
                log.exception("waiting for the next event failed; trying again")
                news = None
                await asyncio.sleep(WAIT_S)
            if self._closed:
                return
            if news is not None:
                self._seq = news.seq
                self._tell_ends(news.ended)
                self._ring()
                await asyncio.sleep(0.0 if self._ends else SETTLE_S)
            if self._listeners:
                wanted_at = loop.time()

    def _listen_once(self) -> News | None:
        """What came after the number that is known; ``None`` = nothing. Not knowing any counts as news: something may
        have come between the look of the first who waits and now."""
        if self._seq is not None and not self._plane.wait(after=self._seq, timeout_s=WAIT_S):
            return None
        return self._plane.news(after=self._seq)
