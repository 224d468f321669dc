"""Writing rows, events and cursors within a transaction: each row only if it follows on what stands."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Any

import msgspec
from sqlalchemy import BigInteger, Connection, Delete, Insert, Update, and_, bindparam, delete, insert, select, update
from sqlalchemy.exc import IntegrityError

from ampacity.model.codec import decode_row, encode_event, encode_row
from ampacity.model.errors import NameTaken, Repeated, StaleVersion, StoreError
from ampacity.model.event import Change, Draft, Event, Row, Table, Touch, row_key
from ampacity.model.receipt import Receipt
from ampacity.model.workload import Workload

from . import schema
from .request_usage import adding

Upsert = Callable[[Any], Any]
"""A database's own ``INSERT``, which can pass over what stands, or update it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Statements:
    """One table's writing statements, built once: SQLAlchemy then spends its time on running them."""

    make: Insert
    write: Update
    touch: Update
    remove: Delete


class NameClash(Exception):
    """One of these new workloads has a name that is taken; which one is found out when the transaction is over."""

    def __init__(self, rows: Sequence[Mapping[str, Any]]) -> None:
        super().__init__("a name is taken")
        self._rows = rows

    def named(self, connection: Connection) -> NameTaken:
        """Taken by one that stands, or by another of the same rows."""
        of, seen = schema.workloads.c, set()
        for row in self._rows:
            name = (row["project"], row["name"])
            query = select(of.key).where(of.project == row["project"], of.name == row["name"], schema.ALIVE)
            if name in seen or connection.execute(query).first() is not None:
                return NameTaken(f"The name {row['name']!r} is taken by a live workload.")
            seen.add(name)
        return NameTaken("A name was taken by a live workload.")


class Writer:
    """Writes within a transaction: each row only if it follows on what stands."""

    def __init__(self, insert: Upsert) -> None:
        self._of = {table: _statements(table, insert) for table in Table}
        cursors, base = insert(schema.cursors), insert(schema.base)
        self._put_cursor = cursors.on_conflict_do_update(
            index_elements=["source"], set_={"cursor": cursors.excluded["cursor"]}
        )
        passing_over = insert(schema.receipts).on_conflict_do_nothing(index_elements=["key"])
        self._put_receipt = passing_over.execution_options(preserve_rowcount=True)
        self.add_requests = adding(insert)
        self.put_base: Insert = base.on_conflict_do_update(
            index_elements=["of", "key"], set_={"version": base.excluded["version"], "body": base.excluded["body"]}
        )

    def take_numbers(self, connection: Connection, count: int) -> int:
        """Take the next numbers for events; the last of them.

        The row that counts is locked until the transaction ends, so that numbers have no gaps and come in the order of
        the commits, however many processes write.
        """
        return int(connection.execute(_TAKE_NUMBERS, {"count": count}).scalar_one())

    def drafts(self, connection: Connection, drafts: Sequence[Draft]) -> None:
        """Put, remove and touch the rows that the drafts name.

        New rows of one table that come in a row are written together: that is what makes large submissions quick.

        Raises:
            StaleVersion: one does not follow on what stands.
            NameTaken: another live workload has the name.
            NameClash: the same, of several new ones.
            StoreError: a row holds what cannot be stored.
        """
        fresh: dict[Table, list[dict[str, Any]]] = {}
        for draft in drafts:
            for change in draft.changes:
                if change.row is not None and change.version == 1:
                    fresh.setdefault(change.table, []).append({"key": change.key, **_columns(change.table, change.row)})
                    continue
                self._make(connection, fresh)
                self._write_change(connection, change)
            if draft.touches:
                self._make(connection, fresh)
            for touch in draft.touches:
                self._touch(connection, touch)
        self._make(connection, fresh)

    def events(self, connection: Connection, events: Sequence[Event]) -> None:
        """Add the events to the log. Raises ``StoreError`` where one holds what cannot be stored."""
        if events:
            connection.execute(_PUT_EVENT, [_event_columns(event) for event in events])

    def cursor(self, connection: Connection, source: str, cursor: str) -> None:
        connection.execute(self._put_cursor, {"source": source, "cursor": cursor})

    def receipts(self, connection: Connection, receipts: Sequence[Receipt]) -> None:
        """Raises ``Repeated`` when one stands already."""
        for receipt in receipts:
            columns = {"key": receipt.key, "digest": receipt.digest, "at": receipt.at, "answer": receipt.answer}
            if connection.execute(self._put_receipt, columns).rowcount == 0:
                raise Repeated(f"There is a receipt of {receipt.key!r} already.")

    def _make(self, connection: Connection, fresh: dict[Table, list[dict[str, Any]]]) -> None:
        """Write the new rows that were collected."""
        for table, rows in fresh.items():
            try:
                count = connection.execute(self._of[table].make, rows).rowcount
            except IntegrityError as error:
                if table is not Table.WORKLOADS:
                    raise
                raise NameClash(rows) from error
            if count != len(rows):
                raise _standing(connection, table, rows)
        fresh.clear()

    def _write_change(self, connection: Connection, change: Change) -> None:
        statements = self._of[change.table]
        expected = change.version - (change.row is not None)
        standing = {"at_key": change.key, "at_version": expected}
        if change.row is None:
            count = connection.execute(statements.remove, standing).rowcount
        else:
            try:
                columns = {**_columns(change.table, change.row), **standing}
                count = connection.execute(statements.write, columns).rowcount
            except IntegrityError as error:
                if not isinstance(change.row, Workload):
                    raise
                raise NameTaken(f"The name {change.row.name!r} is taken by a live workload.") from error
        _expect_one(count, connection, change.table, change.key, expected)

    def _touch(self, connection: Connection, touch: Touch) -> None:
        """Raise the version of a row and leave its body."""
        expected = touch.version - 1
        values = {"version": touch.version, "at_key": touch.key, "at_version": expected}
        count = connection.execute(self._of[touch.table].touch, values).rowcount
        _expect_one(count, connection, touch.table, touch.key, expected)


_PUT_EVENT = insert(schema.events)
_TAKE_NUMBERS = (
    update(schema.marks)
    .where(schema.marks.c.name == "seq")
    .values(value=schema.marks.c.value + bindparam("count", type_=BigInteger))
    .returning(schema.marks.c.value)
)


def _statements(table: Table, insert: Upsert) -> _Statements:
    of = schema.rows[table]
    standing = and_(of.c.key == bindparam("at_key"), of.c.version == bindparam("at_version"))
    columns = [column.name for column in of.columns if column.name != "key"]
    return _Statements(
        make=insert(of).on_conflict_do_nothing(index_elements=["key"]).execution_options(preserve_rowcount=True),
        write=update(of).where(standing).values({name: bindparam(name) for name in columns}),
        touch=update(of).where(standing).values(version=bindparam("version")),
        remove=delete(of).where(standing),
    )


def _columns(table: Table, row: Row) -> dict[str, Any]:
    return {**schema.columns_of(row), "body": _body(table, row_key(row), row)}


def _standing(connection: Connection, table: Table, rows: Sequence[Mapping[str, Any]]) -> StaleVersion:
    """Which of the rows that should be new stood already. (Those that did not have been written by now.)"""
    of, seen = schema.rows[table].c, set()
    for row in rows:
        found = connection.execute(select(of.version, of.body).where(of.key == row["key"])).one()
        if row["key"] in seen or (found.version, bytes(found.body)) != (row["version"], row["body"]):
            return StaleVersion(f"{table} {row['key']!r} is at version {found.version}, not 0.")
        seen.add(row["key"])
    return StaleVersion(f"Some of {table} stand already.")


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
