"""Looking again at the machine's devices: which of them are gone, hang, or are new since the node was made."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from ampacity.model.node import Device
from ampacity.observe.discovery.accelerators import Accelerators, look_command

from .known_devices import KnownDevices, by_place, place_of

LOOK_EVERY_S = 60.0
"""A look costs a process of some 0.2 s of one CPU."""

_log = logging.getLogger(__name__)


class DeviceWatch:
    """A thread that looks every so often and tells what the devices are now, when that has changed.

    Args:
        known: the devices that were found when they were looked at first.
        look: as :func:`accelerators`; it may take long.
        changed: called in the thread with all devices.
    """

    def __init__(
        self,
        known: KnownDevices,
        look: Callable[[], Accelerators],
        changed: Callable[[tuple[Device, ...]], None],
        *,
        every_s: float = LOOK_EVERY_S,
    ) -> None:
        self._known, self._look, self._changed, self._every_s = known, look, changed, every_s
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, name="local-device-watch", daemon=True)

    def counted_now(self, given: Sequence[Device]) -> list[Device]:
        """The devices with the numbers by which their vendor counts them now, as far as the last look tells."""
        there = by_place(self._known.seen)
        numbers = {device.id: there[place_of(device)].index for device in given if place_of(device) in there}
        return [replace(device, index=numbers.get(device.id, device.index)) for device in given]

    def check_of(self, given: Sequence[Device]) -> dict[str, Any] | None:
        """What ``member.json`` says of the given devices, so that its supervisor can tell whether something happened to
        them (``supervisor/device_check``); ``None`` where nobody can look."""
        seen = self._known.seen
        there = by_place(seen)
        found = [(device, there[place_of(device)]) for device in given if place_of(device) in there]
        if not found or not seen.asked:
            return None
        return {
            "argv": look_command(seen.asked),
            "vendor": found[0][0].vendor,
            "devices": [
                {
                    "id": device.id,
                    "vendor": device.vendor,
                    "bus": device.bus,
                    "index": device.index,
                    "profile": device.profile,
                    "uuid": device.uuid,
                    "counters": each.counters,
                }
                for device, each in found
            ],
        }

    def start(self) -> None:
        """Without devices there is nothing to watch."""
        if self._known.devices or self._known.seen.partitioned:
            self._thread.start()

    def close(self) -> None:
        """Does not wait for a look: it ends with its own time limit."""
        self._ending.set()

    def _run(self) -> None:
        while not self._ending.wait(self._every_s):
            before = self._known.devices, self._known.seen.partitioned
            try:
                devices = self._known.take(self._look())
            except OSError as error:
                _log.warning("the devices cannot be looked at now: %s", error)
                continue
            if (devices, self._known.seen.partitioned) != before and not self._ending.is_set():
                self._changed(devices)
