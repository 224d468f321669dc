"""Routes: names on the endpoint that stand for one model or several, with weights, shadows and fallbacks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum

ROUTES_KEY = "routes"
"""The key of their one row: they are changed as a whole."""


class Sticky(StrEnum):
    """What keeps the requests of one caller on one side: its session (or ``user``), its key, or nothing."""

    SESSION = "session"
    KEY = "key"
    NONE = "none"


class Trouble(StrEnum):
    """What another model may answer for: nobody of this one does, it would take too long in line, or the money of the
    key or its project is spent."""

    ERROR = "error"
    QUEUE = "queue"
    BUDGET = "budget"


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """A model and its part of the requests, beside the weights of the others. 0 = none, for now."""

    model: str
    weight: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Shadow:
    """So many per cent of the requests are copied to this model; what it answers is thrown away."""

    model: str
    percent: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Fallback:
    """``to``: the route or model that answers instead. ``after_s``: in line for so long (``Trouble.QUEUE`` only)."""

    on: Trouble
    to: str
    after_s: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """What stands behind a name. ``alias``: another route or model, of which this is one more name; then the rest is
    empty."""

    name: str
    to: tuple[Share, ...] = ()
    sticky: Sticky = Sticky.SESSION
    shadow: Shadow | None = None
    fallback: tuple[Fallback, ...] = ()
    alias: str = ""

    @property
    def models(self) -> tuple[str, ...]:
        """All models that it names itself."""
        shadow = () if self.shadow is None else (self.shadow.model,)
        return tuple(dict.fromkeys((*(share.model for share in self.to), *shadow)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Routes:
    """All of them, by name."""

    routes: tuple[Route, ...] = ()
    version: int = 1


NO_ROUTES = Routes(version=0)


def resolved(routes: Iterable[Route]) -> tuple[Route, ...]:
    """Without aliases: each is what it stands for, under its own name. There are no circles among them."""
    named = {route.name: route for route in routes}
    return tuple(_resolved(route, named) for route in named.values())


def _resolved(route: Route, named: Mapping[str, Route]) -> Route:
    target = route
    while target.alias:
        found = named.get(target.alias)
        if found is None:
            return Route(name=route.name, to=(Share(model=target.alias),))
        target = found
    return replace(target, name=route.name)


def circle(routes: Iterable[Route]) -> tuple[str, ...]:
    """Names that lead to each other by aliases and fallbacks, the first one again at the end; empty = there are none.
    Within its own route a name means the model of that name."""
    after = {route.name: _after(route) for route in routes}
    safe: set[str] = set()
    for name in after:
        found = _circle_from(name, after, [], safe)
        if found:
            return found
    return ()


def _after(route: Route) -> list[str]:
    if route.alias:
        return [route.alias]
    return [fallback.to for fallback in route.fallback if fallback.to != route.name]


def _circle_from(name: str, after: Mapping[str, list[str]], path: list[str], safe: set[str]) -> tuple[str, ...]:
    if name in path:
        return (*path[path.index(name) :], name)
    if name in safe or name not in after:
        return ()
    for each in after[name]:
        found = _circle_from(each, after, [*path, name], safe)
        if found:
            return found
    safe.add(name)
    return ()
