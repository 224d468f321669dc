"""Reading rows and events within a transaction."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import replace
from typing import Any

import msgspec
from sqlalchemy import Connection, Select, and_, func, select, text, tuple_

from ampacity.model.codec import decode_event, decode_row
from ampacity.model.errors import StoreCorrupt
from ampacity.model.event import Event, Row, Rows, Table
from ampacity.model.ids import Project, WorkloadId
from ampacity.model.workload import WorkloadKind, WorkloadPhase

from . import schema
from .failures import RESTORE

_BATCH = 500
_OF_WORKLOAD = (Table.SPECS, Table.DESIRED, Table.REPLICAS, Table.ATTEMPTS)
_OF_ALL = (Table.NODES, Table.POOLS, Table.QUEUES)


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
    """All rows of one workload."""
    load(connection, into, Table.WORKLOADS, schema.workloads.c.key == workload)
    for table in _OF_WORKLOAD:
        load(connection, into, table, schema.rows[table].c.workload == workload)


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


def extent(connection: Connection, until: int) -> tuple[int, int]:
    """How many events there are up to that number, and the number of the first (0 = none)."""
    of = schema.events.c
    count, first = connection.execute(select(func.count(), func.min(of.seq)).where(of.seq <= until)).one()
    return int(count), int(first or 0)


def _row(table: Table, key: str, body: bytes, version: int) -> Row:
    """The row, with the version that touches may have raised since its body was written."""
    try:
        row = decode_row(table, body)
    except msgspec.DecodeError as error:
        raise StoreCorrupt(f"{table} {key!r} in the store cannot be read: {error}.", hint=RESTORE) from error
    return row if row.version == version else replace(row, version=version)
