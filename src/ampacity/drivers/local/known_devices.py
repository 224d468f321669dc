"""The machine's devices as they were known since it was started: one that is lost is missed, and the others keep their
ids, though the control plane was started again meanwhile."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec

from ampacity.drivers.supervisor.device_check import CAME_BACK, WAS_RESET, happened
from ampacity.drivers.supervisor.disk import FORMAT, read_json, write_json
from ampacity.model.codec import from_plain, to_plain
from ampacity.model.ids import DeviceId, NodeId
from ampacity.model.node import Device, Health
from ampacity.observe.discovery.accelerators import Accelerator, Accelerators

from .machine import devices_of

FILE = "devices.json"
GONE = "it is gone or does not answer"
PARTITIONED = "it was partitioned: its instances are given out in its stead"
DESTROYED = "this instance was destroyed"
_ON_PURPOSE = (PARTITIONED, DESTROYED)
_log = logging.getLogger(__name__)

Place = tuple[str, str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """``next_index``: what the next new device is numbered at least, so that no id ever means another device."""

    devices: tuple[Device, ...] = ()
    next_index: int = 0


class KnownDevices:
    """One node's, written down as often as they change. After another start of the machine there is what is seen.

    Args:
        folder: the driver's own.
    """

    def __init__(self, folder: Path, node: NodeId, boot_id: str) -> None:
        self._path, self._node, self._boot_id = str(folder / FILE), node, boot_id
        self._known = self._read()
        self._seen = Accelerators()

    @property
    def devices(self) -> tuple[Device, ...]:
        return self._known.devices

    @property
    def seen(self) -> Accelerators:
        """The last look at which there were any."""
        return self._seen

    def take(self, seen: Accelerators) -> tuple[Device, ...]:
        """The devices after another look."""
        known = joined(self._node, self._known, seen, before=self._seen)
        if seen.devices or seen.partitioned:
            self._seen = seen
        if known != self._known:
            self._known = known
            self._write()
        return known.devices

    def _read(self) -> Known:
        found = read_json(self._path)
        if found is None or found.get("format") != FORMAT or found.get("boot_id") != self._boot_id:
            return Known()
        try:
            devices = from_plain(found["devices"], tuple[Device, ...])
            return Known(devices=devices, next_index=from_plain(found.get("next_index", 0), int))
        except (KeyError, msgspec.ValidationError) as error:
            _log.warning("%s is not understood: %s", self._path, error)
            return Known()

    def _write(self) -> None:
        record = {
            "format": FORMAT,
            "boot_id": self._boot_id,
            "devices": to_plain(self._known.devices),
            "next_index": self._known.next_index,
        }
        try:
            write_json(self._path, record)
        except OSError as error:
            _log.warning("the devices cannot be written down now: %s", error)


def joined(node: NodeId, known: Known, seen: Accelerators, *, before: Accelerators) -> Known:
    """The known devices as a look finds them, and those that are new. They are told by their place, not by their
    number: when one is gone, a vendor counts anew.

    One that is not seen or is in trouble has failed. One that somebody took away on purpose (an instance that was
    destroyed, a device that was partitioned) has failed at first, too, and is left out by the look after that.

    Args:
        before: the look before, by which it is seen that a device was reset since.
    """
    there = {place_of(device): device for device in devices_of(node, seen)}
    then, looked = by_place(before), by_place(seen)
    devices = []
    for device in known.devices:
        place = place_of(device)
        now = there.pop(place, None)
        if now is not None:
            devices.append(_as_seen(device, now, _was_reset(then.get(place), looked.get(place))))
            continue
        cause = _why_missing(device, seen)
        if cause != device.trouble or cause not in _ON_PURPOSE:
            devices.append(replace(device, health=Health.FAILED, trouble=cause))
    next_index = max([known.next_index, *(device.index + 1 for device in known.devices)])
    of_instances = {device.bus for device in devices if device.profile}
    for device in there.values():
        if device.trouble and not device.profile and device.bus in of_instances:
            continue  # it does not even tell its instances; they have failed by its trouble
        index = max(device.index, next_index)
        next_index = index + 1
        devices.append(replace(device, id=DeviceId(f"{node}/{index}"), index=index))
    return Known(devices=tuple(devices), next_index=next_index)


def by_place(seen: Accelerators) -> Mapping[Place, Accelerator]:
    return {place_of(each): each for each in seen.devices}


def place_of(device: Device | Accelerator) -> Place:
    """As ``supervisor/device_check`` finds it again."""
    part = f"{device.profile} {device.uuid}" if device.profile else ""
    return device.vendor, device.bus or str(device.index), part


def _as_seen(device: Device, now: Device, was_reset: bool) -> Device:
    resets = device.resets + was_reset
    if now.health is Health.FAILED:
        return replace(device, health=Health.FAILED, trouble=now.trouble, resets=resets)
    memory_bytes = now.memory_bytes or device.memory_bytes
    return replace(now, id=device.id, index=device.index, memory_bytes=memory_bytes, resets=resets)


def _was_reset(before: Accelerator | None, now: Accelerator | None) -> bool:
    return before is not None and now is not None and happened(before.counters, now.counters) in (WAS_RESET, CAME_BACK)


def _why_missing(device: Device, seen: Accelerators) -> str:
    if seen.problem:
        return seen.problem
    if any((each.vendor, each.bus) == (device.vendor, device.bus) for each in seen.partitioned):
        return DESTROYED if device.profile else PARTITIONED
    whole = by_place(seen).get((device.vendor, device.bus, "")) if device.profile else None
    return GONE if whole is None else whole.trouble or DESTROYED
