"""Devices that are lost stay known, and the others keep their ids, over restarts of the control plane."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from ampacity.drivers.local.known_devices import FILE, with_known_devices
from ampacity.model.ids import DeviceId, NodeId
from ampacity.model.node import Device, Health, Node

BUSES = ("0000:1b:00.0", "0000:1c:00.0", "0000:1d:00.0")


def node(*buses: str, boot: str = "b1") -> Node:
    """As it is seen: its devices are counted from 0 on."""
    devices = tuple(
        Device(id=DeviceId(f"n/{index}"), index=index, kind="H100", memory_bytes=0, vendor="nvidia", bus=bus)
        for index, bus in enumerate(buses)
    )
    return Node(id=NodeId("n"), driver="local", cpu_milli=1, memory_bytes=1, boot_id=boot, devices=devices)


def test_a_lost_device_is_missed_and_the_others_keep_their_ids(tmp_path: Path) -> None:
    whole = with_known_devices(tmp_path, node(*BUSES), "")
    assert whole == node(*BUSES)
    first, lost, last = with_known_devices(tmp_path, node(BUSES[0], BUSES[2]), "").devices
    assert (first, last) == (whole.devices[0], whole.devices[2])
    assert lost == replace(whole.devices[1], health=Health.FAILED, trouble="it is gone or does not answer")
    assert with_known_devices(tmp_path, node(*BUSES), "") == whole


def test_a_vendor_that_does_not_answer_has_failed_devices_and_says_why(tmp_path: Path) -> None:
    with_known_devices(tmp_path, node(*BUSES), "")
    found = with_known_devices(tmp_path, node(), "the devices of nvidia do not answer within 20 s").devices
    assert [device.health for device in found] == [Health.FAILED] * 3
    assert {device.trouble for device in found} == {"the devices of nvidia do not answer within 20 s"}


def test_one_that_came_later_gets_an_id_of_its_own(tmp_path: Path) -> None:
    with_known_devices(tmp_path, node(*BUSES[1:]), "")
    found = with_known_devices(tmp_path, node(*BUSES), "").devices
    assert [(device.id, device.bus) for device in found] == [("n/0", BUSES[1]), ("n/1", BUSES[2]), ("n/2", BUSES[0])]


def test_after_another_start_of_the_machine_there_is_what_is_seen(tmp_path: Path) -> None:
    with_known_devices(tmp_path, node(*BUSES), "")
    assert with_known_devices(tmp_path, node(BUSES[2], boot="b2"), "") == node(BUSES[2], boot="b2")
    assert with_known_devices(tmp_path, node(boot="b2"), "").devices[0].health is Health.FAILED


@pytest.mark.parametrize("content", ["", "{}", "[1", '{"format": 1, "boot_id": "b1", "devices": [{"id": 7}]}'])
def test_a_file_that_is_not_understood_is_written_anew(tmp_path: Path, content: str) -> None:
    (tmp_path / FILE).write_text(content)
    assert with_known_devices(tmp_path, node(*BUSES), "") == node(*BUSES)
    assert len(with_known_devices(tmp_path, node(), "").devices) == 3


def test_a_machine_without_devices_writes_nothing(tmp_path: Path) -> None:
    assert with_known_devices(tmp_path, node(), "") == node()
    assert not (tmp_path / FILE).exists()
