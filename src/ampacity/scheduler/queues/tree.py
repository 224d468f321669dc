"""The queue tree: who is a part of whom."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from ampacity.model.amounts import Amounts
from ampacity.model.ids import QueueName
from ampacity.model.queue import Queue

TOP = ""
"""Above all queues: the whole of what there is."""


@dataclass(frozen=True, slots=True)
class QueueTree:
    """The queues as they stand. A queue that is not in it (``default``, or one that was removed while work of it still
    runs) stands at the top, without a quota and with a weight of one.

    Attributes:
        quotas: what each can count on. Where a queue that has parts names no quota of a resource: what its parts have.
    """

    queues: Mapping[str, Queue] = field(default_factory=dict)
    quotas: Mapping[str, Amounts] = field(default_factory=dict)
    _named: Mapping[str, frozenset[str]] = field(default_factory=dict, compare=False, repr=False)
    _keepers: Mapping[str, tuple[str, ...]] = field(default_factory=dict, compare=False, repr=False)
    _parts: Mapping[str, tuple[str, ...]] = field(default_factory=dict, compare=False, repr=False)
    _chains: dict[str, tuple[str, ...]] = field(default_factory=dict, compare=False, repr=False)

    @staticmethod
    def of(queues: Mapping[str, Queue]) -> QueueTree:
        parts: dict[str, list[str]] = {}
        for name in sorted(queues):
            parent = queues[name].parent
            parts.setdefault(parent if parent in queues else TOP, []).append(name)
        quotas = _quotas(queues)
        named = {
            name: frozenset(resource for part in each for resource in quotas[part]) for name, each in parts.items()
        }
        keepers = {
            name: tuple(part for part in each if not queues[part].lends or queues[part].lending)
            for name, each in parts.items()
        }
        return QueueTree(dict(queues), quotas, named, keepers, {name: tuple(each) for name, each in parts.items()})

    def queue(self, name: str) -> Queue:
        found = self.queues.get(name)
        return Queue(name=QueueName(name)) if found is None else found

    def chain(self, name: str) -> tuple[str, ...]:
        """The queue, what it is a part of, and so on up to the top, without the top itself."""
        found = self._chains.get(name)
        if found is None:
            found = self._chains[name] = tuple(_walk(self.queues, name))
        return found

    def parent(self, name: str) -> str:
        found = self.queues.get(name)
        return TOP if found is None or found.parent not in self.queues else found.parent

    def parts(self, name: str) -> tuple[str, ...]:
        """The queues right below, by name. Below the top only those that are in the tree."""
        return self._parts.get(name, ())

    def keepers(self, name: str) -> tuple[str, ...]:
        """The queues right below that do not lend all that they have."""
        return self._keepers.get(name, ())

    def named(self, name: str) -> frozenset[str]:
        """The resources that any queue right below has a quota of: what counts between them."""
        return self._named.get(name, frozenset())

    def quota(self, name: str, resource: str) -> int:
        return self.quotas.get(name, {}).get(resource, 0)


def _walk(queues: Mapping[str, Queue], name: str) -> list[str]:
    """Ends in a circle, too, though none is ever taken in."""
    walked = [name]
    while (queue := queues.get(walked[-1])) is not None and queue.parent in queues and queue.parent not in walked:
        walked.append(queue.parent)
    return walked


def _quotas(queues: Mapping[str, Queue]) -> dict[str, dict[str, int]]:
    """Each queue's own, and for what it does not name the sum of its parts'."""
    found: dict[str, dict[str, int]] = {name: dict(queue.quota) for name, queue in queues.items()}
    for name in sorted(queues, key=lambda each: (-len(_walk(queues, each)), each)):
        parent = queues[name].parent
        if parent in queues and parent != name:
            for resource, amount in found[name].items():
                if resource not in queues[parent].quota:
                    found[parent][resource] = found[parent].get(resource, 0) + amount
    return found
