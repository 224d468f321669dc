"""Looking again at the machine's devices: which of them are gone, or hang, since the node was made."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from ampacity.drivers.supervisor.device_check import CAME_BACK, WAS_RESET, happened
from ampacity.model.node import Device, Health
from ampacity.observe.discovery.accelerators import Accelerator, Accelerators, look_command

LOOK_EVERY_S = 60.0
"""A look costs a process of some 0.2 s of one CPU."""

_log = logging.getLogger(__name__)


def judged(devices: tuple[Device, ...], before: Accelerators, seen: Accelerators) -> tuple[Device, ...]:
    """The same devices as they are now: failed where they were not seen or are in trouble. They are told by their
    place, not by their number: when one is gone, a vendor counts anew. One that came later is not taken up.

    Args:
        before: the last look, by which it is seen that a device was reset since.
    """
    then, there = _by_place(before), _by_place(seen)
    return tuple(_judged(each, then.get(_place(each)), there.get(_place(each)), seen.problem) for each in devices)


def _judged(device: Device, before: Accelerator | None, now: Accelerator | None, problem: str) -> Device:
    if now is None:
        return replace(device, health=Health.FAILED, trouble=problem or "it is gone or does not answer")
    words = "" if before is None else happened(before.counters, now.counters)
    resets = device.resets + (words in (WAS_RESET, CAME_BACK))
    if now.trouble:
        return replace(device, health=Health.FAILED, trouble=now.trouble, resets=resets)
    return replace(device, health=Health.OK, trouble="", resets=resets, uuid=now.uuid)


def _by_place(seen: Accelerators) -> dict[tuple[str, str], Accelerator]:
    return {_place(each): each for each in seen.devices}


def _place(device: Device | Accelerator) -> tuple[str, str]:
    return device.vendor, device.bus or str(device.index)


class DeviceWatch:
    """A thread that looks every so often and tells what the devices are now, when that has changed. Without devices
    there is none.

    Args:
        seen: what was found when the devices were looked at first.
        look: as :func:`accelerators`; it may take long.
        changed: called in the thread.
    """

    def __init__(
        self,
        devices: tuple[Device, ...],
        seen: Accelerators,
        look: Callable[[], Accelerators],
        changed: Callable[[tuple[Device, ...]], None],
        *,
        every_s: float = LOOK_EVERY_S,
    ) -> None:
        self._devices, self._look, self._changed, self._every_s = devices, look, changed, every_s
        self._seen = seen
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, name="local-device-watch", daemon=True)

    def counted_now(self, given: Sequence[Device]) -> list[Device]:
        """The devices with the numbers by which their vendor counts them now, as far as the last look tells."""
        there = _by_place(self._seen)
        numbers = {device.id: there[_place(device)].index for device in given if _place(device) in there}
        return [replace(device, index=numbers.get(device.id, device.index)) for device in given]

    def check_of(self, given: Sequence[Device]) -> dict[str, Any] | None:
        """What ``member.json`` says of the given devices, so that its supervisor can tell whether something happened to
        them (``supervisor/device_check``); ``None`` where nobody can look."""
        there, asked = _by_place(self._seen), self._seen.asked
        found = [(device, there[_place(device)]) for device in given if _place(device) in there]
        if not found or not asked:
            return None
        return {
            "argv": look_command(asked),
            "vendor": found[0][0].vendor,
            "devices": [
                {
                    "id": device.id,
                    "vendor": device.vendor,
                    "bus": device.bus,
                    "index": device.index,
                    "counters": each.counters,
                }
                for device, each in found
            ],
        }

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
            devices = judged(self._devices, self._seen, seen)
            if seen.devices:
                self._seen = seen
            if devices == self._devices or self._ending.is_set():
                continue
            self._devices = devices
            self._changed(devices)
