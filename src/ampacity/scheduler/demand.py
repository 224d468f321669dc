"""What is asked for now, and how often: what placement policies expect to go on."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from ampacity.model.ids import WorkloadId
from ampacity.model.resources import ANY_KIND, ResourceRequest

from .fleet import Fleet
from .paces import Rates
from .placing.base import Ask, Mix

NOWHERE: Final = 2**15 - 1
"""The code of a kind that no node has had."""

STEPS_A_DOUBLING: Final = 2
"""Counts are told in powers of the square root of two, so that what is expected does not change with every arrival."""


@dataclass(slots=True)
class Demand:
    """The members that live workloads ask for, by what each asks. It follows from the rows alone, not from the order in
    which they came."""

    counts: Counter[ResourceRequest] = field(default_factory=Counter)
    _of: dict[WorkloadId, tuple[ResourceRequest, int]] = field(default_factory=dict)
    _mix: tuple[int, Mix] | None = None

    def put(self, workload: WorkloadId, request: ResourceRequest | None, members: int) -> None:
        """What a workload asks for now (``None``: nothing), instead of what it asked for before."""
        before = self._of.pop(workload, None)
        now = None if request is None or members < 1 else (request, members)
        if now is not None:
            self._of[workload] = now
        if before == now:
            return
        self._mix = None
        for entry, sign in ((before, -1), (now, 1)):
            if entry is not None:
                self.counts[entry[0]] += sign * entry[1]
                if not self.counts[entry[0]]:
                    del self.counts[entry[0]]

    def mix(self, fleet: Fleet) -> Mix:
        """As policies take it: those that differ in memory alone are one, with their mean; counts and means rounded."""
        if self._mix is None or self._mix[0] != len(fleet.kinds):
            self._mix = len(fleet.kinds), self._grouped(fleet)
        return self._mix[1]

    def _grouped(self, fleet: Fleet) -> Mix:
        groups: dict[tuple[int, int, int, tuple[int, ...]], tuple[int, int]] = {}
        for request, times in self.counts.items():
            ask = ask_of(request, fleet)
            key = ask.cpu_milli, ask.count, ask.device_milli, ask.kinds
            members, memory = groups.get(key, (0, 0))
            groups[key] = members + times, memory + times * ask.memory_bytes
        return tuple(
            (
                Ask(
                    cpu_milli=cpu, count=count, device_milli=milli, kinds=kinds, memory_bytes=_rounded(memory / members)
                ),
                _rounded(members),
            )
            for (cpu, count, milli, kinds), (members, memory) in sorted(groups.items())
        )


def ask_of(request: ResourceRequest, fleet: Fleet, rates: Rates = ()) -> Ask:
    """A request in the terms of a fleet. Of several alternatives the first one's number and share, on the kinds of all
    that have the same.

    Args:
        rates: how fast it runs on each kind. They count where it may have any.
    """
    cpu, memory = request.cpu_milli.minimum, request.memory_bytes.minimum
    if not request.accelerators:
        return Ask(cpu_milli=cpu, memory_bytes=memory, disk_bytes=request.disk_bytes)
    first = request.accelerators[0]
    alike = [each for each in request.accelerators if (each.count, each.milli) == (first.count, first.milli)]
    return Ask(
        cpu_milli=cpu,
        memory_bytes=memory,
        disk_bytes=request.disk_bytes,
        count=first.count.minimum,
        device_milli=first.milli,
        device_memory_bytes=min(each.memory_bytes or 0 for each in alike),
        kinds=_codes({each.kind for each in alike}, fleet),
        speeds=_speeds(dict(rates), fleet) if first.kind == ANY_KIND else (),
    )


def _speeds(rates: Mapping[str, float], fleet: Fleet) -> tuple[float, ...]:
    """By code, over the fastest kind that there is; one of which nothing is known counts as that."""
    best = max((rates[kind] for kind in fleet.kinds_there() if kind in rates), default=0.0)
    return tuple(rates.get(kind, best) / best for kind in fleet.kinds) if best else ()


def _codes(kinds: set[str], fleet: Fleet) -> tuple[int, ...]:
    """Instances of a partitioned device are asked for by their own kind alone."""
    if ANY_KIND not in kinds:
        codes = (fleet.kind_code(kind) for kind in kinds)
        return tuple(sorted(NOWHERE if code is None else code for code in codes))
    parts = set(fleet.parts_of_devices)
    return tuple(code for code in range(len(fleet.kinds)) if code not in parts) if parts else ()


def _rounded(number: float) -> int:
    if number < 1:
        return 0
    return round(2 ** (round(STEPS_A_DOUBLING * math.log2(number)) / STEPS_A_DOUBLING))
