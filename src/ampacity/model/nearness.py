"""How near two devices of one machine are to each other, by where they sit on PCI."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import Protocol, TypeVar


class Nearness(StrEnum):
    """From near to far: what is the lowest thing that traffic between the two goes through."""

    BRIDGE = "bridge"
    """A PCI bridge or switch below one port of the processor."""
    HOST = "host bridge"
    NUMA = "NUMA node"
    SYSTEM = "system"


class Placed(Protocol):
    @property
    def pci_path(self) -> str: ...

    @property
    def numa_node(self) -> int | None: ...


P = TypeVar("P", bound=Placed)
_ORDER = tuple(Nearness)


def nearness(one: Placed, other: Placed) -> Nearness | None:
    """``None`` when either is not on PCI, or its place is not known."""
    if not one.pci_path or not other.pci_path:
        return None
    above, beside = (each.pci_path.split("/")[:-1] for each in (one, other))
    common = next(
        (n for n, (a, b) in enumerate(zip(above, beside, strict=False)) if a != b), min(len(above), len(beside))
    )
    if common > 1:
        return Nearness.BRIDGE
    if common == 1:
        return Nearness.HOST
    if one.numa_node is not None and one.numa_node == other.numa_node:
        return Nearness.NUMA
    return Nearness.SYSTEM


def nearest(device: Placed, others: Sequence[P]) -> tuple[tuple[P, ...], Nearness] | None:
    """All those that are nearest to it, in their order, and how near; ``None`` when that is not known of any."""
    known = [(other, near) for other in others if (near := nearness(device, other)) is not None]
    if not known:
        return None
    least = min((near for _, near in known), key=_ORDER.index)
    return tuple(other for other, near in known if near is least), least
