"""Looking again at the machine's devices: which of them are gone, or hang, since the node was made."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import replace

from ampacity.model.node import Device, Health
from ampacity.observe.discovery.accelerators import Accelerator, Accelerators

LOOK_EVERY_S = 60.0
"""A look costs a process of some 0.2 s of one CPU."""

_log = logging.getLogger(__name__)


def judged(devices: tuple[Device, ...], seen: Accelerators) -> tuple[Device, ...]:
    """The same devices, failed where they were not seen. They are told by their place, not by their number: when one is
    gone, a vendor counts anew. One that came later is not taken up."""
    there = {_place(each) for each in seen.devices}
    return tuple(replace(device, health=Health.OK if _place(device) in there else Health.FAILED) for device in devices)


def _place(device: Device | Accelerator) -> tuple[str, str]:
    return device.vendor, device.bus or str(device.index)


class DeviceWatch:
    """A thread that looks every so often and tells what the devices are now, when that has changed. Without devices
    there is none.

    Args:
        look: as :func:`accelerators`; it may take long.
        changed: called in the thread.
    """

    def __init__(
        self,
        devices: tuple[Device, ...],
        look: Callable[[], Accelerators],
        changed: Callable[[tuple[Device, ...]], None],
        *,
        every_s: float = LOOK_EVERY_S,
    ) -> None:
        self._devices, self._look, self._changed, self._every_s = devices, look, changed, every_s
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, name="local-device-watch", daemon=True)

    def start(self) -> None:
        if self._devices:
            self._thread.start()

    def close(self) -> None:
        """Does not wait for a look: it ends with its own time limit."""
        self._ending.set()

    def _run(self) -> None:
        while not self._ending.wait(self._every_s):
            try:
                seen = self._look()
            except OSError as error:
                _log.warning("the devices cannot be looked at now: %s", error)
                continue
            devices = judged(self._devices, seen)
            if devices == self._devices or self._ending.is_set():
                continue
            self._devices = devices
            self._changed(devices)
