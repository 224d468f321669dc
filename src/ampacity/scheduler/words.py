"""How amounts, requests and nodes are said in a sentence."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ampacity.model.node import Node
from ampacity.model.quantities import about_bytes, print_bytes, print_cpus
from ampacity.model.resources import ANY_KIND, ResourceRequest

from .shortfall import Dimension, dimensions, needed_of


def say_amount(request: ResourceRequest, dimension: Dimension, value: int, *, exact: bool = True) -> str:
    """``2 H100``, ``0.5 H100``, ``8 CPUs``, ``32GB of memory``."""
    say_bytes = print_bytes if exact else about_bytes
    match dimension:
        case Dimension.DEVICES:
            return f"{value} {_kind(request, value)}"
        case Dimension.SHARE:
            return f"{print_cpus(value)} {_kind(request, 1)}"
        case Dimension.CPU:
            return f"{print_cpus(value)} {'CPU' if value == 1000 else 'CPUs'}"
        case Dimension.MEMORY:
            return f"{say_bytes(value)} of memory"
        case Dimension.DISK:
            return f"{say_bytes(value)} of disk"


def say_request(request: ResourceRequest, only: Iterable[Dimension] | None = None) -> str:
    """What one member asks for, or only the dimensions given."""
    chosen = dimensions(request) if only is None else tuple(only)
    return listed([say_amount(request, dimension, needed_of(request, dimension)) for dimension in chosen]) or "nothing"


def say_capacity(node: Node, request: ResourceRequest) -> str:
    """What a node has in the terms of the request: its accelerators by kind, failed ones too, else CPUs and memory."""
    counts: dict[str, int] = {}
    for device in node.devices:
        counts[device.kind] = counts.get(device.kind, 0) + 1
    if request.accelerators and counts:
        has = listed([f"{count} {kind}" for kind, count in sorted(counts.items())])
    elif request.accelerators:
        has = "no accelerators"
    else:
        has = f"{print_cpus(node.cpu_milli)} CPUs and {about_bytes(node.memory_bytes)} of memory"
    return f"{has} on {node.id}"


def listed(parts: Sequence[str], *, most: int = 4) -> str:
    """``a, b and c``; of many only the first, and how many more there are."""
    if len(parts) > most:
        return f"{', '.join(parts[: most - 1])} and {len(parts) - most + 1} more"
    if len(parts) < 2:
        return "".join(parts)
    return f"{', '.join(parts[:-1])} and {parts[-1]}"


def _kind(request: ResourceRequest, count: int) -> str:
    kind = request.accelerators[0].kind
    memory_bytes = request.accelerators[0].memory_bytes
    name = ("accelerator" if count == 1 else "accelerators") if kind == ANY_KIND else kind
    return name if memory_bytes is None else f"{name} of {print_bytes(memory_bytes)}"
