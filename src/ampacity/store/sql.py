"""A store in an SQL database: what SQLite and PostgreSQL have in common."""

from __future__ import annotations

import threading
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager

from sqlalchemy import Connection, Engine, delete, select

from ampacity.model.errors import StoreError
from ampacity.model.event import Draft, Event, Row, Rows, Table
from ampacity.model.ids import Project, WorkloadId
from ampacity.model.receipt import Receipt
from ampacity.model.request_usage import AS_KEPT, RequestSum, UsageBy, grouped
from ampacity.model.workload import Workload, WorkloadKind, WorkloadPhase

from . import reading, schema
from .compacting import fold_page, read_base
from .failures import FOREIGN_ERRORS
from .request_usage import add_sums, forget_sums, read_sums
from .views import refuse_unsound, snapshot
from .writing import NameClash, Writer


class SqlStore:
    """Fulfils :class:`ampacity.store.base.Store` over two engines, one to write and one to read with.

    A transaction of the reader's is one consistent view; those of the writer's come one after another.
    """

    def __init__(self, writer: Engine, readers: Engine, statements: Writer) -> None:
        self._lock = threading.Lock()
        self._writer, self._readers, self._statements = writer, readers, statements

    # Writing -------------------------------------------------------------------------------------------------------

    def append(
        self,
        drafts: Sequence[Draft],
        *,
        cursors: Mapping[str, str] | None = None,
        receipts: Sequence[Receipt] = (),
    ) -> tuple[Event, ...]:
        for draft in drafts:
            refuse_unsound(draft)
        try:
            with self._writing() as connection:
                return self._append(connection, drafts, cursors or {}, receipts)
        except NameClash as clash:
            with self._reading() as connection:
                raise clash.named(connection) from clash

    def _append(
        self, connection: Connection, drafts: Sequence[Draft], cursors: Mapping[str, str], receipts: Sequence[Receipt]
    ) -> tuple[Event, ...]:
        write = self._statements
        last = write.take_numbers(connection, len(drafts))
        write.receipts(connection, receipts)
        events = tuple(
            Event(seq=last - len(drafts) + number, draft=draft) for number, draft in enumerate(drafts, start=1)
        )
        write.drafts(connection, drafts)
        write.events(connection, events)
        for source, cursor in cursors.items():
            write.cursor(connection, source, cursor)
        return events

    def compact(self, *, before: int) -> None:
        more = True
        while more:
            with self._writing() as connection:
                more = fold_page(connection, self._statements.put_base, before=before)

    def forget_receipts(self, *, before: float) -> None:
        with self._writing() as connection:
            connection.execute(delete(schema.receipts).where(schema.receipts.c.at < before))

    # Reading -------------------------------------------------------------------------------------------------------

    def live(self) -> Rows:
        with self._reading() as connection:
            found = Rows(seq=reading.last_seq(connection))
            reading.load_live(connection, found)
        return found

    def rows(self) -> Rows:
        with self._reading() as connection:
            found = Rows(seq=reading.last_seq(connection))
            for table in Table:
                reading.load(connection, found, table)
        return found

    def base(self) -> Rows:
        with self._reading() as connection:
            return read_base(connection)

    def get(self, table: Table, key: str) -> Row | None:
        with self._reading() as connection:
            return reading.read_row(connection, table, key)

    def of_workload(self, workload: WorkloadId) -> Rows:
        with self._reading() as connection:
            found = Rows(seq=reading.last_seq(connection))
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

    def finished(self, *, before: float, limit: int) -> tuple[WorkloadId, ...]:
        with self._reading() as connection:
            return reading.finished(connection, before=before, limit=limit)

    def events(self, *, after: int = 0, workload: WorkloadId | None = None, limit: int = 1000) -> tuple[Event, ...]:
        with self._reading() as connection:
            compacted = 0 if workload is not None else reading.compacted(connection)
            if after >= compacted:
                return tuple(reading.read_events(connection, after=after, workload=workload, limit=limit))
            return snapshot(compacted), *reading.read_events(connection, after=compacted, limit=limit - 1)

    def last_before(self, at: float) -> int:
        with self._reading() as connection:
            return reading.last_before(connection, at)

    def cursors(self) -> Mapping[str, str]:
        with self._reading() as connection:
            return {row.source: row.cursor for row in connection.execute(select(schema.cursors))}

    def receipt(self, key: str) -> Receipt | None:
        with self._reading() as connection:
            return reading.read_receipt(connection, key)

    def book_requests(self, sums: Sequence[RequestSum], *, cursors: Mapping[str, str]) -> None:
        with self._writing() as connection:
            add_sums(connection, self._statements.add_requests, grouped(sums, AS_KEPT))
            for source, cursor in cursors.items():
                self._statements.cursor(connection, source, cursor)

    def request_usage(
        self,
        *,
        by: Collection[UsageBy],
        since: float = 0.0,
        until: float = float("inf"),
        project: Project | None = None,
    ) -> tuple[RequestSum, ...]:
        with self._reading() as connection:
            return read_sums(connection, by=by, since=since, until=until, project=project)

    def forget_request_usage(self, *, before: float) -> None:
        with self._writing() as connection:
            forget_sums(connection, before)

    def close(self) -> None:
        self._readers.dispose()
        self._writer.dispose()

    # One transaction each; SQLAlchemy's and the database's errors become ours here and nowhere else. ----------------

    def _failed(self, what: str, error: BaseException, *, after: str = "") -> StoreError:
        """The error to raise. ``what``: the verb; ``after``: a sentence to add."""
        raise NotImplementedError

    @contextmanager
    def _reading(self) -> Iterator[Connection]:
        try:
            with self._readers.begin() as connection:
                yield connection
        except FOREIGN_ERRORS as error:
            raise self._failed("could not be read", error) from error

    @contextmanager
    def _writing(self) -> Iterator[Connection]:
        try:
            with self._lock, self._writer.begin() as connection:
                yield connection
        except FOREIGN_ERRORS as error:
            raise self._failed("failed", error, after="Nothing was written.") from error
