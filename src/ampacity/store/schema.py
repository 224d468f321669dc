"""The tables, as this release knows them. Migrations make them; this module only names them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import BigInteger, Boolean, Column, Float, Index, Integer, LargeBinary, MetaData, String, Table, text
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.expression import ColumnElement

from ampacity.model.attempt import Attempt
from ampacity.model.event import Row
from ampacity.model.event import Table as Kind
from ampacity.model.request_usage import NAMED, SUMMED
from ampacity.model.workload import Desired, Replica, SpecRevision, Workload

_WHOLE = ("requests", "failed", "input_tokens", "cached_tokens", "output_tokens", "ttft_count")

HEAD = "0007"
"""The newest migration."""

metadata = MetaData()


class _Alive(ColumnElement[int]):
    """That a workload has not ended, as each database's partial indices say it: SQLite takes them for no other form of
    the same condition."""

    inherit_cache = True
    type = Integer()  # a Boolean would be compared with 1, which is another form again


@compiles(_Alive, "sqlite")
def _alive_in_sqlite(element: _Alive, compiler: Any, **keys: Any) -> str:
    return "workloads.ended = 0"


@compiles(_Alive, "postgresql")
def _alive_in_postgresql(element: _Alive, compiler: Any, **keys: Any) -> str:
    return "NOT workloads.ended"


ALIVE = _Alive()
_LIVE: dict[str, Any] = {"sqlite_where": text("ended = 0"), "postgresql_where": text("NOT ended")}
_ENDED: dict[str, Any] = {
    "sqlite_where": text("ended_at IS NOT NULL"),
    "postgresql_where": text("ended_at IS NOT NULL"),
}


def _table(kind: Kind, *columns: Column[Any], indices: tuple[Index, ...] = ()) -> Table:
    fixed = (
        Column("key", String, primary_key=True),
        Column("version", Integer, nullable=False),
        Column("body", LargeBinary, nullable=False),
    )
    return Table(kind.value, metadata, *fixed, *columns, *indices)


def _of_workload(kind: Kind) -> Table:
    return _table(
        kind,
        Column("workload", String, nullable=False),
        indices=(Index(f"ix_{kind.value}_workload", "workload"),),
    )


workloads = _table(
    Kind.WORKLOADS,
    Column("project", String, nullable=False),
    Column("name", String, nullable=False),
    Column("kind", String, nullable=False),
    Column("phase", String, nullable=False),
    Column("ended", Boolean, nullable=False),
    Column("created_at", Float, nullable=False),
    Column("ended_at", Float),
    indices=(
        Index("ux_workloads_live_name", "project", "name", unique=True, **_LIVE),
        Index("ix_workloads_name", "project", "name", "created_at"),
        Index("ix_workloads_created", "created_at", "key"),
        Index("ix_workloads_page", "project", "created_at", "key"),
        Index("ix_workloads_live", "key", **_LIVE),
        Index("ix_workloads_ended", "ended_at", **_ENDED),
    ),
)

rows: Mapping[Kind, Table] = {
    Kind.WORKLOADS: workloads,
    Kind.SPECS: _of_workload(Kind.SPECS),
    Kind.DESIRED: _of_workload(Kind.DESIRED),
    Kind.REPLICAS: _of_workload(Kind.REPLICAS),
    Kind.ATTEMPTS: _of_workload(Kind.ATTEMPTS),
    Kind.NODES: _table(Kind.NODES),
    Kind.POOLS: _table(Kind.POOLS),
    Kind.QUEUES: _table(Kind.QUEUES),
    Kind.POLICIES: _table(Kind.POLICIES),
    Kind.SITES: _table(Kind.SITES),
    Kind.USAGE: _table(Kind.USAGE),
    Kind.RUNTIMES: _table(Kind.RUNTIMES),
    Kind.API_KEYS: _table(Kind.API_KEYS),
    Kind.PROJECT_LIMITS: _table(Kind.PROJECT_LIMITS),
    Kind.ROUTES: _table(Kind.ROUTES),
}

events = Table(
    "events",
    metadata,
    Column("seq", BigInteger, primary_key=True, autoincrement=False),
    Column("at", Float, nullable=False),
    Column("kind", String, nullable=False),
    Column("workload", String),
    Column("body", LargeBinary, nullable=False),
    Index("ix_events_workload", "workload", "seq"),
)

cursors = Table(
    "cursors", metadata, Column("source", String, primary_key=True), Column("cursor", String, nullable=False)
)


base = Table(
    "base",
    metadata,
    Column("of", String, primary_key=True),
    Column("key", String, primary_key=True),
    Column("version", Integer, nullable=False),
    Column("body", LargeBinary, nullable=False),
)
"""The rows as of the last event that was compacted."""

receipts = Table(
    "receipts",
    metadata,
    Column("key", String, primary_key=True),
    Column("digest", String, nullable=False),
    Column("at", Float, nullable=False),
    Column("answer", LargeBinary, nullable=False),
    Index("ix_receipts_at", "at"),
)

request_usage = Table(
    "request_usage",
    metadata,
    Column("start", BigInteger, primary_key=True, autoincrement=False),
    *(Column(name.value, String, primary_key=True) for name in NAMED),
    *(Column(name, BigInteger if name in _WHOLE else Float(53), nullable=False) for name in SUMMED),
)
"""Sums of what requests have used, by the hour that began at ``start``."""

marks = Table("marks", metadata, Column("name", String, primary_key=True), Column("value", BigInteger, nullable=False))
"""``seq``: the number of the last event. ``compacted``: that of the last event that is in the base."""


def columns_of(row: Row) -> dict[str, Any]:
    """What is stored of a row beside its key and its body: its version, and what is searched by."""
    found: dict[str, Any] = {"version": row.version}
    match row:
        case Workload():
            found |= {
                "project": row.project,
                "name": row.name,
                "kind": row.kind.value,
                "phase": row.phase.value,
                "ended": row.phase.ended,
                "created_at": row.created_at,
                "ended_at": row.ended_at if row.phase.ended else None,
            }
        case SpecRevision() | Desired() | Replica() | Attempt():
            found["workload"] = row.workload
        case _:
            pass
    return found
