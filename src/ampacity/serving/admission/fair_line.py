"""The line of one model: by priority, then fair between projects by tokens.

Start-time fair queueing (Goyal, Vin and Cheng, SIGCOMM 1996): each project has a virtual finish, moved on by the
tokens that it was given over its weight; the project whose next request would start earliest goes first. So a project
that asks for little is not behind one that asks for much, and one that has the engines for itself may use them all.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Mapping

from ampacity.model.ids import Project

from .verdict import Entry


class _Lane:
    """One project's part of a level. ``waiting``: tokens of the ``count`` that stand in line. ``turn``: which of its
    places in the level's heap holds."""

    __slots__ = ("count", "entries", "finish", "turn", "waiting", "weight")

    def __init__(self, weight: float) -> None:
        self.entries: deque[Entry] = deque()  # with some that have left, which are passed over
        self.finish = self.waiting = 0.0
        self.count = self.turn = 0
        self.weight = weight

    def start(self, virtual: float) -> float:
        return max(virtual, self.finish)

    def first(self) -> Entry:
        while self.entries[0].left:
            self.entries.popleft()
        return self.entries.popleft()


class _Level:
    """All of one priority."""

    __slots__ = ("_heap", "_turn", "count", "lanes", "virtual", "waiting")

    def __init__(self) -> None:
        self.lanes: dict[Project, _Lane] = {}
        self.virtual = self.waiting = 0.0
        self.count = self._turn = 0
        self._heap: list[tuple[float, int, _Lane]] = []  # the lanes that have somebody waiting

    def lane(self, project: Project, weight: float) -> _Lane:
        lane = self.lanes.get(project)
        if lane is None:
            lane = self.lanes[project] = _Lane(weight)
        lane.weight = weight
        return lane

    def push(self, entry: Entry, lane: _Lane) -> None:
        lane.entries.append(entry)
        self._count(lane, entry, 1)
        if lane.count == 1:
            self._stand(lane)

    def pop(self) -> Entry:
        while True:
            start, turn, lane = heapq.heappop(self._heap)
            if turn != lane.turn or not lane.count:
                continue
            if start < lane.start(self.virtual):
                self._stand(lane)
                continue
            entry = lane.first()
            self._count(lane, entry, -1)
            self.serve(lane, entry.cost)
            if lane.count:
                self._stand(lane)
            return entry

    def remove(self, entry: Entry) -> bool:
        lane = self.lanes.get(entry.project)
        if lane is None or entry.left or entry.went is not None:
            return False
        entry.left = True
        self._count(lane, entry, -1)
        return True

    def serve(self, lane: _Lane, cost: float) -> None:
        """The lane is given so many tokens now."""
        self.virtual = lane.start(self.virtual)
        lane.finish = self.virtual + cost / lane.weight

    def correct(self, lane: _Lane, tokens: float) -> None:
        """The lane was given so many tokens more than it was charged for."""
        lane.finish += tokens / lane.weight
        if lane.count:
            self._stand(lane)

    def ahead(self, project: Project, weight: float) -> float:
        """Tokens that go before another request of the project, if nothing else comes."""
        lane = self.lanes.get(project)
        mine = self.virtual if lane is None else lane.start(self.virtual) + lane.waiting / weight
        total = 0.0 if lane is None else lane.waiting
        for other in self.lanes.values():
            if other is not lane and other.count:
                share = (mine - other.start(self.virtual)) * other.weight
                total += min(other.waiting, max(0.0, share))
        return total

    def tidy(self) -> None:
        """Forget projects that have nothing to wait for and owe nothing."""
        gone = [name for name, lane in self.lanes.items() if not lane.count and lane.finish <= self.virtual]
        for name in gone:
            del self.lanes[name]

    def _stand(self, lane: _Lane) -> None:
        self._turn += 1
        lane.turn = self._turn
        heapq.heappush(self._heap, (lane.start(self.virtual), self._turn, lane))

    def _count(self, lane: _Lane, entry: Entry, by: int) -> None:
        lane.count += by
        self.count += by
        lane.waiting += by * entry.cost
        self.waiting += by * entry.cost


MOST_LANES = 1024
"""More than so many projects at a level are tidied up."""


class FairLine:
    """Entries in the order in which they shall go. ``weights``: 1 for a project that is not named; they may change."""

    def __init__(self, weights: Mapping[Project, float]) -> None:
        self._levels: dict[int, _Level] = {}
        self._order: list[int] = []
        self._weights = weights

    def __len__(self) -> int:
        return sum(level.count for level in self._levels.values())

    def push(self, entry: Entry) -> None:
        """Stand in line. ``entry.cost`` is what it will be charged for."""
        level = self._level(entry.priority)
        level.push(entry, self._lane(level, entry))

    def pop(self) -> Entry:
        """The next one, charged for. Raises ``IndexError`` when nobody waits."""
        for priority in self._order:
            if self._levels[priority].count:
                return self._levels[priority].pop()
        raise IndexError("nobody waits")

    def remove(self, entry: Entry) -> bool:
        """It leaves the line. ``False``: it did not stand there."""
        return self._level(entry.priority).remove(entry)

    def pass_by(self, entry: Entry) -> None:
        """It goes without waiting, and is charged for."""
        level = self._level(entry.priority)
        level.serve(self._lane(level, entry), entry.cost)

    def correct(self, entry: Entry, used: int) -> None:
        """It has used another number of tokens than it was charged for."""
        level = self._level(entry.priority)
        lane = level.lanes.get(entry.project)
        if lane is not None:
            level.correct(lane, used - entry.cost)

    def ahead(self, entry: Entry) -> float:
        """Tokens that go before it if it came now."""
        total = 0.0
        for priority in self._order:
            level = self._levels[priority]
            if priority > entry.priority:
                total += level.waiting
            elif priority == entry.priority:
                total += level.ahead(entry.project, self._weight(entry.project))
        return total

    def _lane(self, level: _Level, entry: Entry) -> _Lane:
        if len(level.lanes) > MOST_LANES:
            level.tidy()
        return level.lane(entry.project, self._weight(entry.project))

    def _weight(self, project: Project) -> float:
        return self._weights.get(project, 1.0)

    def _level(self, priority: int) -> _Level:
        level = self._levels.get(priority)
        if level is None:
            level = self._levels[priority] = _Level()
            self._order = sorted(self._levels, reverse=True)
        return level
