"""What queues would have to borrow and lend so that one of them may use so much more. Pure arithmetic."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from ampacity.model.amounts import Amounts, print_amount
from ampacity.model.queue import Queue

from .rules import Bar, Barred, Used, barred
from .tree import QueueTree

MOST = 100
"""Bars that are lifted, one after the other."""


@dataclass(frozen=True, slots=True)
class Raised:
    """The rows of the queues as they would be, by name."""

    queues: Mapping[str, Queue]

    def say(self, before: Mapping[str, Queue]) -> str:
        """```borrow: {H100: 8}` for vision and `lend: {H100: 2}` for production``: what to write in the file."""
        parts = []
        for name, queue in self.queues.items():
            if queue.borrowing != before[name].borrowing or queue.borrows != before[name].borrows:
                parts.append(f"`borrow: {_map(queue.borrowing)}` for {name}")
            if queue.lending != before[name].lending or queue.lends != before[name].lends:
                parts.append(f"`lend: {_map(queue.lending)}` for {name}")
        return " and ".join(parts)


def raised(tree: QueueTree, used: Used, capacity: Amounts, queue: str, demand: Amounts) -> Raised | None:
    """The least that lets the queue use the demand on top of what is used, its quotas and all others' as they are:
    limits are lifted by more borrowing, and where others keep what it would borrow, those lend more that keep the most.
    ``None`` = the queue may use it, or nothing of this kind would help."""
    found: dict[str, Queue] = {}
    for _ in range(MOST):
        bar = barred(QueueTree.of({**tree.queues, **found}), used, capacity, queue, demand)
        if bar is None:
            return Raised(found) if found else None
        now = QueueTree.of({**tree.queues, **found})
        match bar.bar:
            case Bar.LIMIT:
                found[bar.queue] = _borrowing(now.queue(bar.queue), bar)
            case Bar.KEPT:
                lent = _lending(now, used, bar)
                if not lent:
                    return None
                found.update(lent)
    return None


def _borrowing(queue: Queue, bar: Barred) -> Queue:
    """The queue, with as much more to borrow. What it may not borrow else stays so."""
    borrowing = dict(queue.borrowing) if queue.borrows else dict.fromkeys(queue.quota, 0)
    borrowing[bar.resource] = bar.used + bar.needed - queue.quota.get(bar.resource, 0)
    return replace(queue, borrowing=borrowing, borrows=True)


def _lending(tree: QueueTree, used: Used, bar: Barred) -> dict[str, Queue]:
    """Those beside it that would have to lend more, those first that keep the most of what they do not use."""
    short, resource = bar.used + bar.needed - bar.limit, bar.resource
    unused = {
        name: tree.queue(name).kept(resource) - used.get(name, {}).get(resource, 0)
        for name in tree.keepers(tree.parent(bar.queue))
        if name != bar.queue
    }
    found: dict[str, Queue] = {}
    for name in sorted(unused, key=lambda each: (-unused[each], each)):
        if short <= 0 or unused[name] <= 0:
            break
        queue, more = tree.queue(name), min(short, unused[name])
        lending = dict(queue.lending) if queue.lends else dict.fromkeys(queue.quota, 0)
        lending[resource] = queue.quota.get(resource, 0) - queue.kept(resource) + more
        found[name] = replace(queue, lending=lending, lends=True)
        short -= more
    return found


def _map(amounts: Amounts) -> str:
    return f"{{{', '.join(f'{name}: {print_amount(name, amount)}' for name, amount in sorted(amounts.items()))}}}"
