"""Devices that are lost stay known, and the others keep their ids, over looks and restarts of the control plane."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest

from ampacity.drivers.local.known_devices import DESTROYED, FILE, GONE, PARTITIONED, KnownDevices
from ampacity.model.ids import DeviceId, NodeId
from ampacity.model.node import Device, Health
from ampacity.observe.discovery.accelerators import Accelerator, Accelerators, Partitioned

BUSES = ("0000:1b:00.0", "0000:1c:00.0", "0000:1d:00.0")
HANGS = "the devices of nvidia do not answer within 20 s"


def accelerator(index: int, bus: str, **values: object) -> Accelerator:
    whole = Accelerator(index=index, vendor="nvidia", kind="H100", name="NVIDIA", memory_bytes=80, uuid="", bus=bus)
    return msgspec.structs.replace(whole, **values)


def seen(*buses: str, problem: str = "") -> Accelerators:
    """As a vendor tells them: counted from 0 on among those that are there."""
    return Accelerators(devices=tuple(accelerator(*each) for each in enumerate(buses)), problem=problem)


def changed(index: int, **values: object) -> Accelerators:
    devices = list(seen(*BUSES).devices)
    devices[index] = msgspec.structs.replace(devices[index], **values)
    return Accelerators(devices=tuple(devices))


def known(folder: Path, boot: str = "b1") -> KnownDevices:
    return KnownDevices(folder, NodeId("n"), boot)


def ids(devices: Iterable[Device]) -> list[str]:
    return [device.id for device in devices]


def health(devices: Iterable[Device]) -> list[Health]:
    return [device.health for device in devices]


@pytest.fixture(params=["looks", "restarts"])
def devices(tmp_path: Path, request: pytest.FixtureRequest):
    """The devices after another look: by the same process, or by one that was started again."""
    first = known(tmp_path)

    def after(found: Accelerators) -> tuple[Device, ...]:
        return (first if request.param == "looks" else known(tmp_path)).take(found)

    return after


def test_a_lost_device_is_missed_and_the_others_keep_their_ids(devices) -> None:
    whole = devices(seen(*BUSES))
    assert ids(whole) == ["n/0", "n/1", "n/2"]
    first, lost, last = devices(seen(BUSES[0], BUSES[2]))
    assert (first, last) == (whole[0], whole[2])
    assert lost == replace(whole[1], health=Health.FAILED, trouble=GONE)
    assert devices(seen(BUSES[0], BUSES[2])) == (first, lost, last)
    assert devices(seen(*BUSES)) == whole


def test_a_vendor_that_does_not_answer_has_failed_devices_and_says_why(devices) -> None:
    whole = devices(seen(*BUSES))
    found = devices(seen(problem=HANGS))
    assert health(found) == [Health.FAILED] * 3
    assert {device.trouble for device in found} == {HANGS}
    assert devices(seen(*BUSES)) == whole


def test_one_that_came_later_gets_an_id_of_its_own(devices) -> None:
    devices(seen(*BUSES[1:]))
    found = devices(seen(*BUSES))
    assert [(device.id, device.bus) for device in found] == [("n/0", BUSES[1]), ("n/1", BUSES[2]), ("n/2", BUSES[0])]


def test_a_device_in_trouble_has_failed_and_says_why(devices) -> None:
    devices(seen(*BUSES))
    first, second, _ = devices(changed(1, trouble="NVML: GPU is lost"))
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
    tmp_path: Path, before: dict[str, float], now: dict[str, float], resets: int
) -> None:
    looking = known(tmp_path)
    looking.take(changed(0, counters=before))
    found = looking.take(changed(0, counters=now))
    assert [device.resets for device in found] == [resets, 0, 0]
    assert health(found) == [Health.OK] * 3


def test_after_another_start_of_the_machine_there_is_what_is_seen(tmp_path: Path) -> None:
    known(tmp_path).take(seen(*BUSES))
    (device,) = known(tmp_path, "b2").take(seen(BUSES[2]))
    assert (device.id, device.bus) == ("n/0", BUSES[2])
    assert health(known(tmp_path, "b2").take(seen())) == [Health.FAILED]


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{}",
        "[1",
        '{"format": 1, "boot_id": "b1", "devices": [{"id": 7}]}',
        '{"format": 1, "boot_id": "b1", "devices": [], "next_index": "x"}',
    ],
)
def test_a_file_that_is_not_understood_is_written_anew(tmp_path: Path, content: str) -> None:
    (tmp_path / FILE).write_text(content)
    assert ids(known(tmp_path).take(seen(*BUSES))) == ["n/0", "n/1", "n/2"]
    assert len(known(tmp_path).take(seen())) == 3


def test_a_file_of_an_older_release_is_understood(tmp_path: Path) -> None:
    whole = known(tmp_path).take(seen(*BUSES))
    content = json.loads((tmp_path / FILE).read_text())
    del content["next_index"]
    for device in content["devices"]:
        device.pop("instance", None)
    (tmp_path / FILE).write_text(json.dumps(content))
    assert known(tmp_path).take(seen(*BUSES)) == whole


def test_a_machine_without_devices_writes_nothing(tmp_path: Path) -> None:
    assert known(tmp_path).take(seen()) == ()
    assert not (tmp_path / FILE).exists()


# Partitioned devices -------------------------------------------------------------------------------------------------


def partitioned(*profiles: str, trouble: str = "") -> Accelerators:
    """A machine whose only device has these instances; each is named by its profile and its place."""
    devices = tuple(
        accelerator(
            1 + index,
            BUSES[0],
            kind=f"H100-{profile}",
            profile=profile,
            instance=f"{index}/0",
            uuid=f"MIG-{index}",
            trouble=trouble,
        )
        for index, profile in enumerate(profiles)
    )
    gpu = Partitioned(vendor="nvidia", bus=BUSES[0], index=0, name="NVIDIA H100", instances=len(devices))
    return Accelerators(devices=devices, partitioned=(gpu,))


def test_an_instance_that_is_destroyed_has_failed_and_is_left_out_by_the_look_after_that(devices) -> None:
    first, second = devices(partitioned("3g.40gb", "3g.40gb"))
    assert (first.id, second.id, second.instance, second.kind) == ("n/1", "n/2", "1/0", "H100-3g.40gb")
    found = devices(partitioned("3g.40gb"))
    assert found == (first, replace(second, health=Health.FAILED, trouble=DESTROYED))
    assert devices(partitioned("3g.40gb")) == (first,)
    kept, made = devices(partitioned("3g.40gb", "3g.40gb"))
    assert (kept, made) == (first, replace(second, id=DeviceId("n/3"), index=3))  # no id ever means another device


def test_an_instance_that_is_back_at_the_next_look_keeps_its_id(devices) -> None:
    both = devices(partitioned("3g.40gb", "3g.40gb"))
    devices(partitioned("3g.40gb"))
    assert devices(partitioned("3g.40gb", "3g.40gb")) == both


def test_another_instance_in_the_place_of_one_is_another_device(devices) -> None:
    (before,) = devices(partitioned("7g.80gb"))
    gone, now = devices(partitioned("1g.10gb"))
    assert (gone.id, gone.trouble, now.kind, now.health) == (before.id, DESTROYED, "H100-1g.10gb", Health.OK)
    assert now.id != before.id


def test_a_device_that_is_partitioned_gives_way_to_its_instances_and_comes_back(devices) -> None:
    (whole,) = devices(seen(BUSES[0]))
    gone, part = devices(partitioned("7g.80gb"))
    assert (gone.id, gone.health, gone.trouble, part.profile) == (whole.id, Health.FAILED, PARTITIONED, "7g.80gb")
    assert devices(partitioned("7g.80gb")) == (part,)
    assert [device.trouble for device in devices(partitioned())] == [DESTROYED]
    assert devices(partitioned()) == ()
    (again,) = devices(seen(BUSES[0]))
    assert (again.kind, again.health, again.id) == ("H100", Health.OK, DeviceId(f"n/{part.index + 1}"))


def test_instances_whose_device_is_whole_again_were_destroyed(devices) -> None:
    devices(partitioned("7g.80gb"))
    part, whole = devices(seen(BUSES[0]))
    assert (part.trouble, whole.profile, whole.health) == (DESTROYED, "", Health.OK)


def test_instances_of_a_device_that_does_not_tell_them_fail_by_its_trouble(devices) -> None:
    before = devices(partitioned("3g.40gb", "3g.40gb"))
    trouble = "its instances cannot be told: NVML: Unknown Error"
    sick = Accelerators(devices=(accelerator(0, BUSES[0], trouble=trouble),))
    assert [(device.id, device.trouble) for device in devices(sick)] == [(each.id, trouble) for each in before]
    assert devices(sick) == devices(sick)
    assert devices(partitioned("3g.40gb", "3g.40gb")) == before
    lost = devices(seen())
    assert [(device.id, device.trouble) for device in lost] == [(each.id, GONE) for each in before]
