"""Who starts now: queue by queue and head by head, with places held for those that find no room."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from ampacity.model.amounts import Amounts
from ampacity.model.ids import WorkloadId
from ampacity.model.plan import Reservation, Start
from ampacity.model.policy import PlacementName
from ampacity.model.quantities import print_cpus
from ampacity.model.resources import Range

from .backfill.guard import Guard
from .board import Board, Fit
from .gang import asks_no_less
from .locality import say_nearness
from .moment import Moment
from .order import Group, Shape, Want
from .paces import say_paces
from .place import has_room, place_as, placements
from .preempting.preemptor import Preemptor
from .queues.contest import contest
from .queues.heads import Head, Heads, Score
from .queues.purse import Purse, wanted
from .queues.rules import Barred

ReplicaKey = tuple[WorkloadId, int]


class Barring(NamedTuple):
    """``amounts``: what the queue would have to be let use."""

    bar: Barred
    amounts: Amounts


@dataclass(slots=True)
class Served:
    """What became of those that want a start.

    Attributes:
        starts: in the order in which they were given.
        crowded: the shapes that find no room, whoever asks, by their numbers.
        shapes: those of all that wait, by the same numbers.
        barred: by group, why its queue may not use more, in the order in which they were looked at.
        behind: the groups that would find room, were it not held for others.
        scores: how those stood in their queues that have something held.
        ordered: by queue, the heads of all groups of its line.
        ends: by group, when those have ended for sure that start now, where that was asked.
        complete: whether everybody was looked at who might find room.
    """

    starts: list[Start] = field(default_factory=list)
    crowded: set[int] = field(default_factory=set)
    shapes: dict[int, Shape] = field(default_factory=dict)
    barred: dict[Group, Barring] = field(default_factory=dict)
    behind: set[Group] = field(default_factory=set)
    reservations: tuple[Reservation, ...] = ()
    scores: dict[ReplicaKey, Score] = field(default_factory=dict)
    ordered: dict[str, tuple[Head, ...]] = field(default_factory=dict)
    ends: dict[Group, float] = field(default_factory=dict)
    complete: bool = True


@dataclass(slots=True)
class Server:
    """Serves until nobody finds room any more, or ``tests`` were in vain.

    As long as the guard is not full, whoever finds no room has some held. From the first of these on, all others are
    let past only where that delays none of them: they have ended by then, or they leave alone what is held.
    """

    moment: Moment
    board: Board
    purse: Purse
    guard: Guard
    preemptor: Preemptor
    served: Served = field(default_factory=Served)
    _queues: dict[str, Heads] = field(default_factory=dict)
    _done: set[Group] = field(default_factory=set)
    _kept_out: dict[int, float] = field(default_factory=dict)
    _least_crowded: list[Shape] = field(default_factory=list)
    _least_kept_out: dict[float, list[Shape]] = field(default_factory=dict)
    _roomy: list[int] = field(default_factory=list)
    _unhelped: set[str] = field(default_factory=set)
    _demands: dict[int, Amounts] = field(default_factory=dict)

    def serve(self, others: Iterable[Want]) -> Served:
        """``others``: who may start now, and is in no group of the line."""
        line, policy = self.moment.state.line, self.moment.state.policy
        self.served.shapes.update(line.shapes)
        self._queues = {queue: self.moment.heads(queue) for queue in sorted(line.queues)}
        self.served.ordered = {queue: heads.ordered for queue, heads in self._queues.items()}
        for want in others:
            group = self.group(want)
            if group.queue not in self._queues:
                self._queues[group.queue] = self.moment.heads(group.queue)
            self._queues[group.queue].add(group, ((line.turn(want), want),))
        self._roomy = sorted(self.served.shapes, key=lambda number: _bulk(self.served.shapes[number]), reverse=True)
        rivals = contest(policy.sharing, list(self._queues), self._peek, self.purse, self._demand)
        left = policy.backfill.tests
        while left and not (self.guard.is_full and self._is_over()):
            found = rivals.next()
            if found is None:
                break
            queue, head = found
            left -= not self._try(head)
            rivals.changed(queue)
        self.served.reservations, self.served.complete = tuple(self.guard.reservations), left > 0
        return self.served

    def group(self, want: Want) -> Group:
        """The group of one that is in none: a shape that nobody in the line has gets a number below zero."""
        group = self.moment.state.line.group(want)
        if group.shape:
            return group
        shapes = self.served.shapes
        number = next((number for number, shape in shapes.items() if number < 0 and shape == want.shape), None)
        if number is None:
            number = min((0, *shapes)) - 1
            shapes[number] = want.shape
        return group._replace(shape=number)

    def is_crowded(self, number: int) -> bool:
        """Whether nobody of this shape finds room. Room only shrinks while a plan is made."""
        if number not in self.served.crowded:
            shape = self.served.shapes[number]
            if any(asks_no_less(shape, each) for each in self._least_crowded) or not has_room(self.board, shape):
                self._crowd(number)
        return number in self.served.crowded

    def _crowd(self, number: int) -> None:
        """A shape finds no room: then none does that asks for no less."""
        self.served.crowded.add(number)
        _keep_least(self._least_crowded, self.served.shapes[number])

    def _is_over(self) -> bool:
        """Whether nobody finds room, whatever its shape, and nobody gives way to any of them."""
        if len(self._unhelped) < len(self._queues):
            return False
        while self._roomy and self.is_crowded(self._roomy[-1]):
            self._roomy.pop()
        return not self._roomy

    def _peek(self, queue: str) -> Head | None:
        head = self._queues[queue].peek(self._is_passed_over)
        if head is None:
            self._unhelped.add(queue)
        return head

    def _is_passed_over(self, group: Group) -> bool:
        """Whether it need not be looked at: nothing can be done for it any more."""
        if group in self._done:
            return True
        if not self.guard.is_full:
            return False
        if group.queue in self._unhelped and self.is_crowded(group.shape):
            return True
        if group.shape in self.served.crowded:
            return False
        return self._is_kept_out(group)

    def _demand(self, head: Head) -> Amounts:
        """What a head would take at least: those of one shape the same."""
        shape = head.group.shape
        if shape not in self._demands:
            self._demands[shape] = wanted(head.want)
        return self._demands[shape]

    def _until(self, group: Group) -> float:
        """When those of a group have ended for sure, if they start now."""
        ends = self.served.ends
        if group not in ends:
            ends[group] = self.moment.now + self.moment.bound_s(group)
        return ends[group]

    def _try(self, head: Head) -> bool:
        """Serve a head, or hold something for it. Whether it starts."""
        want, group = head.want, head.group
        size = self.purse.allowed(want)
        if size is None:
            return self._help(head) or self._bar(head, wanted(want))
        fits = self._places(head, size)
        if fits is None:
            if self.is_crowded(group.shape):
                return self._help(head) or self._wait(head)
            self.served.behind.add(group)
            return self._wait(head)
        amounts: Amounts = self.purse.amounts(placements(fits))
        if self.purse.barred(group.queue, amounts) is not None:
            return self._bar(head, amounts)
        until = self._until(group)
        if self.guard.delays(until) and self.guard.barred(group.queue, amounts, until):
            self.served.behind.add(group)
            return self._wait(head)
        self._start(head, fits, amounts)
        return True

    def _places(self, head: Head, size: Range) -> tuple[Fit, ...] | None:
        """Places, beside what is held where it could delay somebody."""
        want, shape = head.want, head.group.shape
        if shape in self.served.crowded:
            return None
        until = self._until(head.group)
        if not self.guard.delays(until):
            fits = place_as(self.board, want.gang, size, want.spread)
            if fits is None:
                self._crowd(shape)
            return fits
        if self._is_kept_out(head.group) or self.guard.barred(head.group.queue, wanted(want), until):
            return None
        since = self.guard.since(until)
        least = [each for at, shapes in self._least_kept_out.items() if at <= since for each in shapes]
        fits = None if any(asks_no_less(want.gang, each) for each in least) else self.guard.place(want, size, until)
        if fits is None:
            self._kept_out[shape] = min(since, self._kept_out.get(shape, since))
            _keep_least(self._least_kept_out.setdefault(since, []), want.shape)
        return fits

    def _is_kept_out(self, group: Group) -> bool:
        """Whether it is known that a shape finds no room beside what is held from before it has ended on: then it does
        not beside what more is held, nor when it lasts longer."""
        since = self._kept_out.get(group.shape)
        return since is not None and self._until(group) > since

    def _start(self, head: Head, fits: tuple[Fit, ...], amounts: Amounts) -> None:
        want, queue = head.want, head.group.queue
        until = self._until(head.group)
        for fit in fits:
            self.board.take(fit, want.workload.id)
        self.purse.take(queue, amounts)
        self.guard.started(queue, fits, amounts, until)
        why = _why(fits, self.board.placement) + (
            "; let past those that have places held" if self.guard.reservations else ""
        )
        if (pool := self.board.fleet.marked.pool(fits[0].row)) is not None:
            why += f"; the pool {pool} decides where"
        if want.gang.data and (near := say_nearness(self.board.fleet.marked.site, want.gang, fits)):
            why += f"; {near}"
        if want.gang.rates:
            known = self.moment.state.paces.of(want.kind, want.spec)
            why += f"; expected: {say_paces(want.spec, known, self.board.fleet.kinds_there())}"
        self.served.starts.append(
            Start(
                workload=want.workload.id,
                replica=want.replica.index,
                placements=placements(fits),
                why=why,
                lasting=self.moment.lasting(want),
            )
        )
        self._queues[queue].started(head)

    def _help(self, head: Head) -> bool:
        """Have others give way for it. Once the guard is full it is tried for the first of a queue that finds no room,
        and where that does not help, for none behind it."""
        want, queue = head.want, head.group.queue
        if queue in self._unhelped:
            return False
        if not self.preemptor.help(want):
            if self.guard.is_full:
                self._unhelped.add(queue)
            return False
        places = self.preemptor.promises[-1].placements
        until = self.moment.now + self.moment.lasting(want).expected_s
        self.guard.promised(queue, places, self.purse.amounts(places), until)
        self._queues[queue].started(head)
        return True

    def _bar(self, head: Head, amounts: Amounts) -> bool:
        """Its queue may not use so much more."""
        bar = self.purse.barred(head.group.queue, amounts)
        assert bar is not None, "it was barred"
        self.served.barred[head.group] = Barring(bar, amounts)
        self._until(head.group)
        self._done.add(head.group)
        if not self.guard.is_full:
            self.guard.hold_quota(head.want, head.group.queue, amounts, bar)
            self._note(head)
        self._queues[head.group.queue].done(head)
        return False

    def _wait(self, head: Head) -> bool:
        """It finds no room. As long as it has some held, the next of its group may have some, too."""
        heads, before = self._queues[head.group.queue], len(self.guard.reservations)
        if not self.guard.is_full:
            want = head.want
            expected_s = self.moment.lasting(want).expected_s
            self.guard.hold_room(want, head.group.queue, wanted(want), expected_s)
            self._note(head)
        if len(self.guard.reservations) > before:
            heads.started(head)
        else:
            self._done.add(head.group)
            heads.done(head)
        return False

    def _note(self, head: Head) -> None:
        """How one stands for whom something may be held now."""
        self.served.scores[head.want.workload.id, head.want.replica.index] = head.score


def _bulk(shape: Shape) -> tuple[int, int, int]:
    """For looking at those first that ask for the least."""
    request = shape.resources
    devices = request.accelerators[0].count.minimum * request.accelerators[0].milli if request.accelerators else 0
    return shape.size.minimum * devices, shape.size.minimum * request.cpu_milli.minimum, request.memory_bytes.minimum


def _keep_least(least: list[Shape], shape: Shape) -> None:
    """Of shapes that find no room only those that do not ask for as much as another one."""
    if not any(asks_no_less(shape, each) for each in least):
        least[:] = [*(each for each in least if not asks_no_less(each, shape)), shape]


def _why(fits: tuple[Fit, ...], placement: PlacementName) -> str:
    more = f" and {len(fits) - 4} more" if len(fits) > 4 else ""
    left = [_leaves(fit) + (f" on {fit.node}" if len(fits) > 1 else "") for fit in fits[:4]]
    return f"{placement.value.replace('_', ' ')}: leaves {', '.join(left)}{more}"


def _leaves(fit: Fit) -> str:
    """What is then free on the node; accelerators where it has some to speak of."""
    cpus = f"{print_cpus(fit.cpu_left_milli)} CPUs"
    if not fit.accelerators_left_milli and not fit.allocation.devices:
        return cpus
    return f"{print_cpus(fit.accelerators_left_milli)} accelerators and {cpus}"
