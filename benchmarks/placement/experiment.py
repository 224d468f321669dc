"""One run: pods arrive, are placed by a policy on a board over a fleet, and stay."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from traces import LOADS, Trace, fleet

from ampacity.model.ids import WorkloadId
from ampacity.model.resources import Allocation, DeviceShare
from ampacity.scheduler.board import Board, Fit
from ampacity.scheduler.placing import Ask, Choice, PlacementPolicy, Room

BEGIN_EVERY = 50
"""After so many arrivals the policy looks at the room as a whole again, as it does at every plan of a live cluster."""


def run(folder: Path, trace: Trace, seed: int, policy: PlacementPolicy) -> NDArray[np.float64]:
    """[131] GPU allocation in percent by arrived load."""
    nodes = fleet(folder, trace.node_ranks[seed])
    board = Board.of(nodes)
    room = Room.of(board)
    arrived, used = [], []
    asked_for = taken = 0
    for number, index in enumerate(trace.arrivals[seed]):
        if number % BEGIN_EVERY == 0:
            policy.begin(room)
        ask = trace.pods[index]
        asked_for += ask.total_milli
        for choice in policy.choose(room, ask):
            board.take(_fit(board, ask, choice), WorkloadId(f"w{number}"))
            policy.hold(choice.row, ask)
            taken += ask.total_milli
        arrived.append(asked_for)
        used.append(taken)
    return by_load(np.array(arrived), np.array(used), int(nodes.device_total.sum()) // 100)


def _fit(board: Board, ask: Ask, choice: Choice) -> Fit:
    node = board.fleet.node(choice.row)
    shares = tuple(DeviceShare(device=node.devices[slot].id, milli=ask.device_milli) for slot in choice.slots)
    allocation = Allocation(cpu_milli=ask.cpu_milli, memory_bytes=ask.memory_bytes, devices=shares)
    return Fit(node=node.id, row=choice.row, allocation=allocation, accelerators_left_milli=0, cpu_left_milli=0)


def by_load(arrived: NDArray[np.int64], used: NDArray[np.int64], percent_milli: int) -> NDArray[np.float64]:
    """The mean allocation over the arrivals at each rounded load; where there is none, over those one point around."""
    at = np.rint(arrived / percent_milli).astype(int)
    allocation = np.round(used / percent_milli, 2)
    values = np.zeros(LOADS)
    for load in range(LOADS):
        chosen = at == load
        if not chosen.any():
            chosen = abs(at - load) <= 1
        values[load] = allocation[chosen].mean()
    return values
