"""The devices' newest values, read from the files that their probes write: a probe that hangs holds up nobody."""

from __future__ import annotations

import contextlib
import json
import math
import os
from collections.abc import Iterable, Mapping

from .places import SUFFIX, device_order
from .ring import NotARing, RingReader, Values

MAX_AGE_S = 5
"""What a probe wrote longer ago is not known any more."""


class DeviceRings:
    """Call :meth:`look` once a sample; what it found stands until the next.

    A device's name ends in ``/<index>`` (``n1/0``), or is its uuid: an instance's is.
    """

    def __init__(self, folder: str) -> None:
        self._folder = folder
        self._rings: dict[str, RingReader] = {}
        self._by_index: dict[str, RingReader] = {}
        self._now: dict[str, Values | None] = {}
        self._held: dict[int, int] = {}
        self._held_from: dict[str, tuple[int, Mapping[int, int]]] = {}
        self._folder_at = -1

    def look(self, at: float) -> None:
        changed_at = os.stat(self._folder).st_mtime_ns
        if changed_at != self._folder_at:
            self._folder_at = changed_at
            self._open_rings()
        self._now = {key: ring.latest(at, max_age_s=MAX_AGE_S) for key, ring in self._by_index.items()}
        self._read_holders()

    def value(self, device: str, name: str) -> float:
        """A device's newest value; NaN when it is not known."""
        values = self._now.get(_key(device))
        return math.nan if values is None else values[self._by_index[_key(device)].layout.index[name]]

    def energy_j(self, device: str, since: float | None = None) -> float:
        """Its counter now; or as it was at that time, to go on from there. NaN when it is not known."""
        ring = self._by_index.get(_key(device))
        if ring is None or since is None:
            return self.value(device, "energy_j")
        record = ring.latest(since, max_age_s=MAX_AGE_S)
        return self.value(device, "energy_j") if record is None else record[ring.layout.index["energy_j"]]

    def held_bytes(self, pids: Iterable[int]) -> float:
        """Device memory that these processes hold; NaN when no probe can say."""
        return float(sum(self._held.get(pid, 0) for pid in pids)) if self._held_from else math.nan

    def close(self) -> None:
        for ring in self._rings.values():
            ring.close()
        self._rings.clear()
        self._by_index.clear()

    def _open_rings(self) -> None:
        names = [name for name in os.listdir(self._folder) if name.startswith("device-") and name.endswith(SUFFIX)]
        for name in list(self._rings):
            ring = self._rings[name]
            if name not in names or os.stat(os.path.join(self._folder, name)).st_ino != ring.identity:
                self._rings.pop(name).close()
        for name in names:
            if name not in self._rings:
                with contextlib.suppress(NotARing, FileNotFoundError):
                    self._rings[name] = RingReader(os.path.join(self._folder, name))
        self._by_index = {}
        counted = [ring for ring in self._rings.values() if "instance" not in ring.layout.labels]
        ordered = sorted(counted, key=lambda ring: _order(ring.layout.labels))
        for place, ring in enumerate(ordered):
            self._by_index[str(place)] = ring
        for name in sorted(self._rings, key=lambda each: os.stat(os.path.join(self._folder, each)).st_mtime_ns):
            if uuid := self._rings[name].layout.labels.get("uuid"):
                self._by_index[uuid] = self._rings[name]  # of two, the one that is written: it was counted anew

    def _read_holders(self) -> None:
        for name in {f"holders-{ring.layout.labels['vendor']}.json" for ring in self._rings.values()}:
            path = os.path.join(self._folder, name)
            try:
                changed_at = os.stat(path).st_mtime_ns
            except FileNotFoundError:
                continue
            if self._held_from.get(name, (0, {}))[0] != changed_at:
                self._held_from[name] = (changed_at, _holders(path))
                self._held = {}
                for _, held in self._held_from.values():
                    self._held.update(held)


def _key(device: str) -> str:
    """(Older drivers name an instance ``MIG-GPU-…/3/0``.)"""
    return device if device.startswith("MIG-") else device.rpartition("/")[2]


def _order(labels: Mapping[str, str]) -> tuple[bool, str, list[int]]:
    """NVIDIA's first, as they are counted where several vendors are in one machine."""
    return labels["vendor"] != "nvidia", *device_order(labels)


def _holders(path: str) -> Mapping[int, int]:
    held: dict[int, int] = {}
    with open(path, "rb") as file:
        for of_device in json.loads(file.read())["devices"].values():
            for pid, size in of_device.items():
                held[int(pid)] = held.get(int(pid), 0) + int(size)
    return held
