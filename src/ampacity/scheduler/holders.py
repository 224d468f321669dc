"""Who holds what is short on a node: the other half of an explanation."""

from __future__ import annotations

from collections.abc import Iterator

from ampacity.model.fits import matching
from ampacity.model.ids import NodeId, WorkloadId, workload_of
from ampacity.model.node import Node
from ampacity.model.resources import Allocation, ResourceRequest

from .board import Board
from .shortfall import Dimension
from .state import State
from .words import listed, say_amount


class Holders:
    """Who held what when it was made: goes on answering the same, whatever becomes of the state."""

    def __init__(self, state: State, board: Board) -> None:
        self._state, self._seq, self._board = state, state.seq, board

    def say(self, node: NodeId, request: ResourceRequest, dimension: Dimension) -> str:
        """``3 held by pretrain (w1)``, the largest holder first; empty when nobody holds any."""
        held: dict[str, int] = {}
        row = self._board.past.at(node).node
        assert row is not None, "the node is known"
        for workload, allocation in self._allocations(node):
            amount = _amount_held(row, allocation, request, dimension)
            if amount > 0:
                name = self._name(workload)
                held[name] = held.get(name, 0) + amount
        ordered = sorted(held.items(), key=lambda item: (-item[1], item[0]))
        return listed(
            [
                f"{_number(request, dimension, amount)} {'held ' if position == 0 else ''}by {name}"
                for position, (name, amount) in enumerate(ordered)
            ]
        )

    def _allocations(self, node: NodeId) -> Iterator[tuple[WorkloadId, Allocation]]:
        """What is held by attempts, and what the plan that is being made has just given out."""
        for (attempt, _), allocation in self._board.held(node).items():
            yield workload_of(attempt), allocation
        yield from self._board.taken(node)

    def _name(self, workload: WorkloadId) -> str:
        name = self._state.name_at(workload, self._seq)
        return workload if name is None else f"{name} ({workload})"


def _amount_held(node: Node, allocation: Allocation, request: ResourceRequest, dimension: Dimension) -> int:
    """Devices (begun ones count whole), thousandths or bytes."""
    match dimension:
        case Dimension.DEVICES | Dimension.SHARE:
            wanted = {device.id for device in matching(node, request.accelerators[0])}
            shares = [share.milli for share in allocation.devices if share.device in wanted]
            return len(shares) if dimension is Dimension.DEVICES else sum(shares)
        case Dimension.CPU:
            return allocation.cpu_milli
        case Dimension.MEMORY:
            return allocation.memory_bytes
        case Dimension.DISK:
            return allocation.disk_bytes


def _number(request: ResourceRequest, dimension: Dimension, amount: int) -> str:
    return say_amount(request, dimension, amount, exact=False).split(" ")[0]
