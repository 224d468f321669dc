"""The kernels, compiled by Numba. :mod:`.plain` gives the same results, to the last bit, and says what they mean:
sums are made in the same order there."""

from __future__ import annotations

import numpy as np
from numba import njit

from ampacity.scheduler.columns import Codes, Counts, Ints

from .base import Asked, Floats, Room
from .kernels import Kept, Pods, Tables
from .rules import BEST_FIT, DOT_PRODUCT, GPU_CLUSTERING, LEVEL_MILLI, LEVELS, SPREAD


@njit(cache=True)
def _usable(room: Room, asked: Asked, row: int, slot: int) -> bool:
    if not asked.allowed[room.device_kind[row, slot]] or room.device_left[row, slot] < asked.device_milli:
        return False
    return bool(room.device_memory[row, slot] >= asked.device_memory_bytes)


@njit(cache=True)
def _fits(room: Room, asked: Asked, row: int) -> bool:
    if not room.open[row] or room.cpu_left[row] < asked.cpu_milli:
        return False
    if room.memory_left[row] < asked.memory_bytes or room.disk_left[row] < asked.disk_bytes:
        return False
    found = 0
    for slot in range(room.device_left.shape[1]):
        if found >= asked.devices:
            break
        if _usable(room, asked, row, slot):
            found += 1
    return found >= asked.devices


@njit(cache=True)
def _take(room: Room, asked: Asked, row: int, left: Counts) -> None:
    """``left`` becomes what the row has left once whole devices are taken: the usable ones of the lowest index."""
    wanted = asked.devices
    for slot in range(len(left)):
        left[slot] = room.device_left[row, slot]
        if wanted > 0 and _usable(room, asked, row, slot):
            left[slot] -= asked.device_milli
            wanted -= 1


@njit(cache=True)
def refresh_simple(rule: int, kept: Kept, room: Room, asked: Asked, classes: Counts) -> None:
    for row in range(len(kept.version)):
        if kept.version[row] != room.version[row]:
            kept.version[row] = room.version[row]
            kept.slot[row] = -1
            kept.value[row] = _simple(rule, room, asked, row, classes) if _fits(room, asked, row) else -np.inf


@njit(cache=True)
def _simple(rule: int, room: Room, asked: Asked, row: int, classes: Counts) -> float:
    left = np.int64(0)
    for slot in range(room.device_left.shape[1]):
        left += room.device_left[row, slot]
    milli = asked.devices * asked.device_milli
    if rule == BEST_FIT:
        cpu = (room.cpu_left[row] - asked.cpu_milli) / room.most_cpu / 2
        return float(int((1 - (cpu + (left - milli) / room.most_device / 2)) * 100))
    if rule == DOT_PRODUCT:
        cpu = room.cpu_left[row] / room.most_cpu * (asked.cpu_milli / room.most_cpu)
        return float(int(100 * (1 - (cpu + left / room.most_device * (milli / room.most_device)) / 2)))
    if rule == SPREAD:
        return float(left * 1_000_000 // room.most_device + room.cpu_left[row] * 1_000 // room.most_cpu)
    if asked.devices == 0:
        return 0.0
    if rule == GPU_CLUSTERING:
        return _clustering(room, asked, row, int(left), classes)
    return _packing(room, asked, row)


@njit(cache=True)
def _clustering(room: Room, asked: Asked, row: int, left: int, classes: Counts) -> float:
    own = 0 if asked.shares else min(asked.devices, classes.shape[1] - 1)
    here, others = classes[row, own] > 0, False
    for each in range(classes.shape[1]):
        if each != own and classes[row, each] > 0:
            others = True
    base = 25 * (room.most_device - left) // room.most_device
    if here:
        return float(base + (50 if others else 75))
    return float(base if others else base + 25)


@njit(cache=True)
def _packing(room: Room, asked: Asked, row: int) -> float:
    whole, slots = 0, 0
    for slot in range(room.device_left.shape[1]):
        if room.device_total[row, slot] > 0:
            slots += 1
            whole += room.device_left[row, slot] == room.device_total[row, slot]
    if whole == slots:
        return float(max(33 - whole, whole))
    order = np.argsort(room.device_left[row], kind="mergesort")
    wanted, broken, spare = asked.devices, 0, np.int64(0)
    for slot in order:
        if wanted > 0 and _usable(room, asked, row, slot):
            wanted -= 1
            if room.device_left[row, slot] == room.device_total[row, slot]:
                broken += 1
            else:
                spare += 100 * np.int64(room.device_left[row, slot]) // room.device_total[row, slot]
    if broken:
        return float(max(50 - broken, 33))
    return float(max(100 - int(spare) // 10, 50))


@njit(cache=True)
def refresh_fgd(kept: Kept, room: Room, asked: Asked, pods: Pods, steps: Floats) -> None:
    slots = room.device_left.shape[1]
    left = np.zeros(slots, np.int32)
    for row in range(len(kept.version)):
        if kept.version[row] == room.version[row]:
            continue
        kept.version[row] = room.version[row]
        kept.slot[row], kept.value[row] = -1, -np.inf
        if not _fits(room, asked, row):
            continue
        kinds, cpu = room.device_kind[row], room.cpu_left[row] - asked.cpu_milli
        before = _fragments(room.device_left[row], kinds, room.cpu_left[row], pods)
        if asked.shares:
            for slot in range(slots):
                if _usable(room, asked, row, slot):
                    left[:] = room.device_left[row]
                    left[slot] -= asked.device_milli
                    gain = (before - _fragments(left, kinds, cpu, pods)) / 1000
                    score = float(np.searchsorted(steps, gain, side="right"))
                    if score > kept.value[row]:
                        kept.value[row], kept.slot[row] = score, slot
        else:
            _take_fullest(room, asked, row, left)
            gain = (before - _fragments(left, kinds, cpu, pods)) / 1000
            kept.value[row] = float(np.searchsorted(steps, gain, side="right"))


@njit(cache=True)
def _take_fullest(room: Room, asked: Asked, row: int, left: Counts) -> None:
    """As :func:`_take`, from those with the least left that do."""
    left[:] = room.device_left[row]
    wanted = asked.devices
    for slot in np.argsort(room.device_left[row], kind="mergesort"):
        if wanted > 0 and _usable(room, asked, row, slot):
            left[slot] -= asked.device_milli
            wanted -= 1


@njit(cache=True)
def _fragments(left: Counts, kinds: Codes, cpu: int, pods: Pods) -> float:
    idle = np.int64(0)
    for slot in range(len(left)):
        idle += left[slot]
    neither, devices, cpus, for_cpu, against_cpu, barred = 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
    for pod in range(len(pods.frequency)):
        share = pods.frequency[pod]
        roomy = cpu >= pods.cpu_milli[pod]
        if pods.devices[pod] == 0:
            if roomy:
                for_cpu += share * idle
            else:
                against_cpu += share * idle
            continue
        reachable, found, stuck = False, 0, np.int64(0)
        for slot in range(len(left)):
            if not pods.allowed[pod, kinds[slot]]:
                stuck += left[slot]
                continue
            reachable = True
            if left[slot] >= pods.device_milli[pod]:
                found += 1
            else:
                stuck += left[slot]
        if not reachable:
            barred += share * idle
        elif found < pods.devices[pod]:
            if roomy:
                devices += share * idle
            else:
                neither += share * idle
        elif roomy:
            devices += share * stuck
        else:
            cpus += share * idle
    return neither + devices + cpus + for_cpu + against_cpu + barred


@njit(cache=True)
def refresh_waste(kept: Kept, room: Room, asked: Asked, tables: Tables) -> None:
    slots = room.device_left.shape[1]
    left = np.zeros(slots, np.int32)
    for row in range(len(kept.version)):
        if kept.version[row] == room.version[row]:
            continue
        kept.version[row] = room.version[row]
        kept.slot[row], kept.value[row] = -1, -np.inf
        if not _fits(room, asked, row):
            continue
        kinds, kind = room.device_kind[row], room.kind[row]
        cpu = _at_disposal(room.cpu_left[row], room.memory_left[row], tables)
        before = _cost(room.device_left[row], kinds, kind, cpu, tables)
        cpu = _at_disposal(room.cpu_left[row] - asked.cpu_milli, room.memory_left[row] - asked.memory_bytes, tables)
        if asked.shares:
            for slot in range(slots):
                if _usable(room, asked, row, slot):
                    left[:] = room.device_left[row]
                    left[slot] -= asked.device_milli
                    gain = before - _cost(left, kinds, kind, cpu, tables)
                    if gain > kept.value[row]:
                        kept.value[row], kept.slot[row] = gain, slot
        else:
            _take(room, asked, row, left)
            kept.value[row] = before - _cost(left, kinds, kind, cpu, tables)


@njit(cache=True)
def _at_disposal(cpu: int, memory: int, tables: Tables) -> int:
    return min(cpu, int(memory * tables.cpu_per_byte)) if tables.cpu_per_byte > 0 else cpu


@njit(cache=True)
def _cost(left: Counts, kinds: Codes, kind: int, cpu: int, tables: Tables) -> float:
    idle, whole = np.int64(0), 0
    for slot in range(len(left)):
        idle += left[slot]
        whole += left[slot] == LEVELS * LEVEL_MILLI
    if idle <= 0:
        return 0.0
    most = tables.waste.shape[2] - 1
    waste = 0.0
    for slot in range(len(left)):
        if left[slot] > 0:
            cpus = min(max(cpu * left[slot] / idle / 1000, 0.0), most - 0.001)
            below = int(cpus)
            part = cpus - below
            of = tables.waste[kinds[slot], left[slot] // LEVEL_MILLI]
            waste += of[below] * (1 - part) + of[below + 1] * part
    here = tables.gangs[kind, whole, min(max(cpu // 1000, 0), tables.gangs.shape[2] - 1)]
    lost = tables.gangs_in_all[kind] * idle - here * whole * 1000
    return float(waste + tables.whole_milli * whole + tables.gang_weight * lost)


@njit(cache=True)
def expected_waste(frequency: Floats, level: Ints, cpu: Ints, patience: float, cpus: int) -> Floats:
    waste = np.zeros((LEVELS + 1, cpus + 1))
    for left in range(1, LEVELS + 1):
        for free in range(cpus + 1):
            total, weight = 0.0, 0.0
            for pod in range(len(frequency)):
                if level[pod] <= left and cpu[pod] <= free:
                    total += frequency[pod] * waste[left - level[pod], free - cpu[pod]]
                    weight += frequency[pod]
            waste[left, free] = (total + patience * (left * LEVEL_MILLI)) / (weight + patience)
    return waste
