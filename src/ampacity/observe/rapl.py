"""The energy of the CPUs' packages, from the kernel's powercap files (RAPL), where this user may read them."""

from __future__ import annotations

import glob
import math

from .proc_files import KeptFile

POWERCAP = "/sys/class/powercap"
MICRO = 1e-6


class PackageEnergy:
    """Adds up the packages' counters, which wrap around. Without any that can be read all is NaN.

    Memory's own domain lies inside the package's folder, not its counter, on some machines: only packages are read, so
    nothing counts twice.
    """

    def __init__(self, *, begin_at_j: float = 0.0, root: str = POWERCAP) -> None:
        self._zones: list[_Zone] = []
        for folder in sorted(glob.glob(f"{root}/intel-rapl:*")):
            if folder.count(":") == 1:
                zone = _Zone(folder)
                if zone.counter.number() is not None:
                    self._zones.append(zone)
        self._energy_j = begin_at_j if not math.isnan(begin_at_j) else 0.0
        self._before_at: float | None = None

    def sample(self, now: float) -> tuple[float, float]:
        """Joules since the count began, and watts since the last sample. ``now``: monotonic seconds."""
        if not self._zones:
            return math.nan, math.nan
        used_j = sum(zone.used_j() for zone in self._zones)
        before_at, self._before_at = self._before_at, now
        if before_at is None:
            return self._energy_j, math.nan
        self._energy_j += used_j
        return self._energy_j, used_j / (now - before_at) if now > before_at else math.nan


class _Zone:
    def __init__(self, folder: str) -> None:
        self.counter = KeptFile(f"{folder}/energy_uj", limit=64)
        limit = KeptFile(f"{folder}/max_energy_range_uj", limit=64)
        self._range_uj = limit.number() or 2.0**32
        limit.close()
        self._before_uj: float | None = None

    def used_j(self) -> float:
        """Joules since the last call."""
        value = self.counter.number()
        before, self._before_uj = self._before_uj, value
        if value is None or before is None:
            return 0.0
        used_uj = value - before if value >= before else value + self._range_uj - before
        return used_uj * MICRO
