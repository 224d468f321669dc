"""The process that reads one vendor's devices once a second and writes what it read into their files.

It is a process of its own because a vendor's library may hang or crash: then only the devices' values are missing.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import json
import logging
import math
import os
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from .columns import DEVICE
from .devices.base import ChangingReader, DeviceIdentity, DeviceReader, ReadFailed
from .devices.registry import open_reader
from .places import device_ring, holders_file
from .pulse import Pulse
from .ring import Layout, RingWriter

HOLDERS_EVERY_S = 5.0
"""How often it is asked who holds memory, and whether the devices are still the same."""
PR_SET_PDEATHSIG = 1

log = logging.getLogger("ampacity.device_probe")


class Probe:
    """Reads all devices of one reader. Raises ``ReadFailed``, ``OSError`` (from the constructor, too)."""

    def __init__(self, reader: DeviceReader, folder: str) -> None:
        self._reader, self._folder = reader, folder
        self._devices: list[_Device] = []
        self._take_up()
        self._holders_at = -math.inf
        self._holders: dict[str, dict[str, int]] | None = None

    def sample(self, at: float) -> None:
        """Write a sample of every device. One that cannot be read is left out; raises when none can."""
        seldom = at - self._holders_at >= HOLDERS_EVERY_S
        if seldom and isinstance(self._reader, ChangingReader) and self._reader.look_again():
            self._take_up()
        failed: ReadFailed | None = None
        read = 0
        for device in self._devices:
            try:
                device.write(at, dict(self._reader.read(device.identity.index)))
                read += 1
            except ReadFailed as error:
                failed = error
        if failed is not None and not read:
            raise failed
        if seldom:
            self._holders_at = at
            self._write_holders()

    def _take_up(self) -> None:
        """The reader's devices as they are now. Those that stay go on with their files."""
        before = {tuple(device.labels.items()): device for device in self._devices}
        found = self._reader.devices()
        names = {identity.index: identity.uuid for identity in found}
        self._devices = []
        for identity in found:
            labels = _labels(identity, names)
            device = before.pop(tuple(labels.items()), None) or _Device(identity, labels, self._folder)
            device.identity = identity
            self._devices.append(device)
        for device in before.values():
            device.close()

    def _write_holders(self) -> None:
        found: dict[str, dict[str, int]] = {}
        for device in self._devices:
            with contextlib.suppress(ReadFailed):  # who holds the others' memory is told
                held = self._reader.processes(device.identity.index)
                found[str(device.identity.index)] = {str(pid): size for pid, size in held.items()}
        if found == self._holders or not self._devices:
            return
        self._holders = found
        path = os.path.join(self._folder, holders_file(self._devices[0].identity.vendor))
        fresh = f"{path}.{os.getpid()}.tmp"
        with open(fresh, "w") as file:
            json.dump({"devices": found}, file)
        os.replace(fresh, path)


class _Device:
    """One device's file. Where it has no energy counter of its own, its power is integrated."""

    def __init__(self, identity: DeviceIdentity, labels: dict[str, str], folder: str) -> None:
        self.identity, self.labels = identity, labels
        path = os.path.join(folder, device_ring(labels["vendor"], int(labels["index"]), identity.instance))
        self._ring = RingWriter(path, Layout("device", DEVICE, labels))
        last = self._ring.found
        known_j = math.nan if last is None else last[self._ring.layout.index["energy_j"]]
        self._energy_j = 0.0 if math.isnan(known_j) else known_j
        self._before: tuple[float, float] | None = None

    def write(self, at: float, values: dict[str, float]) -> None:
        if "energy_j" not in values and "power_w" in values:
            values["energy_j"] = self._integrate(at, values["power_w"])
        self._ring.append(at, [values.get(column.name, math.nan) for column in DEVICE])

    def close(self) -> None:
        self._ring.close()

    def _integrate(self, at: float, power_w: float) -> float:
        """By the trapezoidal rule."""
        before, self._before = self._before, (at, power_w)
        if before is not None and at > before[0]:
            self._energy_j += (at - before[0]) * (power_w + before[1]) / 2
        return self._energy_j


def _labels(identity: DeviceIdentity, names: Mapping[int, str]) -> dict[str, str]:
    """What its file says of it. An instance's own number changes with other instances: its device's stands there.

    Args:
        names: all devices' names for good, by index.
    """
    index = identity.index if identity.parent is None else identity.parent
    labels = {"vendor": identity.vendor, "index": str(index), "kind": identity.kind}
    labels |= {"uuid": identity.uuid, "bus": identity.bus}
    if identity.parent is not None:
        labels |= {"gpu_uuid": names[index], "profile": identity.profile, "instance": identity.instance}
    return labels | {"partitioned": "true"} if identity.partitioned else labels


def main(arguments: Sequence[str] | None = None) -> int:
    """Read until whoever started this is gone. Exit code 1: the reader failed; start it anew after a while."""
    parser = argparse.ArgumentParser(prog="python -m ampacity.observe.device_probe")
    parser.add_argument("--folder", required=True, help="where the devices' files lie")
    parser.add_argument("--reader", required=True, help="a vendor, or module:attribute")
    parser.add_argument("--beat", required=True, help="a file whose time is set anew with every sample")
    parser.add_argument("--lease-fd", type=int, help="ends when the other end of this pipe is closed")
    options = parser.parse_args(arguments)
    logging.basicConfig(format="%(asctime)s %(levelname)s %(name)s: %(message)s", level=logging.INFO)
    pulse = Pulse(options.lease_fd)
    _die_with_parent()
    try:
        reader = open_reader(options.reader)
        probe = Probe(reader, options.folder)
        at = time.time()
        while not pulse.ending and not pulse.orphaned:
            probe.sample(at)
            Path(options.beat).touch(mode=0o600)
            at = pulse.wait()
        reader.close()
    except (ReadFailed, OSError, ImportError, AttributeError) as error:
        log.error("%s: %s", options.reader, error)
        return 1
    return 0


def _die_with_parent() -> None:
    """A probe that hangs in its vendor's library does not see its lease end: the kernel kills it with its parent."""
    parent = os.getppid()
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(1)


if __name__ == "__main__":
    sys.exit(main())
