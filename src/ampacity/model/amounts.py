"""Amounts of resources by name: what queues are measured in.

Names: ``cpus`` (thousandths of a CPU), ``memory`` and ``disk`` (bytes), ``accelerators`` (thousandths of devices of any
kind, all together), each kind of accelerator by its own name (thousandths of devices), and what is counted, licences
too, by its name (thousandths).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from .errors import InvalidSpec
from .node import Node
from .quantities import parse_bytes, parse_cpus, print_bytes, print_cpus
from .resources import ANY_KIND, WHOLE_MILLI, Allocation, ResourceRequest

CPUS = "cpus"
MEMORY = "memory"
DISK = "disk"
ACCELERATORS = "accelerators"
IN_BYTES = (MEMORY, DISK)
KINDLESS = (CPUS, MEMORY, DISK, ACCELERATORS)
"""The names that are no kind of accelerator."""

Amounts = Mapping[str, int]


def demand(request: ResourceRequest, members: int) -> dict[str, int]:
    """What a gang of so many members takes at least, by its best liked accelerators. Devices of any kind count as
    ``accelerators`` alone: which they will be is not known before they are placed."""
    found = {
        CPUS: request.cpu_milli.minimum,
        MEMORY: request.memory_bytes.minimum,
        DISK: request.disk_bytes,
    }
    if request.accelerators:
        wanted = request.accelerators[0]
        found[ACCELERATORS] = wanted.count.minimum * wanted.milli
        if wanted.kind != ANY_KIND:
            found[wanted.kind] = found[ACCELERATORS]
    for each in (*request.counted, *request.licences):
        found[each.name] = found.get(each.name, 0) + each.amount * WHOLE_MILLI
    return {name: amount * members for name, amount in found.items() if amount}


def given(allocations: Iterable[tuple[Allocation, Callable[[str], str | None]]]) -> dict[str, int]:
    """What these allocations hold. Each comes with what tells the kind of a device on its node; devices that are not
    known there count as ``accelerators`` alone."""
    found: dict[str, int] = {}
    for allocation, kind_of in allocations:
        parts = [(CPUS, allocation.cpu_milli), (MEMORY, allocation.memory_bytes), (DISK, allocation.disk_bytes)]
        parts += [(each.name, each.amount * WHOLE_MILLI) for each in (*allocation.counted, *allocation.licences)]
        for share in allocation.devices:
            parts.append((ACCELERATORS, share.milli))
            kind = kind_of(share.device)
            if kind is not None:
                parts.append((kind, share.milli))
        for name, amount in parts:
            if amount:
                found[name] = found.get(name, 0) + amount
    return found


def capacity_of(nodes: Iterable[Node]) -> dict[str, int]:
    """All that the nodes have, whatever their condition and the health of their devices."""
    found = dict.fromkeys(KINDLESS, 0)
    for node in nodes:
        found[CPUS] += node.cpu_milli
        found[MEMORY] += node.memory_bytes
        found[DISK] += node.disk_bytes
        for device in node.devices:
            found[ACCELERATORS] += WHOLE_MILLI
            found[device.kind] = found.get(device.kind, 0) + WHOLE_MILLI
        for name, count in node.counted.items():
            found[name] = found.get(name, 0) + count * WHOLE_MILLI
    return found


def parse_amount(name: str, text: str) -> int:
    """An amount as people write it: ``4TB`` of memory and disk, else a number (``16``, ``0.5``).

    Raises:
        InvalidSpec: it is none.
    """
    if name in IN_BYTES:
        return 0 if text.strip() == "0" else parse_bytes(text)
    found = parse_cpus(text)
    if found.maximum != found.minimum:
        raise InvalidSpec(f"{text!r} is a range.", hint=f"Write one number, such as {print_cpus(found.minimum)}.")
    return found.minimum


def print_amount(name: str, amount: int) -> str:
    """What :func:`parse_amount` reads back."""
    return print_bytes(amount) if name in IN_BYTES and amount else print_cpus(amount)
