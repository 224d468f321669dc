"""Which replicas want a start, kept in order as they come and go, so that planning need not look at each of them."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import count
from typing import NamedTuple

from ampacity.model.history import account_key, bucket_of, runtime_key
from ampacity.model.ids import WorkloadId
from ampacity.model.resources import Range
from ampacity.model.workload import Replica, Workload, WorkloadKind, WorkloadSpec

from .gang import Gang
from .ordering.base import Order
from .ordering.registry import DEFAULT_ORDER

Turn = tuple[float, float, float, str, int]
"""Sorts as those of a group are served: by what their order says, then the oldest first, then by id and index."""

Shape = Gang
"""What a gang's room depends on: what each member asks for, on how many nodes at least, and by which rules."""


class Group(NamedTuple):
    """What all in a group have in common: where one of them may not start, none behind it may.

    Attributes:
        owner: the account in whose name they use the queue.
        shape: the number of their shape (:attr:`Line.shapes`).
        limit_s: after which they are stopped.
        kind: of job, where what is learned of it counts.
        deadline: when they have to be done.
        ran: how long they ran before, roughly, where that counts.
        endless: they run until somebody stops them.
    """

    queue: str
    owner: str
    shape: int
    limit_s: float | None
    kind: str
    deadline: float | None
    ran: int
    endless: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Want:
    """A replica that needs a start, and what it needs for one. ``behind_s``: how long the work takes that waits for
    it, along the longest path."""

    workload: Workload
    spec: WorkloadSpec
    replica: Replica
    gang: Gang
    behind_s: float = 0.0

    @property
    def shape(self) -> Shape:
        return self.gang.shape

    @property
    def size(self) -> Range:
        """How many nodes its gang may have."""
        return self.gang.size

    @property
    def account(self) -> str:
        return account_key(self.spec.queue, self.workload.project, self.workload.owner)

    @property
    def kind(self) -> str:
        """The kind of job that it is: what is learned of one is taken for the others."""
        return runtime_key(self.workload)

    @property
    def deadline(self) -> float | None:
        return None if self.spec.deadline is None else self.spec.deadline.since(self.workload.created_at)

    @property
    def spread(self) -> WorkloadId | None:
        """The service whose replicas are kept from each other, so that a node that is lost takes as few as can be."""
        return self.workload.id if self.spec.kind is WorkloadKind.SERVICE else None

    @property
    def may_be_held_back(self) -> bool:
        """Whether anything but the room can be in its way."""
        return bool(self.workload.after) or self.replica.not_before > 0


Entry = tuple[Turn, Want]
Entries = tuple[Entry, ...]
"""The members of a group in their order. Never changed: another one takes its place."""


@dataclass(slots=True)
class QueueLine:
    """Those that wait in one queue. ``owners``: how many wait of each. ``dated``: how many have a deadline. ``stamp``:
    another number after each change."""

    groups: dict[Group, Entries] = field(default_factory=dict)
    by_shape: dict[int, set[Group]] = field(default_factory=dict)
    owners: Counter[str] = field(default_factory=Counter)
    dated: int = 0
    stamp: int = 0

    def put(self, group: Group, entries: Entries, stamp: int) -> None:
        self.stamp = stamp
        before = len(self.groups.get(group, ()))
        self.owners[group.owner] += len(entries) - before
        self.dated += (len(entries) - before) * (group.deadline is not None)
        if entries:
            self.groups[group] = entries
            self.by_shape.setdefault(group.shape, set()).add(group)
            return
        del self.groups[group]
        self.by_shape[group.shape].discard(group)
        if not self.by_shape[group.shape]:
            del self.by_shape[group.shape]
        if not self.owners[group.owner]:
            del self.owners[group.owner]


@dataclass(slots=True)
class Line:
    """All that want a start.

    Attributes:
        order: of those in one queue.
        queues: those that only wait for room and for what their queue may use, by queue and group.
        shapes: by their numbers, those that somebody in ``queues`` has.
        apart: those that other workloads or time may hold back.
        promised: those for which places are kept.
        waiting: how many there are of each queue that has any.
    """

    order: Order = DEFAULT_ORDER
    queues: dict[str, QueueLine] = field(default_factory=dict)
    shapes: dict[int, Shape] = field(default_factory=dict)
    apart: dict[tuple[WorkloadId, int], Want] = field(default_factory=dict)
    promised: dict[tuple[WorkloadId, int], Want] = field(default_factory=dict)
    waiting: Counter[str] = field(default_factory=Counter)
    _of: dict[WorkloadId, tuple[Want, ...]] = field(default_factory=dict)
    _numbers: dict[Shape, int] = field(default_factory=dict)
    _having: dict[int, dict[tuple[WorkloadId, int], Want]] = field(default_factory=dict)
    _stamps: count[int] = field(default_factory=lambda: count(1))

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
                self._insert(want)

    def turn(self, want: Want) -> Turn:
        return turn_of(self.order, want)

    def group(self, want: Want) -> Group:
        """The group that it is in, or would be in."""
        spec, limit_s = want.spec, want.spec.max_duration_s
        return Group(
            queue=spec.queue,
            owner=want.account,
            shape=self._numbers.get(want.shape, 0),
            limit_s=limit_s,
            kind=want.kind if limit_s is None or self.order.learns else "",
            deadline=want.deadline,
            ran=bucket_of(want.replica.ran_s) if self.order.learns else 0,
            endless=want.spec.kind is WorkloadKind.SERVICE,
        )

    def all(self) -> list[Want]:
        """Everyone, by the order alone: without queues, shares and what changes with time."""
        return sorted((want for wants in self._of.values() for want in wants), key=self.turn)

    def one_of(self, shape: int) -> Want:
        """Somebody who has that shape."""
        return next(iter(self._having[shape].values()))

    def _insert(self, want: Want) -> None:
        number = self._numbers.get(want.shape)
        if number is None:
            number = self._numbers[want.shape] = next(self._stamps)
            self.shapes[number] = want.shape
        self._having.setdefault(number, {})[want.workload.id, want.replica.index] = want
        group, turn = self.group(want), self.turn(want)
        line = self.queues.setdefault(group.queue, QueueLine())
        entries = line.groups.get(group, ())
        place = bisect_left(entries, turn, key=_by_turn)
        line.put(group, (*entries[:place], (turn, want), *entries[place:]), next(self._stamps))

    def _drop(self, want: Want) -> None:
        self.waiting[want.spec.queue] -= 1
        if not self.waiting[want.spec.queue]:
            del self.waiting[want.spec.queue]
        if want.replica.then or want.may_be_held_back:
            del (self.promised if want.replica.then else self.apart)[want.workload.id, want.replica.index]
            return
        group = self.group(want)
        line = self.queues[group.queue]
        entries = line.groups[group]
        place = bisect_left(entries, self.turn(want), key=_by_turn)
        line.put(group, (*entries[:place], *entries[place + 1 :]), next(self._stamps))
        if not line.groups:
            del self.queues[group.queue]
        having = self._having[group.shape]
        del having[want.workload.id, want.replica.index]
        if not having:
            del self._having[group.shape], self._numbers[self.shapes.pop(group.shape)]


def turn_of(order: Order, want: Want) -> Turn:
    """How it stands by what does not change while it waits."""
    major, minor = order.standing(want)
    return -major, -minor, want.workload.created_at, want.workload.id, want.replica.index


def _by_turn(entry: Entry) -> Turn:
    return entry[0]
