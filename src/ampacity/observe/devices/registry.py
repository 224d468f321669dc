"""Which readers there are, and which of them this machine needs."""

from __future__ import annotations

import glob
import os
import platform
import sys
from collections.abc import Callable
from importlib import import_module

from .base import DeviceReader

READERS: dict[str, str] = {
    "nvidia": "ampacity.observe.devices.nvidia:open_reader",
    "amd": "ampacity.observe.devices.amd:open_reader",
    "apple": "ampacity.observe.devices.apple:open_reader",
    "habana": "ampacity.observe.devices.habana:open_reader",
    "intel": "ampacity.observe.devices.intel:open_reader",
}
"""By vendor: where the function is that opens its reader, as ``module:attribute``."""


def open_reader(name: str) -> DeviceReader:
    """The reader of a vendor, or of any ``module:attribute``.

    Raises:
        ReadFailed: the vendor's library cannot be used.
        ImportError, AttributeError: there is no such module or function.
    """
    module, _, attribute = READERS.get(name, name).partition(":")
    opener: Callable[[], DeviceReader] = getattr(import_module(module), attribute)
    return opener()


def present() -> tuple[str, ...]:
    """The vendors whose driver is loaded here. Touches no driver: only names of files are looked at."""
    found = []
    if os.path.exists("/dev/nvidiactl") or os.path.exists("/dev/dxg") or os.path.exists("/proc/driver/nvidia/version"):
        found.append("nvidia")
    if glob.glob("/sys/class/drm/card*/device/gpu_busy_percent"):
        found.append("amd")
    if sys.platform == "darwin" and platform.machine() == "arm64":
        found.append("apple")
    if os.path.exists("/sys/bus/pci/drivers/habanalabs"):
        found.append("habana")
    if any(os.path.exists(f"/sys/bus/pci/drivers/{driver}") for driver in ("xe", "i915")):
        found.append("intel")
    return tuple(found)
