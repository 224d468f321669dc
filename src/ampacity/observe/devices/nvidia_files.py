"""What NVIDIA's driver tells of its devices in ``/proc``: there for those too that NVML cannot open.

Of the instances of partitioned ones it tells the device files that guard them (NVIDIA's MIG guide, "Device Nodes and
Capabilities").
"""

from __future__ import annotations

from dataclasses import dataclass

from ampacity.observe.discovery.tree import Tree

GPUS = "/proc/driver/nvidia/gpus"
MIG_MINORS = "/proc/driver/nvidia-caps/mig-minors"
CAPABILITIES_DRIVER = "nvidia-caps"
FOR_ALL_INSTANCES = ("config", "monitor")
"""Capabilities that are of no instance: to make and destroy them all, and to watch them all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DriverEntry:
    """``minor``: the number of its device file, ``None`` when it is not told. ``uuid`` is empty when the driver could
    not read it: it writes question marks then."""

    bus: str
    model: str = ""
    uuid: str = ""
    minor: int | None = None


def driver_entries(tree: Tree) -> list[DriverEntry]:
    """In the order of their PCI addresses, as NVML counts."""
    found = []
    for bus in sorted(tree.names(GPUS)):
        told = tree.table(f"{GPUS}/{bus}/information")
        uuid, minor = told.get("GPU UUID", ""), told.get("Device Minor", "")
        found.append(
            DriverEntry(
                bus=bus,
                model=told.get("Model", ""),
                uuid=uuid if "?" not in uuid else "",
                minor=int(minor) if minor.isdigit() else None,
            )
        )
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Capability:
    """``name``: ``gpu0/gi3/access``, ``gpu0/gi3/ci0/access`` (the GPU by the number of its device file), or one for all
    instances. ``number``: of its file, ``234:30``."""

    name: str
    number: str


def capabilities(tree: Tree) -> list[Capability]:
    """Those of every instance that may ever be made, whether its file is there yet or not."""
    major = _major(tree, CAPABILITIES_DRIVER)
    if not major:
        return []
    minors = tree.table(MIG_MINORS)
    return [Capability(name=name, number=f"{major}:{minor}") for name, minor in minors.items() if minor.isdigit()]


def _major(tree: Tree, driver: str) -> str:
    """The number by which the kernel knows the driver's character devices; empty = it has none."""
    characters, _, _ = tree.text("/proc/devices").partition("Block devices:")
    for line in characters.splitlines():
        number, _, name = line.strip().partition(" ")
        if name == driver:
            return number
    return ""
