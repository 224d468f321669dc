"""What the gateway's processes have in common: when they end, and what they do now and then."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import resource
import signal
from collections.abc import Callable, Coroutine, Iterator

log = logging.getLogger(__name__)

TICK_S = 0.05


async def asked_to_end(parent_fd: int | None) -> None:
    """Wait for SIGTERM or SIGINT, or for the end of the parent."""
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    if parent_fd is not None:
        loop.add_reader(parent_fd, stop.set)  # nothing is ever written: it can only end
    await stop.wait()
    if parent_fd is not None:
        loop.remove_reader(parent_fd)
        os.close(parent_fd)


async def each(pause_s: float, do: Callable[[], object]) -> None:
    while True:
        await asyncio.sleep(pause_s)
        try:
            do()
        except Exception:
            log.exception("the gateway goes on without what it was to do now and then")


@contextlib.contextmanager
def kept_going(*endless: Coroutine[None, None, None]) -> Iterator[None]:
    """Run these beside, until the block ends."""
    tasks = [asyncio.ensure_future(each) for each in endless]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()


def allow_many_connections() -> None:
    """Each connection is an open file: take as many as this user may have."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
