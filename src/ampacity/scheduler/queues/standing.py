"""How the queues stand: what `ampacity queues` shows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping

from ampacity.model.amounts import Amounts
from ampacity.model.ids import DEFAULT_QUEUE
from ampacity.model.plan import QueueStanding

from .rules import Used, borrowed, dominant_share, lent
from .tree import TOP, QueueTree


def standings(
    tree: QueueTree, used: Used, capacity: Amounts, *, running: Mapping[str, int], waiting: Mapping[str, int]
) -> tuple[QueueStanding, ...]:
    """Every queue, its parts behind it, siblings by name; ``default`` last but for queues that are not in the tree.

    Args:
        running, waiting: how many by the queue that they named.
    """
    attempts, wants = _summed(tree, running), _summed(tree, waiting)
    outside = sorted(({DEFAULT_QUEUE, *attempts, *wants}) - tree.queues.keys())
    return tuple(
        QueueStanding(
            queue=tree.queue(name),
            quota=dict(tree.quotas.get(name, {})),
            used=dict(sorted(used.get(name, {}).items())),
            borrowed=borrowed(tree, used, name),
            lent=lent(tree, used, capacity, name),
            share=dominant_share(used.get(name, {}), capacity),
            running=attempts[name],
            waiting=wants[name],
        )
        for name in (*_below(tree, TOP), *outside)
    )


def _below(tree: QueueTree, name: str) -> Iterator[str]:
    for part in tree.parts(name):
        yield part
        yield from _below(tree, part)


def _summed(tree: QueueTree, counts: Mapping[str, int]) -> Counter[str]:
    found: Counter[str] = Counter()
    for queue, count in counts.items():
        for name in tree.chain(queue):
            found[name] += count
    return found
