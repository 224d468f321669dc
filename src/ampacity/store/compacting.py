"""Compaction: old events are folded into the base, a page at a time."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection, Insert, bindparam, delete, select, update

from ampacity.model.codec import encode_row
from ampacity.model.errors import StoreCorrupt
from ampacity.model.event import Event, Rows, Table

from . import schema
from .failures import RESTORE
from .reading import base_row, compacted, read_events

PAGE = 500
"""How many events one transaction folds."""

_TOUCH = (
    update(schema.base)
    .where(schema.base.c.of == bindparam("at_of"), schema.base.c.key == bindparam("at_key"))
    .values(version=bindparam("to_version"))
)
_REMOVE = delete(schema.base).where(schema.base.c.of == bindparam("at_of"), schema.base.c.key == bindparam("at_key"))


def fold_page(connection: Connection, put: Insert, *, before: int) -> bool:
    """Fold the next page of events up to ``before`` into the base. ``False`` = there was nothing to fold.

    ``put`` writes a row of the base, whether there is one or not.

    Raises:
        StoreCorrupt: an event is missing.
    """
    standing = compacted(connection)
    events = list(read_events(connection, after=standing, until=before, limit=PAGE))
    if not events:
        return False
    _refuse_holes(events, standing)
    fresh, touched, removed = _outcome(events)
    if removed:
        connection.execute(_REMOVE, [{"at_of": of, "at_key": key} for of, key in removed])
    if fresh:
        connection.execute(
            put,
            [{"of": of, "key": key, "version": version, "body": body} for (of, key), (version, body) in fresh.items()],
        )
    if touched:
        connection.execute(
            _TOUCH, [{"at_of": of, "at_key": key, "to_version": version} for (of, key), version in touched.items()]
        )
    last = events[-1].seq
    connection.execute(delete(schema.events).where(schema.events.c.seq <= last))
    connection.execute(update(schema.marks).where(schema.marks.c.name == "compacted").values(value=last))
    return True


def read_base(connection: Connection) -> Rows:
    """The rows as of the last event that was compacted."""
    found = Rows(seq=compacted(connection))
    of = schema.base.c
    for name, key, version, body in connection.execute(select(of.of, of.key, of.version, of.body)):
        table = Table(name)
        found.table(table)[key] = base_row(table, key, body, version)
    return found


Place = tuple[str, str]


def _outcome(events: Sequence[Event]) -> tuple[dict[Place, tuple[int, bytes]], dict[Place, int], set[Place]]:
    """What a page of events leaves: the rows that are new, those whose version alone changed, and those that went."""
    fresh: dict[Place, tuple[int, bytes]] = {}
    touched: dict[Place, int] = {}
    removed: set[Place] = set()
    for event in events:
        for change in event.draft.changes:
            place = (change.table.value, change.key)
            touched.pop(place, None)
            if change.row is None:
                fresh.pop(place, None)
                removed.add(place)
            else:
                fresh[place] = (change.row.version, encode_row(change.row))
        for touch in event.draft.touches:
            place = (touch.table.value, touch.key)
            if place in fresh:
                fresh[place] = (touch.version, fresh[place][1])
            else:
                touched[place] = touch.version
    return fresh, touched, removed


def _refuse_holes(events: Sequence[Event], standing: int) -> None:
    for number, event in enumerate(events, start=standing + 1):
        if event.seq != number:
            raise StoreCorrupt(f"The store has lost event {number}.", hint=RESTORE)
