"""A reader of eight devices that are not there: it answers at once, as a driver's library would at its best."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence

from ampacity.observe.devices.base import DeviceIdentity

DEVICES = 8
POWER_W = 400.0


class DoubledReader:
    def __init__(self) -> None:
        self._began = time.monotonic()

    def devices(self) -> Sequence[DeviceIdentity]:
        return [
            DeviceIdentity(
                index=index, vendor="doubled", kind="H100", uuid=f"GPU-{index:04d}", bus=f"0000:{index:02x}:00.0"
            )
            for index in range(DEVICES)
        ]

    def read(self, index: int) -> Mapping[str, float]:
        lasted_s = time.monotonic() - self._began
        return {
            "utilisation_percent": 50 + 40 * math.sin(lasted_s / 7 + index),
            "memory_utilisation_percent": 30.0,
            "memory_used_bytes": 60e9 + index,
            "memory_free_bytes": 20e9 - index,
            "power_w": POWER_W,
            "power_limit_w": 700.0,
            "energy_j": POWER_W * lasted_s,
            "temperature_c": 60.0 + index,
            "memory_temperature_c": 70.0,
            "sm_clock_mhz": 1980.0,
            "memory_clock_mhz": 2619.0,
            "ecc_corrected": 0.0,
            "ecc_uncorrected": 0.0,
            "xid": 0.0,
            "xid_events": 0.0,
            "throttle_reasons": 0.0,
        }

    def processes(self, index: int) -> Mapping[int, int]:
        return {}

    def close(self) -> None:
        return None


def open_reader() -> DoubledReader:
    return DoubledReader()
