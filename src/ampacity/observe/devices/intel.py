"""Intel's graphics cards for compute, by the files of the drivers xe and i915 in sysfs (the kernel's pages
``sysfs-driver-intel-xe-hwmon`` and ``sysfs-driver-intel-i915-hwmon``)."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ampacity.observe.discovery.tree import Tree
from ampacity.observe.proc_files import KeptFile

from .base import DeviceIdentity

DRM = "/sys/class/drm"
VENDOR = "0x8086"
MICRO, MILLI = 1e-6, 1e-3
KINDS = {
    "0x0bd5": "Data Center GPU Max 1550",
    "0x0bda": "Data Center GPU Max 1100",
    "0x56c0": "Data Center GPU Flex 170",
    "0x56c1": "Data Center GPU Flex 140",
    "0x56a0": "Arc A770",
    "0x56a1": "Arc A750",
    "0xe20b": "Arc B580",
    "0xe20c": "Arc B570",
    "0xe211": "Arc Pro B60",
}
"""Names by PCI device number: the drivers tell the number only (pci-ids, vendor 8086)."""

_SLOTS = {
    "power_limit_w": ("hwmon/power1_max", MICRO),
    "energy_j": ("hwmon/energy1_input", MICRO),
    "temperature_c": ("hwmon/temp2_input", MILLI),
    "memory_temperature_c": ("hwmon/temp3_input", MILLI),
    "sm_clock_mhz": ("tile0/gt0/freq0/act_freq", 1.0),
}
"""Where xe has each value below the device's folder, and its factor. ``temp2`` is the package, ``temp3`` the memory."""

_OLDER = {
    "temperature_c": ("hwmon/temp1_input", MILLI),
    "sm_clock_mhz": ("drm/gt/gt0/rps_act_freq_mhz", 1.0),
}
"""Where i915 has it, when xe's place is not there. ``drm`` is the card's own folder."""


class IntelReader:
    """Every card with memory of its own, in the order of bus addresses, as Level Zero counts them. Graphics inside a
    processor is none: it shares the processor's memory and its power."""

    def __init__(self, tree: Tree | None = None) -> None:
        tree = tree or Tree()
        names = [name for name in tree.names(DRM) if re.fullmatch(r"card\d+", name)]
        found = sorted((tree.target(f"{DRM}/{name}/device"), name) for name in names)
        self._cards = [
            _card(tree, place, name, memory_bytes)
            for place, name in found
            if tree.text(f"{place}/vendor") == VENDOR and (memory_bytes := _memory_bytes(tree, place, name))
        ]

    def devices(self) -> Sequence[DeviceIdentity]:
        return [
            DeviceIdentity(index=index, vendor="intel", kind=card.kind, bus=card.bus, memory_bytes=card.memory_bytes)
            for index, card in enumerate(self._cards)
        ]

    def read(self, index: int) -> Mapping[str, float]:
        """What is used of the memory and how busy the card is, its files do not say."""
        return {
            name: number * factor
            for name, (file, factor) in self._cards[index].files.items()
            if (number := file.number()) is not None
        }

    def processes(self, index: int) -> Mapping[int, int]:
        return {}  # only each process's own fdinfo tells it, in another form for each driver

    def close(self) -> None:
        for card in self._cards:
            for file, _ in card.files.values():
                file.close()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Card:
    kind: str
    bus: str
    memory_bytes: int
    files: Mapping[str, tuple[KeptFile, float]]


def _card(tree: Tree, place: str, name: str, memory_bytes: int) -> _Card:
    number = tree.text(f"{place}/device")
    hwmon = next(iter(tree.names(f"{place}/hwmon")), "none")
    roots = {"hwmon": f"{place}/hwmon/{hwmon}", "drm": f"{DRM}/{name}"}
    files = {}
    for slot, (path, factor) in [*_SLOTS.items(), *_OLDER.items()]:
        root, _, rest = path.partition("/")
        file = f"{roots[root]}/{rest}" if root in roots else f"{place}/{path}"
        if slot not in files and tree.exists(file):
            files[slot] = (KeptFile(tree.path(file), limit=64), factor)
    return _Card(
        kind=f"Intel {KINDS.get(number, number)}",
        bus=place.rpartition("/")[2],
        memory_bytes=memory_bytes,
        files=files,
    )


def _memory_bytes(tree: Tree, place: str, name: str) -> int:
    """xe tells it tile by tile, i915 for the whole card; 0 for graphics without memory of its own."""
    tiles = [tile for tile in tree.names(place) if tile.startswith("tile")]
    by_tile = sum(tree.number(f"{place}/{tile}/physical_vram_size_bytes") or 0 for tile in tiles)
    return by_tile or tree.number(f"{DRM}/{name}/lmem_total_bytes") or 0


def open_reader() -> IntelReader:
    return IntelReader()
