"""What each queue holds, kept current by single changes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from ampacity.model.amounts import Amounts, capacity_of, given
from ampacity.model.attempt import Attempt
from ampacity.model.ids import AttemptId, NodeId
from ampacity.model.node import Node
from ampacity.model.queue import Queue

from .tree import TOP, QueueTree


@dataclass(slots=True)
class Shares:
    """Amounts by queue. What a queue holds counts for all that it is a part of, up to the top.

    Attributes:
        capacity: all that the nodes have.
        used: what attempts hold, by queue; without zeros.
        of: each live attempt's queue, and what it holds.
        running: the attempts of each queue that has any.
    """

    tree: QueueTree = field(default_factory=QueueTree)
    capacity: dict[str, int] = field(default_factory=dict)
    used: dict[str, dict[str, int]] = field(default_factory=dict)
    of: dict[AttemptId, tuple[str, Amounts]] = field(default_factory=dict)
    running: dict[str, set[AttemptId]] = field(default_factory=dict)

    def plant(self, queues: Mapping[str, Queue]) -> None:
        """The tree is another one from now on."""
        self.tree = QueueTree.of(queues)
        self.used = {}
        for queue, amounts in self.of.values():
            self._add(queue, amounts, 1)

    def change_node(self, before: Node | None, now: Node | None) -> None:
        for node, sign in ((before, -1), (now, 1)):
            for resource, amount in capacity_of(() if node is None else (node,)).items():
                _count(self.capacity, resource, sign * amount)

    def hold(self, attempt: Attempt, nodes: Mapping[NodeId, Node | None]) -> None:
        """An attempt holds what its members were given, or it is counted anew."""
        self.release(attempt.id)
        kinds = {id: kinds_of(node) for id, node in nodes.items()}
        amounts = given((member.allocation, kinds[member.node].get) for member in attempt.members)
        self.of[attempt.id] = (attempt.queue, amounts)
        self._add(attempt.queue, amounts, 1)
        self.running.setdefault(attempt.queue, set()).add(attempt.id)

    def release(self, attempt: AttemptId) -> None:
        held = self.of.pop(attempt, None)
        if held is not None:
            self._add(*held, -1)
            self.running[held[0]].discard(attempt)
            if not self.running[held[0]]:
                del self.running[held[0]]

    def _add(self, queue: str, amounts: Amounts, sign: int) -> None:
        for name in (*self.tree.chain(queue), TOP):
            used = self.used.setdefault(name, {})
            for resource, amount in amounts.items():
                _count(used, resource, sign * amount)
            if not used:
                del self.used[name]


def kinds_of(node: Node | None) -> dict[str, str]:
    """The kind of each device."""
    return {} if node is None else {str(device.id): device.kind for device in node.devices}


def _count(amounts: dict[str, int], resource: str, amount: int) -> None:
    total = amounts.get(resource, 0) + amount
    if total:
        amounts[resource] = total
    else:
        amounts.pop(resource, None)
