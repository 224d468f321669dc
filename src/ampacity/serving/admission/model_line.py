"""One model's room and its line: who goes at once, who waits, and who would come too late."""

from __future__ import annotations

import heapq
from collections.abc import Mapping
from enum import StrEnum

from ampacity.model.ids import Project
from ampacity.model.service_terms import BrownOut

from .fair_line import FairLine
from .learned import Learned
from .policy import AdmissionPolicy
from .verdict import HELD, Entry, Go, Refused, Verdict

MOST_WAITING = 20_000
"""More than so many never stand in one line: it would take longer to look after them than to serve them."""


class Ending(StrEnum):
    """How a request that was let in has ended: answered whole, given up by its client, or failed."""

    COMPLETE = "complete"
    ABANDONED = "abandoned"
    FAILED = "failed"


class ModelLine:
    """``in_flight``: how many of the model are let in now."""

    __slots__ = ("_dues", "_engines_room", "in_flight", "learned", "line", "model", "policy", "room")

    def __init__(self, model: str, weights: Mapping[Project, float]) -> None:
        self.model, self.policy = model, AdmissionPolicy()
        self.line, self.learned = FairLine(weights), Learned()
        self.in_flight = 0
        self.room: int | None = None
        self._engines_room: int | None = None
        self._dues: list[tuple[float, int, Entry]] = []

    def set_policy(self, policy: AdmissionPolicy) -> None:
        self.policy = policy
        self._set_room()

    def set_room(self, room: int | None) -> None:
        """So many the engines can take; the lower one of that and of what the operator allows holds."""
        self._engines_room = room
        self._set_room()

    def _set_room(self) -> None:
        limits = [limit for limit in (self._engines_room, self.policy.room) if limit is not None]
        self.room = min(limits, default=None)

    def wait_s(self, entry: Entry) -> float:
        """How long it would stand in line if it came now, as far as that can be known."""
        room = self.room
        if room is None or (self.in_flight < room and not len(self.line)):
            return 0.0
        learned = self.learned
        turn_s = learned.service_s(None) / max(1, room)
        return turn_s * (1.0 + self.line.ahead(entry) / learned.cost)

    def ask(self, entry: Entry, now: float) -> Verdict:
        """As ``enter``; where another model shall answer, nothing is done yet but to say so."""
        brown_out = self.policy.brown_out
        if brown_out is not None and self.wait_s(entry) >= brown_out.after_s:
            if brown_out.model:
                return Go(model=brown_out.model, max_tokens=_cut(entry, brown_out))
            if brown_out.max_tokens is not None:
                entry.verdict = Go(max_tokens=_cut(entry, brown_out))
        return self.enter(entry, now)

    def enter(self, entry: Entry, now: float) -> Verdict:
        """Let it in, hold it, or refuse it."""
        room = self.room
        if room is None or (self.in_flight < room and not len(self.line)):
            late = self._too_late(entry, 0.0, now)
            if late is not None:
                return late
            if room is not None:
                self.line.pass_by(entry)
            return self._let_in(entry, now)
        late = self._too_late(entry, self.wait_s(entry), now)
        if late is not None:
            return late
        if len(self.line) >= MOST_WAITING:
            return self._overloaded(self.wait_s(entry))
        self.line.push(entry)
        heapq.heappush(self._dues, (self._give_up_at(entry), entry.id, entry))
        return HELD

    def adopt(self, entry: Entry) -> None:
        """It is under way already: another one had let it in."""
        if self.room is not None:
            self.line.pass_by(entry)
        self.in_flight += 1
        entry.went = entry.arrived

    def released(self, now: float) -> list[tuple[Entry, Go | Refused]]:
        """Those who waited and are let in now, and those whose time is up."""
        found: list[tuple[Entry, Go | Refused]] = []
        while self._dues and (self._dues[0][0] <= now or self._has_gone(self._dues[0][2])):
            _, _, entry = heapq.heappop(self._dues)
            if self.leave(entry):
                found.append((entry, self._gave_up(entry, now)))
        if not len(self.line):
            self._dues.clear()
        room = self.room
        while len(self.line) and (room is None or self.in_flight < room):
            entry = self.line.pop()
            late = self._too_late(entry, 0.0, now)
            if late is not None:
                self.line.correct(entry, 0)
                entry.left = True
                found.append((entry, late))
            else:
                found.append((entry, self._let_in(entry, now)))
        return found

    def leave(self, entry: Entry) -> bool:
        """It stands in line no longer. ``False``: it had not."""
        return self.line.remove(entry)

    def ended(self, entry: Entry, now: float, *, used: int, output: int | None, ending: Ending) -> None:
        self.in_flight -= 1
        if self.room is not None and used != entry.cost:
            self.line.correct(entry, used)
        if ending is Ending.COMPLETE and entry.went is not None:
            self.learned.note(service_s=now - entry.went, output=output, cost=used)

    def next_due(self) -> float | None:
        """When the time of somebody in line is up."""
        return self._dues[0][0] if self._dues else None

    @staticmethod
    def _has_gone(entry: Entry) -> bool:
        return entry.left or entry.went is not None

    def _let_in(self, entry: Entry, now: float) -> Go:
        self.in_flight += 1
        entry.went = now
        return entry.verdict

    def _give_up_at(self, entry: Entry) -> float:
        due = entry.arrived + self.policy.max_wait_s
        if entry.deadline is not None:
            due = min(due, entry.deadline - self.learned.service_s(entry.max_tokens))
        return due

    # Refusals --------------------------------------------------------------------------------------------------------

    def _too_late(self, entry: Entry, wait_s: float, now: float) -> Refused | None:
        """Whether it cannot be answered in time any more. While nothing is under way everybody may try: what was
        learned may not hold any longer."""
        if entry.deadline is not None and entry.deadline <= now:
            return _late(f"The request's timeout had passed before {self.model!r} could answer it.", wait_s)
        if not self.learned.known or not self.in_flight:
            return None
        if wait_s > self.policy.max_wait_s:
            return self._overloaded(wait_s)
        if entry.deadline is None:
            return None
        takes_s, left_s = wait_s + self.learned.surely_s(entry.max_tokens), entry.deadline - now
        if takes_s <= left_s:
            return None
        message = (
            f"{self.model!r} would take about {takes_s:.1f} s, {wait_s:.1f} s of it in line; "
            f"the request's timeout leaves {left_s:.1f} s."
        )
        return _late(message, takes_s - left_s)

    def _gave_up(self, entry: Entry, now: float) -> Refused:
        waited_s = now - entry.arrived
        message = (
            f"The request stood in line for {self.model!r} for {waited_s:.1f} s, and could not come in time any more."
        )
        return _late(message, self.wait_s(entry))

    def _overloaded(self, wait_s: float) -> Refused:
        message = (
            f"{self.model!r} is overloaded: a request would stand in line for {wait_s:.1f} s, "
            f"and {self.policy.max_wait_s:g} s is the most."
        )
        return Refused(status=503, code="overloaded", message=message, retry_after_s=wait_s - self.policy.max_wait_s)


def _late(message: str, retry_after_s: float) -> Refused:
    return Refused(status=503, code="deadline_exceeded", message=message, retry_after_s=retry_after_s)


def _cut(entry: Entry, brown_out: BrownOut) -> int | None:
    """How long the answer may be: no longer than was asked for."""
    if brown_out.max_tokens is None or entry.max_tokens is None:
        return brown_out.max_tokens
    return min(brown_out.max_tokens, entry.max_tokens)
