"""The output of a workload: the lines of all its attempts and members, in the order of time."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import msgspec

from ampacity.drivers.base import Driver, LogLine
from ampacity.model.attempt import Attempt, Member
from ampacity.model.errors import DriverError, DriverUnavailable, InvalidSpec, NotFound, Where
from ampacity.model.event import Table
from ampacity.model.ids import MemberKey, NodeId
from ampacity.model.node import Node
from ampacity.model.view import LogRecord, WorkloadView
from ampacity.store.base import Store

from .plane import LogSlice

CHUNK_BYTES = 1 << 20


class _Place(msgspec.Struct):
    """How far one member has been read."""

    cursor: str | None = None
    done: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class _Page:
    """One member's next lines. ``full``: more may follow that are older than other members' lines."""

    attempt: Attempt
    member: Member
    lines: tuple[LogLine, ...]
    place: _Place
    full: bool = False


class Output:
    """Reads members' logs and files through their drivers."""

    def __init__(self, store: Store, drivers: Mapping[str, Driver]) -> None:
        self._store, self._drivers = store, drivers

    def slice(
        self, view: WorkloadView, *, cursor: str | None, rank: int | None, replica: int | None, limit: int
    ) -> LogSlice:
        """Lines after the cursor, up to ``limit`` of each member, merged by their time.

        Only as much is taken of each as is older than what another one has not shown yet, so that slices in a row are
        in order, too. A member that cannot be asked now is left to a later call.

        Raises:
            InvalidSpec: the cursor is not one of ours.
        """
        places = _places(cursor)
        pages = [
            self._page(attempt, member, place, limit)
            for attempt in view.attempts
            if replica is None or attempt.replica == replica
            for member in attempt.members
            if not (place := places.get(str(attempt.key(member.index)), _Place())).done
        ]
        horizon = min((page.lines[-1].at for page in pages if page.full), default=math.inf)
        records: list[LogRecord] = []
        for page in [self._up_to(page, places, horizon) for page in pages]:
            places[str(page.attempt.key(page.member.index))] = page.place
            records.extend(_record(page, line) for line in page.lines if rank is None or line.rank == rank)
        records.sort(key=lambda record: record.at)
        ended = view.workload.phase.ended and not records and all(place.done for place in places.values())
        return LogSlice(records=tuple(records), cursor=msgspec.json.encode(places).decode(), ended=ended)

    def _page(self, attempt: Attempt, member: Member, place: _Place, limit: int) -> _Page:
        nothing = _Page(
            attempt=attempt,
            member=member,
            lines=(),
            place=_Place(cursor=place.cursor, done=attempt.phase.ended),
        )
        driver = self._driver(member.node)
        if driver is None:
            return nothing
        try:
            page = driver.logs(attempt.key(member.index), place.cursor, limit=limit)
        except (NotFound, DriverUnavailable):
            return nothing
        return _Page(
            attempt=attempt,
            member=member,
            lines=page.lines,
            place=_Place(cursor=page.cursor, done=page.ended and not page.lines),
            full=len(page.lines) >= limit,
        )

    def _up_to(self, page: _Page, places: Mapping[str, _Place], horizon: float) -> _Page:
        """The page without what is newer than the horizon."""
        old = 0
        while old < len(page.lines) and page.lines[old].at <= horizon:
            old += 1
        if old == len(page.lines):
            return page
        place = places.get(str(page.attempt.key(page.member.index)), _Place())
        if not old:
            return replace(page, lines=(), place=place)
        return self._page(page.attempt, page.member, place, old)

    def tail(self, attempt: Attempt, count: int) -> tuple[str, ...]:
        """The last lines that the attempt printed, ranks' and others."""
        lines: list[LogLine] = []
        for member in attempt.members:
            cursor: str | None = None
            driver = self._driver(member.node)
            while driver is not None:
                try:
                    page = driver.logs(attempt.key(member.index), cursor)
                except (NotFound, DriverError):
                    break
                lines.extend(page.lines)
                cursor = page.cursor
                if not page.lines:
                    break
        lines.sort(key=lambda line: line.at)
        return tuple(line.text for line in lines[-count:])

    def file(self, key: MemberKey, node: NodeId, path: str) -> bytes:
        """A file of the member's private folder; empty where there is none or the node does not answer."""
        driver = self._driver(node)
        chunks: list[bytes] = []
        offset = 0
        while driver is not None:
            try:
                chunk = driver.files(key, path, offset=offset, limit=CHUNK_BYTES)
            except (NotFound, DriverError):
                break
            if not chunk:
                break
            chunks.append(chunk)
            offset += len(chunk)
        return b"".join(chunks)

    def _driver(self, node: NodeId) -> Driver | None:
        row = self._store.get(Table.NODES, node)
        return self._drivers.get(row.driver) if isinstance(row, Node) else None


def _record(page: _Page, line: LogLine) -> LogRecord:
    return LogRecord(
        at=line.at,
        replica=page.attempt.replica,
        epoch=page.attempt.epoch,
        member=page.member.index,
        rank=line.rank,
        stream=line.stream,
        text=line.text,
    )


def _places(cursor: str | None) -> dict[str, _Place]:
    if not cursor:
        return {}
    try:
        return msgspec.json.decode(cursor, type=dict[str, _Place])
    except msgspec.DecodeError:
        raise InvalidSpec("this is not a cursor of these logs.", where=Where(key="cursor")) from None
