"""The heads of a queue's groups in the order of the queue, as things stand at one moment."""

from __future__ import annotations

from bisect import insort
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

from ampacity.scheduler.order import Entries, Group, Turn, Want

Score = Turn


@dataclass(frozen=True, slots=True)
class Head:
    """The next of a group, and those behind it. ``score`` sorts; no two are equal."""

    score: Score
    group: Group
    entries: Entries
    position: int = 0

    @property
    def want(self) -> Want:
        return self.entries[self.position][1]

    @property
    def rest(self) -> Entries:
        return self.entries[self.position :]


ScoreOf = Callable[[Group, Entries, int], Score]


@dataclass(slots=True)
class Heads:
    """Goes through the heads of one queue, the first first. ``ordered`` is shared with later plans and never changed;
    what follows on a start comes in between."""

    ordered: tuple[Head, ...]
    score_of: ScoreOf
    _position: int = 0
    _more: list[Head] = field(default_factory=list)

    def peek(self, passed_over: Callable[[Group], bool]) -> Head | None:
        """The next one that is not passed over. Whoever is passed over once is passed over for good."""
        while self._more and passed_over(self._more[0].group):
            del self._more[0]
        ordered, position = self.ordered, self._position
        while position < len(ordered) and passed_over(ordered[position].group):
            position += 1
        self._position = position
        first = ordered[position] if position < len(ordered) else None
        if self._more and (first is None or self._more[0].score < first.score):
            return self._more[0]
        return first

    def done(self, head: Head) -> None:
        """It has had its turn: none of its group is looked at again."""
        if self._more and self._more[0] is head:
            del self._more[0]
        else:
            self._position += 1

    def started(self, head: Head) -> None:
        """It has started: the next of its group is a head now."""
        self.done(head)
        following = head.position + 1
        if following < len(head.entries):
            self.add(head.group, head.entries, following)

    def add(self, group: Group, entries: Entries, position: int = 0) -> None:
        score = self.score_of(group, entries, position)
        insort(self._more, Head(score, group, entries, position), key=lambda head: head.score)


def ordered_heads(groups: Iterable[tuple[Group, Entries]], score_of: ScoreOf) -> tuple[Head, ...]:
    found: Iterator[Head] = (Head(score_of(group, entries, 0), group, entries) for group, entries in groups)
    return tuple(sorted(found, key=lambda head: head.score))
