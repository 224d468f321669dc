"""Routes."""

from __future__ import annotations

from collections.abc import Mapping

from rich.text import Text

from ampacity.model.route import Fallback, Route
from ampacity.model.view import RoutesView

from .table import Column, Listing

_COLUMNS = (
    Column("ROUTE", gives=True),
    Column("TO", gives=True),
    Column("STICKY"),
    Column("SHADOW", gives=True),
    Column("ELSE", gives=True),
)


def routes_table(view: RoutesView) -> Listing:
    """A line for each; models without a ready replica stand in yellow."""
    table = Listing(_COLUMNS)
    names = {route.name for route in view.routes}
    for route in view.routes:
        shadow = Text("")
        if route.shadow is not None:
            shadow = _model(route.shadow.model, view.ready).append(f" {route.shadow.percent:g}%")
        table.add(
            Text(route.name, style="bold"),
            _targets(route, view.ready, names),
            str(route.sticky) if len(route.to) > 1 else "",
            shadow,
            Text(", ").join(_fallback(each, view.ready, names) for each in route.fallback),
        )
    return table


def _targets(route: Route, ready: Mapping[str, int], names: set[str]) -> Text:
    if route.alias:
        return Text(f"= {route.alias}") if route.alias in names else Text("= ").append_text(_model(route.alias, ready))
    total = sum(share.weight for share in route.to)
    parts = [_model(share.model, ready).append(f" {100 * share.weight / total:.3g}%") for share in route.to]
    return Text(", ").join(parts)


def _fallback(fallback: Fallback, ready: Mapping[str, int], names: set[str]) -> Text:
    name = Text(fallback.to) if fallback.to in names else _model(fallback.to, ready)
    return name.append(f" ({fallback.on}{f' {fallback.after_s:g}s' if fallback.after_s else ''})")


def _model(name: str, ready: Mapping[str, int]) -> Text:
    return Text(name, style="" if ready.get(name) else "yellow")
