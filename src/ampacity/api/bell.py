"""The bell: one thread waits for the next event, for all who follow something.

Without it every follower would hold a thread of its own in ``plane.wait``.
"""

from __future__ import annotations

import asyncio
import logging
from concurrent.futures import ThreadPoolExecutor

from ampacity.control.plane import Plane
from ampacity.model.ids import DEFAULT_PROJECT

log = logging.getLogger(__name__)

WAIT_S = 1.0
"""How long one ``plane.wait`` may take; also how long the thread may outlive the server."""

IDLE_S = 5.0
"""When nobody has listened for so long, it stops waiting."""

SETTLE_S = 0.002
"""Many events in a row ring once."""

PAGE = 1000


class Bell:
    """Rings after every event, as long as somebody listens. All methods belong to the server's event loop.

    Take a :meth:`ticket`, look, and :meth:`wait` with the ticket: what came after the look has changed the ticket, so
    nothing is missed in between.
    """

    def __init__(self, plane: Plane) -> None:
        self._plane = plane
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="ampacity-api-bell")
        self._rings = 0
        self._seq: int | None = None
        self._listeners = 0
        self._next: asyncio.Future[None] | None = None
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
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._listen())
        if self._next is None:
            self._next = asyncio.get_running_loop().create_future()
        self._listeners += 1
        try:
            await asyncio.wait({self._next}, timeout=timeout_s)
        finally:
            self._listeners -= 1

    def close(self) -> None:
        """Let everybody go, now and from now on."""
        self._closed = True
        self._ring()
        self._thread.shutdown(wait=False, cancel_futures=True)

    def _ring(self) -> None:
        self._rings += 1
        if self._next is not None and not self._next.done():
            self._next.set_result(None)
        self._next = None

    async def _listen(self) -> None:
        loop = asyncio.get_running_loop()
        self._seq = None
        wanted_at = loop.time()
        while loop.time() - wanted_at < IDLE_S:  # those who were rung for are not there while they look
            try:
                seq = await loop.run_in_executor(self._thread, self._next_seq)
            except Exception:
                if self._closed:
                    return
                log.exception("waiting for the next event failed; trying again")
                seq = None
                await asyncio.sleep(WAIT_S)
            if self._closed:
                return
            if seq is not None:
                self._seq = seq
                self._ring()
                await asyncio.sleep(SETTLE_S)
            if self._listeners:
                wanted_at = loop.time()

    def _next_seq(self) -> int | None:
        """The newest number after the one that is known; ``None`` = nothing came. Not knowing any counts as news:
        something may have come between the look of the first who waits and now."""
        if self._seq is None:
            return self._plane.status().seq
        if not self._plane.wait(after=self._seq, timeout_s=WAIT_S):
            return None
        events = self._plane.events(after=self._seq, ref=None, project=DEFAULT_PROJECT, limit=PAGE)
        return events[-1].seq if events else self._plane.status().seq
