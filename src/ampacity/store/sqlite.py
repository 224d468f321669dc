"""The SQLite store: one writer, readers that never wait for it, and durable answers."""

from __future__ import annotations

import threading
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager

from sqlalchemy import Connection, delete, select

from ampacity.model.errors import StaleVersion, StoreCorrupt
from ampacity.model.event import Draft, Event, Row, Rows, Table
from ampacity.model.ids import Project, WorkloadId
from ampacity.model.workload import Workload, WorkloadKind, WorkloadPhase

from . import reading, schema
from .failures import FOREIGN_ERRORS, RESTORE, store_error
from .opening import open_engine, prepare
from .views import refuse_unsound, snapshot_of
from .writing import last_seq, write_cursor, write_drafts, write_events


class SqliteStore:
    """Fulfils :class:`ampacity.store.base.Store`. The constructor raises what ``open_store`` raises."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._writer = open_engine(path, begin="BEGIN IMMEDIATE")
        self._readers = open_engine(path, begin="BEGIN")
        try:
            prepare(path, self._writer)
        except BaseException:
            self.close()
            raise

    # Writing -------------------------------------------------------------------------------------------------------

    def append(self, drafts: Sequence[Draft], *, cursors: Mapping[str, str] | None = None) -> tuple[Event, ...]:
        for draft in drafts:
            refuse_unsound(draft)
        with self._writing() as connection:
            seq = last_seq(connection)
            events = tuple(Event(seq=seq + number, draft=draft) for number, draft in enumerate(drafts, start=1))
            write_drafts(connection, drafts)
            write_events(connection, events)
            for source, cursor in (cursors or {}).items():
                write_cursor(connection, source, cursor)
        return events

    def compact(self, *, before: int) -> None:
        """Folds beside the writers, and holds them up only while the old events are exchanged for the snapshot.

        Raises:
            StoreCorrupt: the events do not follow on each other. Nothing was changed.
        """
        with self._reading() as connection:
            count, first = reading.extent(connection, before)
            try:
                snapshot = snapshot_of(reading.read_events(connection, until=before, limit=count))
            except StaleVersion as error:
                message = f"The events of {self._path} do not follow on each other: {error}"
                raise StoreCorrupt(message, hint=RESTORE) from error
        if snapshot is None:
            return
        with self._writing() as connection:
            if reading.extent(connection, before) != (count, first):
                return  # another process compacted meanwhile
            connection.execute(delete(schema.events).where(schema.events.c.seq <= before))
            write_events(connection, [snapshot])

    # Reading -------------------------------------------------------------------------------------------------------

    def live(self) -> Rows:
        with self._reading() as connection:
            found = Rows(seq=last_seq(connection))
            reading.load_live(connection, found)
        return found

    def rows(self) -> Rows:
        with self._reading() as connection:
            found = Rows(seq=last_seq(connection))
            for table in Table:
                reading.load(connection, found, table)
        return found

    def get(self, table: Table, key: str) -> Row | None:
        with self._reading() as connection:
            return reading.read_row(connection, table, key)

    def of_workload(self, workload: WorkloadId) -> Rows:
        with self._reading() as connection:
            found = Rows(seq=last_seq(connection))
            reading.load_workload(connection, found, workload)
        return found

    def workloads(
        self,
        *,
        project: Project | None = None,
        name: str | None = None,
        phases: Collection[WorkloadPhase] | None = None,
        kinds: Collection[WorkloadKind] | None = None,
        limit: int = 100,
        before: tuple[float, str] | None = None,
    ) -> tuple[Workload, ...]:
        page = reading.page_of_workloads(
            project=project, name=name, phases=phases, kinds=kinds, limit=limit, before=before
        )
        with self._reading() as connection:
            found = reading.read_workloads(connection, page)
        return tuple(row for row in found if isinstance(row, Workload))

    def events(self, *, after: int = 0, workload: WorkloadId | None = None, limit: int = 1000) -> tuple[Event, ...]:
        with self._reading() as connection:
            return tuple(reading.read_events(connection, after=after, workload=workload, limit=limit))

    def cursors(self) -> Mapping[str, str]:
        with self._reading() as connection:
            return {row.source: row.cursor for row in connection.execute(select(schema.cursors))}

    def close(self) -> None:
        self._readers.dispose()
        self._writer.dispose()

    # One transaction each; SQLAlchemy's and SQLite's errors become ours here and nowhere else. ----------------------

    @contextmanager
    def _reading(self) -> Iterator[Connection]:
        try:
            with self._readers.begin() as connection:
                yield connection
        except FOREIGN_ERRORS as error:
            raise store_error(f"The store {self._path} could not be read", error) from error

    @contextmanager
    def _writing(self) -> Iterator[Connection]:
        try:
            with self._lock, self._writer.begin() as connection:
                yield connection
        except FOREIGN_ERRORS as error:
            raise store_error(f"The store {self._path} failed", error, after="Nothing was written.") from error
