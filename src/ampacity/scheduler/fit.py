"""On which single nodes a member fits, the best first."""

from __future__ import annotations

from dataclasses import dataclass, field

from ampacity.model.fits import Free, allocate, less, matching, usable
from ampacity.model.ids import NodeId, WorkloadId
from ampacity.model.node import Node
from ampacity.model.resources import Allocation, ResourceRequest

from .ledger import Ledger


@dataclass(slots=True)
class Board:
    """The nodes that take work, by id, and what is left on them while a plan is being made.

    Attributes:
        taken: what this plan has given out so far, by node.
        known: for each request asked about, how it fits on each node; a node's answers go when something is taken.
    """

    nodes: tuple[Node, ...]
    free: dict[NodeId, Free]
    taken: dict[NodeId, list[tuple[WorkloadId, Allocation]]] = field(default_factory=dict)
    known: dict[ResourceRequest, dict[NodeId, Fit | None]] = field(default_factory=dict)

    @staticmethod
    def of(ledger: Ledger) -> Board:
        nodes = tuple(ledger.nodes[id] for id in sorted(ledger.nodes) if usable(ledger.nodes[id]))
        return Board(nodes=nodes, free={node.id: ledger.free[node.id] for node in nodes})

    def take(self, node: NodeId, workload: WorkloadId, allocation: Allocation) -> None:
        self.free[node] = less(self.free[node], allocation)
        self.taken.setdefault(node, []).append((workload, allocation))
        for answers in self.known.values():
            answers.pop(node, None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Fit:
    """A node that holds one member, and what would be left there: thousandths of accelerators and of CPUs."""

    node: NodeId
    allocation: Allocation
    accelerators_left_milli: int
    cpu_left_milli: int


def fitting(board: Board, request: ResourceRequest) -> list[Fit]:
    """Best fit: the node that is left with the least comes first (accelerators, then CPU, then its id).

    Accelerators count where they are of a kind asked for; for a request without any, all count, so that work for CPUs
    keeps off nodes with free accelerators.
    """
    answers = board.known.setdefault(request, {})
    for node in board.nodes:
        if node.id not in answers:
            answers[node.id] = _fit(node, board.free[node.id], request)
    found = [fit for fit in answers.values() if fit is not None]
    return sorted(found, key=lambda fit: (fit.accelerators_left_milli, fit.cpu_left_milli, fit.node))


def _fit(node: Node, free: Free, request: ResourceRequest) -> Fit | None:
    allocation = allocate(node, free, request)
    if allocation is None:
        return None
    kinds = {device.id for wanted in request.accelerators for device in matching(node, wanted)}
    held = sum(milli for id, milli in free.device_milli.items() if not request.accelerators or id in kinds)
    return Fit(
        node=node.id,
        allocation=allocation,
        accelerators_left_milli=held - sum(share.milli for share in allocation.devices),
        cpu_left_milli=free.cpu_milli - allocation.cpu_milli,
    )
