"""What NVIDIA's driver tells of its devices in ``/proc``: there for those too that NVML cannot open."""

from __future__ import annotations

from dataclasses import dataclass

from ampacity.observe.discovery.tree import Tree

GPUS = "/proc/driver/nvidia/gpus"


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
