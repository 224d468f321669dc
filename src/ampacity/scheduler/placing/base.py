"""What a placement policy is given, and what it answers: the seam between *fit* and *place*.

A policy is asked for the best nodes for one member (or for the ``count`` best of a gang) and picks the devices there.
It reads arrays, one row a node, and changes nothing but what it remembers for itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from ampacity.model.resources import WHOLE_MILLI
from ampacity.scheduler.board import Board
from ampacity.scheduler.columns import Codes, Counts, Flags, Ints
from ampacity.scheduler.fleet import ABSENT

Floats = NDArray[np.float64]


class Room(NamedTuple):
    """What there is and what is left while a plan is being made: the arrays of a fleet and of a board over it.

    A tuple, because compiled kernels take it as it is. It shows the board's arrays themselves: what is taken on the
    board is seen here, until the fleet changes.

    Attributes:
        cpu_left, memory_left, disk_left: [n] thousandths and bytes.
        device_left, device_total: [n, D] thousandths of each device slot.
        device_kind: [n, D] a code for the kind; -1 where absent.
        device_memory: [n, D] bytes.
        open: [n] whether the node takes new work.
        rank: [n] ties: the lower wins.
        version: [n] a stamp of the row's content. Scores by (ask, row) are kept for as long as it stands.
        kind: [n] that of the node's first device; -1 where it has none.
        most_cpu, most_device: thousandths of the node that has the most.
        kinds: how many kinds there are.
    """

    cpu_left: Ints
    memory_left: Ints
    disk_left: Ints
    device_left: Counts
    device_total: Counts
    device_kind: Codes
    device_memory: Ints
    open: Flags
    rank: Counts
    version: Ints
    kind: Codes
    most_cpu: int
    most_device: int
    kinds: int

    @property
    def size(self) -> int:
        return len(self.open)

    @staticmethod
    def of(board: Board) -> Room:
        fleet = board.fleet
        slots = fleet.device_kind.shape[1]
        return Room(
            cpu_left=board.cpu_left,
            memory_left=board.memory_left,
            disk_left=board.disk_left,
            device_left=board.device_left,
            device_total=fleet.device_total,
            device_kind=fleet.device_kind,
            device_memory=fleet.device_memory,
            open=fleet.open,
            rank=fleet.rank,
            version=board.version,
            kind=fleet.device_kind[:, 0].copy() if slots else np.full(fleet.size, ABSENT, np.int16),
            most_cpu=int(fleet.cpu_total.max(initial=1)),
            most_device=int(fleet.device_total.sum(axis=1).max(initial=1)),
            kinds=len(fleet.kinds),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """What one member asks of its node, in the arrays' terms.

    Attributes:
        count: how many devices.
        device_milli: of each of them, in thousandths; less than a whole only with a count of one.
        device_memory_bytes: the least that each device has to have.
        kinds: the codes of the kinds that are allowed, ascending; empty = any. A code that the fleet does not have is
            of a kind that is nowhere.
        speeds: how fast it runs on each kind, by code, over how fast on the best (:mod:`.throughput`); empty = equally
            fast on all, and kinds behind the last one count as 1.
    """

    cpu_milli: int
    memory_bytes: int = 0
    disk_bytes: int = 0
    count: int = 0
    device_milli: int = WHOLE_MILLI
    device_memory_bytes: int = 0
    kinds: tuple[int, ...] = ()
    speeds: tuple[float, ...] = ()

    @property
    def shares(self) -> bool:
        """Whether it takes a part of one device."""
        return self.count == 1 and self.device_milli < WHOLE_MILLI

    @property
    def total_milli(self) -> int:
        """Thousandths of devices in all."""
        return self.count * self.device_milli

    def allowed(self, kinds: int) -> Flags:
        """[kinds + 1] by code; the last place, which is also that of code -1, is for slots without a device."""
        flags = np.zeros(kinds + 1, np.bool_)
        flags[[code for code in self.kinds if 0 <= code < kinds]] = True
        if not self.kinds:
            flags[:kinds] = True
        return flags


class Rating(NamedTuple):
    """How good each row is for one ask.

    Attributes:
        value: [n] the higher the better; ``-inf`` where it does not fit.
        slot: [n] the device that a share comes from; -1 = the fullest that still holds it.
    """

    value: Floats
    slot: Ints


class Asked(NamedTuple):
    """An ask as kernels take it."""

    cpu_milli: int
    memory_bytes: int
    disk_bytes: int
    devices: int
    device_milli: int
    device_memory_bytes: int
    shares: bool
    allowed: Flags

    @staticmethod
    def of(ask: Ask, kinds: int) -> Asked:
        return Asked(
            cpu_milli=ask.cpu_milli,
            memory_bytes=ask.memory_bytes,
            disk_bytes=ask.disk_bytes,
            devices=ask.count,
            device_milli=ask.device_milli if ask.count else 0,
            device_memory_bytes=ask.device_memory_bytes,
            shares=ask.shares,
            allowed=ask.allowed(kinds),
        )


Mix = Sequence[tuple[Ask, int]]
"""What is asked for, and how often: the demand that a policy expects to go on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """A node for a member, and its devices there.

    Attributes:
        slots: the devices' places in the row, ascending.
        score: the policy's own measure, the higher the better: comparable within one answer only.
    """

    row: int
    slots: tuple[int, ...]
    score: float


class PlacementPolicy(Protocol):
    """Chooses nodes and devices. Same room, asks and history: same answer, whatever has been cached."""

    @property
    def name(self) -> str: ...

    def learn(self, mix: Mix) -> None:
        """From now on expect this demand."""
        ...

    def begin(self, room: Room) -> None:
        """Look at the room as a whole: once a plan, before anything is asked."""
        ...

    def rate(self, room: Room, ask: Ask) -> Rating:
        """How good each row is for the ask as the room now is. Not to be written to; it stands until the next call."""
        ...

    def choose(self, room: Room, ask: Ask, *, among: Flags | None = None, count: int = 1) -> list[Choice]:
        """The best ``count`` nodes on which the ask fits, all different, the best first; fewer where fewer fit.

        Args:
            among: [n] rows that may be chosen at all (labels, taints, topology); ``None`` = all that are open.
        """
        ...

    def hold(self, row: int, ask: Ask) -> None:
        """A member with this ask now holds a part of that node. Told after the room shows it."""
        ...

    def release(self, row: int, ask: Ask) -> None:
        """It holds it no longer."""
        ...
