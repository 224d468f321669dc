"""Reading a route file: its document with ``routes`` at its top."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from ampacity.model.route import Fallback, Route, Shadow, Share, Sticky, Trouble, circle
from ampacity.model.workload_file.check import check_keys
from ampacity.model.workload_file.mistakes import Mistake, Mistakes, Path
from ampacity.model.workload_file.tree import Document, Number, read_documents
from ampacity.model.workload_file.types import said

from .keys import FallbackKeys, RouteFileKeys, RouteKeys

TOPS = tuple(RouteFileKeys.model_fields)
"""The keys that a document about routes has at its top; a workload has none of them."""

_NAME = re.compile("[A-Za-z0-9][A-Za-z0-9._/-]{0,127}")


@dataclass(frozen=True, slots=True, kw_only=True)
class RouteFile:
    """What a file says about routes. ``None``: nothing, so that they stay as they are."""

    file: str
    routes: tuple[Route, ...] | None = None


def is_about_routes(plain: object) -> bool:
    return isinstance(plain, Mapping) and any(top in plain for top in TOPS)


def parse_route_file(text: str | bytes, *, file: str) -> RouteFile:
    """The routes that the file gives. Documents about other things are passed over.

    Raises:
        InvalidSpec: with the line and key of the topmost mistake: keys and values that are not known, names that are
            none, weights that are all 0, a route as a target of another one's weights, fallbacks that cannot happen or
            lead in a circle. The hint goes on to name all others.
    """
    mistakes = Mistakes(file=file)
    found: dict[str, Route] | None = None
    begun_in = 0
    for document in read_documents(text, mistakes):
        if not isinstance(document.value, dict) or not is_about_routes(document.value):
            continue
        if found is not None:
            message = f"is given twice; the first time in line {begun_in}."
            line = document.line_of(("routes",))
            mistakes.add(Mistake(message, path=("routes",), line=line, hint="Write all of it in one place."))
            continue
        begun_in = document.line_of(("routes",))
        found = _Reader(document, mistakes).read()
    mistakes.raise_any()
    return RouteFile(file=file, routes=None if found is None else tuple(found[name] for name in sorted(found)))


class _Reader:
    def __init__(self, document: Document, mistakes: Mistakes) -> None:
        self._document, self._mistakes = document, mistakes

    def read(self) -> dict[str, Route]:
        found: dict[str, Route] = {}
        plain = self._document.value
        assert isinstance(plain, dict), "it is about routes"
        keys = check_keys(plain, RouteFileKeys, self._document.line_of, self._mistakes)
        for name, each in ({} if keys is None or keys.routes is None else keys.routes).items():
            at: Path = ("routes", name)
            if not _NAME.fullmatch(name):
                hint = "Use letters, digits, '.', '_', '/' and '-', at most 128, with a letter or digit first."
                self._wrong(at, "is not a name.", hint)
                continue
            route = self._route(name, each, at)
            if route is not None:
                found[name] = route
        for route in found.values():
            self._look_at_targets(route, found)
        self._look_for_circles(found)
        return found

    def _route(self, name: str, plain: object, at: Path) -> Route | None:
        if isinstance(plain, str) and not isinstance(plain, Number):
            return self._alias(name, plain, at)
        if not isinstance(plain, dict):
            hint = f"Write '{name}: MODEL' for one more name, or '{name}: {{to: {{a: 95, b: 5}}}}'."
            self._wrong(at, f"has to be a model's name or a map of keys, not {said(plain)}.", hint)
            return None
        keys = check_keys(plain, RouteKeys, self._document.line_of, self._mistakes, at=at)
        if keys is None:
            return None
        if not keys.to or not any(keys.to.values()):
            self._wrong((*at, "to"), "gives nobody anything.", "Name a model, with a weight above 0.")
        return Route(
            name=name,
            to=tuple(Share(model=model, weight=weight) for model, weight in keys.to.items()),
            sticky=keys.sticky or Sticky.SESSION,
            shadow=None if keys.shadow is None else Shadow(model=keys.shadow.model, percent=keys.shadow.percent),
            fallback=tuple(self._fallback(each, (*at, "fallback", n)) for n, each in enumerate(keys.fallback)),
        )

    def _alias(self, name: str, target: str, at: Path) -> Route | None:
        if not _NAME.fullmatch(target):
            self._wrong(at, f"stands for {target!r}, which is not a name.", "Name a model, or another route.")
            return None
        return Route(name=name, alias=target)

    def _fallback(self, keys: FallbackKeys, at: Path) -> Fallback:
        if keys.on is Trouble.QUEUE and not keys.after:
            self._wrong((*at, "after"), "is missing: after which time in line?", "Write a time such as 'after: 5s'.")
        elif keys.on is not Trouble.QUEUE and keys.after is not None:
            self._wrong((*at, "after"), f"goes with 'on: queue' only; this is on {keys.on}.", "Leave it out.")
        return Fallback(on=keys.on, to=keys.to, after_s=keys.after or 0.0)

    def _look_at_targets(self, route: Route, routes: Mapping[str, Route]) -> None:
        at: Path = ("routes", route.name)
        for model in route.models:
            where = ("to", model) if any(share.model == model for share in route.to) else ("shadow", "model")
            if model in routes and model != route.name:
                hint = "Name models here; 'fallback' and one more name may lead to a route."
                self._wrong((*at, *where), f"{model} is a route, not a model.", hint)
        seen: set[tuple[Trouble, str]] = set()
        for number, fallback in enumerate(route.fallback):
            place: Path = (*at, "fallback", number, "to")
            if [share.model for share in route.to] == [fallback.to]:
                self._wrong(place, f"{fallback.to} is what it falls back from.", "Name another model.")
            elif (fallback.on, fallback.to) in seen:
                self._wrong(place, f"{fallback.to} is named twice for '{fallback.on}'.", "Keep one.")
            seen.add((fallback.on, fallback.to))

    def _look_for_circles(self, routes: Mapping[str, Route]) -> None:
        found = circle(routes.values())
        if found:
            what = "stands for" if routes[found[0]].alias else "fallback"
            message = f"leads in a circle: {' -> '.join(found)}."
            at: Path = ("routes", found[0]) if what == "stands for" else ("routes", found[0], what)
            self._wrong(at, message, "Take one of them out.")

    def _wrong(self, path: Path, message: str, hint: str) -> None:
        self._mistakes.add(Mistake(message, path=path, line=self._document.line_of(path), hint=hint))
