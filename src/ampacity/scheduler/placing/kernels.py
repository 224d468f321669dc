"""Which kernels score: compiled by Numba where it is installed, else the same sums in NumPy."""

from __future__ import annotations

from functools import cache
from typing import NamedTuple, Protocol

from ampacity.scheduler.columns import Counts, Flags, Ints

from .base import Asked, Floats, Room


class Kept(NamedTuple):
    """What is known of one ask on every row.

    Attributes:
        version: [n] of which content of the row it is known.
        value: [n] the higher the better; ``-inf`` = it does not fit.
        slot: [n] the device that a sharing ask would take; -1 = the fullest that fits.
    """

    version: Ints
    value: Floats
    slot: Ints


class Pods(NamedTuple):
    """What is expected, as kernels take it: [p] each, ``allowed`` [p, kinds + 1]."""

    frequency: Floats
    cpu_milli: Ints
    devices: Ints
    device_milli: Ints
    allowed: Flags


class Tables(NamedTuple):
    """What :mod:`.least_waste` knows of the demand.

    Attributes:
        waste: [kinds + 1, levels + 1, cpus + 1] the thousandths of a device that are expected to stay idle, by its
            kind, what is left of it (in steps of ``LEVEL_MILLI``) and the CPUs at its disposal.
        gangs: [kinds + 1, D + 1, cpus of a node + 1] the share of members that want more than one device of a node and
            that a node with so many whole ones and so many CPUs can serve; more CPUs serve no others.
        gangs_in_all: [kinds + 1] the share of those that could be on that kind at all.
        cpu_per_byte: thousandths of CPUs that go with a byte of memory; 0 = memory does not matter.
        gang_weight, whole_milli: see :class:`.least_waste.Settings`.
    """

    waste: Floats
    gangs: Floats
    gangs_in_all: Floats
    cpu_per_byte: float
    gang_weight: float
    whole_milli: float


class Kernels(Protocol):
    """Each looks at the rows whose version is not the kept one, and writes what it finds there.

    ``rule`` is one of the numbers in :mod:`.rules`; ``classes`` [n, c]: how many of each class a node holds; ``steps``
    [100] from which gain on a score has one point more.
    """

    def refresh_simple(self, rule: int, kept: Kept, room: Room, asked: Asked, classes: Counts) -> None: ...

    def refresh_fgd(self, kept: Kept, room: Room, asked: Asked, pods: Pods, steps: Floats) -> None: ...

    def refresh_waste(self, kept: Kept, room: Room, asked: Asked, tables: Tables) -> None: ...

    def expected_waste(self, frequency: Floats, level: Ints, cpu: Ints, patience: float, cpus: int) -> Floats: ...


@cache
def kernels(compiled: bool | None = None) -> Kernels:
    """The compiled ones (``None``: where Numba is installed). Loading them takes about a second, the first time."""
    if compiled is not False:
        try:
            from . import compiled as fast

            return fast
        except ImportError:
            if compiled:
                raise
    from . import plain

    return plain
