"""The desk of a worker among several: the dispatcher is a process of its own, asked in lots. While it is gone, the
worker decides by itself: least loaded, and limits as if it were alone."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from time import monotonic
from typing import cast

from ampacity.serving.admission import Ending, Refused
from ampacity.serving.dispatch import Answer, Lane, Request, RequestId, Send
from ampacity.serving.metering.spent import Spent
from ampacity.serving.routing.base import EngineId
from ampacity.serving.table import RoutingTable

from .desk import NOT_COUNTED, Counted, Desk, OwnDesk, Waiting
from .wire import (
    Adopt,
    Again,
    Answered,
    Ask,
    Ended,
    Frames,
    FromDispatcher,
    Sent,
    Withdrawn,
    frame,
    from_dispatcher,
)

log = logging.getLogger(__name__)

TRY_AGAIN_S = 0.25


@dataclass(frozen=True, slots=True, kw_only=True)
class UnderWay:
    """A request that an engine has. ``model``: the one that answers; ``answered``: its first byte has come."""

    request: Request
    model: str
    engine: EngineId
    answered: bool


class RemoteDesk(Desk):
    """Fulfils :class:`ampacity.serving.gateway.desk.Desk`. ``under_way`` says what engines have now."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._alone = OwnDesk()
        self.under_way: Callable[[], list[UnderWay]] = list
        self._link: Link | None = None
        self._joining: asyncio.Task[None] | None = None
        self._try_at = 0.0
        self._asked: dict[RequestId, Request] = {}  # of the dispatcher that is there now
        self._waiting: dict[RequestId, Waiting] = {}
        self._orphans: dict[RequestId, Request] = {}  # sent by a dispatcher that is gone

    # As a desk -------------------------------------------------------------------------------------------------------

    def follow(self, table: RoutingTable, lanes: list[Lane]) -> None:
        self._alone.follow(table, [replace(lane, routing="least_loaded") for lane in lanes])

    def ask(self, request: Request, waiting: Waiting, now: float) -> Answer | None:
        link = self._link
        if link is None:
            return self._alone.ask(request, waiting, now)
        self._asked[request.id] = request
        self._waiting[request.id] = waiting
        link.say(_ask(request, request.model))
        return None

    def again(self, id: RequestId, waiting: Waiting, now: float, excluded: frozenset[EngineId]) -> Answer | None:
        orphan = self._orphans.pop(id, None)
        if orphan is not None:
            return self.ask(orphan, waiting, now)
        link = self._link
        if link is None or id not in self._asked:
            return self._alone.again(id, waiting, now, excluded)
        self._waiting[id] = waiting
        link.say(Again(id, list(excluded)))
        return None

    def answered(self, id: RequestId, now: float) -> None:
        if self._link is not None and id in self._asked:
            self._link.say(Answered(id))
        else:
            self._alone.answered(id, now)

    def ended(self, id: RequestId, now: float, ending: Ending, counted: Counted = NOT_COUNTED) -> None:
        self._waiting.pop(id, None)
        self._orphans.pop(id, None)
        if self._link is not None and self._asked.pop(id, None) is not None:
            took = (counted.input_tokens, counted.cached_tokens, counted.output_tokens)
            self._link.say(Ended(id, ending.value, *took, counted.money))
        else:
            self._alone.ended(id, now, ending, counted)

    def withdrawn(self, id: RequestId, now: float) -> None:
        self._waiting.pop(id, None)
        self._orphans.pop(id, None)
        if self._link is not None and self._asked.pop(id, None) is not None:
            self._link.say(Withdrawn(id))
        else:
            self._alone.withdrawn(id, now)

    def set_spent(self, spent: Spent) -> None:
        """What the books say was spent."""
        self._alone.set_spent(spent)

    def tick(self, now: float) -> None:
        self._alone.tick(now)
        if self._link is None and self._joining is None and now >= self._try_at:
            self._try_at = now + TRY_AGAIN_S
            self._joining = asyncio.get_running_loop().create_task(self._join())

    # The dispatcher --------------------------------------------------------------------------------------------------

    async def _join(self) -> None:
        try:
            await asyncio.get_running_loop().create_unix_connection(lambda: Link(self), self._path)
        except OSError as error:
            log.debug("the dispatcher is not there: %s", error)
        finally:
            self._joining = None

    def joined(self, link: Link) -> None:
        """What is under way was sent by a dispatcher that is gone, or by this worker alone: this one is told of it, so
        that it counts right."""
        now = monotonic()
        for each in self.under_way():
            id = each.request.id
            link.say(Adopt(id, _ask(each.request, each.model), each.engine, each.answered))
            self._asked[id] = each.request
            self._orphans.pop(id, None)
            self._alone.withdrawn(id, now)
        log.info("the dispatcher is there")
        self._link = link

    def heard(self, message: FromDispatcher) -> None:
        waiting = self._waiting.pop(RequestId(message.id), None)
        if waiting is None:
            return  # its client has left
        if isinstance(message, Sent):
            waiting.decided(Send(engine=EngineId(message.engine), max_tokens=message.max_tokens, model=message.model))
        else:
            self._asked.pop(RequestId(message.id), None)
            waiting.decided(
                Refused(
                    status=message.status,
                    code=message.code,
                    message=message.message,
                    retry_after_s=message.retry_after_s,
                )
            )

    def parted(self, now: float) -> None:
        """The dispatcher is gone: who waited for its word gets one from here."""
        log.warning("the dispatcher is gone: this worker decides by itself until it is back")
        self._link = None
        asked, self._asked = self._asked, {}
        waiting, self._waiting = self._waiting, {}
        for id, each in waiting.items():
            answer = self._alone.ask(asked[id], each, now)
            if answer is not None:
                each.decided(answer)
        self._orphans |= {id: request for id, request in asked.items() if id not in waiting}


def _ask(request: Request, model: str) -> Ask:
    key = "" if request.key is None else request.key.id
    return Ask(
        request.id,
        model,
        request.arrived,
        request.tokens,
        list(request.blocks),
        request.session,
        key,
        request.max_tokens,
        request.deadline,
        request.streams,
        request.despite_budget,
    )


class Link(asyncio.Protocol):
    """The connection to the dispatcher. What is said within one turn of the loop goes in one piece."""

    __slots__ = ("_desk", "_frames", "_loop", "_said", "_transport")

    def __init__(self, desk: RemoteDesk) -> None:
        self._desk, self._frames = desk, Frames()
        self._loop = asyncio.get_running_loop()
        self._said: list[object] = []
        self._transport: asyncio.Transport | None = None

    def say(self, message: object) -> None:
        if not self._said:
            self._loop.call_soon(self._flush)
        self._said.append(message)

    def _flush(self) -> None:
        said, self._said = self._said, []
        if self._transport is not None:
            self._transport.write(frame(said))

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._desk.joined(self)

    def data_received(self, data: bytes) -> None:
        for each in self._frames.feed(data):
            for message in from_dispatcher(each):
                self._desk.heard(message)

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self._desk.parted(self._loop.time())
