"""The kernels in NumPy, over all rows that changed at once: what is used where Numba is not installed."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ampacity.scheduler.columns import Codes, Counts, Flags, Ints

from .base import Asked, Floats, Room
from .kernels import Kept, Pods, Tables
from .rules import BEST_FIT, DOT_PRODUCT, GPU_CLUSTERING, LEVEL_MILLI, LEVELS, SPREAD

Rows = NDArray[np.intp]


def _changed(kept: Kept, room: Room, asked: Asked) -> tuple[Rows, Flags]:
    """The rows that changed and on which it fits, and which of their devices would do; the kept is cleared there."""
    rows = np.flatnonzero(kept.version != room.version)
    kept.version[rows] = room.version[rows]
    kept.value[rows], kept.slot[rows] = -np.inf, -1
    usable = asked.allowed[room.device_kind[rows]]
    usable &= room.device_left[rows] >= asked.device_milli
    usable &= room.device_memory[rows] >= asked.device_memory_bytes
    fits = room.open[rows] & (room.cpu_left[rows] >= asked.cpu_milli) & (usable.sum(axis=1) >= asked.devices)
    fits &= (room.memory_left[rows] >= asked.memory_bytes) & (room.disk_left[rows] >= asked.disk_bytes)
    return rows[fits], usable[fits]


def refresh_simple(rule: int, kept: Kept, room: Room, asked: Asked, classes: Counts) -> None:
    """BestFit, DotProd, GpuClustering, GpuPacking as the artifact of Weng et al., ATC'23, has them; and spreading: the
    most idle devices, then the most idle CPUs, in millionths of the largest node's."""
    rows, usable = _changed(kept, room, asked)
    if not len(rows):
        return
    left = room.device_left[rows].sum(axis=1, dtype=np.int64)
    milli = asked.devices * asked.device_milli
    if rule == BEST_FIT:
        cpu = (room.cpu_left[rows] - asked.cpu_milli) / room.most_cpu / 2
        value = np.trunc((1 - (cpu + (left - milli) / room.most_device / 2)) * 100)
    elif rule == DOT_PRODUCT:
        cpu = room.cpu_left[rows] / room.most_cpu * (asked.cpu_milli / room.most_cpu)
        value = np.trunc(100 * (1 - (cpu + left / room.most_device * (milli / room.most_device)) / 2))
    elif rule == SPREAD:
        value = left * 1_000_000 // room.most_device + room.cpu_left[rows] * 1_000 // room.most_cpu
    elif asked.devices == 0:
        value = np.zeros(len(rows))
    elif rule == GPU_CLUSTERING:
        value = _clustering(room, asked, left, classes[rows])
    else:
        value = _packing(room, asked, rows, usable)
    kept.value[rows] = value


def _clustering(room: Room, asked: Asked, left: Ints, classes: Counts) -> Ints:
    own = 0 if asked.shares else min(asked.devices, classes.shape[1] - 1)
    here = classes[:, own] > 0
    others = np.delete(classes, own, axis=1).any(axis=1)
    base = 25 * (room.most_device - left) // room.most_device
    more: Ints = np.where(here, np.where(others, 50, 75), np.where(others, 0, 25))
    return base + more


def _packing(room: Room, asked: Asked, rows: Rows, usable: Flags) -> Ints:
    left, total = room.device_left[rows].astype(np.int64), room.device_total[rows].astype(np.int64)
    untouched = (left == total) & (total > 0)
    whole = untouched.sum(axis=1)
    order = np.argsort(left, axis=1, kind="stable")
    in_order = np.take_along_axis(usable, order, axis=1)
    taken = in_order & (np.cumsum(in_order, axis=1) <= asked.devices)
    fresh = np.take_along_axis(untouched, order, axis=1)
    broken = (taken & fresh).sum(axis=1)
    percent = np.take_along_axis(100 * left // np.maximum(total, 1), order, axis=1)
    spare = np.where(taken & ~fresh, percent, 0).sum(axis=1)
    opened = np.where(broken > 0, np.maximum(50 - broken, 33), np.maximum(100 - spare // 10, 50))
    value: Ints = np.where(whole == (total > 0).sum(axis=1), np.maximum(33 - whole, whole), opened)
    return value


def _without(left: Counts, usable: Flags, order: NDArray[np.intp], asked: Asked) -> Counts:
    """What is left once the first ``asked.devices`` usable devices of each row, in this order, were taken from."""
    in_order = np.take_along_axis(usable, order, axis=1)
    taken = in_order & (np.cumsum(in_order, axis=1) <= asked.devices)
    off = np.zeros(left.shape, left.dtype)
    np.put_along_axis(off, order, np.where(taken, asked.device_milli, 0).astype(left.dtype), axis=1)
    return left - off


def _each_share(left: Counts, asked: Asked) -> Counts:
    """[r, D, D]: what each row has left if each of its devices in turn is taken from."""
    taken = np.eye(left.shape[1], dtype=left.dtype) * left.dtype.type(asked.device_milli)
    shares: Counts = left[:, None, :] - taken[None]
    return shares


def refresh_fgd(kept: Kept, room: Room, asked: Asked, pods: Pods, steps: Floats) -> None:
    """The gain is how much less of the row is fragmented afterwards, in devices; the score, the points of its sigmoid
    (Weng et al., ATC'23, section 4 and the artifact)."""
    rows, usable = _changed(kept, room, asked)
    if not len(rows):
        return
    left, kinds, cpu = room.device_left[rows], room.device_kind[rows], room.cpu_left[rows]
    before, cpu_after = _fragments(left, kinds, cpu, pods), cpu - asked.cpu_milli
    if not asked.shares:
        after = _without(left, usable, np.argsort(left, axis=1, kind="stable"), asked)
        gain = (before - _fragments(after, kinds, cpu_after, pods)) / 1000
        kept.value[rows] = np.searchsorted(steps, gain, side="right")
        return
    slots = left.shape[1]
    after = _each_share(left, asked).reshape(-1, slots)
    fragments = _fragments(after, kinds.repeat(slots, axis=0), cpu_after.repeat(slots), pods)
    gain = (before[:, None] - fragments.reshape(-1, slots)) / 1000
    score = np.where(usable, np.searchsorted(steps, gain, side="right"), -1)
    kept.slot[rows], kept.value[rows] = score.argmax(axis=1), score.max(axis=1)


def _fragments(left: Counts, kinds: Codes, cpu: Ints, pods: Pods) -> Floats:
    """What a random pod of those expected cannot use of the idle thousandths. By classes of reasons first, in the
    order of the artifact: it is equal to the published values to the last digit only if it is summed up like this."""
    idle = left.sum(axis=1, dtype=np.int64)
    neither, devices, cpus, for_cpu, against_cpu, barred = (np.zeros(len(left)) for _ in range(6))
    for pod, share in enumerate(pods.frequency):
        roomy = cpu >= pods.cpu_milli[pod]
        if pods.devices[pod] == 0:
            for_cpu += np.where(roomy, share * idle, 0.0)
            against_cpu += np.where(roomy, 0.0, share * idle)
            continue
        allowed = pods.allowed[pod][kinds]
        holds = allowed & (left >= pods.device_milli[pod])
        stuck = np.where(holds, 0, left).sum(axis=1, dtype=np.int64)
        reachable, found = allowed.any(axis=1), holds.sum(axis=1) >= pods.devices[pod]
        barred += np.where(reachable, 0.0, share * idle)
        neither += np.where(reachable & ~found & ~roomy, share * idle, 0.0)
        devices += np.where(reachable & roomy, np.where(found, share * stuck, share * idle), 0.0)
        cpus += np.where(reachable & found & ~roomy, share * idle, 0.0)
    total: Floats = neither + devices + cpus + for_cpu + against_cpu + barred
    return total


def refresh_waste(kept: Kept, room: Room, asked: Asked, tables: Tables) -> None:
    """The gain is how much less of the row is expected to stay idle for good, in thousandths of devices."""
    rows, usable = _changed(kept, room, asked)
    if not len(rows):
        return
    left, kinds, kind = room.device_left[rows], room.device_kind[rows], room.kind[rows]
    cpu, memory = room.cpu_left[rows], room.memory_left[rows]
    before = _cost(left, kinds, kind, _at_disposal(cpu, memory, tables), tables)
    cpu_after = _at_disposal(cpu - asked.cpu_milli, memory - asked.memory_bytes, tables)
    slots = left.shape[1]
    if not asked.shares:
        after = _without(left, usable, np.tile(np.arange(slots), (len(rows), 1)), asked)
        kept.value[rows] = before - _cost(after, kinds, kind, cpu_after, tables)
        return
    after = _each_share(left, asked).reshape(-1, slots)
    repeated = kinds.repeat(slots, axis=0), kind.repeat(slots), cpu_after.repeat(slots)
    costs = _cost(np.maximum(after, 0), *repeated, tables).reshape(-1, slots)
    gain = np.where(usable, before[:, None] - costs, -np.inf)
    kept.slot[rows], kept.value[rows] = gain.argmax(axis=1), gain.max(axis=1)


def _at_disposal(cpu: Ints, memory: Ints, tables: Tables) -> Ints:
    """The CPUs that can be used: no more than go with the memory that is left, as the demand has them together."""
    return np.minimum(cpu, (memory * tables.cpu_per_byte).astype(np.int64)) if tables.cpu_per_byte > 0 else cpu


def _cost(left: Counts, kinds: Codes, kind: Codes, cpu: Ints, tables: Tables) -> Floats:
    """The expected waste of every device with its share of the free CPUs, by what is left of it; more for devices
    that are whole; and what the node's idle devices are lost to those that want several of them."""
    idle = left.sum(axis=1, dtype=np.int64)
    whole = (left == LEVELS * LEVEL_MILLI).sum(axis=1)
    most = tables.waste.shape[2] - 1
    waste = np.zeros(len(left))
    for slot in range(left.shape[1]):
        cpus = np.clip(cpu * left[:, slot] / np.maximum(idle, 1) / 1000, 0.0, most - 0.001)
        below = cpus.astype(np.int64)
        part = cpus - below
        level = np.maximum(left[:, slot], 0) // LEVEL_MILLI
        low, high = tables.waste[kinds[:, slot], level, below], tables.waste[kinds[:, slot], level, below + 1]
        waste += np.where(left[:, slot] > 0, low * (1 - part) + high * part, 0.0)
    here = tables.gangs[kind, whole, np.clip(cpu // 1000, 0, tables.gangs.shape[2] - 1)]
    lost = tables.gangs_in_all[kind] * idle - here * whole * 1000
    total: Floats = np.where(idle > 0, waste + tables.whole_milli * whole + tables.gang_weight * lost, 0.0)
    return total


def expected_waste(frequency: Floats, level: Ints, cpu: Ints, patience: float, cpus: int) -> Floats:
    """[levels + 1, cpus + 1]: what is expected to stay idle of a device of which so much is left, with so many CPUs at
    its disposal, if it is filled by members drawn at random from those that fit and left alone with the weight
    ``patience`` at each draw.

    Args:
        frequency: [p] how often each asks, of all that ask for one device or a part of it.
        level, cpu: [p] what each takes, in levels and in CPUs, rounded up.
    """
    waste = np.zeros((LEVELS + 1, cpus + 1))
    for left in range(1, LEVELS + 1):
        total, weight = np.zeros(cpus + 1), np.zeros(cpus + 1)
        for share, by, needs in zip(frequency, level, cpu, strict=True):
            if by <= left and needs <= cpus:
                total[needs:] += share * waste[left - by, : cpus + 1 - needs]
                weight[needs:] += share
        waste[left] = (total + patience * (left * LEVEL_MILLI)) / (weight + patience)
    return waste
