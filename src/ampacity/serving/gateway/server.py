"""The gateway's process: listen, follow the table, drain at SIGTERM."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
from pathlib import Path

from ampacity.model.errors import PortInUse
from ampacity.serving.routing import ROUTERS

from .client import Client
from .core import Core
from .tables import LOOK_EVERY_S, Tables

log = logging.getLogger(__name__)

BACKLOG = 4096
DRAIN_LIMIT_S = 30.0
TICK_S = 0.05


async def run(table: Path, *, host: str, port: int, router: str = "least_loaded") -> None:
    """Serve until SIGTERM or SIGINT, then finish what is under way. Raises ``PortInUse``."""
    loop = asyncio.get_running_loop()
    core = Core(Tables(table), ROUTERS[router])
    try:
        server = await loop.create_server(lambda: Client(core), host, port, backlog=BACKLOG)
    except OSError as error:
        raise PortInUse(f"The port {port} on {host} cannot be listened on: {error.strerror or error}.") from error
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    keeping = (loop.create_task(_keep_time(core)), loop.create_task(_follow(core.tables)))
    log.info("listening on http://%s:%d", host, port)
    await stop.wait()
    server.close()
    await drain(core)
    core.fleet.close()
    for task in keeping:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def _keep_time(core: Core) -> None:
    while True:
        await asyncio.sleep(TICK_S)
        core.tick()


async def _follow(tables: Tables) -> None:
    """Look at the table's file for as long as the gateway runs."""
    while True:
        await asyncio.sleep(LOOK_EVERY_S)
        tables.refresh()


async def drain(core: Core, limit_s: float = DRAIN_LIMIT_S) -> None:
    """Let every request that is under way end, up to the limit."""
    core.draining = True
    deadline = asyncio.get_running_loop().time() + limit_s
    for client in list(core.clients):
        client.drain()
    while core.clients and asyncio.get_running_loop().time() < deadline:
        await asyncio.sleep(0.02)
