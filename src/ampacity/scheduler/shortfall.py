"""The arithmetic of what is missing: on one node, and over a gang's nodes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from enum import StrEnum

from ampacity.model.fits import Free, allocate, matching
from ampacity.model.node import Node
from ampacity.model.resources import WHOLE_MILLI, Range, ResourceRequest


class Dimension(StrEnum):
    """What can be short. ``share`` is a part of one accelerator, in thousandths; ``devices`` are whole ones."""

    DEVICES = "devices"
    SHARE = "share"
    CPU = "cpu"
    MEMORY = "memory"
    DISK = "disk"


@dataclass(frozen=True, slots=True, kw_only=True)
class Short:
    """One dimension of one node: devices, thousandths (share, CPU) or bytes. ``missing`` = ``needed`` - ``free``."""

    dimension: Dimension
    needed: int
    free: int
    total: int

    @property
    def missing(self) -> int:
        return self.needed - self.free


@dataclass(frozen=True, slots=True, kw_only=True)
class Shortfall:
    """What one node lacks for one member; nothing short = it fits."""

    node: Node
    shorts: tuple[Short, ...]

    def size(self) -> tuple[object, ...]:
        """For ordering: nothing short first, then accelerators weigh most, CPU, memory, disk; last the node's id."""
        missing = {short.dimension: short.missing for short in self.shorts}
        return *(missing.get(dimension, 0) for dimension in Dimension), self.node.id


def shortfall(node: Node, free: Free, total: Free, request: ResourceRequest) -> Shortfall:
    """What the node lacks for a member of this request (of at most one alternative of accelerators)."""
    shorts = [
        Short(dimension=dimension, needed=needed_of(request, dimension), free=left, total=had)
        for dimension in dimensions(request)
        if (left := amount(node, free, request, dimension)) < needed_of(request, dimension)
        for had in (amount(node, total, request, dimension),)
    ]
    return Shortfall(node=node, shorts=tuple(shorts))


def dimensions(request: ResourceRequest) -> tuple[Dimension, ...]:
    """The dimensions in which the request asks for anything."""
    return tuple(dimension for dimension in Dimension if needed_of(request, dimension) > 0)


def needed_of(request: ResourceRequest, dimension: Dimension) -> int:
    wanted = request.accelerators[0] if request.accelerators else None
    match dimension:
        case Dimension.DEVICES:
            return wanted.count.minimum if wanted is not None and wanted.milli == WHOLE_MILLI else 0
        case Dimension.SHARE:
            return wanted.milli if wanted is not None and wanted.milli < WHOLE_MILLI else 0
        case Dimension.CPU:
            return request.cpu_milli.minimum
        case Dimension.MEMORY:
            return request.memory_bytes.minimum
        case Dimension.DISK:
            return request.disk_bytes


def amount(node: Node, free: Free, request: ResourceRequest, dimension: Dimension) -> int:
    """How much of a dimension is free: whole devices of the kind, or the largest share of one.

    Below zero where more was given out than the node now has.
    """
    match dimension:
        case Dimension.DEVICES:
            return sum(milli >= WHOLE_MILLI for milli in _device_milli(node, free, request))
        case Dimension.SHARE:
            return max(_device_milli(node, free, request), default=0)
        case Dimension.CPU:
            return free.cpu_milli
        case Dimension.MEMORY:
            return free.memory_bytes
        case Dimension.DISK:
            return free.disk_bytes


def most_to_ask(nodes: Iterable[tuple[Node, Free]], request: ResourceRequest, dimension: Dimension, count: int) -> int:
    """The most of one dimension with which ``count`` nodes would hold a member now, all else as asked; 0 = none."""
    relaxed = without(request, dimension)
    found = sorted(
        (amount(node, free, request, dimension) for node, free in nodes if allocate(node, free, relaxed) is not None),
        reverse=True,
    )
    return found[count - 1] if len(found) >= count else 0


def without(request: ResourceRequest, dimension: Dimension) -> ResourceRequest:
    """The request without what it asks for in one dimension."""
    nothing = Range.exactly(0)
    match dimension:
        case Dimension.DEVICES | Dimension.SHARE:
            return replace(request, accelerators=())
        case Dimension.CPU:
            return replace(request, cpu_milli=nothing)
        case Dimension.MEMORY:
            return replace(request, memory_bytes=nothing)
        case Dimension.DISK:
            return replace(request, disk_bytes=0)


def _device_milli(node: Node, free: Free, request: ResourceRequest) -> list[int]:
    return [free.device_milli.get(device.id, 0) for device in matching(node, request.accelerators[0])]
