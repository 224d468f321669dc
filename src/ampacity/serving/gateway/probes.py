"""Asking engines whether they are well, on a connection of their own: one question a second each."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from time import monotonic

from .engines import Engine, EngineLost, connect
from .heads import AnswerHead
from .health import PROBE_EVERY_S, PROBE_LIMIT_S
from .upstream import Upstream
from .wheel import NEVER, Wheel


class Probe:
    """Fulfils :class:`ampacity.serving.gateway.upstream.Exchange` and :class:`ampacity.serving.gateway.wheel.Timed`.

    ``changed`` is called after each answer, and each that did not come.
    """

    def __init__(self, engine: Engine, path: str, wheel: Wheel, changed: Callable[[], None]) -> None:
        self.engine, self._wheel, self._changed = engine, wheel, changed
        self._request = f"GET {path} HTTP/1.1\r\nhost: {engine.host.decode()}\r\nconnection: close\r\n\r\n".encode()
        self._asking: Upstream | asyncio.Task[None] | None = None
        self._status = 0
        self._stopped = False
        self.due, self.slot = NEVER, 0

    def begin(self) -> None:
        """Ask for the first time a moment from now."""
        self._again(monotonic() + PROBE_EVERY_S)

    def soon(self) -> None:
        """Ask now, unless it is being asked already."""
        if self._asking is None and not self._stopped:
            self._again(monotonic())

    def stop(self) -> None:
        self._stopped = True
        self._wheel.forget(self)
        self._drop()

    def expire(self, now: float) -> None:
        if self._asking is not None:
            self._drop()
            self._note(False)
        elif not self._stopped:
            self.due = now + PROBE_LIMIT_S
            self._asking = asyncio.get_running_loop().create_task(self._ask())

    async def _ask(self) -> None:
        try:
            upstream = await connect(self.engine, Upstream)
        except EngineLost as error:
            self._asking = None
            self._note(False, refused=error.refused)
            return
        self._asking = upstream
        upstream.ask(self._request, self)

    def headed(self, upstream: Upstream, head: AnswerHead) -> None:
        self._status = head.status

    def piece(self, upstream: Upstream, data: bytes) -> None:
        """What it says beside its status is of no interest."""

    def completed(self, upstream: Upstream, data: bytes) -> None:
        self._asking = None
        self._note(200 <= self._status < 300)

    def lost(self, upstream: Upstream, why: str) -> None:
        self._asking = None
        self._note(False)

    def _note(self, answered: bool, *, refused: bool = False) -> None:
        now = monotonic()
        self.engine.health.probed(answered, now, refused=refused)
        self._changed()
        self._again(now + PROBE_EVERY_S)

    def _again(self, due: float) -> None:
        self.due = due
        self._wheel.hasten(self)

    def _drop(self) -> None:
        asking, self._asking = self._asking, None
        if isinstance(asking, Upstream):
            asking.leave()
        elif asking is not None:
            asking.cancel()
