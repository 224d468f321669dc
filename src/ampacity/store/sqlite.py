"""The SQLite store: one writer, readers that never wait for it, and durable answers."""

from __future__ import annotations

import threading
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import Connection, Delete, Insert, Update, and_, bindparam, delete, func, insert, select, tuple_, update
from sqlalchemy.dialects.sqlite import insert as upsert
from sqlalchemy.exc import IntegrityError, SQLAlchemyError

from ampacity.model.codec import decode_event, decode_row, encode_event
from ampacity.model.errors import NameTaken, StaleVersion, StoreError
from ampacity.model.event import Change, Draft, Event, EventKind, Row, Rows, Table, Touch, fold, put
from ampacity.model.ids import Project, WorkloadId
from ampacity.model.workload import Workload, WorkloadKind, WorkloadPhase

from . import schema
from .opening import open_engine, prepare

BATCH = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class _Statements:
    """One table's writing statements, built once: SQLAlchemy then spends its time on running them."""

    make: Insert
    write: Update
    touch: Update
    remove: Delete


def _statements(table: Table) -> _Statements:
    of = schema.rows[table]
    standing = and_(of.c.key == bindparam("at_key"), of.c.version == bindparam("at_version"))
    columns = [column.name for column in of.columns if column.name != "key"]
    return _Statements(
        make=upsert(of).on_conflict_do_nothing(index_elements=["key"]),
        write=update(of).where(standing).values({name: bindparam(name) for name in columns}),
        touch=update(of).where(standing).values(version=bindparam("version")),
        remove=delete(of).where(standing),
    )


STATEMENTS = {table: _statements(table) for table in Table}


class SqliteStore:
    """Fulfils :class:`ampacity.store.base.Store`. The constructor raises what ``open_store`` raises."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._writer = open_engine(path, begin="BEGIN IMMEDIATE")
        self._readers = open_engine(path, begin="BEGIN")
        prepare(path, self._writer)

    # Writing -------------------------------------------------------------------------------------------------------

    def append(self, drafts: Sequence[Draft], *, cursors: Mapping[str, str] | None = None) -> tuple[Event, ...]:
        with self._lock, self._transaction(self._writer) as connection:
            seq = _last_seq(connection)
            events = tuple(Event(seq=seq + number, draft=draft) for number, draft in enumerate(drafts, start=1))
            for event in events:
                for change in event.draft.changes:
                    _write_row(connection, change)
                for touch in event.draft.touches:
                    _touch(connection, touch)
            if events:
                connection.execute(insert(schema.events), [_event_columns(event) for event in events])
            for source, cursor in (cursors or {}).items():
                _write_cursor(connection, source, cursor)
            return events

    def compact(self, *, before: int) -> None:
        with self._lock, self._transaction(self._writer) as connection:
            old = _read_events(connection, schema.events.c.seq <= before)
            if not old:
                return
            rows = fold(old)
            changes = tuple(put(row) for table in Table for row in rows.table(table).values())
            draft = Draft(kind=EventKind.SNAPSHOT, at=old[-1].at, changes=changes, text=f"events up to {rows.seq}")
            connection.execute(delete(schema.events).where(schema.events.c.seq <= before))
            connection.execute(insert(schema.events), [_event_columns(Event(seq=rows.seq, draft=draft))])

    # Reading -------------------------------------------------------------------------------------------------------

    def live(self) -> Rows:
        with self._transaction(self._readers) as connection:
            found = Rows(seq=_last_seq(connection))
            alive = select(schema.workloads.c.key).where(schema.workloads.c.ended.is_(False))
            _load(connection, found, Table.WORKLOADS, schema.workloads.c.ended.is_(False))
            for table in (Table.SPECS, Table.DESIRED, Table.REPLICAS, Table.ATTEMPTS):
                _load(connection, found, table, schema.rows[table].c.workload.in_(alive))
            for table in (Table.NODES, Table.POOLS, Table.QUEUES):
                _load(connection, found, table)
            before = {ident for row in found.workloads.values() for ident in row.after} - found.workloads.keys()
            for part in _parts(sorted(before)):
                _load(connection, found, Table.WORKLOADS, schema.workloads.c.key.in_(part))
            return found

    def rows(self) -> Rows:
        with self._transaction(self._readers) as connection:
            found = Rows(seq=_last_seq(connection))
            for table in Table:
                _load(connection, found, table)
            return found

    def get(self, table: Table, key: str) -> Row | None:
        of = schema.rows[table]
        with self._transaction(self._readers) as connection:
            body = connection.execute(select(of.c.body, of.c.version).where(of.c.key == key)).one_or_none()
            return None if body is None else _row(table, *body)

    def of_workload(self, workload: WorkloadId) -> Rows:
        with self._transaction(self._readers) as connection:
            found = Rows(seq=_last_seq(connection))
            _load(connection, found, Table.WORKLOADS, schema.workloads.c.key == workload)
            for table in (Table.SPECS, Table.DESIRED, Table.REPLICAS, Table.ATTEMPTS):
                _load(connection, found, table, schema.rows[table].c.workload == workload)
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
        of = schema.workloads.c
        query = select(of.body, of.version).order_by(of.created_at.desc(), of.key.desc()).limit(limit)
        if project is not None:
            query = query.where(of.project == project)
        if name is not None:
            query = query.where(of.name == name)
        if phases is not None:
            query = query.where(of.phase.in_([phase.value for phase in phases]))
        if kinds is not None:
            query = query.where(of.kind.in_([kind.value for kind in kinds]))
        if before is not None:
            query = query.where(tuple_(of.created_at, of.key) < tuple_(*before))
        with self._transaction(self._readers) as connection:
            found = [_row(Table.WORKLOADS, *each) for each in connection.execute(query)]
        return tuple(row for row in found if isinstance(row, Workload))

    def events(self, *, after: int = 0, workload: WorkloadId | None = None, limit: int = 1000) -> tuple[Event, ...]:
        of = schema.events.c
        chosen = of.seq > after if workload is None else and_(of.seq > after, of.workload == workload)
        with self._transaction(self._readers) as connection:
            return tuple(_read_events(connection, chosen, limit=limit))

    def cursors(self) -> Mapping[str, str]:
        with self._transaction(self._readers) as connection:
            return {row.source: row.cursor for row in connection.execute(select(schema.cursors))}

    def close(self) -> None:
        self._readers.dispose()
        self._writer.dispose()

    @contextmanager
    def _transaction(self, engine: Any) -> Iterator[Connection]:
        """One transaction; SQLAlchemy's and SQLite's errors become ``StoreError`` here and nowhere else."""
        try:
            with engine.begin() as connection:
                yield connection
        except SQLAlchemyError as error:
            reason = getattr(error, "orig", None) or error
            raise StoreError(f"The store {self._path} failed: {reason}. Nothing was written.") from error


def _last_seq(connection: Connection) -> int:
    return int(connection.execute(select(func.max(schema.events.c.seq))).scalar() or 0)


def _write_row(connection: Connection, change: Change) -> None:
    """Put or remove one row, if it follows on what stands. Raises ``StaleVersion``, ``NameTaken``."""
    statements = STATEMENTS[change.table]
    expected = change.version - (change.row is not None)
    values = {"at_key": change.key, "at_version": expected}
    if change.row is None:
        count = connection.execute(statements.remove, values).rowcount
        _expect_one(count, connection, change.table, change.key, expected)
        return
    columns = schema.columns_of(change.row)
    try:
        if expected == 0:
            count = connection.execute(statements.make, {"key": change.key, **columns}).rowcount
        else:
            count = connection.execute(statements.write, {**columns, **values}).rowcount
    except IntegrityError as error:
        assert isinstance(change.row, Workload), "only names are unique beside keys"
        raise NameTaken(f"The name {change.row.name!r} is taken by a live workload.") from error
    _expect_one(count, connection, change.table, change.key, expected)


def _touch(connection: Connection, touch: Touch) -> None:
    expected = touch.version - 1
    values = {"version": touch.version, "at_key": touch.key, "at_version": expected}
    count = connection.execute(STATEMENTS[touch.table].touch, values).rowcount
    _expect_one(count, connection, touch.table, touch.key, expected)


def _expect_one(count: int, connection: Connection, table: Table, key: str, expected: int) -> None:
    if count == 1:
        return
    of = schema.rows[table]
    found = connection.execute(select(of.c.version).where(of.c.key == key)).scalar() or 0
    raise StaleVersion(f"{table} {key!r} is at version {found}, not {expected}.")


def _write_cursor(connection: Connection, source: str, cursor: str) -> None:
    statement = upsert(schema.cursors).values(source=source, cursor=cursor)
    connection.execute(statement.on_conflict_do_update(index_elements=["source"], set_={"cursor": cursor}))


def _event_columns(event: Event) -> dict[str, Any]:
    draft = event.draft
    return {
        "seq": event.seq,
        "at": draft.at,
        "kind": draft.kind.value,
        "workload": draft.workload,
        "body": encode_event(event),
    }


def _read_events(connection: Connection, chosen: Any, *, limit: int | None = None) -> list[Event]:
    query = select(schema.events.c.body).where(chosen).order_by(schema.events.c.seq).limit(limit)
    return [decode_event(body) for (body,) in connection.execute(query)]


def _load(connection: Connection, into: Rows, table: Table, *chosen: Any) -> None:
    of = schema.rows[table]
    target = into.table(table)
    for key, body, version in connection.execute(select(of.c.key, of.c.body, of.c.version).where(*chosen)):
        target[key] = _row(table, body, version)


def _row(table: Table, body: bytes, version: int) -> Row:
    """The row, with the version that touches may have raised since its body was written."""

    row = decode_row(table, body)
    return row if row.version == version else replace(row, version=version)


def _parts(keys: list[str]) -> Iterator[list[str]]:
    return (keys[start : start + BATCH] for start in range(0, len(keys), BATCH))
