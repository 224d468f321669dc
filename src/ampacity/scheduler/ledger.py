"""What is held and what is free on every node, kept current by single changes."""

from __future__ import annotations

from dataclasses import dataclass, field

from ampacity.model.attempt import Attempt
from ampacity.model.fits import Free, free_on, less
from ampacity.model.ids import AttemptId, NodeId
from ampacity.model.node import Node
from ampacity.model.resources import Allocation, DeviceShare

Hold = tuple[AttemptId, int]
"""An attempt and the index of its member, below 0 for what is promised to its successor: who holds an allocation."""


@dataclass(slots=True)
class Ledger:
    """Nodes, what is held on each, and what is left.

    Allocations on a node that is not known (not registered yet, or removed) are kept: they count as soon as it is.
    """

    nodes: dict[NodeId, Node] = field(default_factory=dict)
    free: dict[NodeId, Free] = field(default_factory=dict)
    held: dict[NodeId, dict[Hold, Allocation]] = field(default_factory=dict)

    def put_node(self, node: Node) -> None:
        known = self.nodes.get(node.id)
        self.nodes[node.id] = node
        if known is None or _amounts(known) != _amounts(node):
            self.free[node.id] = free_on(node, self.held.get(node.id, {}).values())

    def remove_node(self, node: NodeId) -> None:
        self.nodes.pop(node, None)
        self.free.pop(node, None)

    def hold(self, attempt: Attempt) -> None:
        for index, place in attempt.held:
            self.held.setdefault(place.node, {})[attempt.id, index] = place.allocation
            if place.node in self.free:
                self.free[place.node] = less(self.free[place.node], place.allocation)

    def release(self, attempt: Attempt) -> None:
        """Give back what :meth:`hold` took for the very same attempt."""
        for index, place in attempt.held:
            on_node = self.held[place.node]
            del on_node[attempt.id, index]
            if not on_node:
                del self.held[place.node]
            if place.node in self.free:
                self.free[place.node] = less(self.free[place.node], _negative(place.allocation))


def _amounts(node: Node) -> tuple[object, ...]:
    return node.cpu_milli, node.memory_bytes, node.disk_bytes, node.devices


def _negative(allocation: Allocation) -> Allocation:
    """Taking this off gives the allocation back."""
    return Allocation(
        cpu_milli=-allocation.cpu_milli,
        memory_bytes=-allocation.memory_bytes,
        disk_bytes=-allocation.disk_bytes,
        devices=tuple(DeviceShare(device=share.device, milli=-share.milli) for share in allocation.devices),
    )
