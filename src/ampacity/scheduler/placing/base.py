"""What a placement policy is given, and what it answers: the seam between *fit* and *place*.

A policy is asked for the best nodes for one member (or for the ``count`` best of a gang) and picks the devices there.
It reads arrays, one row a node, and changes nothing but what it remembers for itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ampacity.model.resources import WHOLE_MILLI

Bools = NDArray[np.bool_]
Ints16 = NDArray[np.int16]
Ints32 = NDArray[np.int32]
Ints64 = NDArray[np.int64]


class Room(Protocol):
    """What there is and what is left, one row a node: a fleet, or the board of a plan over it.

    ``version`` is a stamp of a row's content. Policies keep scores by (ask, row) for as long as the stamp stands, so a
    stamp may never be used again for another content of the row: not by a second board over the same fleet either, and
    not after a rollback (going back to the old content *with* its old stamp is right). One counter for a fleet and all
    its boards does it.

    Attributes:
        cpu_total, cpu_left: [n] thousandths.
        memory_left, disk_left: [n] bytes.
        device_total, device_left: [n, D] thousandths of each device slot, in the order of the indices; 0 where absent
            or failed.
        device_kind: [n, D] a code for the kind; -1 where absent.
        device_memory: [n, D] bytes.
        open: [n] whether the node takes new work.
        rank: [n] ties: the lower wins.
    """

    @property
    def cpu_total(self) -> Ints64: ...
    @property
    def cpu_left(self) -> Ints64: ...
    @property
    def memory_left(self) -> Ints64: ...
    @property
    def disk_left(self) -> Ints64: ...
    @property
    def device_total(self) -> Ints32: ...
    @property
    def device_left(self) -> Ints32: ...
    @property
    def device_kind(self) -> Ints16: ...
    @property
    def device_memory(self) -> Ints64: ...
    @property
    def open(self) -> Bools: ...
    @property
    def rank(self) -> Ints32: ...
    @property
    def version(self) -> Ints64: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """What one member asks of its node, in the arrays' terms.

    Attributes:
        count: how many devices.
        device_milli: of each of them, in thousandths; less than a whole only with a count of one.
        device_memory_bytes: the least that each device has to have.
        kinds: the codes of the kinds that are allowed, ascending; empty = any.
    """

    cpu_milli: int
    memory_bytes: int = 0
    disk_bytes: int = 0
    count: int = 0
    device_milli: int = WHOLE_MILLI
    device_memory_bytes: int = 0
    kinds: tuple[int, ...] = ()

    @property
    def shares(self) -> bool:
        """Whether it takes a part of one device."""
        return self.count == 1 and self.device_milli < WHOLE_MILLI

    @property
    def total_milli(self) -> int:
        """Thousandths of devices in all."""
        return self.count * self.device_milli


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """A node for a member, and its devices there.

    Attributes:
        slots: the devices' places in the row, ascending.
        score: the policy's own measure, the higher the better: comparable within one answer only.
    """

    row: int
    slots: tuple[int, ...]
    score: int


class PlacementPolicy(Protocol):
    """Chooses nodes and devices. Same room, asks and history: same answer, whatever has been cached."""

    @property
    def name(self) -> str: ...

    def choose(self, room: Room, ask: Ask, *, among: Bools | None = None, count: int = 1) -> list[Choice]:
        """The best ``count`` nodes on which the ask fits, all different, the best first; fewer where fewer fit.

        Args:
            among: [n] rows that may be chosen at all (labels, taints, topology); ``None`` = all that are open.
        """
        ...

    def arrived(self, ask: Ask) -> None:
        """Somebody asks for this now, served or not: what a policy may learn demand from. Once a member."""
        ...

    def hold(self, row: int, ask: Ask) -> None:
        """A member with this ask now holds a part of that node."""
        ...

    def release(self, row: int, ask: Ask) -> None:
        """It holds it no longer."""
        ...
