"""``fits()``: the one check whether an allocation goes onto a node. Plan and commit both ask it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from .node import Device, Health, Node, NodeCondition
from .resources import ANY_KIND, WHOLE_MILLI, AcceleratorRequest, Allocation, DeviceShare, ResourceRequest


@dataclass(frozen=True, slots=True, kw_only=True)
class Free:
    """What is left on a node. ``device_milli`` by device id; devices that may not be used are absent. ``counted``: of
    what the node itself has."""

    cpu_milli: int
    memory_bytes: int
    disk_bytes: int
    device_milli: Mapping[str, int] = field(default_factory=dict)
    counted: Mapping[str, int] = field(default_factory=dict)


def capacity(node: Node) -> Free:
    """All that the node has, were it empty. Failed devices do not count."""
    return Free(
        cpu_milli=node.cpu_milli,
        memory_bytes=node.memory_bytes,
        disk_bytes=node.disk_bytes,
        device_milli={device.id: WHOLE_MILLI for device in node.devices if device.health is not Health.FAILED},
        counted=dict(node.counted),
    )


def free_on(node: Node, used: Iterable[Allocation]) -> Free:
    """What is left once the allocations are taken off."""
    left = capacity(node)
    for allocation in used:
        left = less(left, allocation)
    return left


def less(free: Free, allocation: Allocation) -> Free:
    """``free`` without the allocation. May go below zero: that is for :func:`fits` to refuse."""
    return _changed(free, allocation, -1)


def more(free: Free, allocation: Allocation) -> Free:
    """``free`` with the allocation given back."""
    return _changed(free, allocation, 1)


def _changed(free: Free, allocation: Allocation, sign: int) -> Free:
    devices = dict(free.device_milli)
    for share in allocation.devices:
        if share.device in devices:
            devices[share.device] += sign * share.milli
    counted = dict(free.counted)
    for each in allocation.counted:
        if each.name in counted:
            counted[each.name] += sign * each.amount
    return Free(
        cpu_milli=free.cpu_milli + sign * allocation.cpu_milli,
        memory_bytes=free.memory_bytes + sign * allocation.memory_bytes,
        disk_bytes=free.disk_bytes + sign * allocation.disk_bytes,
        device_milli=devices,
        counted=counted,
    )


def fits(free: Free, allocation: Allocation) -> bool:
    """Whether the exact allocation can be given out of what is free."""
    return (
        allocation.cpu_milli <= free.cpu_milli
        and allocation.memory_bytes <= free.memory_bytes
        and allocation.disk_bytes <= free.disk_bytes
        and all(each.amount <= free.counted.get(each.name, 0) for each in allocation.counted)
        and all(milli <= free.device_milli.get(device, 0) for device, milli in _by_device(allocation))
    )


def _by_device(allocation: Allocation) -> Iterable[tuple[str, int]]:
    """What is asked of each device in all, should one be named more than once."""
    if len(allocation.devices) <= 1:
        return [(share.device, share.milli) for share in allocation.devices]
    sums: dict[str, int] = {}
    for share in allocation.devices:
        sums[share.device] = sums.get(share.device, 0) + share.milli
    return sums.items()


def usable(node: Node) -> bool:
    """Whether new work may be placed there."""
    return node.condition is NodeCondition.READY


def allocate(node: Node, free: Free, request: ResourceRequest) -> Allocation | None:
    """The allocation that serves the request out of what is free, or ``None``.

    Of a range the minimum is given. Alternatives of accelerators are tried in their order; whole devices are taken by
    ascending index, a share comes from the fullest device that still holds it.
    """
    base = Allocation(
        cpu_milli=request.cpu_milli.minimum,
        memory_bytes=request.memory_bytes.minimum,
        disk_bytes=request.disk_bytes,
        counted=request.counted,
        licences=request.licences,
        power_w=request.power_w,
    )
    if not fits(free, base):
        return None
    if not request.accelerators:
        return base
    for wanted in request.accelerators:
        shares = _take(node, free, wanted)
        if shares is not None:
            return replace(base, devices=shares)
    return None


def holds(node: Node, free: Free, request: ResourceRequest) -> bool:
    """Whether :func:`allocate` finds something, which this does not write out."""
    return (
        request.cpu_milli.minimum <= free.cpu_milli
        and request.memory_bytes.minimum <= free.memory_bytes
        and request.disk_bytes <= free.disk_bytes
        and all(each.amount <= free.counted.get(each.name, 0) for each in request.counted)
        and (not request.accelerators or any(_has(node, free, wanted) for wanted in request.accelerators))
    )


def _has(node: Node, free: Free, wanted: AcceleratorRequest) -> bool:
    left = free.device_milli
    enough = [device for device in node.devices if left.get(device.id, 0) >= wanted.milli]
    return len(enough) >= wanted.count.minimum and sum(_is(device, wanted) for device in enough) >= wanted.count.minimum


def matching(node: Node, wanted: AcceleratorRequest) -> tuple[Device, ...]:
    """The node's devices of the wanted kind and memory, healthy or not. Instances of a partitioned device are asked
    for by their own kind alone."""
    return tuple(device for device in node.devices if _is(device, wanted))


def _is(device: Device, wanted: AcceleratorRequest) -> bool:
    return (wanted.kind == device.kind or (wanted.kind == ANY_KIND and not device.profile)) and (
        wanted.memory_bytes is None or device.memory_bytes >= wanted.memory_bytes
    )


def _take(node: Node, free: Free, wanted: AcceleratorRequest) -> tuple[DeviceShare, ...] | None:
    count = wanted.count.minimum
    left = [(free.device_milli.get(device.id, 0), device) for device in matching(node, wanted)]
    holding = [(milli, device) for milli, device in left if milli >= wanted.milli]
    if len(holding) < count:
        return None
    holding.sort(key=lambda pair: (pair[0] if wanted.milli < WHOLE_MILLI else 0, pair[1].index))
    return tuple(DeviceShare(device=device.id, milli=wanted.milli) for _, device in holding[:count])
