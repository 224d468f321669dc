"""The keys of a queue file: the one definition of what is checked and of what is refused."""

from __future__ import annotations

import math
from collections.abc import Callable
from enum import StrEnum
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, PlainValidator

from ampacity.model.policy import BackfillName, OrderName, PlacementName, Sharing
from ampacity.model.workload_file.tree import Number
from ampacity.model.workload_file.types import Duration, Name, nearest, said, whole, wrong

MOST_WEIGHT = 1_000_000


class _Keys(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, arbitrary_types_allowed=True)


def _one_of(choices: type[StrEnum]) -> PlainValidator:
    def check(value: object) -> StrEnum:
        if not isinstance(value, str) or value not in list(choices):
            hint = nearest(str(value), choices) if isinstance(value, str) else ""
            raise wrong(f"has to be one of {', '.join(choices)}, not {said(value)}.", hint)
        return choices(value)

    return PlainValidator(check)


def _number(least: float, *, above: bool = False) -> PlainValidator:
    def check(value: object) -> float:
        try:
            number = float(str(value)) if isinstance(value, Number | int | float) else math.nan
        except ValueError:
            number = math.nan
        if isinstance(value, bool) or not math.isfinite(number):
            raise wrong(f"has to be a number, not {said(value)}.")
        if number < least or (above and number == least) or number > MOST_WEIGHT:
            words = "above" if above else "from"
            raise wrong(f"has to be {words} {least:g} to {MOST_WEIGHT:,}, not {number:g}.")
        return number

    return PlainValidator(check)


def _flag(value: object) -> bool:
    if not isinstance(value, bool):
        raise wrong(f"has to be true or false, not {said(value)}.")
    return value


def _amounts_or(word: str) -> Callable[[object], Any]:
    """A map of amounts, checked later with their lines, or the word."""

    def check(value: object) -> Any:
        if value == word or isinstance(value, dict):
            return value
        raise wrong(f"has to be {word}, or a map such as {{H100: 8}}, not {said(value)}.")

    return check


def _amounts(value: object) -> Any:
    if isinstance(value, dict):
        return value
    raise wrong(f"has to be a map such as {{H100: 8, cpus: 64, memory: 1TB}}, not {said(value)}.")


NONE = "none"

RawAmounts = dict[str, object]
Weight = Annotated[float, _number(0, above=True)]
Factor = Annotated[float, _number(0)]
Flag = Annotated[bool, PlainValidator(_flag)]


class QueueKeys(_Keys):
    """One queue."""

    parent: Name | None = Field(default=None, description="The queue that it is a part of. Left out: it is at the top.")
    weight: Weight | None = Field(default=None, description="Its part of what is over the quotas. 1 where left out.")
    quota: Annotated[RawAmounts, PlainValidator(_amounts)] | None = Field(
        default=None, description="What it can count on: {H100: 16, cpus: 512, memory: 4TB}."
    )
    borrow: Annotated[RawAmounts | str, PlainValidator(_amounts_or(NONE))] | None = Field(
        default=None, description="The most beyond its quota: {H100: 8}, or none. Not limited where left out."
    )
    lend: Annotated[RawAmounts | str, PlainValidator(_amounts_or(NONE))] | None = Field(
        default=None, description="The most of its quota that others may use: {H100: 8}, or none. All where left out."
    )
    reclaim: Flag | None = Field(
        default=None, description="Whether what others borrow of its quota is stopped when it needs it. true."
    )


class PointKeys(_Keys):
    """What counts in the order fair, in points of priority."""

    ageing: Duration | None = Field(default=None, description="The wait that is worth 100 points: 1d.")
    fair_share: Factor | None = Field(default=None, description="For an owner that has used nothing: 50.")
    deadline: Factor | None = Field(default=None, description="Once it has to start to be done in time: 200.")
    deadline_margin: Duration | None = Field(default=None, description="So much before that moment: 10m.")
    critical_path: Factor | None = Field(default=None, description="For each hour of work that waits for it: 0.")


class MultifactorKeys(_Keys):
    """The weights of the order multifactor."""

    age: Factor | None = None
    fair_share: Factor | None = None
    size: Factor | None = None
    priority: Factor | None = None
    max_age: Duration | None = None


class BackfillKeys(_Keys):
    """Who has places held for it."""

    policy: Annotated[BackfillName, _one_of(BackfillName)] | None = Field(
        default=None, description="none, easy or conservative."
    )
    depth: Annotated[int, *whole(1, 64)] | None = Field(default=None, description="conservative: for how many. 4.")
    tests: Annotated[int, *whole(1, 100_000)] | None = Field(
        default=None, description="How many that find no room are looked at in one plan: 1000."
    )
    assumed_runtime: Duration | None = Field(
        default=None, description="How long what runs is taken to last where nothing is known: 1d."
    )


class PreemptionKeys(_Keys):
    """When a place is taken from what runs."""

    enabled: Flag | None = Field(default=None, description="false: nothing is stopped for anything else. true.")
    floor: Duration | None = Field(
        default=None, description="For how long whoever had to leave a place keeps the next one: 10m."
    )
    restart: Duration | None = Field(default=None, description="What it costs to begin again, beside lost work: 30s.")
    grow: Flag | None = Field(
        default=None, description="Whether elastic gangs get more nodes when nothing waits for room. true."
    )
    grow_after: Duration | None = Field(
        default=None, description="For how long a gang has run before it is interrupted to grow: 5m."
    )
    defragment: Flag | None = Field(
        default=None, description="Whether jobs are moved to make a larger room whole. false."
    )
    defragment_gain: Factor | None = Field(
        default=None, description="The wait that a move spares is worth so many times what it costs: 4."
    )


class SchedulerKeys(_Keys):
    """How the scheduler decides."""

    sharing: Annotated[Sharing, _one_of(Sharing)] | None = Field(
        default=None, description="dominant_share or single_line."
    )
    order: Annotated[OrderName, _one_of(OrderName)] | None = Field(
        default=None,
        description="fair, fifo, priority, multifactor, shortest_remaining, gittins or least_attained.",
    )
    points: PointKeys | None = None
    multifactor: MultifactorKeys | None = None
    backfill: BackfillKeys | None = None
    preemption: PreemptionKeys | None = None
    placement: Annotated[PlacementName, _one_of(PlacementName)] | None = Field(
        default=None, description="best_fit, least_waste, fgd, dot_product, gpu_packing or spread."
    )
    usage_half_life: Duration | None = Field(
        default=None, description="After so long, what somebody has used counts half: 7d."
    )
    usage_weights: Annotated[RawAmounts, PlainValidator(_amounts)] | None = Field(
        default=None, description="What a second of a device or CPU is worth: {accelerators: 1, H100: 4, cpus: 0.06}."
    )


class QueueFileKeys(_Keys):
    """One document of a queue file. What is in ``queues`` is checked queue by queue."""

    queues: Annotated[dict[str, object], PlainValidator(lambda value: _queues(value))] | None = None
    scheduler: SchedulerKeys | None = None


def _queues(value: object) -> dict[str, object]:
    if not isinstance(value, dict):
        raise wrong(f"has to be a map of queues by their names, not {said(value)}.", "Such as 'research: {weight: 2}'.")
    return value
