"""Our own policy: a member goes where the least is expected to stay idle for good.

What a device is expected to end with is worked out from the demand, for each kind, by what is left of it and by the
CPUs at its disposal: the waste if it is filled at random (:func:`.plain.expected_waste`), and what a piece of that size
is worth if the demand is cut as well as can be (:mod:`.patterns`). To that come three prices: for nodes that members
who want several devices could have used, for whole devices that are kept, and for kinds that some demand cannot do
without. Decision 10 has how it came about, benchmarks/placement how it does beside the published policies.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from .base import Ask, Asked, Floats, Mix, Room
from .kernels import Kept, Tables, kernels
from .patterns import worth_of_pieces
from .pressure import Pressure
from .rules import LEVEL_MILLI, LEVELS
from .scoring import ScoringPolicy, speed_of_rows

CPUS: Final = 128
"""More CPUs than these for one device are as good as these."""

NODE_CPUS: Final = 1024
"""And more than these for all devices of a node that somebody wants several of."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """One setting for every cluster and demand; benchmarks/placement says how it was found.

    Attributes:
        patience: the weight with which a device is left as it is at each draw; the lower, the longer it is expected to
            wait for members that fit well.
        piece_weight: how much of what is lost of a piece counts when the demand is cut out of as few devices as can be
            (see :mod:`.patterns`).
        memory_slack: so many times the memory that the demand has for a CPU is enough for it.
        gang_weight: how much of what is lost to members that want several devices of a node counts.
        whole_milli: the price of a whole device that is kept, in thousandths: above 0, shares open new devices where
            the old ones would be left with pieces that fit few.
        kind_price: the price of a kind that is asked for twice as much as it has, in parts of the device.
        quantum_milli: differences below this are ties.
    """

    patience: float = 0.05
    piece_weight: float = 1.7
    memory_slack: float = 1.2
    gang_weight: float = 0.2
    whole_milli: float = 50.0
    kind_price: float = 0.5
    quantum_milli: float = 40.0


class LeastWaste(ScoringPolicy):
    """Least expected waste, for the demand of a mix."""

    def __init__(self, mix: Mix = (), *, settings: Settings | None = None, compiled: bool | None = None) -> None:
        super().__init__("least_waste", self._refresh)
        self._kernels = kernels(compiled)
        self._settings = Settings() if settings is None else settings
        self.learn(mix)

    def learn(self, mix: Mix) -> None:
        self._mix = tuple(mix)
        self._pressure = Pressure(self._mix)
        self._tables: Tables | None = None
        self._known_for = 0, 0
        self._prices: Floats = np.zeros(0)
        self._keeper.forget()

    def begin(self, room: Room) -> None:
        over = np.clip(self._pressure.loads(room) - 1, 0.0, 1.0)
        self._prices = np.append(self._settings.kind_price * over, 0.0)

    def _refresh(self, kept: Kept, room: Room, asked: Asked) -> None:
        self._kernels.refresh_waste(kept, room, asked, self._tables_for(room))

    def _settle(self, value: Floats, room: Room, ask: Ask) -> Floats:
        """Less the price of the kind and what a slower kind loses of the devices' time, in whole quanta. The last price
        is for kind -1: rows without devices."""
        if ask.count and len(self._prices) == room.kinds + 1:
            value = value - self._prices[room.kind] * ask.total_milli
        if ask.speeds:
            value = value - (1 - speed_of_rows(room, ask)) * ask.total_milli
        return np.ceil(value / self._settings.quantum_milli)

    def _tables_for(self, room: Room) -> Tables:
        known_for = room.kinds, room.device_left.shape[1]
        if self._tables is None or self._known_for != known_for:
            self._known_for = known_for
            self._tables = self._work_out(*known_for)
        return self._tables

    def _work_out(self, kinds: int, slots: int) -> Tables:
        members = sum(times for _, times in self._mix)
        shares = [(ask, times / members, ask.allowed(kinds)) for ask, times in self._mix]
        waste = np.zeros((kinds + 1, LEVELS + 1, CPUS + 1))  # the last place is that of kind -1: no device
        most = max((_cpus_of_node(ask) for ask, _ in self._mix if ask.count > 1), default=0)
        gangs, in_all = np.zeros((kinds + 1, slots + 1, most + 1)), np.zeros(kinds + 1)
        lost = self._settings.piece_weight * lost_of_pieces(self._mix)[:, None]
        known: dict[tuple[bool, ...], int] = {}
        for kind in range(kinds):
            twin = known.setdefault(tuple(bool(allowed[kind]) for _, _, allowed in shares), kind)
            here = [(ask, share) for ask, share, allowed in shares if allowed[kind]]
            waste[kind] = self._waste(here) + lost if twin == kind else waste[twin]
            for ask, share in here:
                if ask.count > 1:
                    gangs[kind, ask.count :, _cpus_of_node(ask) :] += share
                    in_all[kind] += share
        return Tables(
            waste=waste,
            gangs=gangs,
            gangs_in_all=in_all,
            cpu_per_byte=self._settings.memory_slack * cpu_per_byte(self._mix),
            gang_weight=self._settings.gang_weight,
            whole_milli=self._settings.whole_milli,
        )

    def _waste(self, here: list[tuple[Ask, float]]) -> Floats:
        """The expected waste of a device that these may use. Those that look alike in levels and CPUs are one."""
        alike: dict[tuple[int, int], float] = {}
        for ask, share in here:
            if ask.count == 1:
                looks = -(-ask.device_milli // LEVEL_MILLI), _cpus(ask)
                alike[looks] = alike.get(looks, 0.0) + share
        looks_like = sorted(alike)
        return self._kernels.expected_waste(
            np.array([alike[looks] for looks in looks_like], np.float64),
            np.array([level for level, _ in looks_like], np.int64),
            np.array([cpus for _, cpus in looks_like], np.int64),
            self._settings.patience,
            CPUS,
        )


def lost_of_pieces(mix: Mix) -> Floats:
    """[levels + 1] thousandths that a piece of a device has more than it is worth."""
    sizes: dict[int, int] = {}
    for ask, times in mix:
        if ask.count:
            level = -(-ask.device_milli // LEVEL_MILLI)
            sizes[level] = sizes.get(level, 0) + times * ask.count
    worth = worth_of_pieces(np.array(sorted(sizes), np.int64), np.array([sizes[each] for each in sorted(sizes)], float))
    return np.arange(LEVELS + 1) * float(LEVEL_MILLI) - LEVELS * LEVEL_MILLI * worth


def cpu_per_byte(mix: Mix) -> float:
    """Thousandths of CPUs for each byte of memory; 0 where nobody asks for memory."""
    memory = sum(ask.memory_bytes * times for ask, times in mix)
    return sum(ask.cpu_milli * times for ask, times in mix) / memory if memory else 0.0


def _cpus(ask: Ask) -> int:
    return -(-ask.cpu_milli // 1000)


def _cpus_of_node(ask: Ask) -> int:
    return min(_cpus(ask), NODE_CPUS)
