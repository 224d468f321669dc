"""Why one waits for what its queue may use; and what queues would have to borrow and lend for it to start now."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial

from ampacity.model.amounts import given
from ampacity.model.node import Node
from ampacity.model.plan import WaitCode
from ampacity.model.resources import Allocation

from .behind import ONCE, Behind
from .explain import Explainer
from .order import Entries, Entry, Group, Turn, Want, turn_of
from .queues.raising import raised
from .queues.shares import kinds_of
from .queues.words import say_barred
from .waiting import Reason, said


@dataclass(frozen=True)
class OverQuota:
    """What it proposes is enough, though all that were looked at before it use what is let free.

    Attributes:
        groups: all that wait in line, by queue and group.
    """

    behind: Behind
    explainer: Explainer
    groups: Sequence[Mapping[Group, Entries]]
    _pulls: dict[Group, float | None] = field(default_factory=dict)

    def reason(self, group: Group, want: Want) -> Reason:
        bar = self.behind.served.barred[group].bar
        code, text, change = say_barred(bar, group.queue)
        changes = partial(self._changes, group, want, change)
        if group.shape in self.behind.served.crowded:
            other, missing, mending = self.explainer.reason(want)
            if other is not WaitCode.INSUFFICIENT:
                return other, missing, mending  # then no quota would help
            text = f"{text} Nor is there room: it {missing}"
            return code, text, lambda: f"{changes()}; and besides {said(mending)}"
        if held := self._held(group, want):
            return code, f"{text} Its room is held for {held}.", lambda: f"{changes()}; {ONCE}"
        return code, text, lambda: "; or ".join(part for part in (changes(), self._outrank(group, want)) if part)

    def _changes(self, group: Group, want: Want, change: str) -> str:
        return "; or ".join(part for part in (change, self._let_use(group, want)) if part)

    def _outrank(self, group: Group, want: Want) -> str:
        """With which priority others of its queue would leave enough to it. Where more than one resource is short,
        that is not sure."""
        (bar, amounts), beside = self.behind.served.barred[group], self.behind.beside
        others = {resource: amount for resource, amount in amounts.items() if resource != bar.resource}
        first = self.behind.to_be_first(group, want)
        if first is None or beside.barred(group.queue, others, ()) is not None:
            return ""
        if any(other.queue == group.queue and other not in self._entries for other in self.behind.served.barred):
            return ""  # one that stands in no line may be ahead of it, whatever its priority

        def suffices(held: Iterable[tuple[Node, Allocation]]) -> bool:
            purse = beside.purse.twin(beside.board)
            purse.release(group.queue, given((allocation, kinds_of(node).get) for node, allocation in held))
            return purse.barred(group.queue, amounts) is None

        least = self.explainer.outranking.least_of_all(want, suffices)
        return "" if least is None else f"raise its priority to {max(first, least)}"

    def _let_use(self, group: Group, want: Want) -> str:
        barring, beside = self.behind.served.barred[group], self.behind.beside
        shares, others = beside.purse.shares, self._ahead(group, want)
        purse = beside.purse.twin(beside.board)
        alone = raised(shares.tree, purse.used, shares.capacity, group.queue, barring.amounts)
        for other, count in others.items():
            amounts = self.behind.served.barred[other].amounts
            purse.take(other.queue, {resource: count * amount for resource, amount in amounts.items()})
        found = raised(shares.tree, purse.used, shares.capacity, group.queue, barring.amounts)
        if found is None:
            return ""
        count = sum(others.values())
        also = f", with what {'the one' if count == 1 else f'the {count}'} ahead of it would use"
        return f"write {found.say(shares.tree.queues)} in the queue file{also if found != alone else ''}"

    def _ahead(self, group: Group, want: Want) -> Mapping[Group, int]:
        """How many of each group wait for quota and may come to use what is let free before it: those ahead of it in
        its queue, and all of other queues."""
        own = self._turn(group, turn_of(self.behind.order, want))
        found = {}
        for other in self.behind.served.barred:
            entries = self._entries.get(other, ())
            if own is not None and other.queue == group.queue and entries:
                count = bisect_left(entries, own, key=partial(self._turn_in, other))
            else:
                count = max(1, len(entries)) - (other == group)
            if count:
                found[other] = count
        return found

    def _turn_in(self, group: Group, entry: Entry) -> Turn:
        return self._turn(group, entry[0]) or entry[0]

    def _turn(self, group: Group, turn: Turn) -> Turn | None:
        """With all that counts at the moment; ``None`` = it stands in no line."""
        if group not in self._pulls:
            self._pulls[group] = self.behind.pull(group)
        pull = self._pulls[group]
        return None if pull is None else (turn[0], turn[1] - pull, *turn[2:])

    @cached_property
    def _entries(self) -> Mapping[Group, Entries]:
        return {group: entries for each in self.groups for group, entries in each.items()}

    def _held(self, group: Group, want: Want) -> str:
        """For whom its room is held, where it is."""
        kept = self.behind.in_the_way(group, want)
        return self.behind.say(kept) if kept and not self.behind.beside.has_room(want.gang, kept) else ""
