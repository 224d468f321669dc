"""The engines that the table names, and the connections to each."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from ampacity.serving.routing.base import EngineId
from ampacity.serving.table import ReplicaRoute

from .health import Health
from .nearby import let_run

if TYPE_CHECKING:
    from .upstream import Upstream

log = logging.getLogger(__name__)

CONNECT_LIMIT_S = 5.0
MOST_IDLE = 4096
"""Kept connections to one engine."""


class EngineLost(Exception):
    """There is no connection to the engine. ``refused``: nobody listens there."""

    def __init__(self, why: str, *, refused: bool = False) -> None:
        super().__init__(why)
        self.refused = refused


class Engine:
    """One engine: where it is, its kept connections and its health."""

    __slots__ = ("address", "health", "host", "id", "idle", "in_flight", "url")

    def __init__(self, replica: ReplicaRoute) -> None:
        self.id = EngineId(replica.id)
        self.url = replica.url
        self.address = _address(replica.url)
        self.host = replica.url.removeprefix("http://").rstrip("/").encode()
        self.idle: dict[Upstream, None] = {}
        self.health = Health()
        self.in_flight = 0

    def kept(self) -> Upstream | None:
        """A kept connection, the one used last."""
        while self.idle:
            upstream = self.idle.popitem()[0]
            if upstream.usable:
                return upstream
        return None

    def keep(self, upstream: Upstream) -> None:
        if len(self.idle) < MOST_IDLE:
            self.idle[upstream] = None
        else:
            upstream.close()

    def close(self) -> None:
        """Close the kept connections: it has failed, or is gone."""
        while self.idle:
            self.idle.popitem()[0].close()


async def connect(engine: Engine, make: type[Upstream]) -> Upstream:
    """A new connection. Raises ``EngineLost``."""
    try:
        async with asyncio.timeout(CONNECT_LIMIT_S):
            loop = asyncio.get_running_loop()
            transport, upstream = await loop.create_connection(lambda: make(engine), *engine.address)
    except (OSError, TimeoutError) as error:
        why = str(error) or "no connection in time"
        raise EngineLost(why, refused=isinstance(error, ConnectionRefusedError)) from error
    let_run(transport.get_extra_info("socket"), engine.address[0])
    return upstream


def _address(url: str) -> tuple[str, int]:
    host, _, port = url.removeprefix("http://").rstrip("/").rpartition(":")
    return host.strip("[]"), int(port)
