"""What those free who are leaving, until when, and how that is said to those who wait for it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

from ampacity.model.attempt import Attempt
from ampacity.model.plan import Placement

from ..board import Board
from ..words import listed
from .pieces import places_of


def leave(board: Board, attempt: Attempt) -> None:
    """As if one that was told to stop were gone. What its successor keeps stays held."""
    if attempt.stop is None or not attempt.stop.then:
        board.give(attempt)
        return
    for place in leaves(attempt):
        board.give_place(place)


def leaves(attempt: Attempt) -> list[Placement]:
    """The places that are free once it has ended."""
    kept = {place.node for place in attempt.stop.then} if attempt.stop is not None else set()
    return [place for place in places_of(attempt) if place.node not in kept]


def gone_by(attempt: Attempt) -> float:
    """When it has ended at the latest, as long as its nodes answer. Seconds since the epoch."""
    assert attempt.stop is not None, "it was told to stop"
    return max(attempt.stop.at, attempt.stop.save_until or 0.0) + attempt.stop.grace_s


def say_leaving(attempts: Sequence[Attempt], names: Iterable[str], now: float) -> str:
    """``waits until a (w1) and b (w2) have left; they have by 14:20:05 UTC at the latest.``"""
    who = listed(sorted(set(names)))
    told = [attempt for attempt in attempts if attempt.stop is not None]
    if not told:
        return f"waits until {who} {'has' if len(attempts) == 1 else 'have'} left the place that was promised to it."
    until = datetime.fromtimestamp(max(gone_by(attempt) for attempt in told), UTC).strftime("%H:%M:%S UTC")
    saving = " saved and" if any(attempt.saves(now) for attempt in told) else ""
    return f"waits until {who} {'has' if len(attempts) == 1 else 'have'}{saving} left, by {until} at the latest."
