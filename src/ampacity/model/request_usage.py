"""What requests have used: a record of each, and sums of them."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from enum import StrEnum

import msgspec

from .ids import Project

HOUR_S = 3600
DAY_S = 86400


class RequestRecord(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One request; a struct, since one is made for each.

    ``at``: when it ended, seconds since the epoch. ``key`` empty = nobody's; ``replica`` empty = it came to none.
    ``cached_tokens`` are some of the ``input_tokens``. ``counted``: the engine counted the tokens; else they are
    estimated. ``ttft_s``: time to the first token. ``money`` in the currency of the model's price. ``route``: the name
    that was asked for, where the ``model`` stands behind a route; ``reason``: why this one answered: ``error``,
    ``queue`` or ``budget`` for a fallback, ``shadow`` for a copy that nobody asked for, else empty.
    """

    at: float
    project: Project
    model: str
    key: str = ""
    replica: str = ""
    status: int = 200
    input_tokens: int = 0
    cached_tokens: int = 0
    output_tokens: int = 0
    counted: bool = True
    ttft_s: float | None = None
    total_s: float = 0.0
    money: float = 0.0
    route: str = ""
    reason: str = ""

    @property
    def failed(self) -> bool:
        return self.status >= 400


class UsageBy(StrEnum):
    """What sums can be told apart by. Days and hours are those of UTC."""

    PROJECT = "project"
    KEY = "key"
    MODEL = "model"
    REPLICA = "replica"
    DAY = "day"
    HOUR = "hour"


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestSum:
    """Sums over the requests of an hour or a day that began at ``start`` (seconds since the epoch; 0 = all), of those
    that the names tell apart; an empty name = all. ``ttft_s`` is the sum over ``ttft_count`` answers."""

    start: int = 0
    project: str = ""
    key: str = ""
    model: str = ""
    replica: str = ""
    requests: int = 0
    failed: int = 0
    input_tokens: int = 0
    cached_tokens: int = 0
    output_tokens: int = 0
    ttft_s: float = 0.0
    ttft_count: int = 0
    total_s: float = 0.0
    money: float = 0.0


SUMMED = (
    "requests",
    "failed",
    "input_tokens",
    "cached_tokens",
    "output_tokens",
    "ttft_s",
    "ttft_count",
    "total_s",
    "money",
)
AS_KEPT = frozenset((UsageBy.HOUR, UsageBy.PROJECT, UsageBy.KEY, UsageBy.MODEL, UsageBy.REPLICA))
"""As the store keeps it."""

NAMED = (UsageBy.PROJECT, UsageBy.KEY, UsageBy.MODEL, UsageBy.REPLICA)


def sum_of(record: RequestRecord) -> RequestSum:
    """One request as a sum over its hour."""
    return RequestSum(
        start=int(record.at) // HOUR_S * HOUR_S,
        project=record.project,
        key=record.key,
        model=record.model,
        replica=record.replica,
        requests=1,
        failed=int(record.failed),
        input_tokens=record.input_tokens,
        cached_tokens=record.cached_tokens,
        output_tokens=record.output_tokens,
        ttft_s=record.ttft_s or 0.0,
        ttft_count=int(record.ttft_s is not None),
        total_s=record.total_s,
        money=record.money,
    )


def grouped(sums: Iterable[RequestSum], by: Collection[UsageBy]) -> tuple[RequestSum, ...]:
    """The sums of sums that are alike in these, in the order of what they are grouped by."""
    found: dict[tuple[int, str, str, str, str], RequestSum] = {}
    for each in sums:
        place = (
            _start(each.start, by),
            each.project if UsageBy.PROJECT in by else "",
            each.key if UsageBy.KEY in by else "",
            each.model if UsageBy.MODEL in by else "",
            each.replica if UsageBy.REPLICA in by else "",
        )
        standing = found.get(place)
        if standing is None:
            start, project, key, model, replica = place
            found[place] = replace(each, start=start, project=project, key=key, model=model, replica=replica)
        else:
            found[place] = added(standing, each)
    return tuple(found[place] for place in sorted(found))


def added(one: RequestSum, other: RequestSum) -> RequestSum:
    """Both together, under the names of the first."""
    return replace(one, **{name: getattr(one, name) + getattr(other, name) for name in SUMMED})


def _start(start: int, by: Collection[UsageBy]) -> int:
    if UsageBy.HOUR in by:
        return start
    return start // DAY_S * DAY_S if UsageBy.DAY in by else 0
