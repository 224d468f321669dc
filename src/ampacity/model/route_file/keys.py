"""The keys of a route file."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainValidator

from ampacity.model.route import Sticky, Trouble
from ampacity.model.workload_file.tree import Number
from ampacity.model.workload_file.types import Duration, ModelRef, nearest, said, wrong


class _Keys(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, arbitrary_types_allowed=True)


def _number(value: object) -> float:
    if isinstance(value, Number):
        try:
            return float(value)
        except ValueError:
            pass
    raise wrong(f"has to be a number, not {said(value)}.", "Such as 95 or 2.5.")


def _weight(value: object) -> float:
    weight = _number(value)
    if not 0 <= weight < 1e9:
        raise wrong(f"has to be 0 or more, not {value}.", "0 = none for now.")
    return weight


def _percent(value: object) -> float:
    percent = _number(value)
    if not 0 < percent <= 100:
        raise wrong(f"has to be above 0 and 100 at most, not {value}.", "Write 5 for one request in twenty.")
    return percent


def _targets(value: object) -> object:
    """A model alone is short for all of the requests."""
    return {value: Number("1")} if isinstance(value, str) and not isinstance(value, Number) else value


def _sticky(value: object) -> Sticky:
    if not isinstance(value, str) or value not in set(Sticky):
        raise wrong(f"has to be one of {', '.join(Sticky)}, not {said(value)}.", nearest(str(value), Sticky))
    return Sticky(value)


def _trouble(value: object) -> Trouble:
    if not isinstance(value, str) or value not in set(Trouble):
        raise wrong(f"has to be one of {', '.join(Trouble)}, not {said(value)}.", nearest(str(value), Trouble))
    return Trouble(value)


class ShadowKeys(_Keys):
    """Copies of requests whose answers are thrown away."""

    model: ModelRef
    percent: Annotated[float, PlainValidator(_percent)]


class FallbackKeys(_Keys):
    """When another one answers."""

    on: Annotated[Trouble, PlainValidator(_trouble)]
    to: ModelRef
    after: Duration | None = None


class RouteKeys(_Keys):
    """What stands behind one name."""

    to: Annotated[dict[ModelRef, Annotated[float, PlainValidator(_weight)]], BeforeValidator(_targets)]
    sticky: Annotated[Sticky, PlainValidator(_sticky)] | None = None
    shadow: ShadowKeys | None = None
    fallback: list[FallbackKeys] = Field(default=[])


def _routes(value: object) -> dict[str, object]:
    if not isinstance(value, dict):
        raise wrong(f"has to be a map of routes by their names, not {said(value)}.", "Such as 'chat: {to: writer}'.")
    return value


class RouteFileKeys(_Keys):
    """One document of a route file. What is in ``routes`` is checked route by route."""

    routes: Annotated[dict[str, object], PlainValidator(_routes)] | None = None
