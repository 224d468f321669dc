"""The machine's devices as they were known since it was started: one that is lost is missed, and the others keep their
ids, though the control plane was started again meanwhile."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path

import msgspec

from ampacity.drivers.supervisor.disk import FORMAT, read_json, write_json
from ampacity.model.codec import from_plain, to_plain
from ampacity.model.ids import DeviceId
from ampacity.model.node import Device, Health, Node

FILE = "devices.json"
_log = logging.getLogger(__name__)


def with_known_devices(folder: Path, node: Node, problem: str) -> Node:
    """The node with those devices too that are not seen now, and were since the machine was started: they have failed.
    After another start of the machine there is what is seen.

    Args:
        folder: the driver's own.
        problem: why nothing could be seen of a vendor's devices, if that is so.
    """
    path = str(folder / FILE)
    known = _read(path, node.boot_id)
    devices = _joined(node, known, problem)
    if devices != known and (devices or known):
        try:
            write_json(path, {"format": FORMAT, "boot_id": node.boot_id, "devices": to_plain(devices)})
        except OSError as error:
            _log.warning("the devices cannot be written down now: %s", error)
    return replace(node, devices=devices)


def _read(path: str, boot_id: str) -> tuple[Device, ...]:
    found = read_json(path)
    if found is None or found.get("format") != FORMAT or found.get("boot_id") != boot_id:
        return ()
    try:
        return from_plain(found["devices"], tuple[Device, ...])
    except (KeyError, msgspec.ValidationError) as error:
        _log.warning("%s is not understood: %s", path, error)
        return ()


def _joined(node: Node, known: tuple[Device, ...], problem: str) -> tuple[Device, ...]:
    seen = {(device.vendor, device.bus or str(device.index)): device for device in node.devices}
    joined = []
    for before in known:
        now = seen.pop((before.vendor, before.bus or str(before.index)), None)
        if now is None:
            trouble = before.trouble or problem or "it is gone or does not answer"
            joined.append(replace(before, health=Health.FAILED, trouble=trouble))
        elif now.health is Health.FAILED:
            joined.append(replace(before, health=Health.FAILED, trouble=now.trouble))
        else:
            joined.append(replace(now, id=before.id, index=before.index, resets=before.resets))
    taken = {device.index for device in joined}
    for fresh in seen.values():
        index = fresh.index if fresh.index not in taken else max(taken) + 1
        taken.add(index)
        joined.append(replace(fresh, id=DeviceId(f"{node.id}/{index}"), index=index))
    return tuple(joined)
