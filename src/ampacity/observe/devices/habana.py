"""Intel's Gaudi accelerators, by habanalabs's files in sysfs (the kernel's page ``sysfs-driver-habanalabs``)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ampacity.observe.discovery.tree import Tree
from ampacity.observe.proc_files import KeptFile

from .base import DeviceIdentity, ReadFailed

CLASSES = ("/sys/class/accel", "/sys/class/habanalabs")
"""Newer kernels have them among all accelerators, older ones (before 6.4) under the driver's own name."""

VENDOR = "0x1da3"
MICRO, MILLI = 1e-6, 1e-3
GB = 10**9
KINDS = {"GAUDI": ("Gaudi", 32 * GB), "GAUDI2": ("Gaudi2", 96 * GB), "GAUDI3": ("Gaudi3", 128 * GB)}
"""By what the driver calls them (with a letter behind, for a variant): name, and memory by the maker's data sheets. The
driver's files do not tell how much it is."""

OPERATIONAL = "operational"
RESETS = ("hard_reset_cnt", "soft_reset_cnt")
_SLOTS = {
    "power_w": ("hwmon/power1_input", MICRO),
    "temperature_c": ("hwmon/temp1_input", MILLI),
    "power_limit_w": ("max_power", MILLI),
    "sm_clock_mhz": ("clk_cur_freq_mhz", 1.0),
}


class HabanaReader:
    """By their module numbers, as ``HABANA_VISIBLE_MODULES`` names them, where the driver tells those: they stay when
    one is lost. Else counted in the order of their bus addresses."""

    def __init__(self, tree: Tree | None = None) -> None:
        tree = tree or Tree()
        found = {}
        for folder in CLASSES:
            for name in tree.names(folder):
                place = tree.target(f"{folder}/{name}/device")
                if tree.text(f"{place}/vendor") == VENDOR and tree.exists(f"{place}/device_type"):
                    found[place] = _module(tree, place)
        if len(set(found.values())) < len(found) or -1 in found.values():
            found = {place: index for index, place in enumerate(sorted(found))}
        ordered = sorted(found.items(), key=lambda each: each[1])
        self._modules = {number: _open(tree, place) for place, number in ordered}

    def devices(self) -> Sequence[DeviceIdentity]:
        return [
            DeviceIdentity(
                index=index, vendor="habana", kind=module.kind, bus=module.bus, memory_bytes=module.memory_bytes
            )
            for index, module in self._modules.items()
        ]

    def read(self, index: int) -> Mapping[str, float]:
        """Raises ``ReadFailed`` while the driver resets the device, or has given it up."""
        module = self._modules[index]
        status = module.status.read().decode(errors="replace").strip()
        if status != OPERATIONAL:
            raise ReadFailed(f"{module.bus} is {status or 'gone'}")
        values = {
            name: number * factor
            for name, (file, factor) in module.files.items()
            if (number := file.number()) is not None
        }
        counts = [count for file in module.resets if (count := file.number()) is not None]
        return {**values, "resets": sum(counts)} if counts else values

    def processes(self, index: int) -> Mapping[int, int]:
        return {}  # only one process may have it, and no file tells which

    def close(self) -> None:
        for module in self._modules.values():
            for file in (module.status, *module.resets, *(file for file, _ in module.files.values())):
                file.close()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Opened:
    kind: str
    bus: str
    memory_bytes: int
    status: KeptFile
    files: Mapping[str, tuple[KeptFile, float]]
    resets: Sequence[KeptFile]


def _open(tree: Tree, place: str) -> _Opened:
    told = tree.text(f"{place}/device_type").split(" ")[0].upper()
    kind, memory_bytes = next((KINDS[name] for name in (told, told[:-1]) if name in KINDS), (told, 0))
    hwmon = next(iter(tree.names(f"{place}/hwmon")), "none")
    files = {}
    for slot, (path, factor) in _SLOTS.items():
        file = f"{place}/{path.replace('hwmon/', f'hwmon/{hwmon}/')}"
        if tree.exists(file):
            files[slot] = (KeptFile(tree.path(file), limit=64), factor)
    status = KeptFile(tree.path(f"{place}/status"), limit=64)
    counts = [f"{place}/{name}" for name in RESETS if tree.exists(f"{place}/{name}")]
    return _Opened(
        kind=kind,
        bus=place.rpartition("/")[2],
        memory_bytes=memory_bytes,
        status=status,
        files=files,
        resets=[KeptFile(tree.path(count), limit=64) for count in counts],
    )


def _module(tree: Tree, place: str) -> int:
    number = tree.number(f"{place}/module_id")
    return -1 if number is None else number


def open_reader() -> HabanaReader:
    return HabanaReader()
