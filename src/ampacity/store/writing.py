"""Writing rows, events and cursors within a transaction: each row only if it follows on what stands."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Any

import msgspec
from sqlalchemy import Connection, Delete, Insert, Update, and_, bindparam, delete, func, insert, select, update
from sqlalchemy.dialects.sqlite import insert as upsert
from sqlalchemy.exc import IntegrityError

from ampacity.model.codec import decode_row, encode_event, encode_row
from ampacity.model.errors import NameTaken, StaleVersion, StoreError
from ampacity.model.event import Change, Draft, Event, Row, Table, Touch, row_key
from ampacity.model.workload import Workload

from . import schema


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


_STATEMENTS = {table: _statements(table) for table in Table}
_LAST_SEQ = select(func.max(schema.events.c.seq))
_PUT_EVENT = insert(schema.events)
_NEW_CURSOR = upsert(schema.cursors)
_PUT_CURSOR = _NEW_CURSOR.on_conflict_do_update(
    index_elements=["source"], set_={"cursor": _NEW_CURSOR.excluded["cursor"]}
)


def last_seq(connection: Connection) -> int:
    """The number of the last event; 0 = none yet."""
    return int(connection.execute(_LAST_SEQ).scalar() or 0)


def write_drafts(connection: Connection, drafts: Sequence[Draft]) -> None:
    """Put, remove and touch the rows that the drafts name, each only if it follows on what stands.

    New rows of one table that come in a row are written together: that is what makes large submissions quick.

    Raises:
        StaleVersion: one does not follow.
        NameTaken: another live workload has the name.
        StoreError: a row holds what cannot be stored.
    """
    fresh: dict[Table, list[dict[str, Any]]] = {}
    for draft in drafts:
        for change in draft.changes:
            if change.row is not None and change.version == 1:
                fresh.setdefault(change.table, []).append({"key": change.key, **_columns(change.table, change.row)})
                continue
            _make(connection, fresh)
            _write_change(connection, change)
        if draft.touches:
            _make(connection, fresh)
        for touch in draft.touches:
            touch_row(connection, touch)
    _make(connection, fresh)


def _make(connection: Connection, fresh: dict[Table, list[dict[str, Any]]]) -> None:
    """Write the new rows that were collected."""
    for table, rows in fresh.items():
        try:
            count = connection.execute(_STATEMENTS[table].make, rows).rowcount
        except IntegrityError as error:
            if table is not Table.WORKLOADS:
                raise
            raise _taken(connection, rows) from error
        if count != len(rows):
            raise _standing(connection, table, rows)
    fresh.clear()


def _write_change(connection: Connection, change: Change) -> None:
    statements = _STATEMENTS[change.table]
    expected = change.version - (change.row is not None)
    standing = {"at_key": change.key, "at_version": expected}
    if change.row is None:
        count = connection.execute(statements.remove, standing).rowcount
    else:
        try:
            count = connection.execute(statements.write, {**_columns(change.table, change.row), **standing}).rowcount
        except IntegrityError as error:
            if not isinstance(change.row, Workload):
                raise
            raise NameTaken(f"The name {change.row.name!r} is taken by a live workload.") from error
    _expect_one(count, connection, change.table, change.key, expected)


def _columns(table: Table, row: Row) -> dict[str, Any]:
    return {**schema.columns_of(row), "body": _body(table, row_key(row), row)}


def _taken(connection: Connection, rows: Sequence[dict[str, Any]]) -> NameTaken:
    """Which of the names was taken already, by one that stands or by another of the same rows."""
    of, seen = schema.workloads.c, set()
    for row in rows:
        name = (row["project"], row["name"])
        query = select(of.key).where(of.project == row["project"], of.name == row["name"], schema.ALIVE)
        if name in seen or connection.execute(query).first() is not None:
            return NameTaken(f"The name {row['name']!r} is taken by a live workload.")
        seen.add(name)
    return NameTaken("A name is taken by a live workload.")


def _standing(connection: Connection, table: Table, rows: Sequence[dict[str, Any]]) -> StaleVersion:
    """Which of the rows that should be new stood already. (Those that did not have been written by now.)"""
    of, seen = schema.rows[table].c, set()
    for row in rows:
        found = connection.execute(select(of.version, of.body).where(of.key == row["key"])).one()
        if row["key"] in seen or found != (row["version"], row["body"]):
            return StaleVersion(f"{table} {row['key']!r} is at version {found.version}, not 0.")
        seen.add(row["key"])
    return StaleVersion(f"Some of {table} stand already.")


def touch_row(connection: Connection, touch: Touch) -> None:
    """Raise the version of a row and leave its body. Raises ``StaleVersion``."""
    expected = touch.version - 1
    values = {"version": touch.version, "at_key": touch.key, "at_version": expected}
    count = connection.execute(_STATEMENTS[touch.table].touch, values).rowcount
    _expect_one(count, connection, touch.table, touch.key, expected)


def write_events(connection: Connection, events: Sequence[Event]) -> None:
    """Add the events to the log. Raises ``StoreError`` where one holds what cannot be stored."""
    if events:
        connection.execute(_PUT_EVENT, [_event_columns(event) for event in events])


def write_cursor(connection: Connection, source: str, cursor: str) -> None:
    connection.execute(_PUT_CURSOR, {"source": source, "cursor": cursor})


def _body(table: Table, key: str, row: Row) -> bytes:
    """The row as JSON, once it is known to be readable again.

    JSON has no word for infinity or half a surrogate pair: written all the same, such a row could never be read, and
    no control plane could start over it.
    """
    try:
        body = encode_row(row)
        decode_row(table, body)
    except (UnicodeEncodeError, msgspec.MsgspecError) as error:
        raise StoreError(f"{table} {key!r} cannot be stored: {error}. Nothing was written.") from error
    return body


def _event_columns(event: Event) -> dict[str, Any]:
    draft = event.draft
    if not isfinite(draft.at):
        raise StoreError(f"An event cannot be stored: its time is {draft.at}. Nothing was written.")
    try:
        body = encode_event(event)
    except UnicodeEncodeError as error:
        raise StoreError(f"An event cannot be stored: {error}. Nothing was written.") from error
    return {"seq": event.seq, "at": draft.at, "kind": draft.kind.value, "workload": draft.workload, "body": body}


def _expect_one(count: int, connection: Connection, table: Table, key: str, expected: int) -> None:
    if count == 1:
        return
    of = schema.rows[table]
    found = connection.execute(select(of.c.version).where(of.c.key == key)).scalar() or 0
    raise StaleVersion(f"{table} {key!r} is at version {found}, not {expected}.")
