"""The output of a workload: the lines of all its attempts and members, in the order of time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import msgspec

from ampacity.drivers.base import Driver, LogLine
from ampacity.model.attempt import Attempt
from ampacity.model.errors import DriverError, InvalidSpec, NotFound, Where
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
class _Read:
    records: tuple[LogRecord, ...]
    place: _Place


class Output:
    """Reads members' logs and files through their drivers."""

    def __init__(self, store: Store, drivers: Mapping[str, Driver]) -> None:
        self._store, self._drivers = store, drivers

    def slice(
        self, view: WorkloadView, *, cursor: str | None, rank: int | None, replica: int | None, limit: int
    ) -> LogSlice:
        """Up to ``limit`` lines of each member after the cursor.

        Raises:
            InvalidSpec: the cursor is not one of ours.
            DriverUnavailable: a node cannot be asked now.
        """
        places = _places(cursor)
        records: list[LogRecord] = []
        for attempt in view.attempts:
            if replica is not None and attempt.replica != replica:
                continue
            for member in attempt.members:
                name = str(attempt.key(member.index))
                place = places.get(name, _Place())
                if place.done:
                    continue
                read = self._member(attempt, member.index, member.node, place, limit)
                places[name] = read.place
                records.extend(each for each in read.records if rank is None or each.rank == rank)
        records.sort(key=lambda record: record.at)
        read_all = not records and all(place.done for place in places.values())
        ended = view.workload.phase.ended and read_all
        return LogSlice(records=tuple(records), cursor=msgspec.json.encode(places).decode(), ended=ended)

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

    def _member(self, attempt: Attempt, member: int, node: NodeId, place: _Place, limit: int) -> _Read:
        driver = self._driver(node)
        gone = _Read(records=(), place=_Place(cursor=place.cursor, done=attempt.phase.ended))
        if driver is None:
            return gone
        try:
            page = driver.logs(attempt.key(member), place.cursor, limit=limit)
        except NotFound:
            return gone
        records = tuple(
            LogRecord(
                at=line.at,
                replica=attempt.replica,
                epoch=attempt.epoch,
                member=member,
                rank=line.rank,
                stream=line.stream,
                text=line.text,
            )
            for line in page.lines
        )
        return _Read(records=records, place=_Place(cursor=page.cursor, done=page.ended and not page.lines))


def _places(cursor: str | None) -> dict[str, _Place]:
    if not cursor:
        return {}
    try:
        return msgspec.json.decode(cursor, type=dict[str, _Place])
    except msgspec.DecodeError:
        raise InvalidSpec("this is not a cursor of these logs.", where=Where(key="cursor")) from None
