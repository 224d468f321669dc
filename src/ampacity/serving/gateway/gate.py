"""Admission in front of the lines: who is held here comes back, let in or refused, when it is his turn."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from time import monotonic, time
from typing import Protocol

from ampacity.serving.admission import Admission, AdmissionPolicy, Ending, Entry, Go, Refused
from ampacity.serving.table import ModelRoute, RoutingTable

from .answers import refusal_of

READY_BESIDE = 1
"""So many requests for each replica are let in beyond what the replicas take at once: the router chooses among them,
and none of them idles while the next one is fetched."""


class Admitted(Protocol):
    """A request that is asked for, and told if it was held."""

    def admitted(self, go: Go) -> None: ...

    def refused(self, refused: Refused) -> None: ...


class Gate:
    """One process's admission, with its clock."""

    def __init__(self) -> None:
        self.admission = Admission()
        self._held: dict[int, Admitted] = {}
        self._set_clock(monotonic())

    def follow(self, table: RoutingTable) -> None:
        """A new table is in force."""
        now = monotonic()
        served = {route.name for route in table.models if route.replicas}
        self.admission.set_policies({route.name: _policy(route, served) for route in table.models})
        for route in table.models:
            self.admission.set_room(route.name, _room(route))
        self.admission.set_limits(table.keys, table.limits, now)
        self._pump(now)

    def ask(self, request: Admitted, entry: Entry, now: float) -> Go | None:
        """How it may go; ``None``: it is held. Raises ``Refusal``."""
        verdict = self.admission.ask(entry, now)
        if isinstance(verdict, Go):
            return verdict
        if isinstance(verdict, Refused):
            raise refusal_of(verdict)
        self._held[entry.id] = request
        return None

    def leave(self, entry: Entry, now: float) -> bool:
        """The client of a request that may be held has left. ``False``: it was not held."""
        if self._held.pop(entry.id, None) is None:
            return False
        self.admission.withdrawn(entry, now)
        return True

    def ended(
        self,
        entry: Entry,
        now: float,
        ending: Ending,
        *,
        input_tokens: int | None = None,
        output_tokens: int | None = None,
        money: float = 0.0,
    ) -> None:
        """One that was let in has ended."""
        self.admission.ended(
            entry, now, ending=ending, input_tokens=input_tokens, output_tokens=output_tokens, money=money
        )
        if self._held:
            self._pump(now)

    def tick(self, now: float) -> None:
        """Called a few times a second."""
        self._set_clock(now)
        if self._held:
            due = self.admission.next_wake()
            if due is not None and due <= now:
                self._pump(now)

    def _pump(self, now: float) -> None:
        for entry, verdict in self._released(now):
            request = self._held.pop(entry.id, None)
            if request is None:
                continue
            if isinstance(verdict, Go):
                request.admitted(verdict)
            else:
                request.refused(verdict)

    def _released(self, now: float) -> Iterator[tuple[Entry, Go | Refused]]:
        """What is let in may end at once, and let in others."""
        while found := self.admission.released(now):
            yield from found

    def _set_clock(self, now: float) -> None:
        self.admission.wall_offset = time() - now


def _policy(route: ModelRoute, served: set[str]) -> AdmissionPolicy:
    """As the operator has it; another model answers only while it has replicas."""
    brown_out = route.overload.brown_out
    if brown_out is not None and brown_out.model not in served:
        brown_out = replace(brown_out, model="")
    return AdmissionPolicy(max_wait_s=route.overload.max_wait_s, brown_out=brown_out)


def _room(route: ModelRoute) -> int | None:
    """How many may be under way at once: without replicas as many as come, which wait for one."""
    if not route.concurrency or not route.replicas:
        return None
    return (route.concurrency + READY_BESIDE) * len(route.replicas)
