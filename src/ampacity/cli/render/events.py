"""An event as one line."""

from __future__ import annotations

import click

from ampacity.model.event import EventKind
from ampacity.model.view import EventView

from .units import clock

_COLOURS = {
    EventKind.WORKLOAD_ENDED: "cyan",
    EventKind.ATTEMPT_ENDED: "cyan",
    EventKind.ATTEMPT_READY: "green",
    EventKind.ATTEMPT_RESTARTED: "yellow",
    EventKind.ATTEMPT_STOPPING: "yellow",
    EventKind.NODE_REMOVED: "red",
}
_WIDTH = max(len(kind) for kind in EventKind)


def event_line(event: EventView, *, now: float, colours: bool) -> str:
    """Number, time, kind, what happened to whom."""
    seq, at, kind = f"{event.seq:>5}", clock(event.at, now=now), str(event.kind).ljust(_WIDTH)
    text = " ".join(event.text.split())
    if event.name and event.name not in text.split():
        text = f"{event.name}: {text}"
    if colours:
        seq, at = click.style(seq, dim=True), click.style(at, dim=True)
        kind = click.style(kind, fg=_COLOURS.get(event.kind))
    return f"{seq}  {at}  {kind}  {text}"
