"""Handles that drivers gave and that no row holds yet.

A member's first fact mostly follows its start within milliseconds: one write then holds both. Where none comes, the
handle is written by itself. Whoever is killed in between begins again: starting a member twice starts it once.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import replace

from ampacity.drivers.base import Handle
from ampacity.model.attempt import Attempt
from ampacity.model.event import EventKind
from ampacity.model.ids import MemberKey

from .batch import Batch
from .mirror import Mirror

LATE_S = 0.2
"""How long a handle waits for the first fact of its member."""


class Handles:
    """``keys`` are the members that were started and whose rows do not say so yet."""

    def __init__(self) -> None:
        self._since: dict[MemberKey, tuple[Handle, float]] = {}

    def keys(self) -> Collection[MemberKey]:
        return self._since.keys()

    def add(self, handles: Iterable[Handle], now: float) -> None:
        for handle in handles:
            self._since.setdefault(handle.key, (handle, now))

    def on(self, attempt: Attempt) -> Attempt:
        """The attempt with the handles of its members."""
        members = tuple(
            replace(member, handle=known[0].ref)
            if not member.handle and (known := self._since.get(attempt.key(member.index))) is not None
            else member
            for member in attempt.members
        )
        return attempt if members == attempt.members else replace(attempt, members=members)

    def write_late(self, batch: Batch) -> None:
        """Those for which no fact has come in time."""
        for attempt_id in dict.fromkeys(key.attempt for key in self._late(batch.now)):
            attempt = batch.attempt(attempt_id)
            if attempt is None or attempt.phase.ended:
                continue
            told = self.on(attempt)
            if told is not attempt:
                nodes = ", ".join(dict.fromkeys(member.node for member in told.members if member.handle))
                batch.write(EventKind.ATTEMPT_CHANGED, f"handed to {nodes}", told)

    def drop_written(self, mirror: Mirror) -> None:
        """Forget those that the rows have now, and those whose attempts are over."""
        for key in list(self._since):
            attempt = mirror.rows.attempts.get(key.attempt)
            if attempt is None or attempt.phase.ended or attempt.members[key.member].handle:
                del self._since[key]

    def next_at(self) -> float | None:
        """When the next one is late."""
        return min((since + LATE_S for _, since in self._since.values()), default=None)

    def _late(self, now: float) -> list[MemberKey]:
        return [key for key, (_, since) in self._since.items() if now >= since + LATE_S]
