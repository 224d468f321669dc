"""Devices that are gone, hang, or come back after the start."""

from __future__ import annotations

import queue

import msgspec
import pytest

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
    whole = seen(*BUSES)
    assert judged(DEVICES, whole, whole) == DEVICES
    assert health(judged(DEVICES, whole, seen(BUSES[1]))) == [Health.FAILED, Health.OK]
    gone = judged(DEVICES, whole, Accelerators(problem="the devices of nvidia do not answer within 20 s"))
    assert {device.trouble for device in gone} == {"the devices of nvidia do not answer within 20 s"}
    assert judged(judged(DEVICES, whole, seen()), whole, whole) == DEVICES
    assert judged(DEVICES, whole, seen(*BUSES, "0000:1d:00.0")) == DEVICES


def changed(index: int, **values: object) -> Accelerators:
    devices = list(seen(*BUSES).devices)
    devices[index] = msgspec.structs.replace(devices[index], **values)
    return Accelerators(devices=tuple(devices), asked="nvidia")


def test_a_device_in_trouble_has_failed_and_says_why() -> None:
    first, second = judged(DEVICES, seen(*BUSES), changed(1, trouble="NVML: GPU is lost"))
    assert (first.health, second.health, second.trouble) == (Health.OK, Health.FAILED, "NVML: GPU is lost")


@pytest.mark.parametrize(
    ("before", "now", "resets"),
    [
        ({"energy_j": 900.0}, {"energy_j": 950.0}, 0),
        ({"energy_j": 900.0}, {"energy_j": 3.0}, 1),
        ({"resets": 1}, {"resets": 2}, 1),
        ({"pci_entry": 5, "energy_j": 1.0}, {"pci_entry": 6, "energy_j": 2.0}, 1),
        ({"ecc_uncorrected": 0}, {"ecc_uncorrected": 1}, 0),
        ({"energy_j": 900.0}, {}, 0),
    ],
)
def test_a_device_that_was_reset_between_two_looks_is_noticed(
    before: dict[str, float], now: dict[str, float], resets: int
) -> None:
    found = judged(DEVICES, changed(0, counters=before), changed(0, counters=now))
    assert [device.resets for device in found] == [resets, 0]
    assert health(found) == [Health.OK, Health.OK]


def test_devices_are_given_with_the_numbers_that_they_have_now_and_what_finds_them_again() -> None:
    told: queue.Queue[tuple[Device, ...]] = queue.Queue()
    looks = iter([changed(0)])
    watch = DeviceWatch(DEVICES, changed(0, counters={"resets": 3}), lambda: next(looks), told.put)
    assert watch.counted_now(DEVICES) == list(DEVICES)
    check = watch.check_of(DEVICES[:1])
    assert check is not None
    assert check["argv"][-1] == "nvidia"
    assert check["devices"] == [
        {"id": "n/0", "vendor": "nvidia", "bus": BUSES[0], "index": 0, "counters": {"resets": 3}}
    ]
    assert watch.check_of(()) is None
    alone = DeviceWatch(DEVICES, seen(BUSES[1]), lambda: next(looks), told.put)
    assert [device.index for device in alone.counted_now(DEVICES[1:])] == [0]
    assert alone.check_of(DEVICES) is None


def test_changes_alone_are_told_and_a_look_that_cannot_be_made_changes_nothing() -> None:
    looks = iter([seen(*BUSES), seen(BUSES[0]), OSError("no more processes"), seen(BUSES[0]), seen(*BUSES)])
    told: queue.Queue[tuple[Device, ...]] = queue.Queue()

    def look() -> Accelerators:
        found = next(looks, seen(*BUSES))
        if isinstance(found, OSError):
            raise found
        return found

    watch = DeviceWatch(DEVICES, seen(*BUSES), look, told.put, every_s=0.001)
    watch.start()
    try:
        assert health(told.get(timeout=LIMIT_S)) == [Health.OK, Health.FAILED]
        assert health(told.get(timeout=LIMIT_S)) == [Health.OK, Health.OK]
    finally:
        watch.close()
    assert told.empty()
