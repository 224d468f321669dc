"""Routes: how they stand, and changing them as a whole."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator

from ampacity.model.attempt import AttemptPhase
from ampacity.model.errors import InvalidSpec, Where
from ampacity.model.event import Draft, EventKind, Rows, put
from ampacity.model.ids import SYSTEM_PROJECT
from ampacity.model.route import NO_ROUTES, ROUTES_KEY, Route, Routes
from ampacity.model.route_file import parse_route_file
from ampacity.model.view import RouteChanges, RoutesView
from ampacity.model.workload import Workload
from ampacity.serving.launch import served_name
from ampacity.store.feed import FeedStore

from .decide import decide


class Routing:
    """Reads and writes the routes' row."""

    def __init__(self, store: FeedStore, clock: Callable[[], float]) -> None:
        self._store, self._clock = store, clock

    def view(self) -> RoutesView:
        rows = self._store.live()
        return RoutesView(routes=rows.routes.get(ROUTES_KEY, NO_ROUTES).routes, ready=_ready(rows))

    def apply(self, text: str, *, file: str, by: str, dry_run: bool) -> RouteChanges:
        """Make the routes what the file says, all of them in one transaction, or nothing.

        Raises:
            InvalidSpec: with file, line and key.
            Conflict: they are being changed by others.
        """
        wanted = parse_route_file(text, file=file).routes
        if wanted is None:
            raise InvalidSpec("there is nothing about routes in it.", where=Where(file=file), hint="Write `routes:`.")

        def once() -> tuple[RouteChanges, list[Draft]]:
            rows = self._store.live()
            before = rows.routes.get(ROUTES_KEY, NO_ROUTES)
            after = Routes(routes=wanted, version=before.version + 1)
            found = RouteChanges(
                dry_run=dry_run,
                changes=tuple(_differences(before.routes, after.routes)),
                unserved=tuple(_unserved(rows, after.routes)),
            )
            if dry_run or not found.changes:
                return found, []
            draft = Draft(
                kind=EventKind.ROUTES_CHANGED,
                at=self._clock(),
                changes=(put(after),),
                actor=by,
                project=SYSTEM_PROJECT,
                text=f"{by} changed the routes: {'; '.join(found.changes)}",
            )
            return found, [draft]

        return decide(self._store, once, in_vain="The routes are being changed by others; try again.")


def _ready(rows: Rows) -> dict[str, int]:
    """How many replicas of each served model are ready."""
    ready = Counter(row.workload for row in rows.attempts.values() if row.phase is AttemptPhase.RUNNING and row.ready)
    return {name: ready[row.id] for row, name in _served(rows)}


def _served(rows: Rows) -> list[tuple[Workload, str]]:
    """The services that are on the endpoint, and by which names."""
    live = [row for row in rows.workloads.values() if not row.phase.ended]
    named = [(row, served_name(rows.spec(row.id).spec)) for row in sorted(live, key=lambda row: row.id)]
    return [(row, name) for row, name in named if name]


def _unserved(rows: Rows, routes: tuple[Route, ...]) -> Iterator[str]:
    """Models and routes that are named and not there: they may come, so that is no mistake."""
    models = {name for _, name in _served(rows)}
    known = models | {route.name for route in routes}
    named = {model for route in routes for model in route.models} - models
    for route in routes:
        named |= {name for name in (route.alias, *(each.to for each in route.fallback)) if name and name not in known}
    yield from sorted(named)


def _differences(before: tuple[Route, ...], after: tuple[Route, ...]) -> Iterator[str]:
    old, new = ({route.name: route for route in routes} for routes in (before, after))
    for name in sorted({*old, *new}):
        if name not in new:
            yield f"{name} goes"
        elif name not in old:
            yield f"{name} comes: {words(new[name])}"
        elif old[name] != new[name]:
            yield f"{name}: {words(old[name])} -> {words(new[name])}"


def words(route: Route) -> str:
    """``writer 95%, next 5%, sticky by key, 10% shadowed by next, else small (error)``."""
    if route.alias:
        return f"another name for {route.alias}"
    total = sum(share.weight for share in route.to)
    parts = [f"{share.model} {100 * share.weight / total:.3g}%" for share in route.to]
    if len(route.to) > 1:
        parts.append(f"sticky by {route.sticky}" if route.sticky != "none" else "not sticky")
    if route.shadow is not None:
        parts.append(f"{route.shadow.percent:g}% shadowed by {route.shadow.model}")
    for each in route.fallback:
        parts.append(f"else {each.to} ({each.on}{f' {each.after_s:g} s' if each.after_s else ''})")
    return ", ".join(parts)
