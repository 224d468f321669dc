"""Devices that are gone, hang, or come back after the start."""

from __future__ import annotations

import queue

from ampacity.drivers.local.device_watch import DeviceWatch, judged
from ampacity.model.ids import DeviceId
from ampacity.model.node import Device, Health
from ampacity.observe.discovery.accelerators import Accelerator, Accelerators

LIMIT_S = 120.0
BUSES = ("0000:1b:00.0", "0000:1c:00.0")
DEVICES = tuple(
    Device(id=DeviceId(f"n/{index}"), index=index, kind="H100", memory_bytes=0, vendor="nvidia", bus=bus)
    for index, bus in enumerate(BUSES)
)


def seen(*buses: str) -> Accelerators:
    """As a vendor tells them: counted from 0 on among those that are there."""
    found = [
        Accelerator(index=index, vendor="nvidia", kind="H100", name="NVIDIA H100", memory_bytes=0, uuid="", bus=bus)
        for index, bus in enumerate(buses)
    ]
    return Accelerators(devices=tuple(found))


def health(devices: tuple[Device, ...]) -> list[Health]:
    return [device.health for device in devices]


def test_a_device_is_told_by_its_place_since_the_others_are_counted_anew() -> None:
    assert judged(DEVICES, seen(*BUSES)) == DEVICES
    assert health(judged(DEVICES, seen(BUSES[1]))) == [Health.FAILED, Health.OK]
    assert health(judged(DEVICES, seen())) == [Health.FAILED, Health.FAILED]
    assert judged(judged(DEVICES, seen()), seen(*BUSES)) == DEVICES
    assert judged(DEVICES, seen(*BUSES, "0000:1d:00.0")) == DEVICES


def test_changes_alone_are_told_and_a_look_that_cannot_be_made_changes_nothing() -> None:
    looks = iter([seen(*BUSES), seen(BUSES[0]), OSError("no more processes"), seen(BUSES[0]), seen(*BUSES)])
    told: queue.Queue[tuple[Device, ...]] = queue.Queue()

    def look() -> Accelerators:
        found = next(looks, seen(*BUSES))
        if isinstance(found, OSError):
            raise found
        return found

    watch = DeviceWatch(DEVICES, look, told.put, every_s=0.001)
    watch.start()
    try:
        assert health(told.get(timeout=LIMIT_S)) == [Health.OK, Health.FAILED]
        assert health(told.get(timeout=LIMIT_S)) == [Health.OK, Health.OK]
    finally:
        watch.close()
    assert told.empty()
