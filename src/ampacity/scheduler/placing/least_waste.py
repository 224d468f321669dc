"""Our own policy: a member goes where the least is expected to stay idle for good.

What a device is expected to end with is worked out from the demand (see :func:`.plain.expected_waste`), for each kind,
by what is left of it and by the CPUs at its disposal. To that come three prices: for nodes that members who want
several devices could have used, for whole devices that are kept, and for kinds that some demand cannot do without.
docs/decisions has how it came about, and benchmarks/placement how it does beside the published policies.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from .base import Ask, Asked, Floats, Mix, Room
from .kernels import Kept, Tables, kernels
from .pressure import Pressure
from .rules import LEVEL_MILLI, LEVELS
from .scoring import ScoringPolicy

CPUS: Final = 128
"""More CPUs than these for one device are as good as these."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """One setting for every cluster and demand; benchmarks/placement says how it was found.

    Attributes:
        patience: the weight with which a device is left as it is at each draw, where the demand has as many CPUs for a
            device as the cluster; the lower, the longer it is expected to wait for members that fit well.
        patience_power: the scarcer CPUs are in the demand, the shorter.
        gang_weight: how much of what is lost to members that want several devices of a node counts.
        whole_milli: the price of a whole device that is kept, in thousandths: above 0, shares open new devices where
            the old ones would be left with pieces that fit few.
        kind_price: the price of a kind that is asked for twice as much as it has, in parts of the device.
        quantum_milli: differences below this are ties.
    """

    patience: float = 0.05
    patience_power: float = 3.0
    gang_weight: float = 0.3
    whole_milli: float = 50.0
    kind_price: float = 0.5
    quantum_milli: float = 30.0


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
        self._known_for = 0, 0, 0.0
        self._prices: Floats = np.zeros(0)
        self._keeper.forget()

    def begin(self, room: Room) -> None:
        over = np.clip(self._pressure.loads(room) - 1, 0.0, 1.0)
        self._prices = np.append(self._settings.kind_price * over, 0.0)

    def _refresh(self, kept: Kept, room: Room, asked: Asked) -> None:
        self._kernels.refresh_waste(kept, room, asked, self._tables_for(room))

    def _settle(self, value: Floats, room: Room, ask: Ask) -> Floats:
        """Less the price of the kind, in whole quanta. The last price is for kind -1: rows without devices."""
        if ask.count and len(self._prices) == room.kinds + 1:
            value = value - self._prices[room.kind] * ask.total_milli
        return np.ceil(value / self._settings.quantum_milli)

    def _tables_for(self, room: Room) -> Tables:
        known_for = room.kinds, room.device_left.shape[1], scarcity(self._mix, room)
        if self._tables is None or self._known_for != known_for:
            self._known_for = known_for
            self._tables = self._work_out(*known_for)
        return self._tables

    def _work_out(self, kinds: int, slots: int, scarce: float) -> Tables:
        settings = self._settings
        patience = settings.patience * scarce**settings.patience_power
        members = sum(times for _, times in self._mix)
        shares = [(ask, times / members, ask.allowed(kinds)) for ask, times in self._mix]
        waste = np.zeros((kinds + 1, LEVELS + 1, CPUS + 1))  # the last place is that of kind -1: no device
        gangs, in_all = np.zeros((kinds + 1, slots + 1, CPUS + 1)), np.zeros(kinds + 1)
        known: dict[tuple[bool, ...], int] = {}
        for kind in range(kinds):
            twin = known.setdefault(tuple(bool(allowed[kind]) for _, _, allowed in shares), kind)
            here = [(ask, share) for ask, share, allowed in shares if allowed[kind]]
            waste[kind] = self._waste(here, patience) if twin == kind else waste[twin]
            for ask, share in here:
                if ask.count > 1:
                    gangs[kind, ask.count :, _cpus(ask) :] += share
                    in_all[kind] += share
        return Tables(
            waste=waste,
            gangs=gangs,
            gangs_in_all=in_all,
            gang_weight=settings.gang_weight,
            whole_milli=settings.whole_milli,
        )

    def _waste(self, here: list[tuple[Ask, float]], patience: float) -> Floats:
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
            patience,
            CPUS,
        )


def scarcity(mix: Mix, room: Room) -> float:
    """How many CPUs the demand has for a device, over how many the cluster has; in hundredths, so that a node more or
    less changes nothing. 1 where either has no devices."""
    cpu = sum(ask.cpu_milli * times for ask, times in mix)
    device = sum(ask.total_milli * times for ask, times in mix)
    if not device or not room.device_in_all or not room.cpu_in_all:
        return 1.0
    return round(cpu / device / (room.cpu_in_all / room.device_in_all), 2)


def _cpus(ask: Ask) -> int:
    return -(-ask.cpu_milli // 1000)
