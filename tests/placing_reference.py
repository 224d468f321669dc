"""Placement policies once more, slow and obvious: nodes are records, and every score is worked out anew.

The rules are those of Weng et al., ATC'23, and its artifact; ``least_waste`` is ours.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache

from ampacity.scheduler.placing import Ask, Mix
from ampacity.scheduler.placing.least_waste import Settings, lost_of_pieces

MOST_CPUS = 128


@dataclass
class Machine:
    rank: int
    kind: int
    cpu: int
    memory: int
    gpus: list[int]
    classes: set[int] = field(default_factory=set)

    def fits(self, ask: Ask) -> bool:
        if self.cpu < ask.cpu_milli or self.memory < ask.memory_bytes:
            return False
        return not ask.count or (self.allows(ask) and sum(gpu >= ask.device_milli for gpu in self.gpus) >= ask.count)

    def allows(self, ask: Ask) -> bool:
        return not ask.kinds or self.kind in ask.kinds

    def with_gpus(self, ask: Ask, slots: list[int]) -> Machine:
        gpus = [left - ask.device_milli * (slot in slots) for slot, left in enumerate(self.gpus)]
        return Machine(self.rank, self.kind, self.cpu - ask.cpu_milli, self.memory - ask.memory_bytes, gpus)

    def first(self, ask: Ask) -> list[int]:
        return [slot for slot, left in enumerate(self.gpus) if left >= ask.device_milli][: ask.count]

    def fullest(self, ask: Ask) -> list[int]:
        order = sorted(range(len(self.gpus)), key=lambda slot: self.gpus[slot])
        return [slot for slot in order if self.gpus[slot] >= ask.device_milli][: ask.count]


Score = Callable[[Machine, Ask], tuple[float, list[int]]]
"""The higher the better, and the devices."""


def choose(
    machines: list[Machine], ask: Ask, score: Score, spread_scores: bool = False
) -> tuple[int, list[int]] | None:
    found = {index: score(machine, ask) for index, machine in enumerate(machines) if machine.fits(ask)}
    if not found:
        return None
    values = {index: value for index, (value, _) in found.items()}
    low, high = min(values.values()), max(values.values())
    if spread_scores and high > low:
        values = {index: (value - low) * 100 // (high - low) for index, value in values.items()}
    best = max(values, key=lambda index: (values[index], -machines[index].rank))
    return best, sorted(found[best][1])


def slots_of(machine: Machine, ask: Ask) -> list[int]:
    return machine.fullest(ask) if ask.shares else machine.first(ask)


def best_fit(most_cpu: int, most_gpu: int) -> Score:
    def score(machine: Machine, ask: Ask) -> tuple[float, list[int]]:
        cpu, gpu = machine.cpu - ask.cpu_milli, sum(machine.gpus) - ask.total_milli
        return int((1 - (cpu / most_cpu / 2 + gpu / most_gpu / 2)) * 100), slots_of(machine, ask)

    return score


def dot_product(most_cpu: int, most_gpu: int) -> Score:
    def score(machine: Machine, ask: Ask) -> tuple[float, list[int]]:
        cpu = machine.cpu / most_cpu * (ask.cpu_milli / most_cpu)
        gpu = sum(machine.gpus) / most_gpu * (ask.total_milli / most_gpu)
        return int(100 * (1 - (cpu + gpu) / 2)), slots_of(machine, ask)

    return score


def gpu_clustering(most_gpu: int) -> Score:
    def score(machine: Machine, ask: Ask) -> tuple[float, list[int]]:
        own = 0 if ask.shares else ask.count
        base = 25 * (most_gpu - sum(machine.gpus)) // most_gpu
        if not ask.count:
            return 0, []
        if own in machine.classes:
            more = 75 if machine.classes == {own} else 50
        else:
            more = 0 if machine.classes else 25
        return base + more, slots_of(machine, ask)

    return score


def gpu_packing(machine: Machine, ask: Ask) -> tuple[float, list[int]]:
    if not ask.count:
        return 0, []
    whole = sum(left == 1000 for left in machine.gpus)
    if whole == len(machine.gpus):
        return max(33 - whole, whole), slots_of(machine, ask)
    taken = [machine.gpus[slot] for slot in machine.fullest(ask)]
    broken = taken.count(1000)
    if broken:
        return max(50 - broken, 33), slots_of(machine, ask)
    return max(100 - sum(100 * left // 1000 for left in taken) // 10, 50), slots_of(machine, ask)


def spread(most_cpu: int, most_gpu: int) -> Score:
    def score(machine: Machine, ask: Ask) -> tuple[float, list[int]]:
        value = sum(machine.gpus) * 1_000_000 // most_gpu + machine.cpu * 1_000 // most_cpu
        return value, slots_of(machine, ask)

    return score


def fgd(mix: Mix) -> Score:
    total = sum(times for _, times in mix)
    typical: list[tuple[Ask, int]] = []
    for group in sorted(mix, key=lambda each: (-each[1], -each[0].cpu_milli, -share_of(each[0]), -each[0].count)):
        if sum(times for _, times in typical) < 0.95 * total:
            typical.append(group)
    covered = sum(times for _, times in typical)

    def fragments(machine: Machine) -> float:
        sums = dict.fromkeys(("neither", "gpu", "cpu", "for cpu", "against cpu", "barred"), 0.0)
        idle = sum(machine.gpus)
        for ask, times in typical:
            roomy, stuck, why = machine.cpu >= ask.cpu_milli, idle, "neither"
            if not ask.count:
                why = "for cpu" if roomy else "against cpu"
            elif not machine.allows(ask):
                why = "barred"
            elif sum(left >= ask.device_milli for left in machine.gpus) < ask.count:
                why = "gpu" if roomy else "neither"
            elif not roomy:
                why = "cpu"
            else:
                why, stuck = "gpu", sum(left for left in machine.gpus if left < ask.device_milli)
            sums[why] += times / total / (covered / total) * stuck
        return sum(sums.values())

    def points(machine: Machine, after: Machine) -> int:
        return int(100 * (1 / (1 + math.exp(-(fragments(machine) - fragments(after)) / 1000))))

    def score(machine: Machine, ask: Ask) -> tuple[float, list[int]]:
        if not ask.shares:
            return points(machine, machine.with_gpus(ask, machine.fullest(ask))), machine.first(ask)
        slots = [slot for slot, left in enumerate(machine.gpus) if left >= ask.device_milli]
        found = {slot: points(machine, machine.with_gpus(ask, [slot])) for slot in slots}
        best = max(found, key=lambda slot: (found[slot], -slot))
        return found[best], [best]

    return score


def least_waste(mix: Mix, prices: list[float], settings: Settings) -> Score:
    """Before it is cut into quanta."""
    total = sum(times for _, times in mix)
    patience = settings.patience
    memory = sum(ask.memory_bytes * times for ask, times in mix)
    ratio = settings.memory_slack * (sum(ask.cpu_milli * times for ask, times in mix) / memory) if memory else math.inf

    lost = lost_of_pieces(mix)

    @cache
    def waste(kind: int, level: int, cpus: int) -> float:
        """Left alone with the weight of the patience at each draw, or filled by what fits."""
        fit = [
            (times / total, -(-ask.device_milli // 10), -(-ask.cpu_milli // 1000))
            for ask, times in mix
            if ask.count == 1 and (not ask.kinds or kind in ask.kinds)
        ]
        fit = [(share, by, needs) for share, by, needs in fit if by <= level and needs <= cpus]
        rest = sum(share * waste(kind, level - by, cpus - needs) for share, by, needs in fit)
        return (rest + patience * level * 10) / (sum(share for share, _, _ in fit) + patience)

    def cost(machine: Machine) -> float:
        idle, value = sum(machine.gpus), 0.0
        whole = machine.gpus.count(1000)
        cpu = min(machine.cpu, int(machine.memory * ratio)) if memory else machine.cpu
        for left in machine.gpus:
            if left:
                cpus = min(cpu * left / idle / 1000, MOST_CPUS - 0.001)
                low, part = int(cpus), cpus - int(cpus)
                level = left // 10
                value += waste(machine.kind, level, low) * (1 - part) + waste(machine.kind, level, low + 1) * part
                value += settings.piece_weight * lost[level]
        for ask, times in mix:
            if ask.count > 1 and (not ask.kinds or machine.kind in ask.kinds):
                serves = whole >= ask.count and cpu // 1000 >= -(-ask.cpu_milli // 1000)
                value += settings.gang_weight * times / total * (idle - serves * whole * 1000)
        return value + settings.whole_milli * whole

    def score(machine: Machine, ask: Ask) -> tuple[float, list[int]]:
        each = [[slot] for slot, left in enumerate(machine.gpus) if left >= ask.device_milli]
        ways = each if ask.shares else [machine.first(ask)]
        gains = [cost(machine) - cost(machine.with_gpus(ask, way)) for way in ways]
        best = max(range(len(ways)), key=lambda way: (gains[way], -way))
        price = prices[machine.kind] * ask.total_milli
        return gains[best] - price, ways[best]

    return score


def share_of(ask: Ask) -> int:
    return ask.device_milli if ask.count else 0
