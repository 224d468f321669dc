"""Whether a queue tree can be: first by itself, then on the nodes that there are."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from ampacity.model.amounts import KINDLESS, capacity_of, print_amount
from ampacity.model.ids import DEFAULT_QUEUE
from ampacity.model.node import Node
from ampacity.model.queue import Queue
from ampacity.model.workload_file.mistakes import Mistake, Mistakes, Path
from ampacity.model.workload_file.types import nearest

from .parse import QueueFile


def refuse_bent(read: QueueFile, mistakes: Mistakes) -> None:
    """Add what is wrong with the tree by itself: parents, circles, quotas beyond their parent's."""
    queues = {str(queue.name): queue for queue in read.queues or ()}
    for mistake in (*_parents(queues), *_lent_more(queues)):
        _add(read, mistakes, mistake)
    if not mistakes.found:
        for mistake in _beyond_parent(queues):
            _add(read, mistakes, mistake)


def refuse_unsound(read: QueueFile, nodes: Iterable[Node]) -> None:
    """Raises ``InvalidSpec``, with file, line and key, when the queues name a kind that no node has, or their quotas
    add up to more than the nodes have. Without any node nothing is refused: it is not known what will join."""
    known = list(nodes)
    if not known or read.queues is None:
        return
    mistakes = Mistakes(file=read.file)
    capacity = capacity_of(known)
    for mistake in (*_unknown_kinds(read.queues, capacity), *_beyond_nodes(read.queues, capacity)):
        _add(read, mistakes, mistake)
    mistakes.raise_any()


def _add(read: QueueFile, mistakes: Mistakes, mistake: Mistake) -> None:
    line = read.line_of(mistake.path)
    mistakes.add(Mistake(mistake.message, path=mistake.path, line=line, hint=mistake.hint))


def _parents(queues: dict[str, Queue]) -> Iterator[Mistake]:
    for name, queue in queues.items():
        path: Path = ("queues", name, "parent")
        if queue.parent == DEFAULT_QUEUE:
            yield Mistake("'default' takes what names no queue; it has no parts.", path=path)
        elif queue.parent and queue.parent not in queues:
            hint = nearest(queue.parent, queues) or "Write that queue, too."
            yield Mistake(f"there is no queue {queue.parent!r} in this file.", path=path, hint=hint)
    for circle in _circles(queues):
        words = " in ".join([*circle, circle[0]])
        yield Mistake(
            f"these are parts of each other: {words}.",
            path=("queues", circle[0], "parent"),
            hint="Take one parent out.",
        )


def _circles(queues: dict[str, Queue]) -> Iterator[list[str]]:
    """Each circle once, from the first of its queues in the file on."""
    done: set[str] = set()
    for name in queues:
        walked: list[str] = []
        while name in queues and name not in done and name not in walked:
            walked.append(name)
            name = queues[name].parent
        if name in walked:
            yield walked[walked.index(name) :]
        done.update(walked)


def _lent_more(queues: dict[str, Queue]) -> Iterator[Mistake]:
    for name, queue in queues.items():
        for resource, amount in queue.lending.items():
            quota = queue.quota.get(resource, 0)
            if amount > quota:
                has = f"its quota is {print_amount(resource, quota)}" if quota else "it has no quota of that"
                yield Mistake(f"lends more than it has: {has}.", path=("queues", name, "lend", resource))


def _beyond_parent(queues: dict[str, Queue]) -> Iterator[Mistake]:
    for name, queue in queues.items():
        for resource, quota in queue.quota.items():
            parts = [each for each in queues.values() if each.parent == name and resource in each.quota]
            total = sum(each.quota[resource] for each in parts)
            if total > quota:
                sums, has = print_amount(resource, total), print_amount(resource, quota)
                names = ", ".join(str(each.name) for each in parts)
                yield Mistake(
                    f"its parts have {sums} in all, and it has {has}.",
                    path=("queues", name, "quota", resource),
                    hint=f"Give it {sums}, or its parts less: {names}.",
                )


def _unknown_kinds(queues: Iterable[Queue], capacity: dict[str, int]) -> Iterator[Mistake]:
    kinds = [name for name in capacity if name not in KINDLESS]
    for queue in queues:
        for key, amounts in (("quota", queue.quota), ("borrow", queue.borrowing), ("lend", queue.lending)):
            for resource in amounts:
                if resource not in capacity:
                    near = nearest(resource, {name.lower() for name in (*kinds, *KINDLESS)})
                    match = next((name for name in (*kinds, *KINDLESS) if f"Did you mean {name.lower()}?" == near), "")
                    hint = f"Did you mean {match}?" if match else f"There are {', '.join((*sorted(kinds), *KINDLESS))}."
                    yield Mistake("no node has any of that.", path=("queues", queue.name, key, resource), hint=hint)


def _beyond_nodes(queues: tuple[Queue, ...], capacity: dict[str, int]) -> Iterator[Mistake]:
    """Where the quotas at the top add up to more than there is. A parent that has no quota has its parts'."""
    totals: dict[str, int] = {}
    for queue in _counted(queues):
        for resource, amount in queue.quota.items():
            if resource not in capacity:
                continue
            if not any(resource in above.quota for above in _above(queue, queues)):
                totals[resource] = totals.get(resource, 0) + amount
    for resource, total in totals.items():
        if total > capacity[resource]:
            last = [each for each in queues if resource in each.quota][-1]
            yield Mistake(
                f"the quotas of {resource} add up to {print_amount(resource, total)}; "
                f"the nodes have {print_amount(resource, capacity[resource])}.",
                path=("queues", last.name, "quota", resource),
                hint="Lower the quotas; a queue may use more than its quota where others leave it.",
            )


def _counted(queues: tuple[Queue, ...]) -> Iterator[Queue]:
    return (queue for queue in queues if queue.quota)


def _above(queue: Queue, queues: tuple[Queue, ...]) -> Iterator[Queue]:
    by_name = {str(each.name): each for each in queues}
    parent = by_name.get(queue.parent)
    while parent is not None:
        yield parent
        parent = by_name.get(parent.parent)
