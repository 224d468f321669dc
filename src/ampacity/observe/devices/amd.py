"""AMD's devices, by amdgpu's files in sysfs (the kernel's page "GPU Power/Thermal Controls and Monitoring")."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Mapping, Sequence

from ampacity.model.hardware import DeviceLink
from ampacity.observe.discovery.tree import Tree
from ampacity.observe.proc_files import KeptFile

from .base import DeviceIdentity
from .xgmi import xgmi_links

DRM = "/sys/class/drm"
VENDOR = "0x1002"
MICRO, MILLI = 1e-6, 1e-3
_SLOTS = {
    "utilisation_percent": ("gpu_busy_percent", 1.0),
    "memory_utilisation_percent": ("mem_busy_percent", 1.0),
    "memory_used_bytes": ("mem_info_vram_used", 1.0),
    "power_w": ("hwmon/power1_average", MICRO),
    "power_limit_w": ("hwmon/power1_cap", MICRO),
    "temperature_c": ("hwmon/temp1_input", MILLI),
    "memory_temperature_c": ("hwmon/temp3_input", MILLI),
    "sm_clock_mhz": ("hwmon/freq1_input", MICRO),
    "memory_clock_mhz": ("hwmon/freq2_input", MICRO),
}
"""Where each value lies below the device's folder, and its factor. ``temp1`` is the edge, ``temp3`` the memory,
``freq1`` the shader clock, ``freq2`` the memory's, both in hertz."""


class AmdReader:
    """Every card of the vendor below ``root``, in the order of their bus addresses, as ROCm counts them."""

    def __init__(self, root: str = DRM) -> None:
        folders = [folder for folder in glob.glob(f"{root}/card*/device") if _text(folder, "vendor") == VENDOR]
        self._cards = [_Card(folder) for folder in sorted(folders, key=os.path.realpath)]

    def devices(self) -> Sequence[DeviceIdentity]:
        return [
            DeviceIdentity(index=index, vendor="amd", kind=card.kind, uuid=card.uuid, bus=card.bus)
            for index, card in enumerate(self._cards)
        ]

    def read(self, index: int) -> Mapping[str, float]:
        return self._cards[index].read()

    def processes(self, index: int) -> Mapping[int, int]:
        """What each process holds of the card's memory, by the compute driver's files."""
        held: dict[int, int] = {}
        for path in glob.glob(f"/sys/class/kfd/kfd/proc/*/vram_{self._cards[index].gpu_id}"):
            pid, value = path.split("/")[-2], KeptFile(path, limit=64)
            held[int(pid)] = int(value.number() or 0)
            value.close()
        return held

    def links(self) -> Sequence[DeviceLink]:
        return xgmi_links(Tree())

    def close(self) -> None:
        for card in self._cards:
            card.close()


class _Card:
    def __init__(self, folder: str) -> None:
        self.kind = _text(folder, "product_name") or f"AMD {_text(folder, 'device')}"
        self.uuid = _name_for_good(_text(folder, "unique_id"))
        self.bus = os.path.basename(os.path.realpath(folder))
        self.gpu_id = _gpu_id(self.bus)
        hwmon = next(iter(sorted(glob.glob(f"{folder}/hwmon/hwmon*"))), f"{folder}/hwmon/none")
        self._files: dict[str, tuple[KeptFile, float]] = {}
        for name, (place, factor) in _SLOTS.items():
            path = f"{hwmon}/{place[6:]}" if place.startswith("hwmon/") else f"{folder}/{place}"
            if name == "power_w" and not os.path.exists(path):
                path = f"{hwmon}/power1_input"  # newer cards have the power of this moment only
            if os.path.exists(path):
                self._files[name] = (KeptFile(path, limit=64), factor)
        total = KeptFile(f"{folder}/mem_info_vram_total", limit=64)
        self._memory_bytes = total.number()
        total.close()
        self._errors = [KeptFile(path) for path in sorted(glob.glob(f"{folder}/ras/*_err_count"))]

    def read(self) -> Mapping[str, float]:
        values: dict[str, float] = {}
        for name, (file, factor) in self._files.items():
            number = file.number()
            if number is not None:
                values[name] = number * factor
        if self._memory_bytes is not None and "memory_used_bytes" in values:
            values["memory_free_bytes"] = self._memory_bytes - values["memory_used_bytes"]
        if self._errors:
            texts = [file.read().decode(errors="replace") for file in self._errors]
            values["ecc_uncorrected"] = sum(_count("ue", text) for text in texts)
            values["ecc_corrected"] = sum(_count("ce", text) for text in texts)
        return values

    def close(self) -> None:
        for file in (*(file for file, _ in self._files.values()), *self._errors):
            file.close()


def _name_for_good(unique_id: str) -> str:
    """As ROCm's runtime names it, by the card's number in 16 hexadecimal digits; empty for a card that has none."""
    known = re.fullmatch("[0-9a-fA-F]{1,16}", unique_id) and int(unique_id, 16)
    return f"GPU-{known:016x}" if known else ""


def _count(name: str, text: str) -> float:
    """From ``ue: 0`` and ``ce: 3``, each on a line."""
    found = re.search(rf"^{name}: (\d+)", text, re.MULTILINE)
    return float(found[1]) if found else 0.0


def _text(folder: str, name: str) -> str:
    file = KeptFile(f"{folder}/{name}", limit=256)
    text = file.read().decode(errors="replace").strip()
    file.close()
    return text


def _gpu_id(bus: str) -> str:
    """The compute driver's number of the card; empty when it has none. ``location_id`` is the bus address."""
    found = re.fullmatch(r"[0-9a-f]+:([0-9a-f]+):([0-9a-f]+)\.([0-9a-f]+)", bus)
    if found is None:
        return ""
    location = int(found[1], 16) << 8 | int(found[2], 16) << 3 | int(found[3], 16)
    for node in glob.glob("/sys/class/kfd/kfd/topology/nodes/*"):
        if f"location_id {location}\n" in _text(node, "properties") + "\n":
            return _text(node, "gpu_id")
    return ""


def open_reader() -> AmdReader:
    return AmdReader()
