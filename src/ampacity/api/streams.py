"""Streams: logs and events, page by page, each page sealed by a cursor. See ``wire.StreamLine``."""

from __future__ import annotations

import asyncio
import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Iterator, Sequence

from ampacity.control.plane import LogSearch, LogSlice
from ampacity.model.errors import InvalidSpec, Where
from ampacity.model.view import EventView, LogHit, LogRecord

from .bodies import EventsQuery, LogsQuery, Nothing, SearchQuery
from .endpoint import Call, Stream
from .service import Service
from .wire import HEARTBEAT_S, EndReason, StreamLine

LOG_PAGE = 1000
EVENT_PAGE = 500

LOG_POLL_S = (0.1, 0.5)
"""Output is no event, so those who follow it look again: soon after the last line, then ever less often."""


class Pacer:
    """Waits between two looks of a follower; says when a heartbeat is due."""

    def __init__(self, service: Service, *, poll_s: tuple[float, float]) -> None:
        self._service = service
        self._shortest_s, self._longest_s = poll_s
        self._pause_s = self._shortest_s
        self._beat_at = 0.0

    def moved(self) -> None:
        """There was something to send."""
        self._pause_s = self._shortest_s
        self._beat_at = asyncio.get_running_loop().time() + HEARTBEAT_S

    async def rest(self, ticket: int) -> bool:
        """Wait for the bell or the next look. ``True`` = send a heartbeat."""
        loop = asyncio.get_running_loop()
        until_beat_s = max(0.0, self._beat_at - loop.time())
        await self._service.bell.wait(ticket, min(self._pause_s, until_beat_s))
        self._pause_s = min(self._pause_s * 1.5, self._longest_s)
        if loop.time() < self._beat_at:
            return False
        self._beat_at = loop.time() + HEARTBEAT_S
        return True


class Follower(ABC):
    """What logs and events have in common: look, send what is new, rest, look again, and end for a reason."""

    def __init__(self, service: Service, *, poll_s: tuple[float, float]) -> None:
        self._service = service
        self._pacer = Pacer(service, poll_s=poll_s)
        self._end: EndReason | None = None
        self._over = False

    async def page(self) -> list[StreamLine] | None:
        """The next page, sealed by a cursor; empty = a heartbeat; ``None`` after the last."""
        while not self._over:
            if self._end is None and self._service.stopping:
                self._end = EndReason.SHUTDOWN
            if self._end is not None:
                self._over = True
                return [StreamLine(end=self._end)]
            ticket = self._service.bell.ticket()
            lines = await self._look()
            if lines:
                self._pacer.moved()
                return lines
            if self._end is None and await self._pacer.rest(ticket):
                return []
        return None

    @abstractmethod
    async def _look(self) -> list[StreamLine]:
        """What is new, with its cursor; empty = nothing. Sets ``_end`` when there will be no more."""


class LogStream(Follower):
    """The lines of one workload. Ends when it has ended and all was sent, or, without ``follow``, at the present end:
    when nothing is new, or what is new was printed after the call began (a job may print faster than one reads)."""

    def __init__(self, call: Call[LogsQuery, Nothing]) -> None:
        super().__init__(call.service, poll_s=LOG_POLL_S)
        self._call = call
        self._cursor = call.query.cursor
        self._tail = call.query.tail if call.query.cursor is None else None
        self._began = False
        self._called_at = time.time()

    async def _look(self) -> list[StreamLine]:
        before = self._cursor
        part = await self._read()
        if not part.records and part.ended:
            self._end = EndReason.ENDED
        elif not self._call.query.follow and self._caught_up(before, part):
            self._end = EndReason.CAUGHT_UP
        if not part.records and part.cursor == before and self._began:
            return []
        self._cursor, self._began = part.cursor, True
        return [*(StreamLine(record=record) for record in part.records), StreamLine(cursor=part.cursor)]

    def _caught_up(self, before: str | None, part: LogSlice) -> bool:
        """A slice may be empty and yet not the last: the lines of other ranks were read over. Its cursor moved then."""
        if part.records:
            return part.records[-1].at > self._called_at
        return part.cursor == before

    async def _read(self) -> LogSlice:
        if self._tail is not None:
            tail, self._tail = self._tail, None
            return await self._call.service.call(self._last, tail)
        return await self._call.service.call(self._slice, self._cursor)

    def _slice(self, cursor: str | None) -> LogSlice:
        query = self._call.query
        return self._call.service.plane.logs(
            self._call.ref,
            project=query.project,
            cursor=cursor,
            rank=query.rank,
            replica=query.replica,
            limit=LOG_PAGE,
        )

    def _last(self, count: int) -> LogSlice:
        """The last lines there are. The plane gives lines from the beginning only, so all are read and few kept."""
        kept: deque[LogRecord] = deque(maxlen=count)
        cursor: str | None = None
        while True:
            part = self._slice(cursor)
            kept.extend(part.records)
            if self._caught_up(cursor, part) or part.ended or self._call.service.stopping:
                return LogSlice(records=tuple(kept), cursor=part.cursor, ended=part.ended)
            cursor = part.cursor


class EventStream(Follower):
    """Events in their order. The cursor is the sequence number of the last one."""

    def __init__(self, call: Call[EventsQuery, Nothing]) -> None:
        super().__init__(call.service, poll_s=(HEARTBEAT_S, HEARTBEAT_S))
        self._call = call
        self._after = call.query.after
        self._left = call.query.limit
        self._began = False

    async def _look(self) -> list[StreamLine]:
        events = await self._call.service.call(self._read)
        if events:
            self._after = events[-1].seq
        if self._left is not None:
            self._left -= len(events)
        if self._left == 0:
            self._end = EndReason.LIMIT
        elif not events and not self._call.query.follow:
            self._end = EndReason.CAUGHT_UP
        if not events and self._began:
            return []
        self._began = True
        return [*(StreamLine(event=event) for event in events), StreamLine(cursor=str(self._after))]

    def _read(self) -> Sequence[EventView]:
        query = self._call.query
        limit = EVENT_PAGE if self._left is None else min(EVENT_PAGE, self._left)
        return self._call.service.plane.events(
            after=self._after, ref=query.workload, project=query.project, limit=limit
        )


class SearchStream:
    """The lines that a search finds, as they are found. It has no cursors: one that was cut off is asked for anew."""

    def __init__(self, call: Call[SearchQuery, Nothing]) -> None:
        self._service, self._query = call.service, call.query
        self._pages: Iterator[tuple[LogHit, ...]] | None = None
        self._end: EndReason | None = None
        self._found = 0

    async def page(self) -> list[StreamLine] | None:
        if self._end is not None:
            return None
        hits = await self._service.call(self._next)
        if hits is None:
            return [StreamLine(end=self._end)]
        return [StreamLine(hit=hit) for hit in hits]

    def _next(self) -> list[LogHit] | None:
        """What is found next; nothing after some seconds without, ``None`` at the end. Runs in a thread."""
        if self._pages is None:
            self._pages = self._service.plane.search(self._ask())
        until = time.monotonic() + HEARTBEAT_S / 2
        while time.monotonic() < until:
            if self._service.stopping:
                self._end = EndReason.SHUTDOWN
                return None
            hits = next(self._pages, None)
            if hits is None:
                reached = self._query.limit is not None and self._found >= self._query.limit
                self._end = EndReason.LIMIT if reached else EndReason.CAUGHT_UP
                return None
            if hits:
                self._found += sum(hit.matched for hit in hits)
                return list(hits)
        return []

    def _ask(self) -> LogSearch:
        query = self._query
        return LogSearch(
            pattern=query.pattern,
            project=query.project,
            ref=query.workload,
            fixed=query.fixed,
            ignore_case=query.ignore_case,
            context=query.context,
            since=query.since,
            rank=query.rank,
            replica=query.replica,
            limit=query.limit,
        )


def search_stream(call: Call[SearchQuery, Nothing]) -> Stream:
    return SearchStream(call)


def log_stream(call: Call[LogsQuery, Nothing]) -> Stream:
    return LogStream(call)


def event_stream(call: Call[EventsQuery, Nothing]) -> Stream:
    """Raises ``InvalidSpec`` when the workload's name is empty."""
    if call.query.workload == "":
        raise InvalidSpec("The name is empty.", where=Where(key="workload"), hint="Leave the parameter out for all.")
    return EventStream(call)
