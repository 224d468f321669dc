"""On which single nodes a member fits, the best first."""

from __future__ import annotations

import numpy as np

from ampacity.model.fits import allocate
from ampacity.model.resources import ANY_KIND, AcceleratorRequest, ResourceRequest

from .board import Answers, Board, Fit
from .fleet import ABSENT, Flags, Ints

NO_ROOM = np.iinfo(np.int64).max
"""The key of a row on which the member does not fit."""

_CPU_BITS = 28
_MOST_CPU = (1 << _CPU_BITS) - 1


def best(board: Board, request: ResourceRequest, most: int | None) -> Ints:
    """Rows on which a member of the request fits, the best first, ``most`` of them where there are more.

    Best fit: the node that is left with the least comes first (accelerators, then CPU, then the rank). Accelerators
    count where they are of a kind asked for; for a request without any, all count, so that work for CPUs keeps off
    nodes with free accelerators.

    Args:
        request: with one alternative of accelerators at most.
    """
    keys = _keys(board, request)
    if most == 1:
        least = keys.min(initial=NO_ROOM)
        rows = np.flatnonzero(keys == least) if least < NO_ROOM else np.zeros(0, np.int64)
        return rows[np.argmin(board.fleet.rank[rows])][None] if len(rows) else rows
    if most is not None and most < len(keys):
        bound = np.partition(keys, most - 1)[most - 1]
        rows = np.flatnonzero((keys <= bound) & (keys < NO_ROOM))
    else:
        rows = np.flatnonzero(keys < NO_ROOM)
    return rows[np.lexsort((board.fleet.rank[rows], keys[rows]))][:most]


def fit_on(board: Board, request: ResourceRequest, row: int) -> Fit:
    """What a member is given on a row where it fits."""
    node = board.fleet.node(row)
    allocation = allocate(node, board.free(node.id), request)
    assert allocation is not None, "it fits there"
    key = int(_keys(board, request)[row])
    return Fit(
        node=node.id,
        row=row,
        allocation=allocation,
        accelerators_left_milli=key >> _CPU_BITS,
        cpu_left_milli=int(board.cpu_left[row]) - allocation.cpu_milli,
    )


def _keys(board: Board, request: ResourceRequest) -> Ints:
    """One number a row, the lower the better. Only rows that changed since they were last asked for are looked at."""
    answers = board.answers.get(request)
    size = board.fleet.size
    if answers is None or len(answers.key) != size:
        answers = Answers(key=np.full(size, NO_ROOM), version=np.full(size, -1, np.int64))
        board.answers[request] = answers
    changed = np.flatnonzero(answers.version != board.version)
    if len(changed):
        answers.key[changed] = _ask(board, request, changed)
        answers.version[changed] = board.version[changed]
    return answers.key


def _ask(board: Board, request: ResourceRequest, rows: Ints) -> Ints:
    cpu_left = board.cpu_left[rows] - request.cpu_milli.minimum
    fits = board.fleet.open[rows] & (cpu_left >= 0)
    fits &= board.memory_left[rows] >= request.memory_bytes.minimum
    fits &= board.disk_left[rows] >= request.disk_bytes
    device_left = board.device_left[rows]
    if not request.accelerators:
        left = device_left.sum(axis=1, dtype=np.int64)
    else:
        (wanted,) = request.accelerators
        allowed = _allowed(board, wanted, rows)
        fits &= (allowed & (device_left >= wanted.milli)).sum(axis=1) >= wanted.count.minimum
        left = (device_left * allowed).sum(axis=1, dtype=np.int64) - wanted.count.minimum * wanted.milli
    key = (left << _CPU_BITS) | np.clip(cpu_left, 0, _MOST_CPU)
    return np.where(fits, key, NO_ROOM)


def _allowed(board: Board, wanted: AcceleratorRequest, rows: Ints) -> Flags:
    """(rows, slots): the devices of the wanted kind and memory."""
    kinds = board.fleet.device_kind[rows]
    allowed: Flags
    if wanted.kind == ANY_KIND:
        allowed = kinds != ABSENT
    else:
        code = board.fleet.kind_code(wanted.kind)
        allowed = kinds == code if code is not None else np.zeros(kinds.shape, np.bool_)
    if wanted.memory_bytes is not None:
        allowed &= board.fleet.device_memory[rows] >= wanted.memory_bytes
    return allowed
