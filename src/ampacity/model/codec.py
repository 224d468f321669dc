"""Nouns to JSON and back. One encoding for the store, the wire and files.

Unions are told apart by a tag beside them: an event's rows by their table, facts by ``fact``.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, TypeVar

import msgspec

from .attempt import (
    IncarnationBegan,
    MemberExited,
    MemberFact,
    MemberPreparing,
    MemberStarted,
    ProgressReported,
    ReadinessChanged,
)
from .event import ROW_TYPES, Change, Draft, Event, Row, Table

T = TypeVar("T")

FACT_TYPES: dict[str, type[MemberFact]] = {
    "member_preparing": MemberPreparing,
    "member_started": MemberStarted,
    "member_exited": MemberExited,
    "incarnation_began": IncarnationBegan,
    "progress_reported": ProgressReported,
    "readiness_changed": ReadinessChanged,
}
_FACT_NAMES = {kind: name for name, kind in FACT_TYPES.items()}


def encode(noun: object) -> bytes:
    """JSON, in a fixed order: the same noun gives the same bytes. Not for events and facts."""
    return msgspec.json.encode(noun, order="deterministic")


def decode(data: bytes | str, kind: type[T]) -> T:
    """The noun of the given type. Raises ``msgspec.ValidationError`` with the path of what is wrong."""
    return msgspec.json.decode(data, type=kind)


def to_plain(noun: object) -> Any:
    """Dicts, lists, strings and numbers, as ``json`` takes them."""
    return msgspec.to_builtins(noun)


def from_plain(plain: object, kind: type[T]) -> T:
    """The inverse of :func:`to_plain`. Raises ``msgspec.ValidationError``."""
    return msgspec.convert(plain, kind)


def encode_row(row: Row) -> bytes:
    return encode(row)


def decode_row(table: Table, data: bytes | str) -> Row:
    """The row of that table. Raises ``msgspec.ValidationError``."""
    return msgspec.json.decode(data, type=ROW_TYPES[table])


def encode_fact(fact: MemberFact) -> bytes:
    """One line of JSON without its newline; ``fact`` names the type."""
    return msgspec.json.encode({"fact": _FACT_NAMES[type(fact)], **to_plain(fact)}, order="deterministic")


def decode_fact(data: bytes | str) -> MemberFact:
    """The inverse of :func:`encode_fact`. Raises ``msgspec.DecodeError`` (of which ``ValidationError`` is one)."""
    plain = msgspec.json.decode(data)
    if not isinstance(plain, dict) or plain.get("fact") not in FACT_TYPES:
        raise msgspec.ValidationError("not a fact that this release knows")
    return from_plain({key: value for key, value in plain.items() if key != "fact"}, FACT_TYPES[plain["fact"]])


class _ChangeOnWire(msgspec.Struct, frozen=True):
    table: Table
    key: str
    version: int
    row: msgspec.Raw


class _EventOnWire(msgspec.Struct, frozen=True):
    seq: int
    version: int
    draft: msgspec.Raw
    changes: tuple[_ChangeOnWire, ...]


def encode_event(event: Event) -> bytes:
    """One line of JSON without its newline."""
    changes = tuple(
        _ChangeOnWire(change.table, change.key, change.version, msgspec.Raw(encode(change.row)))
        for change in event.draft.changes
    )
    bare = msgspec.Raw(encode(_BareDraft.of(event.draft)))
    return msgspec.json.encode(_EventOnWire(event.seq, event.version, bare, changes))


def decode_event(data: bytes | str) -> Event:
    """The inverse of :func:`encode_event`. Raises ``msgspec.DecodeError``."""
    wire = msgspec.json.decode(data, type=_EventOnWire)
    draft = _BareDraft.read(wire.draft)
    changes = tuple(
        Change(
            table=change.table,
            key=change.key,
            version=change.version,
            row=None if bytes(change.row) == b"null" else decode_row(change.table, bytes(change.row)),
        )
        for change in wire.changes
    )
    return Event(seq=wire.seq, version=wire.version, draft=replace(draft, changes=changes))


class _BareDraft:
    """A draft without its changes: those carry a union that needs its tags."""

    @staticmethod
    def of(draft: Draft) -> dict[str, Any]:
        return {name: getattr(draft, name) for name in _DRAFT_FIELDS}

    @staticmethod
    def read(data: msgspec.Raw) -> Draft:
        plain = msgspec.json.decode(data)
        return Draft(
            **{name: msgspec.convert(plain[name], kind) for name, kind in _DRAFT_FIELDS.items() if name in plain}
        )


def _draft_fields() -> dict[str, Any]:
    from typing import get_type_hints

    return {name: kind for name, kind in get_type_hints(Draft).items() if name != "changes"}


_DRAFT_FIELDS = _draft_fields()
