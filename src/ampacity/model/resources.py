"""What a workload asks for and what a node has: ranges, accelerators, CPU, memory."""

from __future__ import annotations

from dataclasses import dataclass, field

WHOLE_MILLI = 1000
"""One whole accelerator, or one CPU, in thousandths."""

ANY_KIND = "*"
"""An accelerator of whatever kind."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Range:
    """An inclusive range of integers. ``maximum`` ``None`` = no upper bound (``8+``)."""

    minimum: int
    maximum: int | None

    @staticmethod
    def exactly(value: int) -> Range:
        return Range(minimum=value, maximum=value)

    @staticmethod
    def at_least(value: int) -> Range:
        return Range(minimum=value, maximum=None)

    def holds(self, value: int) -> bool:
        return value >= self.minimum and (self.maximum is None or value <= self.maximum)

    def __str__(self) -> str:
        if self.maximum is None:
            return f"{self.minimum}+"
        if self.maximum == self.minimum:
            return str(self.minimum)
        return f"{self.minimum}..{self.maximum}"


@dataclass(frozen=True, slots=True, kw_only=True)
class AcceleratorRequest:
    """Accelerators of one kind, per node.

    ``milli`` is the share of each device, in thousandths: 1000 is the whole device; less only with a count of one.
    """

    kind: str
    count: Range
    milli: int = WHOLE_MILLI
    memory_bytes: int | None = None

    def __str__(self) -> str:
        kind = "accelerator" if self.kind == ANY_KIND else self.kind
        return f"{self.milli / WHOLE_MILLI:g} {kind}" if self.milli < WHOLE_MILLI else f"{self.count} {kind}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Counted:
    """So many of something that is counted by a name."""

    name: str
    amount: int


@dataclass(frozen=True, slots=True, kw_only=True)
class KindRate:
    """How fast it runs on a kind of accelerator, with what it asks for there."""

    kind: str
    steps_per_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ResourceRequest:
    """What one member (one node's part of a gang) asks for.

    ``accelerators`` are alternatives, the best liked first; empty = none. CPU is in thousandths of a core; who names
    none is promised one, and may use what is idle. ``counted`` are things that a node has (FPGAs);
    ``licences`` are there once for all nodes. ``power_w``: watts that it draws from the node's feed at most; 0 = not
    counted. ``throughput``: what its owner says of how fast it runs, by kind.
    """

    accelerators: tuple[AcceleratorRequest, ...] = ()
    cpu_milli: Range = field(default_factory=lambda: Range.at_least(WHOLE_MILLI))
    memory_bytes: Range = field(default_factory=lambda: Range.exactly(0))
    disk_bytes: int = 0
    counted: tuple[Counted, ...] = ()
    licences: tuple[Counted, ...] = ()
    power_w: int = 0
    throughput: tuple[KindRate, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceShare:
    """A part of one device, as given to a member. ``milli`` in thousandths of the device."""

    device: str
    milli: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Allocation:
    """What one member was given on its node."""

    cpu_milli: int
    memory_bytes: int
    disk_bytes: int = 0
    devices: tuple[DeviceShare, ...] = ()
    counted: tuple[Counted, ...] = ()
    licences: tuple[Counted, ...] = ()
    power_w: int = 0
