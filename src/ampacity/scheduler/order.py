"""Which replicas want a start, and in which order they are served."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from ampacity.model.ids import QueueName, WorkloadId
from ampacity.model.resources import Range
from ampacity.model.workload import Replica, Workload, WorkloadSpec

from .gang import Gang

Turn = tuple[int, float, str, int]
"""Sorts as replicas are served: the highest priority first, then the oldest, then by id and index."""

Shape = Gang
"""What a gang's room depends on: what each member asks for, on how many nodes at least, and by which rules."""

Group = tuple[QueueName, Shape]
"""Who waits for the same: room of one shape, and what one queue may use."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Want:
    """A replica that needs a start, and what it needs for one."""

    workload: Workload
    spec: WorkloadSpec
    replica: Replica
    gang: Gang

    @property
    def shape(self) -> Shape:
        return self.gang.shape

    @property
    def size(self) -> Range:
        """How many nodes its gang may have."""
        return self.gang.size

    @property
    def group(self) -> Group:
        return self.spec.queue, self.shape

    @property
    def turn(self) -> Turn:
        return -self.spec.priority, self.workload.created_at, self.workload.id, self.replica.index

    @property
    def may_be_held_back(self) -> bool:
        """Whether anything but the room can be in its way."""
        return bool(self.workload.after) or self.replica.not_before > 0


@dataclass(slots=True)
class Line:
    """All that want a start, kept in order as they come and go, so that planning need not look at each of them.

    Attributes:
        groups: those that only wait for room and their queue's quota, each group in its order: where the first of a
            group finds none, none behind it does.
        apart: those that other workloads or time may hold back.
        waiting: how many there are of each queue that has any.
        promised: those for which places are kept.
    """

    groups: dict[Group, list[tuple[Turn, Want]]] = field(default_factory=dict)
    apart: dict[tuple[WorkloadId, int], Want] = field(default_factory=dict)
    waiting: Counter[str] = field(default_factory=Counter)
    promised: dict[tuple[WorkloadId, int], Want] = field(default_factory=dict)
    _of: dict[WorkloadId, tuple[Want, ...]] = field(default_factory=dict)

    def put(self, workload: WorkloadId, wants: Iterable[Want]) -> None:
        """What the workload wants now, instead of what it wanted before."""
        for want in self._of.pop(workload, ()):
            self._drop(want)
        fresh = tuple(wants)
        if fresh:
            self._of[workload] = fresh
        for want in fresh:
            self.waiting[want.spec.queue] += 1
            if want.replica.then:
                self.promised[workload, want.replica.index] = want
            elif want.may_be_held_back:
                self.apart[workload, want.replica.index] = want
            else:
                insort(self.groups.setdefault(want.group, []), (want.turn, want), key=_by_turn)

    def all(self) -> list[Want]:
        """Everyone, in order."""
        return sorted((want for wants in self._of.values() for want in wants), key=lambda want: want.turn)

    def _drop(self, want: Want) -> None:
        self.waiting[want.spec.queue] -= 1
        if not self.waiting[want.spec.queue]:
            del self.waiting[want.spec.queue]
        if want.replica.then or want.may_be_held_back:
            del (self.promised if want.replica.then else self.apart)[want.workload.id, want.replica.index]
            return
        key = want.group
        group = self.groups[key]
        del group[bisect_left(group, want.turn, key=_by_turn)]
        if not group:
            del self.groups[key]


def _by_turn(entry: tuple[Turn, Want]) -> Turn:
    return entry[0]
