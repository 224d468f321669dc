"""The gateway's process: listen, follow the table, drain at SIGTERM."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
from pathlib import Path

from ampacity.model.errors import PortInUse
from ampacity.serving.routing import ROUTERS

from .protocol import Connection, factory
from .relay import Relay
from .tables import Tables

log = logging.getLogger(__name__)

BACKLOG = 1024
DRAIN_LIMIT_S = 30.0


async def run(table: Path, *, host: str, port: int, router: str = "least_loaded") -> None:
    """Serve until SIGTERM or SIGINT, then finish what is under way. Raises ``PortInUse``."""
    loop = asyncio.get_running_loop()
    tables = Tables(table)
    connections: set[Connection] = set()
    relay = Relay(tables, ROUTERS[router])
    try:
        server = await loop.create_server(factory(relay, tables, connections), host, port, backlog=BACKLOG)
    except OSError as error:
        raise PortInUse(f"The port {port} on {host} cannot be listened on: {error.strerror or error}.") from error
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    following = loop.create_task(tables.follow())
    log.info("listening on http://%s:%d", host, port)
    await stop.wait()
    server.close()
    await drain(connections)
    following.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await following


async def drain(connections: set[Connection], limit_s: float = DRAIN_LIMIT_S) -> None:
    """Let every request that is under way end, up to the limit."""
    deadline = asyncio.get_running_loop().time() + limit_s
    for connection in list(connections):
        connection.drain()
    while connections and asyncio.get_running_loop().time() < deadline:
        await asyncio.sleep(0.02)
