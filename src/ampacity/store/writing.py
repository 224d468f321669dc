"""Writing rows, events and cursors within a transaction: each row only if it follows on what stands."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Any

import msgspec
from sqlalchemy import BigInteger, Connection, Dialect, Insert, and_, bindparam, delete, select, update
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
    """One table's writing statements."""

    make: str
    write: str
    touch: str
    remove: str


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
    """Writes within a transaction: each row only if it follows on what stands.

    What every append runs is text in the database's own words, made once: putting a statement together takes SQLAlchemy
    longer than running it takes SQLite. ``dialect`` names parameters (its ``paramstyle`` is no positional one).
    """

    def __init__(self, insert: Upsert, dialect: Dialect) -> None:
        def text_of(statement: Any) -> str:
            return str(statement.compile(dialect=dialect))

        self._of = {table: _statements(table, insert, text_of) for table in Table}
        cursors, base = insert(schema.cursors), insert(schema.base)
        self._put_cursor = text_of(
            cursors.on_conflict_do_update(index_elements=["source"], set_={"cursor": cursors.excluded["cursor"]})
        )
        self._put_receipt = text_of(insert(schema.receipts).on_conflict_do_nothing(index_elements=["key"]))
        self._put_event = text_of(insert(schema.events))
        self._take_numbers = text_of(_TAKE_NUMBERS)
        self.add_requests = adding(insert)
        self.put_base: Insert = base.on_conflict_do_update(
            index_elements=["of", "key"], set_={"version": base.excluded["version"], "body": base.excluded["body"]}
        )

    def take_numbers(self, connection: Connection, count: int) -> int:
        """Take the next numbers for events; the last of them.

        The row that counts is locked until the transaction ends, so that numbers have no gaps and come in the order of
        the commits, however many processes write.
        """
        return int(connection.exec_driver_sql(self._take_numbers, {"count": count, "mark": "seq"}).scalar_one())

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
            connection.exec_driver_sql(self._put_event, [_event_columns(event) for event in events])

    def cursor(self, connection: Connection, source: str, cursor: str) -> None:
        connection.exec_driver_sql(self._put_cursor, {"source": source, "cursor": cursor})

    def receipts(self, connection: Connection, receipts: Sequence[Receipt]) -> None:
        """Raises ``Repeated`` when one stands already."""
        for receipt in receipts:
            columns = {"key": receipt.key, "digest": receipt.digest, "at": receipt.at, "answer": receipt.answer}
            if _run(connection, self._put_receipt, columns) == 0:
                raise Repeated(f"There is a receipt of {receipt.key!r} already.")

    def _make(self, connection: Connection, fresh: dict[Table, list[dict[str, Any]]]) -> None:
        """Write the new rows that were collected."""
        for table, rows in fresh.items():
            try:
                count = _run(connection, self._of[table].make, rows)
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
            count = _run(connection, statements.remove, standing)
        else:
            try:
                columns = {**_columns(change.table, change.row), **standing}
                count = _run(connection, statements.write, columns)
            except IntegrityError as error:
                if not isinstance(change.row, Workload):
                    raise
                raise NameTaken(f"The name {change.row.name!r} is taken by a live workload.") from error
        _expect_one(count, connection, change.table, change.key, expected)

    def _touch(self, connection: Connection, touch: Touch) -> None:
        """Raise the version of a row and leave its body."""
        expected = touch.version - 1
        values = {"version": touch.version, "at_key": touch.key, "at_version": expected}
        count = _run(connection, self._of[touch.table].touch, values)
        _expect_one(count, connection, touch.table, touch.key, expected)


_TAKE_NUMBERS = (
    update(schema.marks)
    .where(schema.marks.c.name == bindparam("mark"))
    .values(value=schema.marks.c.value + bindparam("count", type_=BigInteger))
    .returning(schema.marks.c.value)
)


def _run(connection: Connection, text: str, columns: Mapping[str, Any] | Sequence[Mapping[str, Any]]) -> int:
    """How many rows it has written."""
    return connection.exec_driver_sql(text, columns, execution_options=_COUNTED).rowcount


_COUNTED = {"preserve_rowcount": True}


def _statements(table: Table, insert: Upsert, text_of: Callable[[Any], str]) -> _Statements:
    of = schema.rows[table]
    standing = and_(of.c.key == bindparam("at_key"), of.c.version == bindparam("at_version"))
    columns = [column.name for column in of.columns if column.name != "key"]
    return _Statements(
        make=text_of(insert(of).on_conflict_do_nothing(index_elements=["key"])),
        write=text_of(update(of).where(standing).values({name: bindparam(name) for name in columns})),
        touch=text_of(update(of).where(standing).values(version=bindparam("version"))),
        remove=text_of(delete(of).where(standing)),
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
