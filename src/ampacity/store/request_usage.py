"""The books of what requests have used: sums by the hour, beside the rows."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import asdict
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, delete, func, select

from ampacity.model.request_usage import DAY_S, NAMED, SUMMED, RequestSum, UsageBy

from . import schema


def adding(insert: Any) -> Any:
    """The statement that adds a sum to the one that stands, in the database's own words."""
    of = schema.request_usage
    fresh = insert(of)
    return fresh.on_conflict_do_update(
        index_elements=[column.name for column in of.primary_key.columns],
        set_={name: of.c[name] + fresh.excluded[name] for name in SUMMED},
    )


def add_sums(connection: Connection, statement: Any, sums: Sequence[RequestSum]) -> None:
    if sums:
        connection.execute(statement, [asdict(each) for each in sums])


def read_sums(
    connection: Connection, *, by: Collection[UsageBy], since: float, until: float, project: str | None
) -> tuple[RequestSum, ...]:
    """See ``Store.request_usage``."""
    rows = connection.execute(_query(by, since, until, project)).mappings()
    return tuple(RequestSum(**row) for row in rows)


def forget_sums(connection: Connection, before: float) -> None:
    connection.execute(delete(schema.request_usage).where(schema.request_usage.c.start < before))


def _query(by: Collection[UsageBy], since: float, until: float, project: str | None) -> Select[Any]:
    of = schema.request_usage.c
    names: list[ColumnElement[Any]] = [of[each.value] for each in NAMED if each in by]
    start = of.start if UsageBy.HOUR in by else of.start - of.start % DAY_S if UsageBy.DAY in by else None
    groups = [*([] if start is None else [start.label("start")]), *names]
    query = select(*groups, *(func.sum(of[name]).label(name) for name in SUMMED))
    query = query.where(of.start >= since, of.start < until).having(func.count() > 0)
    if project is not None:
        query = query.where(of.project == project)
    return query.group_by(*groups).order_by(*groups) if groups else query
