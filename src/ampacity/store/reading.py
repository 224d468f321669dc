"""Reading rows and events within a transaction."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import replace
from typing import Any

import msgspec
from sqlalchemy import Connection, Select, and_, bindparam, func, literal_column, select, text, tuple_, union_all

from ampacity.model.codec import decode_event, decode_row
from ampacity.model.errors import StoreCorrupt
from ampacity.model.event import Event, Row, Rows, Table
from ampacity.model.ids import Project, WorkloadId
from ampacity.model.receipt import Receipt
from ampacity.model.workload import WorkloadKind, WorkloadPhase

from . import schema
from .failures import RESTORE

_BATCH = 500
_OF_WORKLOAD = (Table.SPECS, Table.DESIRED, Table.REPLICAS, Table.ATTEMPTS)
_LAST_SEQ = select(schema.marks.c.value).where(schema.marks.c.name == "seq")
_COMPACTED = select(schema.marks.c.value).where(schema.marks.c.name == "compacted")
_OF_ALL = (
    Table.NODES,
    Table.POOLS,
    Table.QUEUES,
    Table.API_KEYS,
    Table.PROJECT_LIMITS,
    Table.ROUTES,
    Table.POLICIES,
    Table.SITES,
    Table.USAGE,
    Table.RUNTIMES,
)


def _rows_of(table: Table, of: Any, chosen: Any) -> Select[Any]:
    return select(literal_column(f"'{table.value}'").label("of"), of.key, of.body, of.version).where(chosen)


_ROWS_OF_WORKLOAD = union_all(
    _rows_of(Table.WORKLOADS, schema.workloads.c, schema.workloads.c.key == bindparam("workload")),
    *(
        _rows_of(table, schema.rows[table].c, schema.rows[table].c.workload == bindparam("workload"))
        for table in _OF_WORKLOAD
    ),
)


def load_live(connection: Connection, into: Rows) -> None:
    """What ``Store.live`` promises, at a cost that does not grow with what has ended."""
    alive = select(schema.workloads.c.key).where(schema.ALIVE)
    load(connection, into, Table.WORKLOADS, schema.ALIVE)
    for table in _OF_WORKLOAD:
        load(connection, into, table, schema.rows[table].c.workload.in_(alive))
    for table in _OF_ALL:
        load(connection, into, table)
    before = sorted({ident for row in into.workloads.values() for ident in row.after} - into.workloads.keys())
    for start in range(0, len(before), _BATCH):
        part = before[start : start + _BATCH]
        load(connection, into, Table.WORKLOADS, schema.workloads.c.key.in_(part))


def load_workload(connection: Connection, into: Rows, workload: WorkloadId) -> None:
    """All rows of one workload, in one query. Raises ``StoreCorrupt``."""
    for name, key, body, version in connection.execute(_ROWS_OF_WORKLOAD, {"workload": workload}):
        table = Table(name)
        into.table(table)[key] = _row(table, key, body, version)


def load(connection: Connection, into: Rows, table: Table, *chosen: Any) -> None:
    """The rows of one table that are chosen. Raises ``StoreCorrupt``."""
    of = schema.rows[table]
    target = into.table(table)
    for key, body, version in connection.execute(select(of.c.key, of.c.body, of.c.version).where(*chosen)):
        target[key] = _row(table, key, body, version)


def read_row(connection: Connection, table: Table, key: str) -> Row | None:
    of = schema.rows[table]
    found = connection.execute(select(of.c.key, of.c.body, of.c.version).where(of.c.key == key)).one_or_none()
    return None if found is None else _row(table, *found)


def read_workloads(connection: Connection, query: Select[Any]) -> list[Row]:
    return [_row(Table.WORKLOADS, *found) for found in connection.execute(query)]


def page_of_workloads(
    *,
    project: Project | None,
    name: str | None,
    phases: Collection[WorkloadPhase] | None,
    kinds: Collection[WorkloadKind] | None,
    limit: int,
    before: tuple[float, str] | None,
) -> Select[Any]:
    """The query of one page, newest first: see ``Store.workloads``."""
    of = schema.workloads.c
    query = select(of.key, of.body, of.version).limit(limit)
    if phases is not None and not any(phase.ended for phase in phases):
        # All that live are fewer than all that ever were: the plus keeps SQLite from walking the index by time.
        query = query.where(schema.ALIVE).order_by(text("+workloads.created_at DESC"), of.key.desc())
    else:
        query = query.order_by(of.created_at.desc(), of.key.desc())
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
    return query


def read_events(
    connection: Connection, *, after: int = 0, until: int | None = None, workload: WorkloadId | None = None, limit: int
) -> Iterator[Event]:
    """Events in order, one by one. ``until`` is the last number that is wanted. Raises ``StoreCorrupt``."""
    of = schema.events.c
    chosen = [of.seq > after]
    if until is not None:
        chosen.append(of.seq <= until)
    if workload is not None:
        chosen.append(of.workload == workload)
    query = select(of.seq, of.body).where(and_(*chosen)).order_by(of.seq).limit(limit)
    for seq, body in connection.execute(query):
        try:
            yield decode_event(body)
        except msgspec.DecodeError as error:
            raise StoreCorrupt(f"Event {seq} in the store cannot be read: {error}.", hint=RESTORE) from error


def last_seq(connection: Connection) -> int:
    """The number of the last event; 0 = none yet."""
    return int(connection.execute(_LAST_SEQ).scalar_one())


def compacted(connection: Connection) -> int:
    """The number of the last event that is in the base; 0 = none."""
    return int(connection.execute(_COMPACTED).scalar_one())


def last_before(connection: Connection, at: float) -> int:
    """The number of the last event that is older than this time. Events are in the order of time but for clocks that
    were set back between two runs, which only makes it a little less."""
    of = schema.events.c
    first_younger = connection.execute(select(func.min(of.seq)).where(of.at >= at)).scalar()
    return last_seq(connection) if first_younger is None else max(compacted(connection), int(first_younger) - 1)


def finished(connection: Connection, *, before: float, limit: int) -> tuple[WorkloadId, ...]:
    of = schema.workloads.c
    query = select(of.key).where(of.ended_at.is_not(None), of.ended_at < before).order_by(of.ended_at).limit(limit)
    return tuple(WorkloadId(key) for key in connection.execute(query).scalars())


def read_receipt(connection: Connection, key: str) -> Receipt | None:
    of = schema.receipts.c
    found = connection.execute(select(of.digest, of.answer, of.at).where(of.key == key)).one_or_none()
    return None if found is None else Receipt(key=key, digest=found.digest, answer=found.answer, at=found.at)


def base_row(table: Table, key: str, body: bytes, version: int) -> Row:
    """A row of the base. Raises ``StoreCorrupt``."""
    return _row(table, key, body, version)


def _row(table: Table, key: str, body: bytes, version: int) -> Row:
    """The row, with the version that touches may have raised since its body was written."""
    try:
        row = decode_row(table, body)
    except msgspec.DecodeError as error:
        raise StoreCorrupt(f"{table} {key!r} in the store cannot be read: {error}.", hint=RESTORE) from error
    return row if row.version == version else replace(row, version=version)
