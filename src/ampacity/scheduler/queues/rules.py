"""Who may take how much, who is over its quota, and of whom something may be reclaimed. Pure arithmetic on shares."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from ampacity.model.amounts import Amounts

from .tree import TOP, QueueTree

Used = Mapping[str, Amounts]
"""What each queue holds, all of its parts included; under ``TOP`` what all hold together."""


class Bar(StrEnum):
    """``limit``: the queue's quota and what it may borrow are used up. ``kept``: what is left is not lent by others."""

    LIMIT = "limit"
    KEPT = "kept"


@dataclass(frozen=True, slots=True, kw_only=True)
class Barred:
    """Why a queue may not take so much: ``queue`` (it, or one that it is a part of) uses ``used`` of the ``limit`` that
    it may use of the resource, and ``needed`` more are asked for."""

    queue: str
    resource: str
    bar: Bar
    used: int
    limit: int
    needed: int


def barred(tree: QueueTree, used: Used, capacity: Amounts, queue: str, demand: Amounts) -> Barred | None:
    """Why the queue may not take the demand on top of what is used; ``None`` = it may.

    Neither it nor any queue that it is a part of may come to more than its limit; and what any of them takes beyond its
    quota has to be left by what its siblings have of their quotas, do not use, and do not lend.
    """
    for name in tree.chain(queue):
        holds, keepers = used.get(name, {}), tree.keepers(tree.parent(name))
        queue_row = tree.queue(name)
        for resource, needed in demand.items():
            held = holds.get(resource, 0)
            limit = queue_row.limit(resource)
            if limit is not None and held + needed > limit:
                return Barred(queue=name, resource=resource, bar=Bar.LIMIT, used=held, limit=limit, needed=needed)
            if keepers and held + needed > tree.quota(name, resource):
                found = _kept(tree, used, capacity, name, resource, needed)
                if found is not None:
                    return found
    return None


def _kept(tree: QueueTree, used: Used, capacity: Amounts, name: str, resource: str, needed: int) -> Barred | None:
    """Whether what it would borrow is kept back by those beside it."""
    parent = tree.parent(name)
    kept = 0
    for sibling in tree.keepers(parent):
        if sibling != name:
            unused = tree.queue(sibling).kept(resource) - used.get(sibling, {}).get(resource, 0)
            kept += max(0, unused)
    if not kept:
        return None
    whole = _most(tree, capacity, parent, resource)
    held = used.get(parent, {}).get(resource, 0)
    if held + needed + kept <= whole:
        return None
    return Barred(queue=name, resource=resource, bar=Bar.KEPT, used=held, limit=whole - kept, needed=needed)


def _most(tree: QueueTree, capacity: Amounts, name: str, resource: str) -> int:
    limit = tree.queue(name).limit(resource)
    return capacity.get(resource, 0) if limit is None else limit


def dominant_share(used: Amounts, capacity: Amounts) -> float:
    """The largest part that it has of any resource: Ghodsi et al., "Dominant Resource Fairness" (NSDI 2011), §4.1."""
    return max((amount / capacity[name] for name, amount in used.items() if capacity.get(name)), default=0.0)


def borrowed(tree: QueueTree, used: Used, queue: str) -> dict[str, int]:
    """What a queue uses beyond its quota, of the resources that it or any queue beside it has a quota of."""
    named = tree.named(tree.parent(queue))
    over = {
        resource: amount - tree.quota(queue, resource)
        for resource, amount in used.get(queue, {}).items()
        if resource in named
    }
    return {resource: amount for resource, amount in sorted(over.items()) if amount > 0}


def lent(tree: QueueTree, used: Used, capacity: Amounts, queue: str) -> dict[str, int]:
    """What of its quota others hold: what its siblings borrow beyond what is in nobody's quota, divided among all that
    have some to spare, by how much they have."""
    beside = tree.parts(tree.parent(queue))
    parent = tree.parent(queue)
    found: dict[str, int] = {}
    for resource in sorted(tree.quotas.get(queue, {})):
        spare = {name: max(0, tree.quota(name, resource) - used.get(name, {}).get(resource, 0)) for name in beside}
        if not spare.get(queue):
            continue
        whole = capacity.get(resource, 0) if parent == TOP else tree.quota(parent, resource)
        free = max(0, whole - sum(tree.quota(name, resource) for name in beside))
        held = used.get(parent, {}).get(resource, 0)
        within = sum(min(tree.quota(name, resource), used.get(name, {}).get(resource, 0)) for name in beside)
        amount = max(0, held - within - free) * spare[queue] // sum(spare.values())
        if amount:
            found[resource] = min(amount, spare[queue])
    return found


def within_quota(tree: QueueTree, used: Used, queue: str, demand: Amounts) -> bool:
    """Whether the queue would still be within its quota, of the resources that any queue beside it has a quota of:
    then it may have reclaimed what others borrow."""
    named = tree.named(tree.parent(queue))
    holds = used.get(queue, {})
    return all(
        holds.get(resource, 0) + needed <= tree.quota(queue, resource)
        for resource, needed in demand.items()
        if resource in named
    )


def debtors(tree: QueueTree, used: Used, queue: str, demand: Amounts) -> tuple[str, ...]:
    """The queues from which this one may reclaim what it demands, those that borrow the most (by their dominant share
    of the quotas) first; each is in the tree, or stands at the top without a quota. Empty where it may not reclaim, or
    would itself be over its quota.

    Looked for level by level: beside the queue, then beside what it is a part of, as long as that is within its quota.
    """
    if not tree.queue(queue).reclaims:
        return ()
    found: list[str] = []
    for name in tree.chain(queue):
        if not within_quota(tree, used, name, demand):
            break
        parent = tree.parent(name)
        beside = [each for each in used if each != TOP and tree.parent(each) == parent and each != name]
        over = {each: borrowed(tree, used, each) for each in beside}
        owing = [each for each in beside if any(resource in demand for resource in over[each])]
        found += sorted(owing, key=lambda each: (-_debt(tree, over[each], parent), each))
    return tuple(found)


def _debt(tree: QueueTree, over: Amounts, parent: str) -> float:
    whole = {
        resource: sum(tree.quota(name, resource) for name in tree.parts(parent)) or amount
        for resource, amount in over.items()
    }
    return dominant_share(over, whole)
