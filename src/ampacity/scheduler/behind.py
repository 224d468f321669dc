"""Why one waits for which there would be room, were it not held for others; and what would let it start now."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from itertools import takewhile
from math import inf

from ampacity.model.fits import holds
from ampacity.model.ids import WorkloadId
from ampacity.model.plan import WaitCode
from ampacity.model.policy import SchedulerPolicy, Sharing
from ampacity.model.quantities import print_duration
from ampacity.model.resources import Range, ResourceRequest

from .backfill.held import Kept
from .beside import Beside, Holding, holding
from .order import Group, Shape, Want, turn_of
from .ordering.base import Order
from .ordering.fair import LARGEST_PRIORITY
from .place import alternatives
from .queues.heads import Score
from .queues.purse import wanted
from .serve import Served
from .shortfall import dimensions, most_to_ask, needed_of
from .waiting import Reason
from .words import listed, say_amount

ONCE = "it starts once they have"


@dataclass(frozen=True, slots=True)
class Behind:
    """Proposes what is sure alone: with it the same plan would have started the one that asks.

    Attributes:
        names: of the workloads that have something held.
    """

    beside: Beside
    served: Served
    order: Order
    policy: SchedulerPolicy
    names: Mapping[WorkloadId, str]
    _known: dict[tuple[Shape, Holding], list[str]] = field(default_factory=dict)

    def reason(self, group: Group, want: Want) -> Reason:
        kept = self.in_the_way(group, want)
        if not kept or not self.served.complete:
            text = "there is room for it, and others are ahead of it."
            return WaitCode.BEHIND, text, "it starts when they have started"
        text = f"there is room for it, but it is held for {self.say(kept)}, which it may not delay."
        return WaitCode.BEHIND, text, lambda: "; or ".join(self._changes(group, want, kept)) or ONCE

    def in_the_way(self, group: Group, want: Want) -> list[Kept]:
        """What it has to leave alone: what was held already when it was looked at, in the order of those turns, for
        whoever is to start before it would have ended."""
        own, until = (want.workload.id, want.replica.index), self.served.ends.get(group, inf)
        before = takewhile(lambda each: (each.workload, each.replica) != own, self.served.reservations)
        kept = {(each.reservation.workload, each.reservation.replica): each for each in self.beside.kept}
        return [kept[each.workload, each.replica] for each in before if each.from_s < until]

    def say(self, kept: Sequence[Kept]) -> str:
        """For whom something is held."""
        idents = dict.fromkeys(each.reservation.workload for each in kept)
        return listed([f"{self.names[ident]} ({ident})" for ident in idents])

    def _changes(self, group: Group, want: Want, kept: Sequence[Kept]) -> list[str]:
        if self.beside.barred(group.queue, wanted(want), ()) is not None:
            return []
        return [*self._shorter(group, want, kept), *self._less(group, want, kept), *self._ahead(group, want, kept)]

    def _shorter(self, group: Group, want: Want, kept: Sequence[Kept]) -> list[str]:
        """The longest that it may last to have ended before what is held is needed. With a deadline it would be less
        urgent if it took less time: then others may come to be ahead of it."""
        if want.deadline is not None:
            return []
        for at in sorted({each.from_s for each in kept}, reverse=True):
            left = [each for each in kept if each.from_s < at]
            lasts_s = int(at - self.beside.now)
            if lasts_s < 1:
                break
            if (not left or self.beside.has_room(want.gang, left)) and not self._barred(group, want, left):
                ends = datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
                return [f"set `max_duration: {print_duration(lasts_s)}`, to have ended by {ends}"]
        return []

    def _less(self, group: Group, want: Want, kept: Sequence[Kept]) -> list[str]:
        """With how much of one thing, or on how many nodes, it has room beside what is held."""
        if not self.beside.tells(want.gang) or self._barred(group, want, kept) or self._size_counts(want):
            return []
        key = want.shape, holding(kept)
        if key not in self._known:
            self._known[key] = self._smaller(want.shape, kept)
        return self._known[key]

    def _smaller(self, shape: Shape, kept: Sequence[Kept]) -> list[str]:
        nodes, count, found = self.beside.nodes(shape, kept), shape.size.minimum, list[str]()
        for request in alternatives(shape.resources):
            for dimension in dimensions(request):
                most = most_to_ask(nodes, request, dimension, count)
                if 0 < most < needed_of(request, dimension):
                    found.append(f"ask for {say_amount(request, dimension, most)}")
            fitting = sum(holds(node, free, request) for node, free in nodes)
            if 0 < fitting < count:
                found.append(f"ask for {fitting} node{'' if fitting == 1 else 's'}")
        return list(dict.fromkeys(found))

    def _size_counts(self, want: Want) -> bool:
        """Whether others come to be ahead of it when it asks for less."""
        spec = replace(want.spec, resources=ResourceRequest())
        smaller = replace(want, spec=spec, gang=replace(want.gang, size=Range.exactly(1)))
        return turn_of(self.order, smaller) > turn_of(self.order, want)

    def _barred(self, group: Group, want: Want, kept: Sequence[Kept]) -> bool:
        return self.beside.barred(group.queue, wanted(want), kept) is not None

    def _ahead(self, group: Group, want: Want, kept: Sequence[Kept]) -> list[str]:
        """The smallest priority with which it would be looked at before all for whom its room is held."""
        if not all(self._would_follow(group, want, each) for each in kept):
            return []
        first = min(self.served.scores[each.reservation.workload, each.reservation.replica] for each in kept)
        least = self._before(group, want, first)
        return [] if least is None else [f"raise its priority to {least}"]

    def to_be_first(self, group: Group, want: Want) -> int | None:
        """The smallest priority with which nobody of its queue is ahead of it; ``None`` = there is none."""
        heads, own = self.served.ordered.get(group.queue, ()), (want.workload.id, want.replica.index)
        scores = [head.score for head in heads if (head.want.workload.id, head.want.replica.index) != own]
        return self._before(group, want, min(scores)) if scores else want.spec.priority

    def _before(self, group: Group, want: Want, first: Score) -> int | None:
        """The smallest priority with which it stands before that one."""
        low, high = want.spec.priority - 1, LARGEST_PRIORITY
        most = self._score(group, want, high)
        if most is None or most > first:
            return None
        while high - low > 1:
            middle = (low + high) // 2
            score = self._score(group, want, middle)
            low, high = (low, middle) if score is not None and score < first else (middle, high)
        return high

    def _would_follow(self, group: Group, want: Want, kept: Kept) -> bool:
        """Whether the turn of that one would be its own, were it ahead of it: in the same line, asking for no more (of
        two queues the one goes first that stays within its quota)."""
        if self.policy.sharing is Sharing.SINGLE_LINE:
            return True
        asks = wanted(want)
        less = all(amount <= kept.amounts.get(name, 0) for name, amount in asks.items())
        return kept.queue == group.queue and (less or not self.beside.purse.shares.tree.queues)

    def _score(self, group: Group, want: Want, priority: int) -> Score | None:
        """How it would stand with that priority; ``None`` = it stands in no line."""
        pull = self.pull(group)
        if pull is None:
            return None
        turn = turn_of(self.order, replace(want, spec=replace(want.spec, priority=priority)))
        return turn[0], turn[1] - pull, *turn[2:]

    def pull(self, group: Group) -> float | None:
        """What was added to the points of all of a group; ``None`` = it stands in no line."""
        head = next((each for each in self.served.ordered.get(group.queue, ()) if each.group == group), None)
        return None if head is None else head.entries[0][0][1] - head.score[1]
