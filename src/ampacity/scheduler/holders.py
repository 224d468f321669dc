"""Who holds what is short on a node: the other half of an explanation."""

from __future__ import annotations

from collections.abc import Iterator

from ampacity.model.fits import matching
from ampacity.model.ids import NodeId, WorkloadId
from ampacity.model.node import Node
from ampacity.model.resources import Allocation, ResourceRequest

from .board import Board
from .shortfall import Dimension
from .state import State
from .words import listed, say_amount


def say_holders(state: State, board: Board, node: NodeId, request: ResourceRequest, dimension: Dimension) -> str:
    """``3 held by pretrain (w1)``, the largest holder first; empty when nobody holds any."""
    held: dict[str, int] = {}
    for workload, allocation in _allocations(state, board, node):
        amount = _amount_held(board.fleet.node(board.fleet.row_of[node]), allocation, request, dimension)
        if amount > 0:
            name = _name(state, workload)
            held[name] = held.get(name, 0) + amount
    ordered = sorted(held.items(), key=lambda item: (-item[1], item[0]))
    return listed(
        [
            f"{_number(request, dimension, amount)} {'held ' if position == 0 else ''}by {name}"
            for position, (name, amount) in enumerate(ordered)
        ]
    )


def _allocations(state: State, board: Board, node: NodeId) -> Iterator[tuple[WorkloadId, Allocation]]:
    """What is held by attempts, and what the plan that is being made has just given out."""
    for (attempt, _), allocation in board.fleet.held.get(node, {}).items():
        yield state.attempts[attempt].workload, allocation
    yield from board.taken(node)


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


def _name(state: State, workload: WorkloadId) -> str:
    held = state.live.get(workload)
    return workload if held is None else f"{held.workload.name} ({workload})"


def _number(request: ResourceRequest, dimension: Dimension, amount: int) -> str:
    return say_amount(request, dimension, amount, exact=False).split(" ")[0]
