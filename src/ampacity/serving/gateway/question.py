"""A question that is put to an engine again and again, on connections of its own and never on a request's way."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from time import monotonic

from .engines import Engine, EngineLost, connect
from .heads import AnswerHead
from .upstream import Upstream
from .wheel import NEVER, Wheel


class Question(ABC):
    """Fulfils :class:`ampacity.serving.gateway.upstream.Exchange` and :class:`ampacity.serving.gateway.wheel.Timed`.

    Each time it ends by one call of ``answered`` or ``failed``, which say by :meth:`again` when it is put anew.

    Args:
        request: as it goes to the engine.
        limit_s: how long an answer may take.
    """

    def __init__(self, engine: Engine, request: bytes, wheel: Wheel, *, limit_s: float) -> None:
        self.engine, self.status = engine, 0
        self._request, self._wheel, self._limit_s = request, wheel, limit_s
        self._asking: Upstream | asyncio.Task[None] | None = None
        self._stopped = False
        self.due, self.slot = NEVER, 0

    @abstractmethod
    def answered(self, data: bytes) -> None:
        """The whole answer has come; ``data`` is the end of its body. ``status`` is that of its head."""

    @abstractmethod
    def failed(self, *, refused: bool) -> None:
        """There is no answer. ``refused``: nobody listens there."""

    def again(self, pause_s: float) -> None:
        """Put it so long from now."""
        self.due = monotonic() + pause_s
        self._wheel.hasten(self)

    def soon(self) -> None:
        """Put it now, unless it is being asked already."""
        if self._asking is None and not self._stopped:
            self.again(0.0)

    def stop(self) -> None:
        self._stopped = True
        self._wheel.forget(self)
        self.drop()

    def drop(self) -> None:
        """Give up the answer that is being waited for."""
        asking, self._asking = self._asking, None
        if isinstance(asking, Upstream):
            asking.leave()
        elif asking is not None:
            asking.cancel()

    def expire(self, now: float) -> None:
        if self._asking is not None:
            self.drop()
            self.failed(refused=False)
        elif not self._stopped:
            self.due = now + self._limit_s
            self._asking = asyncio.get_running_loop().create_task(self._ask())

    async def _ask(self) -> None:
        try:
            upstream = await connect(self.engine, Upstream)
        except EngineLost as error:
            self._asking = None
            self.failed(refused=error.refused)
            return
        self._asking = upstream
        upstream.ask(self._request, self)

    def headed(self, upstream: Upstream, head: AnswerHead) -> None:
        self.status = head.status

    @abstractmethod
    def piece(self, upstream: Upstream, data: bytes) -> None:
        """A part of the answer's body that does not end it."""

    def completed(self, upstream: Upstream, data: bytes) -> None:
        self._asking = None
        self.answered(data)

    def lost(self, upstream: Upstream, why: str) -> None:
        self._asking = None
        self.failed(refused=False)
