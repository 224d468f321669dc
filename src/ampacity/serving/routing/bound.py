"""What an engine of a late-binding router is at, and the tickets that are bound to it."""

from __future__ import annotations

from .base import Ticket, TicketId
from .cost import Speed
from .member import Member


class State:
    """What an engine is at. ``pending``: the prefills that are not answered, ``work_s`` their sum; ``answering``: the
    answers under way. ``slot`` is ``None`` while the engine is away.
    """

    __slots__ = ("answered_at", "answering", "busy_until", "member", "pending", "place", "slot", "speed", "work_s")

    def __init__(self, member: Member, now: float) -> None:
        self.member, self.speed = member, Speed()
        self.slot: int | None = None
        self.pending: dict[TicketId, float] = {}
        self.work_s, self.answering = 0.0, 0
        self.busy_until = self.answered_at = now
        self.place: tuple[bool, tuple[float, int]] | None = None


class Bound:
    """A ticket on an engine. ``depth``: how many of its blocks were thought to be cached there; ``model_s``: what the
    model says of its prefill, ``cost_s``: what that is at the engine's own speed.
    """

    __slots__ = ("at", "cost_s", "depth", "id", "model_s", "state", "streams")

    def __init__(self, ticket: Ticket, state: State, *, model_s: float, cost_s: float, depth: int, at: float) -> None:
        self.id, self.streams, self.state = ticket.id, ticket.streams, state
        self.model_s, self.cost_s, self.depth, self.at = model_s, cost_s, depth, at
