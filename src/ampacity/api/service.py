"""What all handlers share: the plane, who may call it, and the threads that its calls run in."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar

from ampacity.control.plane import Plane

from .authorize import Access
from .bell import Bell

P = ParamSpec("P")
R = TypeVar("R")

PLANE_THREADS = 16
"""How many calls of the plane run at once; more wait their turn."""


class Service:
    """One per app. ``active_streams`` counts the streams that somebody reads now; ``sessions`` are the
    terminals that somebody holds."""

    def __init__(self, plane: Plane, access: Access) -> None:
        self.plane = plane
        self.access = access
        self.bell = Bell(plane)
        self.active_streams = 0
        self.sessions: set[asyncio.Future[None]] = set()
        self._threads = ThreadPoolExecutor(PLANE_THREADS, thread_name_prefix="ampacity-api")

    async def call(self, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Run a call that blocks in one of the threads."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, lambda: function(*args, **kwargs))

    @property
    def stopping(self) -> bool:
        return self.bell.closed

    def stop(self) -> None:
        """End the streams in order. Calls still work. Belongs to the server's event loop."""
        self.bell.close()
        for session in tuple(self.sessions):
            session.cancel()

    def close(self) -> None:
        """Let go of the threads; calls that are under way end by themselves."""
        self._threads.shutdown(wait=False, cancel_futures=True)
