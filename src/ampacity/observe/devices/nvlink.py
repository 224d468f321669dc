"""Which of NVIDIA's devices are linked with each other, by NVML."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from itertools import combinations
from typing import Any

from ampacity.model.hardware import DeviceLink
from ampacity.observe.discovery.pci import address_of

KIND = "NVLink"


def nvlinks(nvml: Any, handles: Sequence[Any]) -> tuple[DeviceLink, ...]:
    """Pairs of devices with a link between them, or with links to the switches that join all. Links that are down, and
    those to other machines' devices or to processors, are not told."""
    addressed = {}
    for handle in handles:
        with suppress(nvml.NVMLError):  # one that is lost has no links, and the others have theirs
            addressed[_address(nvml.nvmlDeviceGetPciInfo(handle))] = handle
    direct: Counter[tuple[str, str]] = Counter()
    to_switch: Counter[str] = Counter()
    for address, handle in addressed.items():
        for link in range(nvml.NVML_NVLINK_MAX_LINKS):
            try:
                if not nvml.nvmlDeviceGetNvLinkState(handle, link):
                    continue
                kind = nvml.nvmlDeviceGetNvLinkRemoteDeviceType(handle, link)
                if kind == nvml.NVML_NVLINK_DEVICE_TYPE_SWITCH:
                    to_switch[address] += 1
                elif kind == nvml.NVML_NVLINK_DEVICE_TYPE_GPU:
                    direct[address, _address(nvml.nvmlDeviceGetNvLinkRemotePciInfo(handle, link))] += 1
            except nvml.NVMLError:
                continue  # this device has no such link, or the driver does not tell of it
    pairs: dict[tuple[str, str], int] = {}
    for a, b in combinations(sorted(addressed), 2):
        lanes = max(direct[a, b], direct[b, a]) or min(to_switch[a], to_switch[b])
        if lanes:
            pairs[a, b] = lanes
    return tuple(DeviceLink(a=a, b=b, kind=KIND, lanes=lanes) for (a, b), lanes in pairs.items())


def _address(info: Any) -> str:
    text = info.busId
    return address_of(text.decode(errors="replace") if isinstance(text, bytes) else text)
