"""Looks at the devices after the start: what is told of them, and to whom."""

from __future__ import annotations

import queue
from collections.abc import Callable
from pathlib import Path

import msgspec

from ampacity.drivers.local.device_watch import DeviceWatch
from ampacity.drivers.local.known_devices import KnownDevices
from ampacity.model.ids import NodeId
from ampacity.model.node import Device, Health
from ampacity.observe.discovery.accelerators import Accelerator, Accelerators, Partitioned

LIMIT_S = 120.0
BUSES = ("0000:1b:00.0", "0000:1c:00.0")
Told = queue.Queue[tuple[Device, ...]]


def seen(*buses: str) -> Accelerators:
    """As a vendor tells them: counted from 0 on among those that are there."""
    found = [
        Accelerator(index=index, vendor="nvidia", kind="H100", name="NVIDIA H100", memory_bytes=0, uuid="", bus=bus)
        for index, bus in enumerate(buses)
    ]
    return Accelerators(devices=tuple(found), asked="nvidia")


def partitioned(*names: str) -> Accelerators:
    """The first device's instances, by their names for good."""
    (whole,) = seen(BUSES[0]).devices
    devices = tuple(
        msgspec.structs.replace(whole, index=1 + index, profile="1g.10gb", kind="H100-1g.10gb", uuid=name)
        for index, name in enumerate(names)
    )
    gpu = Partitioned(vendor="nvidia", bus=BUSES[0], index=0, name="NVIDIA H100", instances=len(names))
    return Accelerators(devices=devices, partitioned=(gpu,), asked="nvidia")


def health(devices: tuple[Device, ...]) -> list[Health]:
    return [device.health for device in devices]


def known(folder: Path, first: Accelerators) -> KnownDevices:
    found = KnownDevices(folder, NodeId("n"), "b1")
    found.take(first)
    return found


def watching(known: KnownDevices, look: Callable[[], Accelerators], told: Told) -> DeviceWatch:
    return DeviceWatch(known, look, told.put, every_s=0.001)


def test_devices_are_given_with_the_numbers_that_they_have_now_and_what_finds_them_again(tmp_path: Path) -> None:
    first = seen(*BUSES)
    counted = msgspec.structs.replace(first.devices[0], counters={"resets": 3})
    devices = known(tmp_path, msgspec.structs.replace(first, devices=(counted, first.devices[1])))
    watch = watching(devices, seen, queue.Queue())
    assert watch.counted_now(devices.devices) == list(devices.devices)
    check = watch.check_of(devices.devices[:1])
    assert check is not None
    assert check["argv"][-1] == "nvidia"
    assert check["devices"] == [
        {
            "id": "n/0",
            "vendor": "nvidia",
            "bus": BUSES[0],
            "index": 0,
            "profile": "",
            "uuid": "",
            "counters": {"resets": 3},
        }
    ]
    assert watch.check_of(()) is None
    lost, last = devices.take(seen(BUSES[1]))
    assert [device.index for device in watch.counted_now([last])] == [0]
    assert watch.check_of([lost]) is None


def test_instances_of_one_device_are_told_apart(tmp_path: Path) -> None:
    devices = known(tmp_path, partitioned("MIG-a", "MIG-b"))
    watch = watching(devices, seen, queue.Queue())
    devices.take(partitioned("MIG-b"))
    assert [device.index for device in watch.counted_now(devices.devices)] == [1, 1]
    assert watch.check_of(devices.devices[:1]) is None
    check = watch.check_of(devices.devices)
    assert check is not None
    assert [(each["id"], each["uuid"]) for each in check["devices"]] == [("n/2", "MIG-b")]


def test_changes_alone_are_told_and_a_look_that_cannot_be_made_changes_nothing(tmp_path: Path) -> None:
    looks = iter([seen(*BUSES), seen(BUSES[0]), OSError("no more processes"), seen(BUSES[0]), seen(*BUSES)])
    told: Told = queue.Queue()

    def look() -> Accelerators:
        found = next(looks, seen(*BUSES))
        if isinstance(found, OSError):
            raise found
        return found

    watch = watching(known(tmp_path, seen(*BUSES)), look, told)
    watch.start()
    try:
        assert health(told.get(timeout=LIMIT_S)) == [Health.OK, Health.FAILED]
        assert health(told.get(timeout=LIMIT_S)) == [Health.OK, Health.OK]
    finally:
        watch.close()
    assert told.empty()


def test_instances_are_waited_for_where_a_device_has_none_at_first(tmp_path: Path) -> None:
    looks = iter([partitioned(), partitioned("MIG-a"), partitioned(), partitioned()])
    told: Told = queue.Queue()
    watch = watching(known(tmp_path, partitioned()), lambda: next(looks, partitioned()), told)
    watch.start()
    try:
        assert health(told.get(timeout=LIMIT_S)) == [Health.OK]
        assert health(told.get(timeout=LIMIT_S)) == [Health.FAILED]
        assert told.get(timeout=LIMIT_S) == ()
    finally:
        watch.close()
    assert told.empty()
