"""On which single nodes a member fits and what it is given there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from ampacity.model.ids import NodeId
from ampacity.model.resources import ANY_KIND, WHOLE_MILLI, AcceleratorRequest, Allocation, DeviceShare, ResourceRequest

from .board import Board, Fit
from .columns import Answers, Flags, Floats, Ints, sums
from .fleet import ABSENT
from .paces import Rates

NO_ROOM = int(np.iinfo(np.int64).max)
"""The key of a row on which the member does not fit."""

FEW = 32
"""So many changed rows are compared one by one, more of them all at once."""

FEW_AT_ONCE = 6
"""So many changed rows are asked one by one."""

_SLOWER = float(2**46)
"""More than the difference of any two keys, and little enough for numbers with a point to tell keys apart."""

_CPU_BITS = 28
_MOST_CPU = (1 << _CPU_BITS) - 1


def keys_of(board: Board, request: ResourceRequest) -> Ints:
    """One number a row, the lower the better; ``NO_ROOM`` where a member does not fit.

    Best fit: what would be left counts, accelerators first, then CPU. Accelerators count where they are of a kind
    asked for; for a request without any, all count, so that work for CPUs keeps off nodes with free accelerators. Only
    rows that changed since they were last asked for are looked at.

    Args:
        request: with one alternative of accelerators at most.
    """
    return _answers(board, request).key


def room_for(board: Board, request: ResourceRequest) -> int:
    """On how many rows a member fits. Costs what changed since it was last asked, not what there is."""
    return _answers(board, request).room


def _answers(board: Board, request: ResourceRequest) -> Answers:
    fleet = board.fleet
    answers = _known(board, request)
    if answers is None or len(answers.key) != fleet.size:
        answers = Answers(key=np.full(fleet.size, NO_ROOM), version=np.full(fleet.size, -1, np.int64))
        board.answers[request] = answers
    unread = answers.read - fleet.journal_cut
    end = len(fleet.journal)
    if unread == end:
        return answers
    if unread < 0 or end - unread > FEW:
        changed = np.flatnonzero(answers.version != board.version)
    else:
        rows = set(fleet.journal[unread:])
        changed = np.array([row for row in rows if answers.version[row] != board.version[row]], np.int64)
    if 0 < len(changed) <= FEW_AT_ONCE:
        for row in changed:
            _ask_one(board, request, answers, int(row))
    elif len(changed):
        before = int((answers.key[changed] < NO_ROOM).sum())
        answers.key[changed] = _ask(board, request, changed)
        answers.version[changed] = board.version[changed]
        answers.room += int((answers.key[changed] < NO_ROOM).sum()) - before
    answers.read = fleet.journal_cut + end
    return answers


def _known(board: Board, request: ResourceRequest) -> Answers | None:
    try:
        return board.answers[request]
    except KeyError:
        return None


def order_of(board: Board, request: ResourceRequest, rates: Rates = ()) -> Ints | Floats:
    """In which order rows are preferred, the lower the better: that of the placement policy. Only :func:`keys_of` says
    where the request fits.

    Args:
        rates: how fast it runs on each kind, where it may have any. Best fit has the fastest kind first; the other
            policies weigh it.
    """
    if board.preferring is not None:
        return board.preferring.keys(request, rates)
    keys = keys_of(board, request)
    if not rates or not request.accelerators or request.accelerators[0].kind != ANY_KIND:
        return keys
    return np.where(keys < NO_ROOM, keys + _slowness(board, dict(rates)) * _SLOWER, np.inf)


def _slowness(board: Board, rates: Mapping[str, float]) -> Floats:
    """[rows] how many kinds are faster than the row's; one of which nothing is known counts as the fastest."""
    kinds = board.fleet.kinds
    known = sorted({rates[kind] for kind in kinds if kind in rates}, reverse=True)
    slowness = np.array([float(known.index(rates[kind])) if kind in rates else 0.0 for kind in kinds] + [0.0])
    of_rows = board.device_kind[:, 0] if board.device_kind.shape[1] else np.full(board.fleet.size, ABSENT)
    found: Floats = slowness[of_rows]
    return found


def best(board: Board, keys: Ints | Floats, rows: Ints, count: int) -> Ints:
    """The ``count`` best of these rows, the best first; ties by rank."""
    if count < len(rows):
        found = keys[rows]
        rows = rows[found <= np.partition(found, count - 1)[count - 1]]
    return rows[np.lexsort((board.rank[rows], keys[rows]))][:count]


def fits_on(board: Board, request: ResourceRequest, rows: Sequence[int]) -> tuple[Fit, ...]:
    """What the members of a gang are given on rows where they fit, in the same order.

    Whole devices are taken by ascending index, and by the same indices on all nodes where that can be: ranks of the
    same number then talk over the same rail. A share comes from the fullest device that still holds it, unless the
    placement policy has another one.
    """
    if not request.accelerators:
        return tuple(_fit(board, request, row, ()) for row in rows)
    (wanted,) = request.accelerators
    index = np.asarray(rows, np.int64)
    holding = allowed(board, wanted, index) & (board.device_left[index] >= wanted.milli)
    count = wanted.count.minimum
    shared = np.flatnonzero(holding.all(axis=0))[:count]
    if wanted.milli == WHOLE_MILLI and len(shared) == count:
        slots = shared.tolist()
        return tuple(_fit(board, request, row, slots) for row in rows)
    return tuple(
        _fit(board, request, row, _slots(board, request, row, np.flatnonzero(holds).tolist()))
        for row, holds in zip(rows, holding, strict=True)
    )


def allowed(board: Board, wanted: AcceleratorRequest, rows: Ints) -> Flags:
    """(rows, slots): the devices of the wanted kind and memory. Instances of a partitioned device are asked for by
    their own kind alone."""
    kinds = board.device_kind[rows]
    found: Flags
    if wanted.kind == ANY_KIND:
        found = (kinds != ABSENT) & ~np.isin(kinds, board.fleet.parts_of_devices)
    else:
        code = board.fleet.kind_code(wanted.kind)
        found = kinds == code if code is not None else np.zeros(kinds.shape, np.bool_)
    if wanted.memory_bytes is not None:
        found &= board.device_memory[rows] >= wanted.memory_bytes
    return found


def _ask_one(board: Board, request: ResourceRequest, answers: Answers, row: int) -> None:
    """What :func:`_ask` does, for a single row: a plan looks at few rows of many shapes, and arrays cost the more the
    shorter they are."""
    key = _key(board, request, row)
    answers.room += (key < NO_ROOM) - (int(answers.key[row]) < NO_ROOM)
    answers.key[row], answers.version[row] = key, board.version[row]


def _key(board: Board, request: ResourceRequest, row: int) -> int:
    cpu_left = int(board.cpu_left[row]) - request.cpu_milli.minimum
    if not board.open[row] or cpu_left < 0:
        return NO_ROOM
    if board.memory_left[row] < request.memory_bytes.minimum or board.disk_left[row] < request.disk_bytes:
        return NO_ROOM
    for each in request.counted:
        counted = board.counted_left.get(each.name)
        if counted is None or counted[row] < each.amount:
            return NO_ROOM
    left: list[int] = board.device_left[row].tolist()
    if request.accelerators:
        (wanted,) = request.accelerators
        usable = (
            allowed(board, wanted, np.array([row]))[0].tolist() if wanted.memory_bytes else _of_kind(board, wanted, row)
        )
        left = [milli for milli, use in zip(left, usable, strict=True) if use]
        if sum(milli >= wanted.milli for milli in left) < wanted.count.minimum:
            return NO_ROOM
        return (sum(left) - wanted.count.minimum * wanted.milli) << _CPU_BITS | min(cpu_left, _MOST_CPU)
    return sum(left) << _CPU_BITS | min(cpu_left, _MOST_CPU)


def _of_kind(board: Board, wanted: AcceleratorRequest, row: int) -> list[bool]:
    codes: list[int] = board.device_kind[row].tolist()
    if wanted.kind == ANY_KIND:
        parts = board.fleet.parts_of_devices
        return [code != ABSENT and code not in parts for code in codes]
    chosen = board.fleet.kind_code(wanted.kind)
    return [code == chosen for code in codes]


def _ask(board: Board, request: ResourceRequest, rows: Ints) -> Ints:
    cpu_left = board.cpu_left[rows] - request.cpu_milli.minimum
    fits = board.open[rows] & (cpu_left >= 0)
    fits &= board.memory_left[rows] >= request.memory_bytes.minimum
    fits &= board.disk_left[rows] >= request.disk_bytes
    for each in request.counted:
        counted = board.counted_left.get(each.name)
        fits &= counted[rows] >= each.amount if counted is not None else np.False_
    device_left = board.device_left[rows]
    if not request.accelerators:
        left = sums(device_left)
    else:
        (wanted,) = request.accelerators
        usable = allowed(board, wanted, rows)
        fits &= sums(usable & (device_left >= wanted.milli)) >= wanted.count.minimum
        left = sums(device_left * usable) - wanted.count.minimum * wanted.milli
    key = (left << _CPU_BITS) | np.clip(cpu_left, 0, _MOST_CPU)
    return np.where(fits, key, NO_ROOM)


def _slots(board: Board, request: ResourceRequest, row: int, holding: list[int]) -> list[int]:
    (wanted,) = request.accelerators
    if wanted.milli < WHOLE_MILLI:
        preferred = -1 if board.preferring is None else board.preferring.slot(request, row)
        if preferred in holding:
            return [preferred]
        left = board.device_left[row]
        holding.sort(key=lambda slot: (left[slot], slot))
    return holding[: wanted.count.minimum]


def _fit(board: Board, request: ResourceRequest, row: int, slots: Sequence[int]) -> Fit:
    fleet = board.fleet
    milli = request.accelerators[0].milli if slots else 0
    ids = fleet.device_ids(row) if slots else ()
    allocation = Allocation(
        cpu_milli=request.cpu_milli.minimum,
        memory_bytes=request.memory_bytes.minimum,
        disk_bytes=request.disk_bytes,
        devices=tuple(DeviceShare(device=ids[slot], milli=milli) for slot in slots),
        counted=request.counted,
        licences=request.licences,
        power_w=request.power_w,
    )
    return Fit(
        node=NodeId(fleet.node(row).id),
        row=row,
        allocation=allocation,
        accelerators_left_milli=int(keys_of(board, request)[row]) >> _CPU_BITS,
        cpu_left_milli=int(board.cpu_left[row]) - allocation.cpu_milli,
    )
